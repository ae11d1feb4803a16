//! An io_uring of the server's own. One of the two places in the workspace with `unsafe`.
//!
//! Invariant: memory that the kernel may read or write (buffers, vectors) is owned by the `Flight` of its I/O, at an
//! address that does not change, from before its entry is pushed until its completion was taken. Dropping the ring
//! first waits for all completions.

#![allow(unsafe_code)]

use super::file::{DiskFile, disk_error};
use super::{Completion, DiskDriver};
use crate::clock;
use evenkeel_store::{DiskError, DiskIo, IoId, IoKind, IoPieces};
use evenkeel_types::{AlignedBuf, Bytes, Time};
use io_uring::{IoUring, opcode, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// I/Os that the kernel has at once; more wait here.
const FLIGHTS_MAX: usize = 256;
/// Pause before the kernel is given again what it did not take.
const ENTER_AGAIN: Duration = Duration::from_millis(1);
/// Time in which the kernel takes nothing before the ring is given up.
const REFUSED_MAX: Duration = Duration::from_secs(5);
/// `RWF_DSYNC` of pwritev2(2): the write ends when its data is on stable storage.
const RWF_DSYNC: i32 = 0x2;

/// An entry of the vector that a gathering write hands to the kernel: `struct iovec`.
#[repr(C)]
struct IoVec {
    base: *const u8,
    len: usize,
}

enum Flight {
    Read { id: IoId, buf: AlignedBuf, offset: u64, done: usize },
    Write { id: IoId, pieces: IoPieces, vector: Box<[IoVec]>, offset: u64, done: usize, durable: bool },
    Flush { id: IoId },
}

impl Flight {
    const fn id(&self) -> IoId {
        match self {
            Self::Read { id, .. } | Self::Write { id, .. } | Self::Flush { id } => *id,
        }
    }
}

/// The engine.
pub(super) struct Uring {
    ring: IoUring,
    file: Arc<DiskFile>,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    /// I/Os that the kernel has not got yet, because it has enough.
    waiting: VecDeque<DiskIo>,
    /// Entries that the kernel has not taken from the queue.
    pushed: usize,
    /// Since when the kernel takes nothing, and when to try again.
    refused_since: Option<Time>,
    again_at: Option<Time>,
    /// Why the ring is not used any more.
    broken: Option<DiskError>,
    /// What did not get through: it is completed with the error.
    failed: Vec<IoId>,
    /// How entries are handed to the kernel; gives how many it took.
    enter: fn(&IoUring) -> io::Result<usize>,
}

impl Uring {
    pub(super) fn start(file: Arc<DiskFile>) -> io::Result<Self> {
        let entries = FLIGHTS_MAX as u32;
        let ring = IoUring::builder()
            .setup_coop_taskrun()
            .setup_single_issuer()
            .setup_submit_all()
            .build(entries)
            .or_else(|_| IoUring::new(entries))?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        for code in [opcode::Read::CODE, opcode::Writev::CODE, opcode::Fsync::CODE] {
            if !probe.is_supported(code) {
                return Err(io::ErrorKind::Unsupported.into());
            }
        }
        Ok(Self {
            ring,
            file,
            flights: (0..FLIGHTS_MAX).map(|_| None).collect(),
            free: (0..FLIGHTS_MAX).rev().collect(),
            waiting: VecDeque::new(),
            pushed: 0,
            refused_since: None,
            again_at: None,
            broken: None,
            failed: Vec::new(),
            enter: IoUring::submit,
        })
    }

    fn launch(&mut self, io: DiskIo) {
        let flight = match io.kind {
            IoKind::Read { offset, len } => {
                Flight::Read { id: io.id, buf: AlignedBuf::for_overwrite(len as usize), offset, done: 0 }
            }
            IoKind::Write { offset, pieces, durable } => {
                let vector = pieces.iter().map(|p| IoVec { base: p.as_ptr(), len: p.len() }).collect();
                Flight::Write { id: io.id, pieces, vector, offset, done: 0, durable }
            }
            IoKind::Flush => Flight::Flush { id: io.id },
        };
        let slot = self.free.pop().expect("launched only while a flight is free");
        self.flights[slot] = Some(flight);
        self.push(slot);
    }

    /// Hands (the rest of) a flight to the kernel.
    fn push(&mut self, slot: usize) {
        let fd = types::Fd(self.file.file().as_raw_fd());
        let entry = match self.flights[slot].as_mut().expect("a flight in this slot") {
            Flight::Read { buf, offset, done, .. } => {
                let rest = &mut buf[*done..];
                opcode::Read::new(fd, rest.as_mut_ptr(), rest.len() as u32)
                    .offset(*offset + *done as u64)
                    .build()
            }
            Flight::Write { vector, offset, done, durable, .. } => {
                opcode::Writev::new(fd, vector.as_ptr().cast(), vector.len() as u32)
                    .offset(*offset + *done as u64)
                    .rw_flags(if *durable { RWF_DSYNC } else { 0 })
                    .build()
            }
            Flight::Flush { .. } => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
        };
        let entry = entry.user_data(slot as u64);
        // SAFETY: the flight owns the buffer or vector and its pieces, and stays in its slot until its completion was
        // taken; the vector is boxed, the buffer and the pieces are on the heap, so none of them moves.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "a flight has one entry at a time, and the queue a place for every flight");
        self.pushed += 1;
    }

    /// Hands the kernel what is queued. It may take only a part, or nothing for a while: interrupted, short of memory,
    /// or with too many completions that nobody took. The rest stays queued and is tried again.
    fn enter(&mut self) {
        let result = (self.enter)(&self.ring);
        let taken = result.as_ref().map_or(0, |taken| *taken).min(self.pushed);
        self.pushed -= taken;
        if self.pushed == 0 {
            (self.refused_since, self.again_at) = (None, None);
            return;
        }
        let now = clock::now();
        self.again_at = Some(now + ENTER_AGAIN);
        let since = *self.refused_since.get_or_insert(now);
        if taken > 0 {
            self.refused_since = Some(now);
        } else if now.since(since) >= REFUSED_MAX {
            let error = result.err().unwrap_or_else(|| rustix::io::Errno::AGAIN.into());
            self.give_up(disk_error(&error));
        }
    }

    /// The ring does not work: everything under way fails, and all that is to come.
    fn give_up(&mut self, error: DiskError) {
        self.broken = Some(error);
        self.pushed = 0;
        self.again_at = None;
        self.failed.extend(self.flights.iter().flatten().map(Flight::id));
        self.failed.extend(self.waiting.drain(..).map(|io| io.id));
        // What the kernel took it may still carry out: better to leak the memory than to free it.
        std::mem::forget(std::mem::take(&mut self.flights));
    }

    /// Takes the result of a flight; gives the completion unless something is left to do.
    fn land(&mut self, slot: usize, result: i32) -> Option<Completion> {
        let flight = self.flights[slot].as_mut().expect("a completion belongs to a flight");
        let id = flight.id();
        let again = result == -rustix::io::Errno::AGAIN.raw_os_error()
            || result == -rustix::io::Errno::INTR.raw_os_error();
        if result < 0 && !again {
            let error = disk_error(&io::Error::from_raw_os_error(-result));
            self.release(slot);
            return Some(Completion { id, result: Err(error) });
        }
        let moved = usize::try_from(result).unwrap_or(0);
        let (finished, stuck) = match flight {
            Flight::Read { buf, done, .. } => {
                *done += moved;
                (*done >= buf.len(), moved == 0 && !again)
            }
            Flight::Write { pieces, vector, done, .. } => {
                *done += moved;
                let total: usize = pieces.iter().map(Bytes::len).sum();
                if *done < total {
                    *vector = rest_of(pieces, *done);
                }
                (*done >= total, moved == 0 && !again)
            }
            Flight::Flush { .. } => (!again, false),
        };
        if stuck {
            self.release(slot);
            let short = io::Error::new(io::ErrorKind::UnexpectedEof, "the disk ends here");
            return Some(Completion { id, result: Err(disk_error(&short)) });
        }
        if !finished {
            self.push(slot);
            return None;
        }
        let buf = match self.release(slot) {
            Flight::Read { buf, .. } => Some(buf),
            Flight::Write { .. } | Flight::Flush { .. } => None,
        };
        Some(Completion { id, result: Ok(buf) })
    }

    fn release(&mut self, slot: usize) -> Flight {
        self.free.push(slot);
        self.flights[slot].take().expect("a flight in this slot")
    }
}

/// What is left of pieces after their first `done` bytes.
fn rest_of(pieces: &[Bytes], done: usize) -> Box<[IoVec]> {
    let mut skip = done;
    pieces
        .iter()
        .filter_map(|piece| {
            let from = skip.min(piece.len());
            skip -= from;
            let rest = &piece[from..];
            if rest.is_empty() { None } else { Some(IoVec { base: rest.as_ptr(), len: rest.len() }) }
        })
        .collect()
}

impl DiskDriver for Uring {
    fn submit(&mut self, _now: Time, io: DiskIo) {
        if self.broken.is_some() {
            self.failed.push(io.id);
        } else if self.free.is_empty() || !self.waiting.is_empty() {
            self.waiting.push_back(io);
        } else {
            self.launch(io);
        }
    }

    fn kick(&mut self) {
        if self.pushed > 0 {
            self.enter();
        }
    }

    fn reap(&mut self, _now: Time, out: &mut Vec<Completion>) {
        if let Some(error) = self.broken {
            out.extend(self.failed.drain(..).map(|id| Completion { id, result: Err(error) }));
            return;
        }
        loop {
            let Some((slot, result)) =
                self.ring.completion().next().map(|c| (c.user_data() as usize, c.result()))
            else {
                break;
            };
            out.extend(self.land(slot, result));
        }
        while !self.free.is_empty() {
            let Some(io) = self.waiting.pop_front() else { break };
            self.launch(io);
        }
        self.kick();
    }

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        // SAFETY: the descriptor is the ring's and lives as long as the borrow of `self`.
        vec![unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }]
    }

    fn next_due(&self) -> Option<Time> {
        // What has failed is told at once.
        if self.failed.is_empty() { self.again_at } else { Some(Time::ZERO) }
    }

    fn is_at_work(&self) -> bool {
        self.free.len() < FLIGHTS_MAX
    }

    fn name(&self) -> &'static str {
        "uring"
    }
}

/// Watches a descriptor for readability.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is returned, which takes it out of the poller before it is closed.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    Ok(watched?)
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.broken.is_some() {
            return;
        }
        while self.free.len() < FLIGHTS_MAX {
            if self.ring.submit_and_wait(1).is_err() {
                // The kernel may still write into the buffers: better to leak them than to free them.
                std::mem::forget(std::mem::take(&mut self.flights));
                return;
            }
            while let Some(completion) = self.ring.completion().next() {
                let slot = completion.user_data() as usize;
                self.free.push(slot);
                self.flights[slot] = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskFileOptions;
    use std::cell::Cell;
    use std::time::Instant;

    thread_local! {
        /// Calls that the planted kernel still answers without taking anything.
        static REFUSALS: Cell<u32> = const { Cell::new(0) };
    }

    fn refused() -> bool {
        REFUSALS.with(|left| {
            left.set(left.get().saturating_sub(1));
            left.get() > 0
        })
    }

    fn takes_nothing(ring: &IoUring) -> io::Result<usize> {
        if refused() { Ok(0) } else { ring.submit() }
    }

    fn is_busy(ring: &IoUring) -> io::Result<usize> {
        if refused() { Err(rustix::io::Errno::BUSY.into()) } else { ring.submit() }
    }

    /// A ring over a file of a mebibyte; none where the kernel has none to give.
    fn ring(enter: fn(&IoUring) -> io::Result<usize>, refusals: u32) -> Option<(tempfile::TempDir, Uring)> {
        REFUSALS.with(|left| left.set(refusals + 1));
        let folder = tempfile::tempdir().unwrap();
        let options =
            DiskFileOptions { create: Some(1 << 20), direct: Some(false), lock: true, read_only: false };
        let file = DiskFile::open(&folder.path().join("disk"), &options).unwrap();
        match Uring::start(Arc::new(file)) {
            Ok(mut ring) => {
                ring.enter = enter;
                Some((folder, ring))
            }
            Err(e) => {
                println!("skipped: no io_uring here: {e}");
                None
            }
        }
    }

    fn write_of(id: u64) -> DiskIo {
        let pieces = IoPieces::from_iter([AlignedBuf::copy_of(&[7; 4096]).freeze()]);
        DiskIo { id: IoId(id), kind: IoKind::Write { offset: id * 4096, pieces, durable: true } }
    }

    /// Does what the server does: looks when the descriptor or the driver's own clock says so, and not otherwise.
    fn complete(ring: &mut Uring, count: usize) -> Vec<Completion> {
        let mut out = Vec::new();
        let began = Instant::now();
        while out.len() < count {
            assert!(began.elapsed() < Duration::from_secs(60), "{} of {count} are complete", out.len());
            let wait = ring.next_due().map_or(Duration::from_millis(100), |due| due.since(clock::now()));
            let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().max(1).into() };
            let fd = ring.wake_fds()[0];
            let mut polled = [rustix::event::PollFd::from_borrowed_fd(fd, rustix::event::PollFlags::IN)];
            let woken = rustix::event::poll(&mut polled, Some(&wait)).unwrap() > 0;
            if woken || ring.next_due().is_some_and(|due| due <= clock::now()) {
                ring.reap(clock::now(), &mut out);
            }
        }
        out
    }

    #[test]
    fn what_the_kernel_did_not_take_is_handed_to_it_again() {
        for enter in [takes_nothing, is_busy] {
            let Some((_folder, mut ring)) = ring(enter, 3) else { return };
            for id in 0..5 {
                ring.submit(clock::now(), write_of(id));
            }
            ring.kick();
            assert_eq!(ring.pushed, 5, "nothing was taken");
            let done = complete(&mut ring, 5);
            assert!(done.iter().all(|completion| completion.result.is_ok()));
            assert_eq!((ring.pushed, ring.next_due()), (0, None));
        }
    }

    #[test]
    fn a_ring_that_takes_nothing_any_more_fails_what_is_under_way_and_to_come() {
        let Some((_folder, mut ring)) = ring(is_busy, u32::MAX - 1) else { return };
        for id in 0..300 {
            ring.submit(clock::now(), write_of(id % 200));
        }
        ring.kick();
        assert!(ring.broken.is_none() && ring.refused_since.is_some(), "it is tried for a while");
        ring.refused_since = ring.refused_since.map(|since| since - REFUSED_MAX);
        let busy = DiskError::Io { code: rustix::io::Errno::BUSY.raw_os_error() };
        let done = complete(&mut ring, 300);
        assert!(done.iter().all(|done| done.result.as_ref().err() == Some(&busy)));
        ring.submit(clock::now(), write_of(1));
        assert!(
            matches!(complete(&mut ring, 1)[..], [Completion { id: IoId(1), result: Err(e) }] if e == busy)
        );
    }
}
