//! What the store needs of a disk: synchronous access for format, open and check, and requests as values online.

use crate::store::Store;
use bytes::Bytes;
use evenkeel_types::AlignedBuf;
use smallvec::SmallVec;
use snafu::Snafu;

/// Why a disk request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum DiskError {
    /// The operating system or the device reported an error.
    #[snafu(display("{}", std::io::Error::from_raw_os_error(*code)))]
    Io {
        /// The error number that the operating system gave.
        code: i32,
    },
    /// The file system that the disk is a file of has no room for what was to be written: the disk is sparse.
    #[snafu(display("{}", std::io::Error::from_raw_os_error(*code)))]
    NoSpace {
        /// The error number that the operating system gave.
        code: i32,
    },
    /// The request reaches beyond the end of the disk.
    #[snafu(display("disk request beyond the end of the disk"))]
    OutOfRange,
}

/// Synchronous access to one disk. Offsets and lengths are multiples of 4096 bytes, buffers start at multiples of 4096.
pub trait Disk {
    /// Length of the disk in bytes.
    fn len(&self) -> u64;

    /// Whether the disk has no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// The device's error, or [`DiskError::OutOfRange`].
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError>;

    /// Writes `data` at `offset`; durable only after the next [`Disk::flush`].
    ///
    /// # Errors
    /// The device's error, or [`DiskError::OutOfRange`].
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError>;

    /// Makes every completed write durable.
    ///
    /// # Errors
    /// The device's error.
    fn flush(&mut self) -> Result<(), DiskError>;
}

/// Names a disk request from [`Store::poll_io`] to [`Store::handle_io`]; grows with each request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IoId(pub u64);

/// The pieces of a write, in order; each is 4096-aligned in memory and in length.
pub type IoPieces = SmallVec<[Bytes; 2]>;

/// A request that the driver must carry out; requests may be carried out and completed in any order.
#[derive(Clone, Debug)]
pub struct DiskIo {
    /// Which request.
    pub id: IoId,
    /// What to do.
    pub kind: IoKind,
}

/// What a disk request asks for. Offsets and lengths are multiples of 4096 bytes.
#[derive(Clone, Debug)]
pub enum IoKind {
    /// Read into a new buffer, handed back with the completion.
    Read {
        /// First byte on the disk.
        offset: u64,
        /// Length in bytes.
        len: u32,
    },
    /// Write the pieces one behind the other.
    Write {
        /// First byte on the disk.
        offset: u64,
        /// The data.
        pieces: IoPieces,
        /// Complete only when on stable storage (`RWF_DSYNC`, FUA).
        durable: bool,
    },
    /// Make every write durable that completed before this request was issued.
    Flush,
}

impl IoKind {
    /// First byte on the disk, if the request is about certain bytes.
    pub(crate) const fn offset(&self) -> Option<u64> {
        match self {
            Self::Read { offset, .. } | Self::Write { offset, .. } => Some(*offset),
            Self::Flush => None,
        }
    }
}

/// Carries out everything that the store asks for, synchronously, until it asks for nothing more: for tools and tests.
pub fn run_io(store: &mut Store, disk: &mut dyn Disk) {
    while let Some(io) = store.poll_io() {
        let result = run_one(&io.kind, disk);
        store.handle_io(io.id, result);
    }
}

/// Carries out one request synchronously.
///
/// # Errors
/// Those of the disk.
pub fn run_one(kind: &IoKind, disk: &mut dyn Disk) -> Result<Option<AlignedBuf>, DiskError> {
    match kind {
        IoKind::Read { offset, len } => {
            let mut buf = AlignedBuf::zeroed(*len as usize);
            disk.read_at(*offset, &mut buf)?;
            Ok(Some(buf))
        }
        IoKind::Write { offset, pieces, durable } => {
            let mut at = *offset;
            for piece in pieces {
                disk.write_at(at, piece)?;
                at += piece.len() as u64;
            }
            if *durable {
                disk.flush()?;
            }
            Ok(None)
        }
        IoKind::Flush => disk.flush().map(|()| None),
    }
}
