//! What blocks of a volume must hold: for each the last acknowledged write, and those whose outcome is unknown.
//!
//! Every block that is written carries its number and that of the write, and behind them bytes that only these two give.
//! So whatever is read tells whose it is, and half a write is told from a whole one.

use evenkeel_types::Bytes;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 4096;

/// The expected content of a range of blocks of one volume.
#[derive(Debug)]
pub struct Blocks {
    first: u64,
    blocks: Vec<Block>,
    last_write: u64,
}

#[derive(Clone, Debug, Default)]
struct Block {
    /// The last acknowledged write; 0 if there was none.
    acknowledged: u64,
    /// Writes to it since then without an answer: each of them may have happened.
    unknown: Vec<u64>,
}

impl Blocks {
    /// Blocks `first..first + count` of a volume, that were never written.
    #[must_use]
    pub fn new(first: u64, count: usize) -> Self {
        Self { first, blocks: vec![Block::default(); count], last_write: 0 }
    }

    /// Number of the first block.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.blocks.len()
    }

    /// Writes to blocks that were acknowledged at least once, and how many blocks are uncertain.
    #[must_use]
    pub fn written(&self) -> (usize, usize) {
        let written = self.blocks.iter().filter(|block| block.acknowledged > 0).count();
        (written, self.blocks.iter().filter(|block| !block.unknown.is_empty()).count())
    }

    /// The number and the content of a new write to blocks from `at`, counted within the range.
    pub fn begin_write(&mut self, at: usize, count: usize) -> (u64, Bytes) {
        self.last_write += 1;
        (self.last_write, self.content(at, count, self.last_write))
    }

    /// The content of a write that was begun, to make it once more.
    #[must_use]
    pub fn content(&self, at: usize, count: usize, write: u64) -> Bytes {
        let mut data = vec![0u8; count * BLOCK];
        for (n, block) in data.chunks_exact_mut(BLOCK).enumerate() {
            fill(block, self.first + (at + n) as u64, write);
        }
        data.into()
    }

    /// A write was acknowledged.
    pub fn acknowledged(&mut self, at: usize, count: usize, write: u64) {
        for block in &mut self.blocks[at..at + count] {
            block.acknowledged = write;
            block.unknown.clear();
        }
    }

    /// A write has no answer, and never gets one.
    pub fn unknown(&mut self, at: usize, count: usize, write: u64) {
        self.blocks[at..at + count].iter_mut().for_each(|block| block.unknown.push(write));
    }

    /// Judges what was read from `at` on. What is seen of writes without an answer has happened, and stays.
    ///
    /// # Errors
    /// The first block that holds anything else than it must.
    pub fn check(&mut self, at: usize, data: &[u8]) -> Result<(), String> {
        for (n, bytes) in data.chunks_exact(BLOCK).enumerate() {
            let number = self.first + (at + n) as u64;
            let block = &mut self.blocks[at + n];
            let write = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
            let mut expected = [0u8; BLOCK];
            if write > 0 {
                fill(&mut expected, number, write);
            }
            if bytes != expected {
                return Err(format!(
                    "block {number} holds no whole write to it ({:02x?}...); write {} was acknowledged",
                    &bytes[..24],
                    block.acknowledged
                ));
            }
            if write == block.acknowledged {
                continue;
            }
            if !block.unknown.contains(&write) {
                return Err(format!(
                    "block {number} holds write {write}; write {} was acknowledged, without an answer are {:?}",
                    block.acknowledged, block.unknown
                ));
            }
            *block = Block { acknowledged: write, unknown: Vec::new() };
        }
        Ok(())
    }
}

/// The content that one write alone gives a block, or a piece of it.
pub(crate) fn fill(bytes: &mut [u8], block: u64, write: u64) {
    let mut state = (block << 32) ^ write.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in bytes.as_chunks_mut::<8>().0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *word = state.to_le_bytes();
    }
    bytes[..8].copy_from_slice(&block.to_le_bytes());
    bytes[8..16].copy_from_slice(&write.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_acknowledged_write_and_no_other_is_right() {
        let mut blocks = Blocks::new(100, 2);
        let (first, old) = blocks.begin_write(0, 2);
        blocks.acknowledged(0, 2, first);
        let (second, new) = blocks.begin_write(0, 1);
        blocks.acknowledged(0, 1, second);
        assert!(blocks.check(0, &new).is_ok());
        assert!(blocks.check(0, &old).unwrap_err().contains("write 2 was acknowledged"));
        assert!(blocks.check(1, &old[BLOCK..]).is_ok());
        assert!(blocks.check(0, &old[BLOCK..]).is_err(), "another block's content");
        assert!(blocks.check(0, &[0; BLOCK]).is_err(), "lost");
        let torn = [&new[..2048], &old[2048..BLOCK]].concat();
        assert!(blocks.check(0, &torn).unwrap_err().contains("no whole write"));
    }

    #[test]
    fn a_write_without_an_answer_may_have_happened_but_not_both_ways() {
        let mut blocks = Blocks::new(0, 1);
        let (write, data) = blocks.begin_write(0, 1);
        blocks.unknown(0, 1, write);
        assert!(blocks.check(0, &[0; BLOCK]).is_ok());
        assert!(blocks.check(0, &data).is_ok());
        assert!(blocks.check(0, &[0; BLOCK]).is_err(), "it was seen, so it stays");
    }
}
