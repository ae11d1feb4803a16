//! What the store does when its disk reports an error.

use super::harness::{Harness, MIB, blocks, extent, is_journal, pattern, region};
use crate::{DiskError, IoKind, StopReason};
use evenkeel_types::store_op::{Content, StoreError, StoreOp, StoreReply};

const NO_SPACE: DiskError = DiskError::NoSpace { code: 28 };

/// Submits a write and gives the requests that it makes.
fn begin_write(h: &mut Harness, count: u16, byte: u8) -> (u64, Vec<crate::DiskIo>) {
    let op = h.write_op(extent(0), blocks(0, count), Content::Data(pattern(byte, count)));
    let ticket = h.submit(op);
    (ticket, h.poll())
}

#[test]
fn a_stopped_store_tells_what_failed_where_and_why() {
    let mut h = Harness::new(64 * MIB);
    assert_eq!(h.store.stop_reason(), None);
    let (ticket, ios) = begin_write(&mut h, 1, 1);
    let IoKind::Write { offset, .. } = ios[0].kind else { panic!("{ios:?}") };
    assert!(is_journal(&ios[0]));
    h.store.handle_io(ios[0].id, Err(DiskError::Io { code: 5 }));
    h.collect();
    assert_eq!(h.answers[&ticket].as_ref().err(), Some(&StoreError::Stopped));
    let line = h.store.stop_reason().expect("it stopped").to_string();
    assert_eq!(line, format!("writing the journal at byte {offset} failed: Input/output error (os error 5)"));
}

#[test]
fn a_failed_flush_stops_the_store_and_names_no_place() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 1), pattern(1, 1)).unwrap();
    h.store.maybe_checkpoint();
    let flush = loop {
        let ios = h.poll();
        assert!(!ios.is_empty(), "a checkpoint flushes");
        for io in &ios {
            if !matches!(io.kind, IoKind::Flush) {
                h.complete(io);
            }
        }
        if let Some(flush) = ios.into_iter().find(|io| matches!(io.kind, IoKind::Flush)) {
            break flush;
        }
    };
    h.store.handle_io(flush.id, Err(DiskError::Io { code: 5 }));
    let line = h.store.stop_reason().expect("it stopped").to_string();
    assert_eq!(line, "flushing the disk failed: Input/output error (os error 5)");
}

#[test]
fn content_without_room_on_the_disk_is_refused_and_the_store_goes_on() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 16), pattern(1, 16)).unwrap();
    let used = h.store.stats().units_used;
    let (ticket, ios) = begin_write(&mut h, 48, 2);
    // The content of all regions fails, in part or wholly; nothing of the write may show.
    assert!(!ios.is_empty() && ios.iter().all(|io| !is_journal(io)), "{ios:?}");
    for io in &ios {
        h.store.handle_io(io.id, Err(NO_SPACE));
    }
    h.run();
    assert_eq!(h.answers[&ticket].as_ref().err(), Some(&StoreError::NoSpace));
    assert!(!h.store.is_stopped());
    assert_eq!(h.store.stats().units_used, used, "units of the refused write are free again");
    assert_eq!(h.read(extent(0), blocks(0, 16)).unwrap(), pattern(1, 16));
    h.write(extent(0), blocks(0, 48), pattern(3, 48)).unwrap();
    assert_eq!(h.read(extent(0), blocks(0, 48)).unwrap(), pattern(3, 48));
}

#[test]
fn any_other_error_of_content_stops_the_store() {
    let mut h = Harness::new(64 * MIB);
    let (ticket, ios) = begin_write(&mut h, 16, 2);
    h.store.handle_io(ios[0].id, Err(DiskError::Io { code: 5 }));
    h.collect();
    assert_eq!(h.answers[&ticket].as_ref().err(), Some(&StoreError::Stopped));
    assert!(matches!(h.store.stop_reason(), Some(StopReason::Disk { doing: "writing content", .. })));
}

#[test]
fn acknowledged_blocks_without_room_for_their_places_stop_the_store_and_come_back() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(3, 1), pattern(1, 1)).unwrap();
    h.store.maybe_checkpoint();
    let ios = h.poll();
    assert_eq!(ios.len(), 1);
    h.store.handle_io(ios[0].id, Err(NO_SPACE));
    let doing = "writing journaled blocks to their places";
    let offset = match ios[0].kind {
        IoKind::Write { offset, .. } => Some(offset),
        _ => None,
    };
    assert_eq!(h.store.stop_reason(), Some(&StopReason::Disk { doing, offset, source: NO_SPACE }));
    let mut h = h.crash();
    assert_eq!(h.read(extent(0), blocks(3, 1)).unwrap(), pattern(1, 1), "what was acknowledged is there");
}

/// A device says of a whole request that it failed. The blocks that can be read are read, and the others named.
#[test]
fn an_error_of_the_device_costs_only_the_blocks_that_cannot_be_read() {
    for lasts in [true, false] {
        let mut h = Harness::new(64 * MIB);
        h.write(extent(0), blocks(16, 16), pattern(3, 16)).unwrap();
        h.checkpoint();
        let ticket = h.submit(StoreOp::ReadRegion { extent: extent(0), region: region(1) });
        let ios = h.poll();
        assert_eq!(ios.len(), 1, "neighbours are read in one request");
        h.store.handle_io(ios[0].id, Err(DiskError::Io { code: 5 }));
        let singles = h.poll();
        assert_eq!(singles.len(), 16);
        for (block, io) in singles.iter().enumerate() {
            if lasts && block == 4 {
                h.store.handle_io(io.id, Err(DiskError::Io { code: 5 }));
            } else {
                h.complete(io);
            }
        }
        h.collect();
        let Ok(StoreReply::Image(image)) = &h.answers[&ticket] else { panic!("{:?}", h.answers[&ticket]) };
        assert_eq!(image.bad, if lasts { 1 << 4 } else { 0 });
        let mut content = pattern(3, 16).to_vec();
        if lasts {
            content[4 * 4096..5 * 4096].fill(0);
        }
        assert!(image.data.clone().into_bytes()[..] == content[..]);
    }
}
