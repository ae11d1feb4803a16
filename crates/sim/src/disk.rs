//! A server's disk with what is under way on it: requests take their time, end in any order, and take effect at any
//! moment in between. A crash catches some of them half done.

use crate::rng::Rng;
use evenkeel_store::{Disk, DiskError, DiskIo, IoId, IoKind, IoPieces, OpenOptions, SimDisk, Store};
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::{AlignedBuf, Bytes, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads whose places are remembered.
const READS_REMEMBERED: usize = 64;

/// See the module's head.
pub(crate) struct DiskBay {
    pub(crate) disk: SimDisk,
    rng: Rng,
    under_way: BTreeMap<IoId, UnderWay>,
    /// Until then everything takes far longer.
    pub(crate) slow_until: Time,
    rotten: u64,
    /// Where whole units and their blocks were read, lately.
    read_at: Vec<u64>,
}

#[derive(Debug)]
enum UnderWay {
    /// It takes effect when it ends.
    Planned(IoKind),
    /// It took effect already.
    Effective(Result<Option<AlignedBuf>, DiskError>),
}

/// What a crash caught.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Caught {
    /// Writes under way that may be there in part.
    pub(crate) torn: u64,
    /// Writes under way of which nothing is there.
    pub(crate) lost: u64,
}

impl DiskBay {
    pub(crate) fn new(bytes: u64, mut rng: Rng) -> Self {
        let disk = SimDisk::new(bytes, rng.draw());
        Self { disk, rng, under_way: BTreeMap::new(), slow_until: Time::ZERO, rotten: 0, read_at: Vec::new() }
    }

    /// Begins a request; how long it takes. One that a crash is to catch takes effect at its end, not before.
    pub(crate) fn issue(&mut self, now: Time, io: DiskIo, is_caught: bool) -> (IoId, Duration) {
        let mut delay = match &io.kind {
            IoKind::Read { .. } => self.rng.micros(15, 150),
            IoKind::Write { .. } => self.rng.micros(20, 250),
            IoKind::Flush => self.rng.micros(50, 1500),
        };
        if self.rng.chance(10) {
            delay *= 20;
        }
        if self.slow_until > now {
            delay = delay * 40 + self.rng.millis(1, 60);
        }
        if let IoKind::Read { offset, .. } = io.kind {
            if self.read_at.len() == READS_REMEMBERED {
                self.read_at.remove(0);
            }
            self.read_at.push(offset);
        }
        let under_way = if self.rng.chance(500) && !is_caught {
            UnderWay::Effective(self.disk.carry_out(&io.kind))
        } else {
            UnderWay::Planned(io.kind)
        };
        self.under_way.insert(io.id, under_way);
        (io.id, delay)
    }

    /// Ends a request.
    pub(crate) fn complete(&mut self, io: IoId) -> Result<Option<AlignedBuf>, DiskError> {
        match self.under_way.remove(&io).expect("a request ends once") {
            UnderWay::Effective(result) => result,
            UnderWay::Planned(kind) => self.disk.carry_out(&kind),
        }
    }

    /// Requests under way, in order of their being issued.
    pub(crate) fn in_flight(&self) -> Vec<IoId> {
        self.under_way.keys().copied().collect()
    }

    /// Carries out what is under way, though nobody waits for it any more.
    pub(crate) fn finish(&mut self) {
        for (_, under_way) in std::mem::take(&mut self.under_way) {
            if let UnderWay::Planned(kind) = under_way {
                // Whether it succeeded is for the next life to find out.
                let _ = self.disk.carry_out(&kind);
            }
        }
    }

    /// The power fails: writes under way are there, in part, or not; so is what was written and not flushed.
    pub(crate) fn crash(&mut self) -> Caught {
        let mut caught = Caught::default();
        for (_, under_way) in std::mem::take(&mut self.under_way) {
            let UnderWay::Planned(IoKind::Write { offset, pieces, .. }) = under_way else { continue };
            if self.rng.chance(300) {
                caught.lost += 1;
                continue;
            }
            caught.torn += 1;
            if self.rng.chance(500) {
                self.cut_short(offset, &pieces);
                continue;
            }
            let mut at = offset;
            for piece in pieces {
                self.disk.write_at(at, &piece).expect("the store writes within its disk");
                at += piece.len() as u64;
            }
        }
        self.disk.crash();
        caught
    }

    /// The first blocks of a write are there for good, and the others not at all.
    fn cut_short(&mut self, offset: u64, pieces: &[Bytes]) {
        let blocks = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() / u64::from(BLOCK_BYTES);
        let mut left = (self.rng.below(blocks) * u64::from(BLOCK_BYTES)) as usize;
        let mut written = IoPieces::new();
        for piece in pieces {
            written.push(piece.slice(..left.min(piece.len())));
            left -= left.min(piece.len());
        }
        written.retain(|piece| !piece.is_empty());
        let kind = IoKind::Write { offset, pieces: written, durable: true };
        self.disk.carry_out(&kind).expect("the store writes within its disk");
    }

    /// Opens the store with a disk that fails after some writes, as if the machine lost power meanwhile. Whether it did.
    pub(crate) fn open_and_fail(&mut self, writes: u64, options: &OpenOptions) -> bool {
        self.disk.fail_after(writes);
        let failed = Store::open(&mut self.disk, options).is_err();
        self.disk.crash();
        failed
    }

    /// Damages, for good, a block of data that was read lately; where, if there is one. Data lies at the disk's end.
    pub(crate) fn rot_somewhere(&mut self, data_bytes: u64) -> Option<u64> {
        let data_begins = self.disk.len() - data_bytes;
        let read: Vec<u64> = self.read_at.iter().copied().filter(|offset| *offset >= data_begins).collect();
        if read.is_empty() {
            return None;
        }
        let offset = *self.rng.pick(&read) + self.rng.below(u64::from(BLOCK_BYTES));
        self.disk.rot(offset, self.rng.below(8) as u8);
        self.rotten += 1;
        Some(offset)
    }

    /// Whether anything on the disk was ever damaged.
    pub(crate) const fn is_rotten(&self) -> bool {
        self.rotten > 0
    }
}
