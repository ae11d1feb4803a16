//! Which blocks of which copies cannot be read: because they rotted on a disk, or because the region was copied from one
//! where they had. Nothing else may be found damaged.

use crate::checkers::Violation;
use crate::world::World;
use evenkeel_types::geometry::BLOCKS_PER_REGION;
use evenkeel_types::store_op::RegionImage;
use evenkeel_types::{ExtentId, Region, ServerId};
use std::collections::BTreeSet;
use std::ops::Range;

/// Blocks that a store reported as damaged, or was given so, and that nobody has mended since.
#[derive(Default, Debug)]
pub(crate) struct Damage {
    blocks: BTreeSet<(ServerId, ExtentId, u16)>,
}

fn blocks_of(region: Region) -> Range<u16> {
    let first = region.index() as u16 * BLOCKS_PER_REGION;
    first..first + BLOCKS_PER_REGION
}

/// The damaged blocks of an image, counted in the extent.
fn bad_of(region: Region, image: &RegionImage) -> impl Iterator<Item = u16> {
    let bad = image.bad;
    blocks_of(region).enumerate().filter(move |(n, _)| bad >> n & 1 == 1).map(|(_, block)| block)
}

impl Damage {
    /// A store is told to put a region there: what is bad in it is bad there too.
    pub(crate) fn put(&mut self, at: ServerId, extent: ExtentId, region: Region, image: &RegionImage) {
        self.blocks.extend(bad_of(region, image).map(|block| (at, extent, block)));
    }

    /// A store has put a region there: what is good in it is good there too.
    pub(crate) fn has_put(&mut self, at: ServerId, extent: ExtentId, region: Region, bad: u16) {
        for (_, block) in blocks_of(region).enumerate().filter(|(n, _)| bad >> n & 1 == 0) {
            self.blocks.remove(&(at, extent, block));
        }
    }

    /// Whether anything in a region is damaged at a server.
    pub(crate) fn is_in(&self, at: ServerId, extent: ExtentId, region: Region) -> bool {
        let Range { start, end } = blocks_of(region);
        self.blocks.range((at, extent, start)..(at, extent, end)).next().is_some()
    }

    /// Whether a block is damaged at a server.
    pub(crate) fn is_at(&self, at: ServerId, extent: ExtentId, block: u16) -> bool {
        self.blocks.contains(&(at, extent, block))
    }

    /// Whether a block is damaged anywhere.
    pub(crate) fn is_anywhere(&self, extent: ExtentId, block: u16) -> bool {
        self.blocks.iter().any(|(_, of, bad)| (*of, *bad) == (extent, block))
    }

    /// Whether anything is damaged at a server.
    pub(crate) fn is_any_at(&self, server: ServerId) -> bool {
        self.blocks.iter().any(|(at, ..)| *at == server)
    }
}

impl World<'_> {
    /// A store has found a block damaged.
    pub(crate) fn found_bad(&mut self, at: ServerId, extent: ExtentId, block: u16) -> Result<(), Violation> {
        if !self.servers[&at].bay.is_rotten() && !self.damage.is_at(at, extent, block) {
            let what = format!("{at} finds block {block} damaged, and nothing has damaged it");
            return Err(Violation::new("store", extent, what));
        }
        self.damage.blocks.insert((at, extent, block));
        Ok(())
    }

    /// A store has read a region: what it says of its blocks.
    pub(crate) fn found_in_image(
        &mut self,
        at: ServerId,
        extent: ExtentId,
        region: Region,
        image: &RegionImage,
    ) -> Result<(), Violation> {
        bad_of(region, image).try_for_each(|block| self.found_bad(at, extent, block))
    }
}
