//! An io_uring of the server's own. One of the two places in the workspace with `unsafe`.
//!
//! Invariant: memory that the kernel may read or write (buffers, vectors) is owned by the `Flight` of its I/O, at an
//! address that does not change, from before its entry is pushed until its completion was taken. Dropping the ring
//! first waits for all completions.

#![allow(unsafe_code)]

use super::file::{DiskFile, disk_error};
use super::{Completion, DiskDriver};
use evenkeel_store::{DiskIo, IoId, IoKind, IoPieces};
use evenkeel_types::{AlignedBuf, Bytes, Time};
use io_uring::{IoUring, opcode, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// I/Os that the kernel has at once; more wait here.
const FLIGHTS_MAX: usize = 256;
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

/// The engine.
pub(super) struct Uring {
    ring: IoUring,
    file: Arc<DiskFile>,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    /// I/Os that the kernel has not got yet, because it has enough.
    waiting: VecDeque<DiskIo>,
    pushed: usize,
}

impl Uring {
    pub(super) fn start(file: Arc<DiskFile>) -> io::Result<Self> {
        let entries = FLIGHTS_MAX as u32;
        let ring = IoUring::builder()
            .setup_coop_taskrun()
            .setup_single_issuer()
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
        })
    }

    fn launch(&mut self, io: DiskIo) {
        let flight = match io.kind {
            IoKind::Read { offset, len } => {
                Flight::Read { id: io.id, buf: AlignedBuf::zeroed(len as usize), offset, done: 0 }
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
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.enter();
        }
        self.pushed += 1;
    }

    fn enter(&mut self) {
        // Interrupted or short of memory: the entries stay queued and go with the next call.
        if self.ring.submit().is_ok() {
            self.pushed = 0;
        }
    }

    /// Takes the result of a flight; gives the completion unless something is left to do.
    fn land(&mut self, slot: usize, result: i32) -> Option<Completion> {
        let flight = self.flights[slot].as_mut().expect("a completion belongs to a flight");
        let id = match flight {
            Flight::Read { id, .. } | Flight::Write { id, .. } | Flight::Flush { id } => *id,
        };
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
        if self.free.is_empty() || !self.waiting.is_empty() {
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

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the descriptor is the ring's and lives as long as the borrow of `self`.
        Some(unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) })
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
