//! What is asked of the volume: an endless mix of reads and writes, a fill from the start to the end, and reading back
//! all that was ever written.

use crate::ledger::{Blocks, Ledger, PORTALS_MAX, Portals};
use crate::pattern::Pattern;
use crate::random::Random;
use evenkeel_types::geometry::{BLOCK_BYTES, BLOCKS_PER_EXTENT, EXTENT_BYTES, EXTENTS_PER_RUN, extents_of};
use std::ops::Range;

/// Bytes of the requests of fills and of reading back.
const LARGE_OP_BYTES: u32 = 256 << 10;

const _: () = assert!(EXTENT_BYTES.is_multiple_of(LARGE_OP_BYTES));

/// One request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Op {
    pub(crate) write: bool,
    /// Where, in bytes from the volume's start; whole blocks.
    pub(crate) offset: u64,
    pub(crate) len: u32,
    /// Portals that it must not go through.
    pub(crate) avoid: Portals,
}

impl Op {
    /// Its blocks.
    pub(crate) fn blocks(&self) -> Blocks {
        Blocks::of_bytes(self.offset, self.len)
    }
}

/// Where requests come from.
#[derive(Debug)]
pub struct Source(Kind);

#[derive(Debug)]
enum Kind {
    /// Reads and writes without end.
    Mix {
        /// Where they go.
        pattern: Pattern,
        /// The share of reads, 0 to 1.
        read_share: f64,
        /// Chance.
        random: Random,
    },
    /// Writes all blocks once; each extent through one portal, the extents through all in turn.
    Fill {
        /// Extents that were not begun.
        sweep: Sweep,
        /// What is left of the extent that was, in bytes of the volume.
        left: Range<u64>,
        /// The end of the volume.
        end: u64,
        /// Number of portals.
        portals: usize,
    },
    /// Reads all blocks that were written, each through a portal that did not take the write.
    ReadBack {
        /// Extents that were not begun.
        sweep: Sweep,
        /// What is left of the extent that was, in blocks of the volume.
        left: Range<u64>,
        /// Number of portals.
        portals: usize,
    },
}

impl Source {
    /// Reads and writes without end, where the pattern says; `read_share` is the share of reads, 0 to 1.
    #[must_use]
    pub const fn mix(pattern: Pattern, read_share: f64, random: Random) -> Self {
        Self(Kind::Mix { pattern, read_share, random })
    }

    /// Writes all blocks of a volume once; each extent through one portal, the extents through all in turn.
    #[must_use]
    pub const fn fill(volume_bytes: u64, portals: usize) -> Self {
        Self(Kind::Fill { sweep: Sweep::over(volume_bytes), left: 0..0, end: volume_bytes, portals })
    }

    /// Reads all blocks that were written, each through a portal that did not take the write.
    #[must_use]
    pub const fn read_back(volume_bytes: u64, portals: usize) -> Self {
        Self(Kind::ReadBack { sweep: Sweep::over(volume_bytes), left: 0..0, portals })
    }

    /// The next request; none if there are no more.
    pub(crate) fn next(&mut self, ledger: Option<&Ledger>) -> Option<Op> {
        match &mut self.0 {
            Kind::Mix { pattern, read_share, random } => {
                let write = random.unit() >= *read_share;
                let (offset, len) = (pattern.next(random), pattern.op_bytes());
                let offset = ledger.map_or(offset, |ledger| free_place(ledger, offset, len, write));
                Some(Op { write, offset, len, avoid: Portals::default() })
            }
            Kind::Fill { sweep, left, end, portals } => {
                if left.is_empty() {
                    let start = u64::from(sweep.next()?) * u64::from(EXTENT_BYTES);
                    *left = start..(start + u64::from(EXTENT_BYTES)).min(*end);
                }
                let offset = left.start;
                let len = u64::from(LARGE_OP_BYTES).min(left.end - offset);
                left.start += len;
                let mine = (offset / u64::from(EXTENT_BYTES)) as usize % *portals;
                let others = (0..*portals).filter(|portal| *portal != mine);
                let avoid = others.fold(Portals::default(), Portals::with);
                Some(Op { write: true, offset, len: len as u32, avoid })
            }
            Kind::ReadBack { sweep, left, portals } => loop {
                let found = ledger?.written_in(left.clone(), LARGE_OP_BYTES / BLOCK_BYTES, *portals);
                let Some((blocks, writers)) = found else {
                    let start = u64::from(sweep.next()?) * u64::from(BLOCKS_PER_EXTENT);
                    *left = start..start + u64::from(BLOCKS_PER_EXTENT);
                    continue;
                };
                left.start = blocks.first + u64::from(blocks.count);
                // With a single portal there is no other one.
                let avoid = if *portals > 1 { writers } else { Portals::default() };
                let offset = blocks.first * u64::from(BLOCK_BYTES);
                return Some(Op { write: false, offset, len: blocks.count * BLOCK_BYTES, avoid });
            },
        }
    }
}

/// All extents of a volume, the first of each run, then the second of each, and so on. Runs are placed together, so
/// all servers have their share of a sweep from its start to its end, and none sees the load come and go.
#[derive(Debug)]
struct Sweep {
    extents: u32,
    next: u32,
}

impl Sweep {
    const fn over(volume_bytes: u64) -> Self {
        Self { extents: extents_of(volume_bytes), next: 0 }
    }
}

impl Iterator for Sweep {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        let runs = self.extents.div_ceil(EXTENTS_PER_RUN);
        while self.next < runs * EXTENTS_PER_RUN {
            let extent = self.next % runs * EXTENTS_PER_RUN + self.next / runs;
            self.next += 1;
            if extent < self.extents {
                return Some(extent);
            }
        }
        None
    }
}

/// The place asked for, or the nearest behind it in the same extent where the request does not race with another of
/// ours. So a hot extent gets its share of requests, and each read still has one right answer.
fn free_place(ledger: &Ledger, offset: u64, len: u32, write: bool) -> u64 {
    let extent = offset - offset % u64::from(EXTENT_BYTES);
    let within = offset - extent;
    let steps = u64::from(EXTENT_BYTES / len);
    let place = |step: u64| extent + (within + step * u64::from(len)) % u64::from(EXTENT_BYTES);
    (0..steps)
        .map(place)
        .find(|offset| ledger.is_free(Blocks::of_bytes(*offset, len), write))
        .unwrap_or(offset)
}

const _: () = assert!(PORTALS_MAX >= 16, "a process runs 16 servers at most");

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: u64 = EXTENT_BYTES as u64;

    #[test]
    fn a_fill_writes_every_byte_once_and_gives_each_extent_one_portal() {
        let mut fill = Source::fill(3 * EXTENT + 8192, 2);
        let ops: Vec<Op> = std::iter::from_fn(|| fill.next(None)).collect();
        let mut at = 0;
        for op in &ops {
            assert!(op.write && op.offset == at);
            assert_eq!(op.avoid, Portals::default().with(1 - (at / EXTENT % 2) as usize));
            at += u64::from(op.len);
        }
        assert_eq!(at, 3 * EXTENT + 8192);
    }

    #[test]
    fn a_sweep_visits_each_extent_once_and_all_runs_in_turn() {
        let order: Vec<u32> = Sweep::over(130 * EXTENT).collect();
        assert_eq!(order[..8], [0, 64, 128, 1, 65, 129, 2, 66]);
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..130).collect::<Vec<_>>());
    }

    #[test]
    fn reading_back_goes_through_another_portal_than_the_write() {
        let mut ledger = Ledger::new(1, 2 * EXTENT);
        for (first, portal) in [(0, 0), (1, 1), (2, 2), (1024, 1)] {
            let blocks = Blocks { first, count: 1 };
            let sequence = ledger.begin_write(blocks);
            ledger.end_write(blocks, sequence, portal, true);
        }
        let mut back = Source::read_back(2 * EXTENT, 3);
        let ops: Vec<_> = std::iter::from_fn(|| back.next(Some(&ledger))).collect();
        let places: Vec<_> = ops.iter().map(|op| (op.offset / 4096, op.len / 4096, op.avoid.0)).collect();
        assert_eq!(places, [(0, 2, 0b011), (2, 1, 0b100), (1024, 1, 0b010)]);
    }

    #[test]
    fn a_mix_keeps_its_share_of_reads_and_its_requests_apart() {
        let mut ledger = Ledger::new(1, EXTENT);
        let pattern = Pattern::hot_spot(EXTENT, 4096, 0, 1.0);
        let mut mix = Source::mix(pattern, 0.7, Random::new(2));
        let mut reads = 0;
        for _ in 0..1000 {
            let op = mix.next(Some(&ledger)).unwrap();
            assert!(ledger.is_free(op.blocks(), op.write));
            if op.write {
                let sequence = ledger.begin_write(op.blocks());
                // Every second write stays under way.
                if sequence.is_multiple_of(2) {
                    ledger.end_write(op.blocks(), sequence, 0, true);
                }
            } else {
                reads += 1;
            }
        }
        assert!((650..750).contains(&reads), "{reads}");
    }
}
