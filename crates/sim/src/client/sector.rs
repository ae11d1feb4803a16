//! What is in a sector: bytes that name the write that put them there, and the place where it put them.

use crate::checkers::register::Tag;
use crate::rng::mix;
use evenkeel_types::geometry::{EXTENT_BYTES, SECTOR_BYTES};
use evenkeel_types::{ByteRange, ExtentId, VolumeId};
use std::fmt;

/// Bytes of a sector, for slices.
const SECTOR: usize = SECTOR_BYTES as usize;
/// Bits of a sector's number within its volume.
const INDEX_BITS: u32 = 40;
const MAGIC: u64 = 0x6b65_656c_5f73_696d;

/// A sector of a volume; the checkers know it by its [`number`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Its volume.
    pub(crate) volume: VolumeId,
    /// Its position in the volume, in sectors.
    pub(crate) index: u64,
}

impl Place {
    /// The extent that it lies in.
    pub(crate) fn extent(self) -> ExtentId {
        let index = self.index * u64::from(SECTOR_BYTES) / u64::from(EXTENT_BYTES);
        ExtentId { volume: self.volume, index: index as u32 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sector {} of volume {}", self.index, self.volume)
    }
}

/// The sector of a number.
pub(crate) const fn place_of(number: u64) -> Place {
    Place { volume: VolumeId(number >> INDEX_BITS), index: number & ((1 << INDEX_BITS) - 1) }
}

/// The numbers of the sectors in a range of a volume.
pub(crate) fn sectors(volume: VolumeId, at: ByteRange) -> impl Iterator<Item = u64> + Clone {
    let first = (volume.0 << INDEX_BITS) | (at.offset / u64::from(SECTOR_BYTES));
    first..first + u64::from(at.len / SECTOR_BYTES)
}

/// Fills one sector with what the write `tag` puts there.
pub(crate) fn fill(bytes: &mut [u8], number: u64, tag: Tag) {
    assert!(bytes.len() == SECTOR, "a sector is filled at a time");
    if tag == 0 {
        bytes.fill(0);
        return;
    }
    for (n, word) in bytes.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&word_of(number, tag, n).to_le_bytes());
    }
}

/// The write whose bytes these are, or what is wrong with them.
pub(crate) fn read(bytes: &[u8], number: u64) -> Result<Tag, String> {
    let word = |n: usize| u64::from_le_bytes(bytes[n * 8..n * 8 + 8].try_into().expect("8 bytes"));
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(0);
    }
    let tag = (word(0) ^ MAGIC) as Tag;
    match (0..SECTOR / 8).find(|n| word(*n) != word_of(number, tag, *n)) {
        None if tag != 0 => Ok(tag),
        bad => {
            let elsewhere = place_of(word(1) ^ mix(u64::from(tag)));
            Err(format!(
                "{} holds bytes that nobody wrote there: word {bad:?} is wrong; the first words name write {tag} at {elsewhere}",
                place_of(number)
            ))
        }
    }
}

fn word_of(number: u64, tag: Tag, n: usize) -> u64 {
    match n {
        0 => u64::from(tag) ^ MAGIC,
        1 => number ^ mix(u64::from(tag)),
        _ => mix(number << 20 ^ u64::from(tag)).wrapping_mul(2 * n as u64 + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_names_its_write_and_is_refused_elsewhere_or_torn() {
        let mut bytes = [0; SECTOR];
        fill(&mut bytes, 77, 12345);
        assert_eq!(read(&bytes, 77), Ok(12345));
        read(&bytes, 78).unwrap_err();
        bytes[511] ^= 1;
        read(&bytes, 77).unwrap_err();
        assert_eq!(read(&[0; SECTOR], 77), Ok(0));
    }

    #[test]
    fn sectors_of_a_range_lie_in_their_extents() {
        let at = ByteRange::new(u64::from(EXTENT_BYTES) - 512, 1024);
        let extents: Vec<u32> = sectors(VolumeId(3), at).map(|n| place_of(n).extent().index).collect();
        assert_eq!(extents, [0, 1]);
    }
}
