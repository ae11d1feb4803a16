//! One region as one server has it: what is copied, compared and mended.

use crate::checksum::Crc32c;
use crate::geometry::{BLOCK_BYTES, BLOCKS_PER_REGION};
use crate::ids::WriteId;
use crate::payload::Payload;
use crate::store_op::IDENTITIES_PER_EXTENT_MAX;
use crate::version::Version;

/// See the module's head.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct RegionImage {
    /// The remembered writes that this content has. They go with it: whoever has the content must know whose it is, and
    /// whoever has other content must not claim to have applied them.
    pub identities: Vec<WriteId>,
    /// The version of the last write applied.
    pub version: Version,
    /// Bit n is set if block n of the region is present.
    pub present: u16,
    /// Bit n is set if block n is present and cannot be read where the image comes from. Its bytes are zeros here, and it
    /// cannot be read either where the image is put, until it is written again.
    pub bad: u16,
    /// The present blocks in order, packed: 4096 bytes for each bit of `present`. Between servers it is the payload of the
    /// frame.
    #[serde(skip)]
    pub data: Payload,
}

impl RegionImage {
    /// CRC-32C over what is present and its content: equal for images of equal content. Meaningless with bad blocks.
    #[must_use]
    pub fn digest(&self) -> u32 {
        let mut crc = Crc32c::default();
        crc.update(&self.present.to_le_bytes());
        self.data.pieces().for_each(|piece| crc.update(piece));
        crc.value()
    }

    /// Whether the lists are within their bounds, and the data is as long as the present blocks.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.identities.len() <= IDENTITIES_PER_EXTENT_MAX
            && self.bad & !self.present == 0
            && self.data.len() == self.present.count_ones() as usize * BLOCK_BYTES as usize
    }

    /// Takes blocks that are bad here and good in another image of the same version; whether there were any.
    pub fn mend_from(&mut self, other: &Self) -> bool {
        let taken = self.bad & other.present & !other.bad;
        if taken == 0 || self.version != other.version || self.present != other.present {
            return false;
        }
        let mut data = Payload::default();
        let blocks = (0..BLOCKS_PER_REGION).filter(|block| self.present >> block & 1 == 1);
        for (index, block) in blocks.enumerate() {
            let from = if taken >> block & 1 == 1 { &other.data } else { &self.data };
            data.append(from.slice(index * BLOCK_BYTES as usize, BLOCK_BYTES as usize));
        }
        self.data = data;
        self.bad &= !taken;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bytes, Epoch};

    /// Three blocks of a byte each.
    fn image(bytes: [u8; 3], bad: u16) -> RegionImage {
        let mut data = Payload::default();
        for byte in bytes {
            data.push(Bytes::from(vec![byte; BLOCK_BYTES as usize]));
        }
        let version = Version { epoch: Epoch(1), sequence: 1 };
        RegionImage { identities: Vec::new(), version, present: 0b1_0000_0011, bad, data }
    }

    #[test]
    fn two_images_with_different_bad_blocks_make_a_whole_one() {
        let mut here = image([0, 2, 3], 0b1);
        assert!(here.mend_from(&image([1, 2, 0], 0b1_0000_0000)));
        assert_eq!((here.bad, here.digest()), (0, image([1, 2, 3], 0).digest()));
        assert!(!here.mend_from(&image([9, 9, 9], 0)), "nothing is bad");
    }

    #[test]
    fn a_block_that_is_bad_in_both_stays_bad_and_other_versions_mend_nothing() {
        let mut here = image([0, 2, 3], 0b1);
        assert!(!here.mend_from(&image([0, 2, 3], 0b1)));
        let other = RegionImage { version: Version { epoch: Epoch(1), sequence: 2 }, ..image([1, 2, 3], 0) };
        assert!(!here.mend_from(&other));
        assert_eq!(here.bad, 0b1);
    }

    #[test]
    fn digests_tell_content_and_presence_apart() {
        let other = RegionImage { present: 0b1_0000_0101, ..image([1, 2, 3], 0) };
        assert_ne!(image([1, 2, 3], 0).digest(), other.digest());
        assert_ne!(image([1, 2, 3], 0).digest(), image([1, 2, 4], 0).digest());
    }
}
