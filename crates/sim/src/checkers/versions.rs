//! Equal versions mean equal content: a map from (extent, region, version) to a hash of the content, over all copies and
//! all time. Any clash fails. And a move carries each region once: no more are on their way at once than may be sent again after
//! a crash, and none is sent that the target has.

use super::Violation;
use evenkeel_engine::config::REGION_COPIES_IN_FLIGHT_MAX;
use evenkeel_peer::{Copied, RegionCopy};
use evenkeel_types::store_op::RegionImage;
use evenkeel_types::{ExtentId, Region, ServerId, Version};
use std::collections::{BTreeMap, BTreeSet};

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// Regions on their way to a target, by owner, extent and attachment.
    in_motion: BTreeMap<(ServerId, ExtentId, u64), BTreeSet<Region>>,
    seen: BTreeMap<(ExtentId, Region, Version), Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    hash: u64,
    at: ServerId,
}

impl Versions {
    /// An owner sends a region; what is on its way at once is what a crash makes it send again.
    pub(crate) fn sent(&mut self, by: ServerId, copy: &RegionCopy) -> Result<(), Violation> {
        let key = (by, copy.extent, copy.attachment);
        let in_motion = self.in_motion.entry(key).or_default();
        in_motion.insert(copy.region);
        if in_motion.len() <= REGION_COPIES_IN_FLIGHT_MAX {
            return Ok(());
        }
        let what = format!("{by} has {} regions in motion at once", in_motion.len());
        Err(Violation::new("versions", copy.extent, what))
    }

    /// An owner hears of a region that it sent.
    pub(crate) fn answered(&mut self, to: ServerId, copied: &Copied) {
        if let Some(in_motion) = self.in_motion.get_mut(&(to, copied.extent, copied.attachment)) {
            in_motion.remove(&copied.region);
        }
    }

    /// A server's life is over, and with it everything that it had in motion.
    pub(crate) fn crashed(&mut self, server: ServerId) {
        self.in_motion.retain(|(owner, ..), _| *owner != server);
    }

    /// A server has, sends or gets this region.
    pub(crate) fn saw(
        &mut self,
        at: ServerId,
        extent: ExtentId,
        region: Region,
        image: &RegionImage,
    ) -> Result<(), Violation> {
        if image.bad != 0 {
            // Zeros stand where blocks could not be read.
            return Ok(());
        }
        let hash = hash_of(image);
        let seen = *self.seen.entry((extent, region, image.version)).or_insert(Seen { hash, at });
        if seen.hash == hash {
            return Ok(());
        }
        let what = format!(
            "region {region} in version {} has one content at {} and another at {at} ({:016x}, {hash:016x})",
            image.version, seen.at, seen.hash
        );
        Err(Violation::new("versions", extent, what))
    }
}

/// A hash of content and presence: blocks that are present and zero differ from absent ones, for copies are exact.
fn hash_of(image: &RegionImage) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15 ^ u64::from(image.present);
    for piece in image.data.pieces() {
        for word in piece.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            hash = (hash.rotate_left(5) ^ u64::from_le_bytes(bytes)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_types::{Bytes, Epoch, Payload, VolumeId};

    #[test]
    fn one_version_with_two_contents_clashes() {
        let extent = ExtentId { volume: VolumeId(1), index: 0 };
        let region = Region::new(3).unwrap();
        let image = |sequence, byte| RegionImage {
            identities: Vec::new(),
            version: Version { epoch: Epoch(2), sequence },
            bad: 0,
            present: 1,
            data: Payload::from(Bytes::from(vec![byte; 4096])),
        };
        let mut versions = Versions::default();
        versions.saw(ServerId(1), extent, region, &image(1, 7)).unwrap();
        versions.saw(ServerId(2), extent, region, &image(1, 7)).unwrap();
        versions.saw(ServerId(2), extent, region, &image(2, 8)).unwrap();
        versions.saw(ServerId(2), extent, region, &image(1, 8)).unwrap_err();
    }
}
