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

    /// Takes blocks that are bad here and good in another image, of those in the mask `may_take`; whether there were any.
    /// The caller knows that these have the same content in both.
    pub fn mend_from(&mut self, other: &Self, may_take: u16) -> bool {
        let taken = self.bad & other.present & !other.bad & may_take;
        if taken == 0 {
            return false;
        }
        let mut data = Payload::default();
        for block in (0..BLOCKS_PER_REGION).filter(|block| self.present >> block & 1 == 1) {
            let from = if taken >> block & 1 == 1 { other } else { &*self };
            let index = (from.present & ((1 << block) - 1)).count_ones() as usize;
            data.append(from.data.slice(index * BLOCK_BYTES as usize, BLOCK_BYTES as usize));
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
        assert!(here.mend_from(&image([1, 2, 0], 0b1_0000_0000), u16::MAX));
        assert_eq!((here.bad, here.digest()), (0, image([1, 2, 3], 0).digest()));
        assert!(!here.mend_from(&image([9, 9, 9], 0), u16::MAX), "nothing is bad");
    }

    #[test]
    fn a_block_that_is_bad_in_both_or_may_not_be_taken_stays_bad() {
        let mut here = image([0, 2, 3], 0b1);
        assert!(!here.mend_from(&image([0, 2, 3], 0b1), u16::MAX));
        assert!(!here.mend_from(&image([1, 2, 3], 0), !0b1));
        assert_eq!(here.bad, 0b1);
    }

    #[test]
    fn blocks_are_found_in_images_with_other_blocks_present() {
        let mut here = image([1, 2, 0], 0b1_0000_0000);
        let other = RegionImage { present: 0b1_0000_0110, ..image([7, 8, 3], 0) };
        assert!(here.mend_from(&other, 0b1_0000_0000));
        assert_eq!((here.bad, here.digest()), (0, image([1, 2, 3], 0).digest()));
    }

    #[test]
    fn digests_tell_content_and_presence_apart() {
        let other = RegionImage { present: 0b1_0000_0101, ..image([1, 2, 3], 0) };
        assert_ne!(image([1, 2, 3], 0).digest(), other.digest());
        assert_ne!(image([1, 2, 3], 0).digest(), image([1, 2, 4], 0).digest());
    }
}
