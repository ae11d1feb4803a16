//! What every block of a volume must hold: the judge of all that is read.
//!
//! A read must see the last acknowledged write. Where the outcome of a write is not known, because it failed or its
//! session was lost, it may or may not have been applied: then a read may see it or what was there before, until one
//! has seen it or a later write was acknowledged. Requests that would race with a write of our own are not made, so
//! there is always exactly one right answer for each block that has no such write.

use crate::stamp::{self, Sequence};
use evenkeel_types::geometry::{BLOCK_BYTES, BLOCKS_PER_EXTENT, EXTENT_BYTES, extents_of};
use evenkeel_types::{AlignedBuf, Bytes};
use std::collections::BTreeMap;
use std::ops::Range;

/// Blocks of a volume, one behind the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Blocks {
    pub(crate) first: u64,
    pub(crate) count: u32,
}

impl Blocks {
    /// The blocks of a range of whole blocks in bytes.
    pub(crate) fn of_bytes(offset: u64, len: u32) -> Self {
        assert!(
            offset.is_multiple_of(u64::from(BLOCK_BYTES)) && len.is_multiple_of(BLOCK_BYTES),
            "requests are in whole blocks"
        );
        Self { first: offset / u64::from(BLOCK_BYTES), count: len / BLOCK_BYTES }
    }

    fn iter(self) -> impl Iterator<Item = u64> {
        self.first..self.first + u64::from(self.count)
    }
}

/// A set of portals by number: bit n is portal n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Portals(pub(crate) u64);

/// Portals that a set can hold.
pub(crate) const PORTALS_MAX: usize = 64;

impl Portals {
    /// The set and this portal.
    pub(crate) const fn with(self, portal: usize) -> Self {
        Self(self.0 | 1 << portal)
    }

    /// Whether the portal is in the set.
    pub(crate) const fn contains(self, portal: usize) -> bool {
        self.0 >> portal & 1 == 1
    }

    /// Number of portals in the set.
    pub(crate) const fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// A write to a block: its number, and in the lowest byte the portal that took it. 0 is no write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Mark(u64);

const PORTAL_BITS: u32 = 8;
const _: () = assert!(PORTALS_MAX <= 1 << PORTAL_BITS);

impl Mark {
    const fn new(sequence: Sequence, portal: usize) -> Self {
        Self(sequence << PORTAL_BITS | portal as u64)
    }

    const fn sequence(self) -> Sequence {
        self.0 >> PORTAL_BITS
    }

    const fn portal(self) -> usize {
        (self.0 & ((1 << PORTAL_BITS) - 1)) as usize
    }
}

/// Requests on a block that are under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Busy {
    Reads(u32),
    Write,
}

/// What a read was found to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Checked {
    /// Blocks looked at.
    pub(crate) blocks: u64,
    /// Blocks that held something else than they must.
    pub(crate) mismatches: u64,
    /// The first of them, for people.
    pub(crate) first_mismatch: Option<String>,
}

/// The expected content of a volume.
#[derive(Debug)]
pub(crate) struct Ledger {
    volume: u64,
    /// The last acknowledged write to each block, in extents that were written at all.
    extents: Vec<Option<Box<[Mark]>>>,
    /// Writes of unknown outcome that a read of the block may also see.
    uncertain: BTreeMap<u64, Vec<Mark>>,
    busy: BTreeMap<u64, Busy>,
    last_sequence: Sequence,
}

impl Ledger {
    /// For a volume that was never written. `volume` is a number for its stamps that no other volume has.
    pub(crate) fn new(volume: u64, volume_bytes: u64) -> Self {
        Self {
            volume,
            extents: vec![None; extents_of(volume_bytes) as usize],
            uncertain: BTreeMap::new(),
            busy: BTreeMap::new(),
            last_sequence: 0,
        }
    }

    /// Whether a request on these blocks may be made now.
    pub(crate) fn is_free(&self, blocks: Blocks, write: bool) -> bool {
        let mut others = self.busy.range(blocks.first..blocks.first + u64::from(blocks.count));
        if write { others.next().is_none() } else { others.all(|(_, busy)| *busy != Busy::Write) }
    }

    /// A read of these blocks begins.
    pub(crate) fn begin_read(&mut self, blocks: Blocks) {
        assert!(self.is_free(blocks, false), "a read never races with a write of ours");
        for block in blocks.iter() {
            let busy = self.busy.entry(block).or_insert(Busy::Reads(0));
            if let Busy::Reads(count) = busy {
                *count += 1;
            }
        }
    }

    /// A write to these blocks begins: its number, which [`Self::content`] goes by.
    pub(crate) fn begin_write(&mut self, blocks: Blocks) -> Sequence {
        assert!(self.is_free(blocks, true), "a write never races with a request of ours");
        self.last_sequence += 1;
        for block in blocks.iter() {
            self.busy.insert(block, Busy::Write);
        }
        self.last_sequence
    }

    /// What a write with this number puts into blocks.
    pub(crate) fn content(&self, blocks: Blocks, sequence: Sequence) -> Bytes {
        let mut content = AlignedBuf::zeroed(blocks.count as usize * BLOCK_BYTES as usize);
        for (block, bytes) in blocks.iter().zip(content.chunks_exact_mut(BLOCK_BYTES as usize)) {
            stamp::fill(bytes, self.volume, block, sequence);
        }
        content.freeze()
    }

    /// A read ended; `data` is none if it failed.
    pub(crate) fn end_read(&mut self, blocks: Blocks, data: Option<&[u8]>) -> Checked {
        for block in blocks.iter() {
            match self.busy.get_mut(&block) {
                Some(Busy::Reads(count)) if *count > 1 => *count -= 1,
                _ => drop(self.busy.remove(&block)),
            }
        }
        let Some(data) = data else { return Checked::default() };
        let mut checked = Checked::default();
        if data.len() != blocks.count as usize * BLOCK_BYTES as usize {
            checked.mismatch(blocks.first, &format!("{} bytes for {} blocks", data.len(), blocks.count));
        }
        for (block, bytes) in blocks.iter().zip(data.chunks_exact(BLOCK_BYTES as usize)) {
            checked.blocks += 1;
            match stamp::read(bytes, self.volume, block) {
                Err(damage) => checked.mismatch(block, &damage.to_string()),
                Ok(sequence) => {
                    if let Err(expected) = self.judge(block, sequence) {
                        checked.mismatch(
                            block,
                            &format!("write {sequence}, where write {expected} was acknowledged"),
                        );
                    }
                }
            }
        }
        checked
    }

    /// A write that began with this number ended at a portal.
    pub(crate) fn end_write(
        &mut self,
        blocks: Blocks,
        sequence: Sequence,
        portal: usize,
        acknowledged: bool,
    ) {
        assert!(portal < PORTALS_MAX, "portals are numbered below {PORTALS_MAX}");
        let mark = Mark::new(sequence, portal);
        for block in blocks.iter() {
            self.busy.remove(&block);
            if acknowledged {
                self.uncertain.remove(&block);
                *self.mark(block) = mark;
            } else {
                self.uncertain.entry(block).or_default().push(mark);
            }
        }
    }

    /// The first blocks of a range within an extent that were written: at most `max`, and so that at least one of
    /// `portals` portals took none of these writes (where there is more than one). With the portals that did.
    pub(crate) fn written_in(
        &self,
        mut within: Range<u64>,
        max: u32,
        portals: usize,
    ) -> Option<(Blocks, Portals)> {
        let first = within.find(|block| self.acknowledged(*block) != Mark::default())?;
        let mut writers = Portals::default().with(self.acknowledged(first).portal());
        let mut count = 1;
        for block in within.take(max as usize - 1) {
            let mark = self.acknowledged(block);
            let with = writers.with(mark.portal());
            if mark == Mark::default() || with.count() >= portals.max(2) {
                break;
            }
            writers = with;
            count += 1;
        }
        Some((Blocks { first, count }, writers))
    }

    /// Whether this may be what a block holds; if not, what it must hold.
    fn judge(&mut self, block: u64, sequence: Sequence) -> Result<(), Sequence> {
        let expected = self.acknowledged(block).sequence();
        if sequence == expected {
            return Ok(());
        }
        let unknown = self.uncertain.get(&block).into_iter().flatten();
        let seen = unknown.copied().find(|mark| mark.sequence() == sequence).ok_or(expected)?;
        // It was applied after all: from now on it is what must be there.
        self.uncertain.remove(&block);
        *self.mark(block) = seen;
        Ok(())
    }

    fn acknowledged(&self, block: u64) -> Mark {
        let (extent, at) = place(block);
        self.extents[extent].as_ref().map_or(Mark::default(), |marks| marks[at])
    }

    fn mark(&mut self, block: u64) -> &mut Mark {
        let (extent, at) = place(block);
        let marks = self.extents[extent]
            .get_or_insert_with(|| vec![Mark::default(); usize::from(BLOCKS_PER_EXTENT)].into_boxed_slice());
        &mut marks[at]
    }
}

impl Checked {
    fn mismatch(&mut self, block: u64, what: &str) {
        self.mismatches += 1;
        let offset = block * u64::from(BLOCK_BYTES);
        let extent = offset / u64::from(EXTENT_BYTES);
        self.first_mismatch.get_or_insert_with(|| format!("block {block} (extent {extent}) holds {what}"));
    }
}

fn place(block: u64) -> (usize, usize) {
    let per_extent = u64::from(BLOCKS_PER_EXTENT);
    ((block / per_extent) as usize, (block % per_extent) as usize)
}

#[cfg(test)]
mod tests;
