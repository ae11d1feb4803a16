//! A ring for reads and for writes that need not be durable yet, threads for those that must be.
//!
//! The kernel ends a durable write of a ring in a thread that all users of a processor share: first the data, then the
//! flush, each with a wait for that thread's turn. A thread of our own waits for the device itself, so a group commit
//! takes less time, above all where processors are busy.

use super::threads::Threads;
use super::uring::Uring;
use super::{Completion, DiskDriver};
use evenkeel_store::{DiskIo, IoKind};
use evenkeel_types::Time;
use std::os::fd::BorrowedFd;

/// The engine.
pub(super) struct Split {
    ring: Uring,
    durable: Threads,
}

impl Split {
    pub(super) const fn new(ring: Uring, durable: Threads) -> Self {
        Self { ring, durable }
    }
}

impl DiskDriver for Split {
    fn submit(&mut self, now: Time, io: DiskIo) {
        match io.kind {
            IoKind::Write { durable: true, .. } | IoKind::Flush => self.durable.submit(now, io),
            IoKind::Read { .. } | IoKind::Write { .. } => self.ring.submit(now, io),
        }
    }

    fn kick(&mut self) {
        self.ring.kick();
    }

    fn reap(&mut self, now: Time, out: &mut Vec<Completion>) {
        self.ring.reap(now, out);
        self.durable.reap(now, out);
    }

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        [self.ring.wake_fds(), self.durable.wake_fds()].concat()
    }

    fn next_due(&self) -> Option<Time> {
        self.ring.next_due()
    }

    fn is_at_work(&self) -> bool {
        self.ring.is_at_work() || self.durable.is_at_work()
    }

    fn name(&self) -> &'static str {
        "uring and threads"
    }
}
