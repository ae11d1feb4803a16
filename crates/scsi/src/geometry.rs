//! Logical blocks: their size, and checked ranges of them.

use evenkeel_types::ByteRange;

/// Size of a logical block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogicalBlockSize {
    /// 512 bytes, eight of them in a physical block ("512e").
    Bytes512,
    /// 4096 bytes, the physical block ("4Kn").
    Bytes4096,
}

impl LogicalBlockSize {
    /// The size of this many bytes, if it is one that a volume can have.
    #[must_use]
    pub const fn from_bytes(bytes: u32) -> Option<Self> {
        match bytes {
            512 => Some(Self::Bytes512),
            4096 => Some(Self::Bytes4096),
            _ => None,
        }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        1 << self.shift()
    }

    /// LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT.
    pub(crate) const fn per_physical_exponent(self) -> u8 {
        (Self::Bytes4096.shift() - self.shift()) as u8
    }

    const fn shift(self) -> u32 {
        match self {
            Self::Bytes512 => 9,
            Self::Bytes4096 => 12,
        }
    }
}

/// The blocks of a logical unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    pub(crate) block: LogicalBlockSize,
    /// Number of logical blocks, at least one.
    pub(crate) blocks: u64,
}

impl Geometry {
    /// The last logical block address.
    pub(crate) const fn last_lba(self) -> u64 {
        self.blocks - 1
    }

    /// Whether `count` blocks from `lba` on exist. None at all may also be just behind the end.
    pub(crate) const fn contains(self, lba: u64, count: u64) -> bool {
        match lba.checked_add(count) {
            Some(end) => end <= self.blocks,
            None => false,
        }
    }

    /// The bytes of blocks that were found to exist.
    pub(crate) fn byte_range(self, lba: u64, count: u32) -> ByteRange {
        assert!(self.contains(lba, count.into()), "blocks {lba}+{count} do not exist");
        ByteRange::new(lba << self.block.shift(), self.bytes(count))
    }

    /// How many bytes `count` blocks are; the limits on commands keep that below 4 GiB.
    pub(crate) fn bytes(self, count: u32) -> u32 {
        count.checked_mul(self.block.bytes()).expect("limits on commands are far below 4 GiB")
    }

    /// How many blocks a limit in bytes allows.
    pub(crate) const fn blocks_in(self, bytes: u32) -> u32 {
        bytes >> self.block.shift()
    }

    /// The block that holds this byte.
    pub(crate) const fn lba_of(self, offset: u64) -> u64 {
        offset >> self.block.shift()
    }
}
