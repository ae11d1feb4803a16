//! What clients ask for: small volumes, a few hot places, operations of all sizes that overlap where they can.

use crate::rng::Rng;
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES, REGION_BYTES, SECTOR_BYTES};
use evenkeel_types::{ByteRange, ExtentId, VolumeId};

const SECTOR: u64 = SECTOR_BYTES as u64;
const BLOCK: u64 = BLOCK_BYTES as u64;
const REGION: u64 = REGION_BYTES as u64;
const EXTENT: u64 = EXTENT_BYTES as u64;
/// Longest operation, in bytes.
const OP_BYTES_MAX: u64 = 256 << 10;
/// Hot blocks of each extent: most operations touch one of them.
const HOT_BLOCKS: u64 = 5;

/// What to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    Read,
    Write,
    Zero,
    Exchange,
}

/// A volume as its clients know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SimVolume {
    pub(crate) id: VolumeId,
    pub(crate) bytes: u64,
}

impl SimVolume {
    pub(crate) fn extents(&self) -> u32 {
        self.bytes.div_ceil(EXTENT) as u32
    }
}

/// Draws operations.
#[derive(Debug)]
pub(crate) struct Workload {
    rng: Rng,
    seed: u64,
    /// Where the hot spot is, as an extent's index; extents near it are asked for most.
    pub(crate) hot_spot: u32,
    /// Share of reads, in parts of 1000.
    pub(crate) reads: u64,
    /// Much is given back now: hosts of a full group delete files.
    pub(crate) is_purging: bool,
}

impl Workload {
    pub(crate) fn new(mut rng: Rng) -> Self {
        let seed = rng.draw();
        let reads = rng.between(300, 550);
        Self { rng, seed, hot_spot: 0, reads, is_purging: false }
    }

    /// The next operation on a volume. `focus` are extents of it that deserve attention: those in motion.
    pub(crate) fn next(&mut self, volume: SimVolume, focus: &[ExtentId]) -> (Wish, ByteRange) {
        if self.is_purging && self.rng.chance(400) {
            let offset = self.rng.below(volume.bytes) / OP_BYTES_MAX * OP_BYTES_MAX;
            return (Wish::Zero, clip(ByteRange::new(offset, OP_BYTES_MAX as u32), volume.bytes));
        }
        let wish = match self.rng.below(1000) {
            n if n < self.reads => Wish::Read,
            n if n < 850 => Wish::Write,
            n if n < 920 => Wish::Zero,
            _ => Wish::Exchange,
        };
        let extent = self.extent(volume, focus);
        let within = self.place(extent);
        // The last extent may be partly beyond the volume's end.
        let offset =
            (u64::from(extent) * EXTENT + within).min(volume.bytes - SECTOR * self.rng.between(1, 16));
        let at = match wish {
            Wish::Exchange => self.within_a_block(offset),
            Wish::Zero if self.rng.chance(800) => {
                let blocks = *self.rng.pick(&[1, 1, 2, 7, 16, 16, 32, 64]);
                let step = if blocks >= 16 { REGION } else { BLOCK };
                ByteRange::new(offset / step * step, (blocks * BLOCK) as u32)
            }
            _ => self.any_range(offset),
        };
        (wish, clip(at, volume.bytes))
    }

    /// A read somewhere in an extent.
    pub(crate) fn next_read(&mut self, volume: SimVolume, extent: u32) -> ByteRange {
        let within = self.place(extent);
        let offset = (u64::from(extent) * EXTENT + within).min(volume.bytes - SECTOR);
        clip(self.any_range(offset), volume.bytes)
    }

    fn extent(&mut self, volume: SimVolume, focus: &[ExtentId]) -> u32 {
        if !focus.is_empty() && self.rng.chance(350) {
            return self.rng.pick(focus).index;
        }
        let extents = u64::from(volume.extents());
        if self.rng.chance(100) {
            return self.rng.below(extents) as u32;
        }
        // Distances from the hot spot with a long tail: 0 in a third of the cases.
        let spread = [0, 0, 0, 0, 1, 1, 2, 3, 5, 8, 13, 21];
        let distance = *self.rng.pick(&spread);
        ((u64::from(self.hot_spot) + distance) % extents) as u32
    }

    /// A place in an extent, in bytes from its start, on a sector.
    fn place(&mut self, extent: u32) -> u64 {
        match self.rng.below(100) {
            0..60 => {
                let hot = self.rng.below(HOT_BLOCKS);
                let blocks = EXTENT / BLOCK;
                let block = crate::rng::mix(self.seed ^ u64::from(extent) << 8 ^ hot) % blocks;
                block * BLOCK + if self.rng.chance(500) { self.rng.below(BLOCK / SECTOR) * SECTOR } else { 0 }
            }
            60..80 => self.rng.below(8) * REGION,
            80..90 => EXTENT - self.rng.between(1, 64) * SECTOR,
            _ => self.rng.below(EXTENT / SECTOR) * SECTOR,
        }
    }

    fn any_range(&mut self, offset: u64) -> ByteRange {
        let (offset, len) = match self.rng.below(100) {
            0..22 => (offset, SECTOR),
            22..36 => (offset, self.rng.between(1, 7) * SECTOR),
            36..58 => (offset / BLOCK * BLOCK, BLOCK),
            58..76 => (offset, self.rng.between(1, 40) * SECTOR),
            76..88 => (offset / REGION * REGION, REGION),
            88..95 => (offset / BLOCK * BLOCK, self.rng.between(1, 32) * BLOCK),
            _ => (offset, self.rng.between(1, OP_BYTES_MAX / SECTOR) * SECTOR),
        };
        ByteRange::new(offset, len as u32)
    }

    fn within_a_block(&mut self, offset: u64) -> ByteRange {
        let left = BLOCK - offset % BLOCK;
        let len = match self.rng.below(10) {
            0..7 => SECTOR,
            7..9 => self.rng.between(1, left / SECTOR) * SECTOR,
            _ => left,
        };
        ByteRange::new(offset, len as u32)
    }
}

fn clip(at: ByteRange, volume_bytes: u64) -> ByteRange {
    ByteRange::new(at.offset, u64::from(at.len).min(volume_bytes - at.offset) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_stay_within_their_volume_on_sectors_and_exchanges_within_a_block() {
        let volume = SimVolume { id: VolumeId(1), bytes: 8 * EXTENT - 200 * BLOCK - SECTOR };
        let mut workload = Workload::new(Rng::new(3));
        for _ in 0..20_000 {
            let (wish, at) = workload.next(volume, &[ExtentId { volume: volume.id, index: 7 }]);
            assert!(
                at.len > 0
                    && at.end() <= volume.bytes
                    && at.offset % SECTOR == 0
                    && u64::from(at.len) % SECTOR == 0
            );
            if wish == Wish::Exchange {
                assert_eq!(at.offset / BLOCK, (at.end() - 1) / BLOCK);
            }
        }
    }
}
