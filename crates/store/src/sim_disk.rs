//! A disk in memory with a volatile cache, for tests and the simulator: after a crash every write that was not made
//! durable is there, lost, or torn at 512 bytes, as a seed decides. Sparse and cheap to clone.

use crate::disk::{Disk, DiskError, IoKind};
use crate::layout::BLOCK;
use evenkeel_types::AlignedBuf;
use evenkeel_types::geometry::{BLOCK_BYTES, SECTOR_BYTES};
use std::collections::BTreeMap;
use std::sync::Arc;

type Block = Arc<[u8; BLOCK]>;

/// Writes of one block that a cache remembers at most; older ones count as superseded.
const CACHED_WRITES_PER_BLOCK_MAX: usize = 4;

/// A disk in memory.
#[derive(Clone, Debug)]
pub struct SimDisk {
    len: u64,
    durable: BTreeMap<u64, Block>,
    /// What was written to a block since it was last durable, oldest first.
    cached: BTreeMap<u64, Vec<Block>>,
    random: u64,
    /// Writes and flushes until one fails.
    fail_after: Option<u64>,
}

/// How a crash treats what was not durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashKind {
    /// All of it is lost: the power failed.
    LoseAll,
    /// All of it is there: only the process died.
    KeepAll,
    /// Each block is there, lost, or a mixture of old and new sectors.
    Mix,
}

impl SimDisk {
    /// A disk of zeros. `seed` decides what crashes leave behind.
    ///
    /// # Panics
    /// If the length is not a multiple of 4096.
    #[must_use]
    pub fn new(len: u64, seed: u64) -> Self {
        assert!(len.is_multiple_of(u64::from(BLOCK_BYTES)), "a disk has whole blocks");
        Self { len, durable: BTreeMap::new(), cached: BTreeMap::new(), random: seed, fail_after: None }
    }

    /// Fills the disk with what an earlier user left behind: bytes that look like nothing of ours.
    pub fn fill_with_garbage(&mut self) {
        for block in 0..self.len / u64::from(BLOCK_BYTES) {
            let byte = (self.next_random() as u8) | 1;
            self.durable.insert(block, Arc::new([byte; BLOCK]));
        }
    }

    /// Carries out an online request. A durable write makes only itself durable.
    ///
    /// # Errors
    /// [`DiskError::OutOfRange`], or the error asked for by [`SimDisk::fail_after`].
    pub fn carry_out(&mut self, kind: &IoKind) -> Result<Option<AlignedBuf>, DiskError> {
        match kind {
            IoKind::Read { offset, len } => {
                let mut buf = AlignedBuf::zeroed(*len as usize);
                self.read_at(*offset, &mut buf)?;
                Ok(Some(buf))
            }
            IoKind::Write { offset, pieces, durable } => {
                let mut at = *offset;
                for piece in pieces {
                    assert!(
                        (piece.as_ptr() as usize).is_multiple_of(BLOCK),
                        "a piece is not aligned in memory"
                    );
                    self.write_at(at, piece)?;
                    if *durable {
                        self.sync(at, piece.len() as u64);
                    }
                    at += piece.len() as u64;
                }
                Ok(None)
            }
            IoKind::Flush => self.flush().map(|()| None),
        }
    }

    fn sync(&mut self, offset: u64, len: u64) {
        for block in offset / u64::from(BLOCK_BYTES)..(offset + len) / u64::from(BLOCK_BYTES) {
            if let Some(newest) = self.cached.remove(&block).and_then(|mut writes| writes.pop()) {
                self.durable.insert(block, newest);
            }
        }
    }

    /// Crashes in a way that the seed decides.
    pub fn crash(&mut self) {
        let kind = match self.next_random() % 4 {
            0 => CrashKind::LoseAll,
            1 => CrashKind::KeepAll,
            _ => CrashKind::Mix,
        };
        self.crash_with(kind);
    }

    /// Crashes in a given way. Requests that were under way are carried out before (they may be lost, torn, or not)
    /// or left out, as the caller likes.
    pub fn crash_with(&mut self, kind: CrashKind) {
        self.fail_after = None;
        for (block, writes) in std::mem::take(&mut self.cached) {
            let choice = match kind {
                CrashKind::LoseAll => 0,
                CrashKind::KeepAll => 1,
                CrashKind::Mix => self.next_random() % 3,
            };
            if choice == 0 {
                continue;
            }
            let newest = writes.last().expect("a cached block was written").clone();
            if choice == 1 {
                self.durable.insert(block, newest);
                continue;
            }
            let old = self.durable.get(&block).map_or([0; BLOCK], |data| **data);
            let mut torn = old;
            for sector in (0..BLOCK).step_by(SECTOR_BYTES as usize) {
                let pick = self.next_random() as usize % (writes.len() + 1);
                if let Some(data) = writes.get(pick) {
                    let end = sector + SECTOR_BYTES as usize;
                    torn[sector..end].copy_from_slice(&data[sector..end]);
                }
            }
            self.durable.insert(block, Arc::new(torn));
        }
    }

    /// Flips one bit of what the disk holds.
    pub fn rot(&mut self, offset: u64, bit: u8) {
        let block = offset / u64::from(BLOCK_BYTES);
        let mut data = self.block(block);
        data[(offset % u64::from(BLOCK_BYTES)) as usize] ^= 1 << (bit % 8);
        self.cached.remove(&block);
        self.durable.insert(block, Arc::new(data));
    }

    /// Lets the write or flush after the next `count` ones fail, and all that follow.
    pub fn fail_after(&mut self, count: u64) {
        self.fail_after = Some(count);
    }

    /// Cuts the disk.
    pub fn truncate(&mut self, len: u64) {
        self.len = self.len.min(len);
    }

    fn block(&self, block: u64) -> [u8; BLOCK] {
        let newest = self.cached.get(&block).and_then(|writes| writes.last());
        newest.or_else(|| self.durable.get(&block)).map_or([0; BLOCK], |data| **data)
    }

    fn check(&self, offset: u64, len: usize) -> Result<(), DiskError> {
        let aligned = offset.is_multiple_of(u64::from(BLOCK_BYTES)) && len.is_multiple_of(BLOCK);
        assert!(aligned, "disk request at {offset} of {len} bytes is not aligned");
        if offset + len as u64 > self.len { Err(DiskError::OutOfRange) } else { Ok(()) }
    }

    fn count_down(&mut self) -> Result<(), DiskError> {
        match &mut self.fail_after {
            Some(0) => Err(DiskError::Io { code: 5 }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The next number of a SplitMix64 sequence.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Disk for SimDisk {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        self.check(offset, buf.len())?;
        for (block, out) in (offset / u64::from(BLOCK_BYTES)..).zip(buf.chunks_exact_mut(BLOCK)) {
            let newest = self.cached.get(&block).and_then(|writes| writes.last());
            match newest.or_else(|| self.durable.get(&block)) {
                Some(data) => out.copy_from_slice(&data[..]),
                None => out.fill(0),
            }
        }
        Ok(())
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.check(offset, data.len())?;
        self.count_down()?;
        for (block, bytes) in (offset / u64::from(BLOCK_BYTES)..).zip(data.chunks_exact(BLOCK)) {
            let bytes: [u8; BLOCK] = bytes.try_into().expect("chunks have the size of a block");
            let writes = self.cached.entry(block).or_default();
            if writes.len() == CACHED_WRITES_PER_BLOCK_MAX {
                writes.remove(0);
            }
            writes.push(Arc::new(bytes));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.count_down()?;
        for (block, mut writes) in std::mem::take(&mut self.cached) {
            self.durable.insert(block, writes.pop().expect("a cached block was written"));
        }
        Ok(())
    }
}
