//! Reads that the disk answers only when the extent that they were for is gone.

use super::harness::*;
use crate::DiskIo;
use evenkeel_types::AlignedBuf;
use evenkeel_types::store_op::{StoreError, StoreOp, StoreReply};

/// What the disk may give when the blocks of a read have another content by now.
fn garbage(io: &DiskIo) -> AlignedBuf {
    let crate::IoKind::Read { len, .. } = io.kind else { panic!("{io:?}") };
    let mut buf = AlignedBuf::zeroed(len as usize);
    buf.fill(0xa5);
    buf
}

/// An extent with a region in place, and a read of it that is at the disk.
fn at_the_disk(h: &mut Harness, op: StoreOp) -> (u64, DiskIo) {
    h.write(extent(0), blocks(0, 16), pattern(1, 16)).unwrap();
    h.checkpoint();
    let ticket = h.submit(op);
    let mut ios = h.poll();
    assert_eq!(ios.len(), 1, "the read is at the disk");
    (ticket, ios.remove(0))
}

fn forget(h: &mut Harness) {
    h.outcome(StoreOp::Forget { extent: extent(0) }).unwrap();
    assert!(h.describe(extent(0)).is_none());
}

fn late(h: &mut Harness, io: &DiskIo) {
    h.store.handle_io(io.id, Ok(Some(garbage(io))));
    h.run();
}

fn image() -> StoreOp {
    StoreOp::ReadRegion { extent: extent(0), region: region(0) }
}

fn host_read() -> StoreOp {
    StoreOp::Read { extent: extent(0), blocks: blocks(0, 16) }
}

#[test]
fn a_read_that_outlives_its_extent_finds_none() {
    for is_released in [false, true] {
        let mut h = Harness::new(64 * MIB);
        let (ticket, io) = at_the_disk(&mut h, image());
        forget(&mut h);
        if is_released {
            h.checkpoint();
        }
        late(&mut h, &io);
        assert_eq!(h.answers[&ticket].as_ref().err(), Some(&StoreError::NoRecord));
        assert_eq!(h.store.stats().reads_repeated, 1);
        // The slot can be used as if nothing had been.
        h.write(extent(1), blocks(0, 16), pattern(2, 16)).unwrap();
        assert_eq!(h.read(extent(1), blocks(0, 16)).unwrap(), pattern(2, 16));
        let _ = h.close();
    }
}

#[test]
fn a_read_that_outlives_its_extent_never_gives_the_blocks_of_the_next_one_in_its_slot() {
    for (op, is_image) in [(host_read(), false), (image(), true)] {
        let mut h = Harness::new(64 * MIB);
        let (ticket, io) = at_the_disk(&mut h, op);
        forget(&mut h);
        h.checkpoint();
        h.write(extent(1), blocks(0, 16), pattern(2, 16)).unwrap();
        late(&mut h, &io);
        match h.answers.remove(&ticket).unwrap() {
            Err(StoreError::NoRecord) if is_image => {}
            Ok(StoreReply::Data(data)) if !is_image => {
                assert!(data.into_bytes() == vec![0; 16 * 4096], "an extent that is gone reads as zeros");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_read_that_outlives_its_extent_sees_it_made_anew_in_another_slot() {
    let mut h = Harness::new(64 * MIB);
    let (ticket, io) = at_the_disk(&mut h, host_read());
    forget(&mut h);
    h.checkpoint();
    h.write(extent(1), blocks(0, 16), pattern(2, 16)).unwrap();
    h.write(extent(0), blocks(0, 16), pattern(3, 16)).unwrap();
    late(&mut h, &io);
    let Ok(StoreReply::Data(data)) = h.answers.remove(&ticket).unwrap() else { panic!("{:?}", h.answers) };
    assert!(data.into_bytes() == pattern(3, 16), "it has what was written last");
}
