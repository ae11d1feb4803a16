//! Holds a disk to a declared capacity: what comes faster queues, as at a real disk that is full. For demonstrations
//! and for tests of balancing on one machine, where all servers share one fast disk.

use super::{Completion, DiskDriver};
use evenkeel_store::{DiskIo, IoId, IoKind};
use evenkeel_types::Time;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A transfer costs one operation for each started piece of this size, in bytes.
const OPERATION_BYTES: u64 = 64 << 10;
/// Of a durable write, the first block is the journal's header.
const HEADER_BYTES: u64 = 4096;

/// The declared capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Time that a read takes.
    pub(crate) read: Duration,
    /// Time that a durable write of one block takes.
    pub(crate) write: Duration,
}

impl Pace {
    /// From operations per second.
    pub(crate) fn new(read_iops: f64, write_iops: f64) -> Self {
        Self {
            read: Duration::from_secs_f64(1.0 / read_iops),
            write: Duration::from_secs_f64(1.0 / write_iops),
        }
    }

    /// What an I/O costs: durable writes by their blocks, since group commit puts many writes into one; reads by
    /// their length; writes in the background and flushes nothing.
    fn cost(self, kind: &IoKind) -> Cost {
        match kind {
            IoKind::Read { len, .. } => {
                Cost::Read(self.read * u64::from(*len).div_ceil(OPERATION_BYTES) as u32)
            }
            IoKind::Write { pieces, durable: true, .. } => {
                let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
                let blocks = bytes.saturating_sub(HEADER_BYTES).div_ceil(4096).max(1);
                let whole = bytes / OPERATION_BYTES;
                Cost::Write(self.write * (if whole > 0 { whole } else { blocks }) as u32)
            }
            IoKind::Write { .. } | IoKind::Flush => Cost::Nothing,
        }
    }
}

enum Cost {
    Read(Duration),
    Write(Duration),
    Nothing,
}

/// The wrapper.
pub(super) struct Paced {
    inner: Box<dyn DiskDriver>,
    pace: Pace,
    read_busy_until: Time,
    write_busy_until: Time,
    due: BTreeMap<IoId, Time>,
    held: BTreeMap<(Time, IoId), Completion>,
    reaped: Vec<Completion>,
    ready: VecDeque<Completion>,
}

impl Paced {
    pub(super) fn new(inner: Box<dyn DiskDriver>, pace: Pace) -> Self {
        Self {
            inner,
            pace,
            read_busy_until: Time::ZERO,
            write_busy_until: Time::ZERO,
            due: BTreeMap::new(),
            held: BTreeMap::new(),
            reaped: Vec::new(),
            ready: VecDeque::new(),
        }
    }
}

impl DiskDriver for Paced {
    fn submit(&mut self, now: Time, io: DiskIo) {
        let due = match self.pace.cost(&io.kind) {
            Cost::Read(cost) => {
                self.read_busy_until = self.read_busy_until.max(now) + cost;
                self.read_busy_until
            }
            Cost::Write(cost) => {
                self.write_busy_until = self.write_busy_until.max(now) + cost;
                self.write_busy_until
            }
            Cost::Nothing => now,
        };
        self.due.insert(io.id, due);
        self.inner.submit(now, io);
    }

    fn kick(&mut self) {
        self.inner.kick();
    }

    fn reap(&mut self, now: Time, out: &mut Vec<Completion>) {
        self.inner.reap(now, &mut self.reaped);
        for completion in self.reaped.drain(..) {
            let due = self.due.remove(&completion.id).unwrap_or(now);
            self.held.insert((due, completion.id), completion);
        }
        while let Some(entry) = self.held.first_entry() {
            if entry.key().0 > now {
                break;
            }
            self.ready.push_back(entry.remove());
        }
        out.extend(self.ready.drain(..));
    }

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.inner.wake_fds()
    }

    fn next_due(&self) -> Option<Time> {
        let held = self.held.first_key_value().map(|((due, _), _)| *due);
        [held, self.inner.next_due()].into_iter().flatten().min()
    }

    fn is_at_work(&self) -> bool {
        self.inner.is_at_work()
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }
}
