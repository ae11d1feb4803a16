//! Reads and writes at once, in the caller's thread: for memory file systems, where no call waits for a device.

use super::file::{DiskFile, disk_error};
use super::{Completion, DiskDriver};
use evenkeel_store::{DiskIo, IoKind};
use evenkeel_types::{AlignedBuf, Bytes, Time};
use rustix::io::ReadWriteFlags;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The engine.
pub(super) struct Inline {
    file: Arc<DiskFile>,
    done: Vec<Completion>,
}

impl Inline {
    pub(super) const fn new(file: Arc<DiskFile>) -> Self {
        Self { file, done: Vec::new() }
    }
}

impl DiskDriver for Inline {
    fn submit(&mut self, _now: Time, io: DiskIo) {
        let result = perform(&self.file, &io.kind).map_err(|e| disk_error(&e));
        self.done.push(Completion { id: io.id, result });
    }

    fn kick(&mut self) {}

    fn reap(&mut self, _now: Time, out: &mut Vec<Completion>) {
        out.append(&mut self.done);
    }

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn name(&self) -> &'static str {
        "inline"
    }
}

/// Carries out one I/O and waits for it.
pub(super) fn perform(file: &DiskFile, kind: &IoKind) -> io::Result<Option<AlignedBuf>> {
    match kind {
        IoKind::Read { offset, len } => {
            let mut buf = AlignedBuf::for_overwrite(*len as usize);
            file.file().read_exact_at(&mut buf, *offset)?;
            Ok(Some(buf))
        }
        IoKind::Write { offset, pieces, durable } => {
            write_pieces(file, *offset, pieces, *durable)?;
            Ok(None)
        }
        IoKind::Flush => {
            file.file().sync_data()?;
            Ok(None)
        }
    }
}

fn write_pieces(file: &DiskFile, offset: u64, pieces: &[Bytes], durable: bool) -> io::Result<()> {
    // Pages of a memory file system are as durable as they get once written.
    let flags = if durable && !file.in_memory() { ReadWriteFlags::DSYNC } else { ReadWriteFlags::empty() };
    let total: usize = pieces.iter().map(Bytes::len).sum();
    let mut done = 0;
    while done < total {
        let mut skip = done;
        let slices: Vec<IoSlice<'_>> = pieces
            .iter()
            .filter_map(|piece| {
                let from = skip.min(piece.len());
                skip -= from;
                (from < piece.len()).then(|| IoSlice::new(&piece[from..]))
            })
            .take(1024)
            .collect();
        match rustix::io::pwritev2(file.file(), &slices, offset + done as u64, flags) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
