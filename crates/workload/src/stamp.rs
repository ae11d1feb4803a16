//! What is written to a block, so that a read tells which write it sees: a header that names volume, block and write,
//! and behind it bytes that only this header gives.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | number of the volume, little endian |
//! | 8..16 | number of the block in the volume |
//! | 16..24 | number of the write, from 1 on |
//! | 24.. | an xorshift sequence begun from the three |

use evenkeel_types::geometry::BLOCK_BYTES;
use std::fmt;

/// Names a write to a volume. 0 stands for no write: such a block is all zeros.
pub(crate) type Sequence = u64;

/// What a block should never hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// The header is another block's or another volume's.
    Foreign {
        /// The volume that it names.
        volume: u64,
        /// The block that it names.
        block: u64,
    },
    /// The bytes behind the header are not those of the write that it names.
    Torn {
        /// The write that the header names.
        sequence: Sequence,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { volume, block } => write!(f, "the stamp of block {block} of volume {volume:x}h"),
            Self::Torn { sequence } => write!(f, "a header of write {sequence} with other bytes behind it"),
        }
    }
}

/// Writes the content of a block.
pub(crate) fn fill(bytes: &mut [u8], volume: u64, block: u64, sequence: Sequence) {
    assert_eq!(bytes.len(), BLOCK_BYTES as usize, "a stamp fills a block");
    for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words(volume, block, sequence)) {
        *place = word.to_le_bytes();
    }
}

/// Which write to the block its content is of.
///
/// # Errors
/// If it is of none.
pub(crate) fn read(bytes: &[u8], volume: u64, block: u64) -> Result<Sequence, Damage> {
    assert_eq!(bytes.len(), BLOCK_BYTES as usize, "a stamp fills a block");
    let found = bytes.as_chunks::<8>().0;
    let [of_volume, of_block, sequence] = [0, 1, 2].map(|word| u64::from_le_bytes(found[word]));
    if sequence == 0 && found.iter().all(|word| *word == [0; 8]) {
        return Ok(0);
    }
    if (of_volume, of_block) != (volume, block) {
        return Err(Damage::Foreign { volume: of_volume, block: of_block });
    }
    let is_whole =
        found.iter().zip(words(volume, block, sequence)).all(|(word, should)| *word == should.to_le_bytes());
    if is_whole && sequence > 0 { Ok(sequence) } else { Err(Damage::Torn { sequence }) }
}

fn words(volume: u64, block: u64, sequence: Sequence) -> impl Iterator<Item = u64> {
    let seed =
        volume ^ block.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ sequence.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    // An xorshift register must not begin with zero.
    let mut x = seed | 1 << 63;
    let rest = std::iter::repeat_with(move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    });
    [volume, block, sequence].into_iter().chain(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_BYTES as usize];
        fill(&mut bytes, 7, 1000, 3);
        bytes
    }

    #[test]
    fn a_block_tells_which_write_it_is_of() {
        assert_eq!(read(&block(), 7, 1000), Ok(3));
        assert_eq!(read(&vec![0; BLOCK_BYTES as usize], 7, 1000), Ok(0));
    }

    #[test]
    fn a_block_at_the_wrong_place_is_noticed() {
        assert_eq!(read(&block(), 7, 1001), Err(Damage::Foreign { volume: 7, block: 1000 }));
        assert_eq!(read(&block(), 8, 1000), Err(Damage::Foreign { volume: 7, block: 1000 }));
    }

    #[test]
    fn one_flipped_bit_anywhere_is_noticed() {
        for at in [0, 9, 17, 24, 2048, 4095] {
            let mut bytes = block();
            bytes[at] ^= 0x10;
            assert!(read(&bytes, 7, 1000).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_halves_of_two_writes_are_no_write() {
        let (mut bytes, mut other) = (block(), block());
        fill(&mut other, 7, 1000, 4);
        bytes[2048..].copy_from_slice(&other[2048..]);
        assert_eq!(read(&bytes, 7, 1000), Err(Damage::Torn { sequence: 3 }));
    }
}
