//! Sizes, and ranges measured in them. They are part of the store's format and of the peer protocol.

use serde::{Deserialize, Serialize};

/// Bytes of a sector: the grain of SCSI addresses that the engine accepts (volumes of 512-byte logical blocks).
pub const SECTOR_BYTES: u32 = 512;
/// Bytes of a block: grain of checksums, presence and range locks.
pub const BLOCK_BYTES: u32 = 4096;
/// Bytes of a region: grain of copying, of versions and of recovery. A store's unit has the same size.
pub const REGION_BYTES: u32 = 64 << 10;
/// Bytes of an extent: the resource that is routed, replicated and moved.
pub const EXTENT_BYTES: u32 = 4 << 20;
/// Regions of an extent; a set of them is one `u64`.
pub const REGIONS_PER_EXTENT: usize = (EXTENT_BYTES / REGION_BYTES) as usize;
/// Blocks of a region; a set of them is one `u16`.
pub const BLOCKS_PER_REGION: u16 = (REGION_BYTES / BLOCK_BYTES) as u16;
/// Blocks of an extent.
pub const BLOCKS_PER_EXTENT: u16 = (EXTENT_BYTES / BLOCK_BYTES) as u16;
/// Extents of a run: neighbours that are placed together by default (256 MiB).
pub const EXTENTS_PER_RUN: u32 = 64;
/// Largest volume: 64 TiB, so that an extent's index has room to spare in every record.
pub const VOLUME_BYTES_MAX: u64 = 64 << 40;

const _: () = assert!(REGIONS_PER_EXTENT == u64::BITS as usize);
const _: () = assert!(BLOCKS_PER_REGION == 16);

/// A range of a volume or of an extent, in bytes; both ends lie on sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u32,
}

impl ByteRange {
    /// The range of `len` bytes from `offset`.
    #[must_use]
    pub const fn new(offset: u64, len: u32) -> Self {
        Self { offset, len }
    }

    /// The first byte behind the range.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.offset + self.len as u64
    }

    /// Whether the range is not empty, lies within an extent, and has both ends on sectors: what a range that came
    /// from another server must be before it is used.
    #[must_use]
    pub const fn is_valid_in_extent(self) -> bool {
        self.len > 0
            && self.offset <= EXTENT_BYTES as u64
            && self.end() <= EXTENT_BYTES as u64
            && self.offset.is_multiple_of(SECTOR_BYTES as u64)
            && self.len.is_multiple_of(SECTOR_BYTES)
    }

    /// Whether both ends lie on block boundaries.
    #[must_use]
    pub const fn is_block_aligned(self) -> bool {
        self.offset.is_multiple_of(BLOCK_BYTES as u64) && self.len.is_multiple_of(BLOCK_BYTES)
    }

    /// Cuts a range of a volume at extent boundaries: index of the extent, and the piece relative to the extent's start.
    pub fn split_by_extent(self) -> impl Iterator<Item = (u32, Self)> {
        let mut at = self.offset;
        let end = self.end();
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let index = at / u64::from(EXTENT_BYTES);
            let start = at % u64::from(EXTENT_BYTES);
            let len = (u64::from(EXTENT_BYTES) - start).min(end - at) as u32;
            at += u64::from(len);
            Some((index as u32, Self::new(start, len)))
        })
    }

    /// The blocks of an extent that the range touches, whole or in part. The range must lie within an extent.
    #[must_use]
    pub fn touched_blocks(self) -> BlockRange {
        assert!(self.end() <= u64::from(EXTENT_BYTES), "{self:?} leaves its extent");
        let first = self.offset / u64::from(BLOCK_BYTES);
        let end = self.end().div_ceil(u64::from(BLOCK_BYTES));
        BlockRange { first: first as u16, count: (end - first) as u16 }
    }
}

/// A range of whole blocks within an extent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct BlockRange {
    /// First block, below [`BLOCKS_PER_EXTENT`].
    pub first: u16,
    /// Number of blocks.
    pub count: u16,
}

impl BlockRange {
    /// All blocks of an extent.
    pub const ALL: Self = Self { first: 0, count: BLOCKS_PER_EXTENT };

    /// The range of `count` blocks from `first`, if it lies within an extent and is not empty.
    #[must_use]
    pub const fn new(first: u16, count: u16) -> Option<Self> {
        if count > 0 && count <= BLOCKS_PER_EXTENT && first <= BLOCKS_PER_EXTENT - count {
            Some(Self { first, count })
        } else {
            None
        }
    }

    /// Whether the range is what [`Self::new`] would make; one that came from another server may not be.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        Self::new(self.first, self.count).is_some()
    }

    /// The first block behind the range.
    #[must_use]
    pub const fn end(self) -> u16 {
        self.first + self.count
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len_bytes(self) -> u32 {
        self.count as u32 * BLOCK_BYTES
    }

    /// The same range in bytes from the extent's start.
    #[must_use]
    pub const fn bytes(self) -> ByteRange {
        ByteRange::new(self.first as u64 * BLOCK_BYTES as u64, self.len_bytes())
    }

    /// Whether a block is in both ranges.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first < other.end() && other.first < self.end()
    }

    /// Cuts the range at region boundaries: region number (0..64), and the blocks within the extent.
    pub fn split_by_region(self) -> impl Iterator<Item = (u8, Self)> {
        let mut at = self.first;
        let end = self.end();
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let region = at / BLOCKS_PER_REGION;
            let piece_end = ((region + 1) * BLOCKS_PER_REGION).min(end);
            let piece = Self { first: at, count: piece_end - at };
            at = piece_end;
            Some((region as u8, piece))
        })
    }
}

/// How many extents a volume of `bytes` has; the last may be partly beyond its end.
#[must_use]
pub const fn extents_of(bytes: u64) -> u32 {
    bytes.div_ceil(EXTENT_BYTES as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_over_three_extents_is_cut_at_their_boundaries() {
        let extent = u64::from(EXTENT_BYTES);
        let pieces: Vec<_> = ByteRange::new(extent - 512, EXTENT_BYTES + 1024).split_by_extent().collect();
        assert_eq!(
            pieces,
            [
                (0, ByteRange::new(extent - 512, 512)),
                (1, ByteRange::new(0, EXTENT_BYTES)),
                (2, ByteRange::new(0, 512))
            ]
        );
    }

    #[test]
    fn touched_blocks_include_those_touched_in_part() {
        assert_eq!(ByteRange::new(4095, 2).touched_blocks(), BlockRange { first: 0, count: 2 });
        assert_eq!(ByteRange::new(4096, 4096).touched_blocks(), BlockRange { first: 1, count: 1 });
    }

    #[test]
    fn a_block_range_is_cut_at_region_boundaries() {
        let range = BlockRange::new(15, 18).unwrap();
        let pieces: Vec<_> = range.split_by_region().map(|(region, b)| (region, b.first, b.count)).collect();
        assert_eq!(pieces, [(0, 15, 1), (1, 16, 16), (2, 32, 1)]);
    }

    #[test]
    fn block_ranges_beyond_an_extent_do_not_exist() {
        assert!(BlockRange::new(1023, 2).is_none());
        assert!(BlockRange::new(0, 0).is_none());
        assert_eq!(BlockRange::new(0, 1024), Some(BlockRange::ALL));
    }
}
