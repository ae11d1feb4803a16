//! Versions of regions, and sets of regions.

use crate::geometry::{BlockRange, REGIONS_PER_EXTENT};
use crate::ids::Epoch;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the last write applied to a region: given only by the extent's owner, in its epoch. Copies of a
/// region with equal versions have equal content. Versions are compared for equality; their order says nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Version {
    /// The epoch of the owner that gave it.
    pub epoch: Epoch,
    /// Grows with each write to the extent in that epoch, from 1 on; never given twice.
    pub sequence: u64,
}

impl Version {
    /// The version of a region that was never written.
    pub const NONE: Self = Self { epoch: Epoch::ZERO, sequence: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.sequence)
    }
}

/// A region of an extent: 0 to 63.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Region(u8);

/// A number that no region has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSuchRegion(pub u8);

impl fmt::Display for NoSuchRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no region {}: an extent has {REGIONS_PER_EXTENT}", self.0)
    }
}

impl std::error::Error for NoSuchRegion {}

impl TryFrom<u8> for Region {
    type Error = NoSuchRegion;
    fn try_from(number: u8) -> Result<Self, NoSuchRegion> {
        Self::new(number).ok_or(NoSuchRegion(number))
    }
}

impl From<Region> for u8 {
    fn from(region: Region) -> Self {
        region.0
    }
}

impl Region {
    /// The region with this number, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < REGIONS_PER_EXTENT { Some(Self(number)) } else { None }
    }

    /// Its number, 0 to 63.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Its blocks within the extent.
    #[must_use]
    pub const fn blocks(self) -> BlockRange {
        let per = crate::geometry::BLOCKS_PER_REGION;
        BlockRange { first: self.0 as u16 * per, count: per }
    }

    /// All regions of an extent in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..REGIONS_PER_EXTENT as u8).map(Self)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of regions of one extent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Regions(pub u64);

impl Regions {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// All 64 regions.
    pub const ALL: Self = Self(u64::MAX);

    /// The regions that a block range touches.
    #[must_use]
    pub fn touched_by(blocks: BlockRange) -> Self {
        blocks.split_by_region().fold(Self::NONE, |set, (region, _)| set.with(Region(region)))
    }

    /// Whether the region is in the set.
    #[must_use]
    pub const fn contains(self, region: Region) -> bool {
        self.0 >> region.0 & 1 == 1
    }

    /// The set and this region.
    #[must_use]
    pub const fn with(self, region: Region) -> Self {
        Self(self.0 | 1 << region.0)
    }

    /// The set without this region.
    #[must_use]
    pub const fn without(self, region: Region) -> Self {
        Self(self.0 & !(1 << region.0))
    }

    /// Regions in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Regions in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Regions in this set and not in the other.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Number of regions in the set.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether no region is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The regions in the set, in order.
    pub fn iter(self) -> impl Iterator<Item = Region> {
        Region::all().filter(move |region| self.contains(*region))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_over_a_region_boundary_touches_both() {
        let set = Regions::touched_by(BlockRange { first: 15, count: 2 });
        assert_eq!(set.iter().map(Region::index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(Regions::touched_by(BlockRange::ALL), Regions::ALL);
    }

    #[test]
    fn sets_add_and_remove_the_last_region() {
        let last = Region::new(63).unwrap();
        assert_eq!(Regions::ALL.without(last).with(last), Regions::ALL);
        assert!(Region::new(64).is_none());
    }
}
