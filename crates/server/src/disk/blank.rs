//! Whether a disk is blank. Only a blank one is ever made into a store by itself.

use super::file::DiskFile;
use evenkeel_store::{Disk, DiskError};
use evenkeel_types::AlignedBuf;
use evenkeel_types::geometry::{BLOCK_BYTES, SECTOR_BYTES};

/// Bytes that are looked at from the start of the disk, and as many up to its end: whatever lays claim to a disk says
/// so there. File systems, volume managers and partition tables have their marks within the first mebibyte (ext4 at
/// 1 KiB, LVM at 512 bytes, btrfs at 64 KiB), copies of partition tables, ZFS and software RAID within the last.
const TRACE_BYTES: u64 = 1 << 20;
const BLOCK: u64 = BLOCK_BYTES as u64;
const SECTOR: u64 = SECTOR_BYTES as u64;

/// The first place at either end of the disk where something was ever written; none if the disk is blank.
pub(crate) fn first_trace(file: &DiskFile) -> Result<Option<u64>, DiskError> {
    // Around the page cache only whole sectors can be read, from the start of a block on.
    let len = file.len() / SECTOR * SECTOR;
    let last = len.saturating_sub(TRACE_BYTES) / BLOCK * BLOCK;
    let mut buf = AlignedBuf::zeroed((TRACE_BYTES + BLOCK) as usize);
    for (start, end) in [(0, len.min(TRACE_BYTES)), (last, len)] {
        let buf = &mut buf[..(end - start) as usize];
        (&file).read_at(start, buf)?;
        if let Some(at) = buf.iter().position(|byte| *byte != 0) {
            return Ok(Some(start + at as u64));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskFileOptions;
    use std::os::unix::fs::FileExt;

    /// Not a multiple of 4 KiB, as disks may be.
    const LEN: u64 = (64 << 20) + 512;

    fn trace_of(marks: &[u64]) -> Option<u64> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let options = DiskFileOptions { create: Some(LEN), direct: None, lock: true, read_only: false };
        let file = DiskFile::open(&path, &options).unwrap();
        let plain = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        marks.iter().for_each(|at| plain.write_all_at(&[1], *at).unwrap());
        first_trace(&file).unwrap()
    }

    #[test]
    fn a_disk_is_blank_only_if_both_its_ends_are() {
        assert_eq!(trace_of(&[]), None);
        let (btrfs, raid) = (65_600, LEN - (64 << 10));
        for at in [0, 1080, btrfs, TRACE_BYTES - 1, raid, LEN - 1] {
            assert_eq!(trace_of(&[at]), Some(at));
        }
        assert_eq!(trace_of(&[raid, btrfs]), Some(btrfs));
    }
}
