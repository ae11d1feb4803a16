//! What each operation does and answers.

use super::harness::*;
use crate::{IoKind, StoreFault};
use evenkeel_types::store_op::{
    Content, IDENTITIES_PER_EXTENT_MAX, RegionImage, RememberedWrite, StoreError, StoreOp, StoreReply,
    StoreWrite,
};
use evenkeel_types::{Bytes, Epoch, Incarnation, Payload, Regions, ServerId, Version, WriteId};
use smallvec::SmallVec;

#[test]
fn a_single_block_write_costs_one_durable_request_of_two_blocks() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 1), pattern(1, 1)).unwrap();
    let data = pattern(2, 1);
    let op = h.write_op(extent(0), blocks(1, 1), Content::Data(data.clone()));
    let ticket = h.submit(op);
    let ios = h.poll();
    assert_eq!(ios.len(), 1);
    let IoKind::Write { pieces, durable, .. } = &ios[0].kind else { panic!("{ios:?}") };
    assert!(durable);
    assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [4096, 4096]);
    assert_eq!(pieces[1].as_ptr(), data.as_ptr(), "the caller's buffer goes to the disk without a copy");
    assert!(!h.answers.contains_key(&ticket), "not answered before it is durable");
    h.complete(&ios[0]);
    assert!(h.answers.contains_key(&ticket));
}

#[test]
fn writes_that_wait_share_one_journal_record() {
    let mut h = Harness::new(64 * MIB);
    for sequence in 1..=32 {
        let replaces = if sequence == 1 { Version::NONE } else { version(sequence - 1) };
        h.submit(block_write(extent(0), 3, sequence as u8, sequence, replaces));
    }
    h.run();
    assert_eq!((h.store.stats().commits, h.store.stats().commit_operations), (1, 32));
    assert_eq!(h.read(extent(0), blocks(3, 1)).unwrap(), pattern(32, 1));
}

#[test]
fn written_blocks_read_back_before_and_after_they_are_in_place() {
    let mut h = Harness::new(64 * MIB);
    let data = pattern(9, 40);
    h.write(extent(5), blocks(10, 40), data.clone()).unwrap();
    assert_eq!(h.read(extent(5), blocks(10, 40)).unwrap(), data);
    h.checkpoint();
    assert_eq!(h.store.stats().overlay_bytes, 0);
    assert_eq!(h.read(extent(5), blocks(10, 40)).unwrap(), data);
    assert_eq!(h.read(extent(5), blocks(9, 1)).unwrap(), vec![0; 4096]);
    assert_eq!(h.read(extent(6), blocks(0, 2)).unwrap(), vec![0; 8192]);
}

#[test]
fn a_block_read_again_comes_from_memory_and_is_never_an_old_one() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 64), pattern(1, 64)).unwrap();
    let read = |h: &mut Harness, block: u16| h.read(extent(0), blocks(block, 1)).unwrap();
    let counts = |h: &Harness| (h.store.stats().blocks_read, h.store.stats().cached_blocks_read);
    let first = read(&mut h, 5);
    assert_eq!(counts(&h), (1, 0));
    assert_eq!(read(&mut h, 5), first);
    assert_eq!(counts(&h), (1, 1));
    // Through the journal, then in place; as a whole region; and as zeros.
    h.write(extent(0), blocks(5, 1), pattern(2, 1)).unwrap();
    assert_eq!(read(&mut h, 5), pattern(2, 1));
    h.checkpoint();
    assert_eq!(read(&mut h, 5), pattern(2, 1));
    assert_eq!(counts(&h), (1, 2));
    h.write(extent(0), blocks(0, 16), pattern(3, 16)).unwrap();
    assert_eq!(read(&mut h, 5), pattern(3, 16)[5 * 4096..6 * 4096]);
    assert_eq!(counts(&h), (2, 2));
    h.zero(extent(0), blocks(4, 2)).unwrap();
    assert_eq!(read(&mut h, 5), [0; 4096][..]);
    // A copy that is given up, and the extent anew in the same slot.
    let other = read(&mut h, 40);
    assert_eq!(counts(&h), (3, 2));
    assert_eq!(read(&mut h, 40), other);
    let _ = h.outcome(StoreOp::Free { extent: extent(0) }).unwrap();
    assert_eq!(read(&mut h, 40), [0; 4096][..]);
    h.checkpoint();
    h.write(extent(0), blocks(32, 16), pattern(4, 16)).unwrap();
    assert_eq!(read(&mut h, 40), pattern(4, 16)[8 * 4096..9 * 4096]);
}

#[test]
fn what_the_device_gave_for_a_block_that_changed_meanwhile_is_not_kept() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 16), pattern(1, 16)).unwrap();
    let old = h.submit(StoreOp::Read { extent: extent(0), blocks: blocks(5, 1) });
    let ios = h.poll();
    assert_eq!(ios.len(), 1);
    let change = h.write_op(extent(0), blocks(5, 1), Content::Data(pattern(2, 1)));
    let _ = h.submit(change);
    let changes = h.poll();
    h.complete(&ios[0]);
    assert!(h.answers.contains_key(&old));
    assert_eq!(h.store.stats().read_cache_bytes, 0);
    changes.iter().for_each(|io| h.complete(io));
    h.run();
    h.checkpoint();
    assert_eq!(h.read(extent(0), blocks(5, 1)).unwrap(), pattern(2, 1));
}

#[test]
fn large_reads_pass_the_cache_by() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 64), pattern(1, 64)).unwrap();
    let whole = h.read(extent(0), blocks(0, 64)).unwrap();
    assert_eq!((whole, h.store.stats().read_cache_bytes), (pattern(1, 64), 0));
    let some = h.read(extent(0), blocks(8, 4)).unwrap();
    assert_eq!(
        (some, h.store.stats().read_cache_bytes),
        (pattern(1, 64).slice(8 * 4096..12 * 4096), 4 * 4096)
    );
}

#[test]
fn whole_regions_bypass_the_journal_and_lie_next_to_each_other() {
    let mut h = Harness::new(64 * MIB);
    let data = pattern(3, 1024);
    h.write(extent(0), blocks(0, 1024), data.clone()).unwrap();
    assert_eq!(h.store.stats().journaled_blocks, 0);
    let ticket = h.submit(StoreOp::Read { extent: extent(0), blocks: blocks(0, 256) });
    let ios = h.poll();
    assert_eq!(ios.len(), 1, "one request for a mebibyte in neighbouring units");
    ios.iter().for_each(|io| h.complete(io));
    let Some(Ok(StoreReply::Data(read))) = h.answers.remove(&ticket) else { panic!() };
    assert_eq!(read.into_bytes(), data.slice(..MIB as usize));
}

#[test]
fn a_write_with_another_version_or_a_lower_epoch_changes_nothing() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 16), pattern(1, 16)).unwrap();
    let refused = h.outcome(block_write(extent(0), 0, 2, 9, Version::NONE)).unwrap_err();
    assert_eq!(refused, StoreError::VersionMismatch { region: region(0), found: version(1) });
    h.accept(extent(0), 5, false).unwrap();
    let refused = h.outcome(block_write(extent(0), 0, 2, 9, version(1))).unwrap_err();
    assert_eq!(refused, StoreError::StaleEpoch { accepted: Epoch(5) });
    assert_eq!(h.accept(extent(0), 4, false), Err(StoreError::StaleEpoch { accepted: Epoch(5) }));
    assert_eq!(h.read(extent(0), blocks(0, 16)).unwrap(), pattern(1, 16));
    assert_eq!(h.describe(extent(0)).unwrap().versions[0], version(1));
}

#[test]
fn two_writes_to_one_region_in_one_commit_both_count() {
    let mut h = Harness::new(64 * MIB);
    h.submit(block_write(extent(0), 0, 1, 1, Version::NONE));
    h.submit(block_write(extent(0), 1, 2, 2, version(1)));
    let stale = h.submit(block_write(extent(0), 2, 3, 3, version(1)));
    h.run();
    assert!(h.answers[&stale].is_err());
    assert_eq!(h.store.stats().commits, 1);
    let mut expected = pattern(1, 1).to_vec();
    expected.extend_from_slice(&pattern(2, 1));
    expected.resize(3 * 4096, 0);
    let mut h = h.crash();
    assert_eq!(h.read(extent(0), blocks(0, 3)).unwrap(), expected);
}

#[test]
fn absent_blocks_read_as_zeros_and_keep_their_version() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 32), pattern(1, 32)).unwrap();
    h.zero(extent(0), blocks(0, 1024)).unwrap();
    let check = |h: &mut Harness| {
        assert_eq!(h.read(extent(0), blocks(0, 32)).unwrap(), vec![0; 32 * 4096]);
        let description = h.describe(extent(0)).unwrap();
        assert_eq!(description.versions[0], version(2));
        assert_eq!(description.versions[63], version(2));
        assert!(description.allocated.is_empty());
    };
    check(&mut h);
    h.checkpoint();
    check(&mut h);
    assert_eq!(h.store.stats().units_used, 0);
    check(&mut h.crash());
}

#[test]
fn unmapping_blocks_that_are_still_in_memory_drops_them() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 3), pattern(1, 3)).unwrap();
    h.zero(extent(0), blocks(1, 1)).unwrap();
    assert_eq!(h.store.stats().overlay_bytes, 2 * 4096);
    h.zero(extent(0), blocks(0, 3)).unwrap();
    assert_eq!(h.store.stats().overlay_bytes, 0);
    h.write(extent(0), blocks(2, 1), pattern(8, 1)).unwrap();
    let mut h = h.crash();
    let mut expected = vec![0; 2 * 4096];
    expected.extend_from_slice(&pattern(8, 1));
    assert_eq!(h.read(extent(0), blocks(0, 3)).unwrap(), expected);
}

#[test]
fn a_region_travels_to_another_store_with_its_version() {
    let mut from = Harness::new(64 * MIB);
    from.write(extent(0), blocks(17, 2), pattern(1, 2)).unwrap();
    from.write(extent(0), blocks(30, 1), pattern(2, 1)).unwrap();
    from.checkpoint();
    let image = from.image(region(1));
    assert_eq!((image.version, image.present), (version(2), 0b0100_0000_0000_0110));
    let mut to = Harness::new(64 * MIB);
    let install = |replaces| StoreOp::InstallRegion {
        extent: extent(0),
        region: region(1),
        replaces,
        image: image.clone(),
    };
    assert_eq!(to.outcome(install(Version::NONE)).unwrap_err(), StoreError::NoRecord);
    to.accept(extent(0), 1, false).unwrap();
    to.write(extent(0), blocks(16, 16), pattern(7, 16)).unwrap();
    let refused = to.outcome(install(Version::NONE)).unwrap_err();
    assert_eq!(refused, StoreError::VersionMismatch { region: region(1), found: version(1) });
    to.outcome(install(version(1))).unwrap();
    for _ in 0..2 {
        assert_eq!(
            to.read(extent(0), blocks(16, 16)).unwrap(),
            from.read(extent(0), blocks(16, 16)).unwrap(),
            "blocks absent in the image are absent"
        );
        assert_eq!(to.store.inventory()[0].versions_hash, from.store.inventory()[0].versions_hash);
        to = to.crash();
    }
    let empty = RegionImage {
        version: version(9),
        present: 0,
        bad: 0,
        data: Payload::default(),
        identities: Vec::new(),
    };
    let op =
        StoreOp::InstallRegion { extent: extent(0), region: region(1), replaces: version(2), image: empty };
    to.outcome(op).unwrap();
    assert_eq!(to.read(extent(0), blocks(16, 16)).unwrap(), vec![0; 16 * 4096]);
    assert_eq!(to.describe(extent(0)).unwrap().versions[1], version(9));
}

#[test]
fn free_keeps_the_accepted_epoch_and_forget_keeps_nothing() {
    let mut h = Harness::new(64 * MIB);
    h.accept(extent(0), 3, true).unwrap();
    let op = write_of(
        extent(0),
        blocks(0, 20),
        Content::Data(pattern(1, 20)),
        Version { epoch: Epoch(3), sequence: 1 },
        SmallVec::from_slice(&[Version::NONE; 2]),
    );
    h.outcome(op).unwrap();
    assert_eq!(h.store.stats().units_reserved, 62);
    h.outcome(StoreOp::Free { extent: extent(0) }).unwrap();
    for _ in 0..2 {
        let left = h.describe(extent(0)).unwrap();
        assert_eq!((left.accepted, left.has_data, left.allocated.is_empty()), (Epoch(3), false, true));
        assert_eq!(h.read(extent(0), blocks(0, 1)).unwrap(), vec![0; 4096]);
        assert_eq!(h.store.stats().units_reserved, 0);
        h = h.crash();
    }
    h.outcome(StoreOp::Forget { extent: extent(0) }).unwrap();
    assert!(h.describe(extent(0)).is_none());
    h.checkpoint();
    let mut h = h.crash();
    assert!(h.describe(extent(0)).is_none());
    assert_eq!(h.store.stats().units_used, 0);
    h.outcome(StoreOp::Forget { extent: extent(0) }).unwrap();
}

#[test]
fn a_promise_without_a_copy_leaves_a_record_without_data() {
    let mut h = Harness::new(64 * MIB);
    let StoreOp::Accept { extent, epoch, replicas, reserve_all, forget_below, .. } =
        accept_of(extent(0), 4, false)
    else {
        panic!()
    };
    h.outcome(StoreOp::Accept { extent, epoch, replicas, live: false, reserve_all, forget_below }).unwrap();
    let mut h = h.crash();
    let left = h.describe(extent).unwrap();
    assert_eq!((left.accepted, left.has_data), (Epoch(4), false));
}

fn identified(number: u64, sequence: u64, forget_below: Option<u64>) -> StoreOp {
    let id = |number| WriteId { gateway: ServerId(1), incarnation: Incarnation(2), number };
    let replaces = if sequence == 1 { Version::NONE } else { version(sequence - 1) };
    StoreOp::Write(StoreWrite {
        extent: extent(0),
        blocks: blocks(0, 1),
        content: Content::Data(pattern(sequence as u8, 1)),
        version: version(sequence),
        replaces: SmallVec::from_slice(&[replaces]),
        identity: Some(id(number)),
        forget_below: forget_below.map(id),
    })
}

#[test]
fn identities_are_remembered_over_crashes_until_they_may_be_forgotten() {
    let mut h = Harness::new(64 * MIB);
    let count = IDENTITIES_PER_EXTENT_MAX as u64;
    for number in 1..=count {
        h.outcome(identified(number, number, None)).unwrap();
    }
    assert_eq!(h.outcome(identified(count + 1, count + 1, None)).unwrap_err(), StoreError::IdentitiesFull);
    h.checkpoint();
    let mut h = h.crash();
    assert_eq!(h.describe(extent(0)).unwrap().identities.len(), IDENTITIES_PER_EXTENT_MAX);
    h.outcome(identified(count + 1, count + 1, Some(count))).unwrap();
    let mut h = h.crash();
    let numbers: Vec<u64> = h.describe(extent(0)).unwrap().identities.iter().map(|r| r.id.number).collect();
    assert_eq!(numbers, [count, count + 1]);
    let StoreOp::Accept { extent, epoch, replicas, live, reserve_all, .. } = accept_of(extent(0), 2, false)
    else {
        panic!()
    };
    let forget_below = vec![WriteId { gateway: ServerId(1), incarnation: Incarnation(2), number: count + 1 }];
    h.outcome(StoreOp::Accept { extent, epoch, replicas, live, reserve_all, forget_below }).unwrap();
    let mut h = h.crash();
    let left = h.describe(extent).unwrap().identities;
    assert_eq!(left.iter().map(|r| r.id.number).collect::<Vec<_>>(), [count + 1]);
}

/// What a copy says of the writes in it follows its content, region by region.
#[test]
fn the_identities_of_a_region_come_and_go_with_its_content() {
    let id = |number| WriteId { gateway: ServerId(1), incarnation: Incarnation(2), number };
    let write = |number, sequence, first, count| {
        let regions = Regions::touched_by(blocks(first, count));
        StoreOp::Write(StoreWrite {
            extent: extent(0),
            blocks: blocks(first, count),
            content: Content::Data(pattern(sequence as u8, count)),
            version: version(sequence),
            replaces: regions.iter().map(|_| Version::NONE).collect(),
            identity: Some(id(number)),
            forget_below: None,
        })
    };
    let (mut from, mut to) = (Harness::new(64 * MIB), Harness::new(64 * MIB));
    // A write over regions 0 and 1 that reached the one, and a write of region 0 that reached the other only.
    from.outcome(write(7, 1, 8, 16)).unwrap();
    to.outcome(write(9, 2, 0, 1)).unwrap();
    for (number, left) in [(0, vec![(7, 0b01)]), (1, vec![(7, 0b11)])] {
        let region = region(number);
        let image = from.image(region);
        assert_eq!(image.identities, [id(7)]);
        let replaces = to.describe(extent(0)).unwrap().versions[region.index()];
        to.outcome(StoreOp::InstallRegion { extent: extent(0), region, replaces, image }).unwrap();
        to = to.crash();
        let known = to.describe(extent(0)).unwrap().identities;
        let known: Vec<_> = known.iter().map(|write| (write.id.number, write.regions.0)).collect();
        assert_eq!(known, left);
    }
    to.zero(extent(0), blocks(40, 1)).unwrap();
    to.checkpoint();
    let known = to.crash().describe(extent(0)).unwrap().identities;
    assert_eq!(known, [RememberedWrite { id: id(7), regions: Regions(0b11) }]);
}

#[test]
fn a_read_behind_a_write_of_its_blocks_waits_until_that_is_durable() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 2), pattern(1, 2)).unwrap();
    let write = h.submit(block_write(extent(0), 0, 2, 2, version(1)));
    let ios = h.poll();
    let same = h.submit(StoreOp::Read { extent: extent(0), blocks: blocks(0, 1) });
    let other = h.submit(StoreOp::Read { extent: extent(0), blocks: blocks(1, 1) });
    assert!(h.poll().is_empty());
    h.collect();
    assert!(h.answers.contains_key(&other), "other blocks of the region are not held up");
    assert!(!h.answers.contains_key(&same) && !h.answers.contains_key(&write));
    h.complete(&ios[0]);
    let Some(Ok(StoreReply::Data(data))) = h.answers.remove(&same) else { panic!() };
    assert_eq!(data.into_bytes(), pattern(2, 1));
}

#[test]
fn a_flipped_bit_is_never_returned() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(4, 3), pattern(1, 3)).unwrap();
    h.checkpoint();
    let content = pattern(1, 3);
    // The journal holds a copy too, at a lower offset.
    let place = *find_block(&h.disk, &content[4096..8192]).last().unwrap();
    h.disk.rot(place + 100, 3);
    assert_eq!(h.read(extent(0), blocks(4, 3)).unwrap_err(), StoreError::BadBlock { block: 5 });
    assert_eq!(h.read(extent(0), blocks(4, 1)).unwrap(), pattern(1, 1));
    assert_eq!(h.store.stats().checksum_failures, 1);
    h.write(extent(0), blocks(5, 1), pattern(6, 1)).unwrap();
    assert_eq!(h.read(extent(0), blocks(5, 1)).unwrap(), pattern(6, 1), "a new write mends the block");
}

#[test]
fn after_a_write_error_everything_is_answered_stopped() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 1), pattern(1, 1)).unwrap();
    h.disk.fail_after(0);
    assert_eq!(h.write(extent(0), blocks(0, 1), pattern(2, 1)), Err(StoreError::Stopped));
    assert_eq!(h.read(extent(0), blocks(0, 1)), Err(StoreError::Stopped));
    assert!(h.store.is_stopped() && h.store.is_quiescent());
}

#[test]
fn a_list_goes_on_where_the_last_one_ended() {
    let mut h = Harness::new(64 * MIB);
    for index in [5, 1, 9] {
        h.write(extent(index), blocks(0, 1), pattern(1, 1)).unwrap();
    }
    let list = |h: &mut Harness, from, max| match h.outcome(StoreOp::List { from: extent(from), max }) {
        Ok(StoreReply::Inventory(entries)) => {
            entries.iter().map(|entry| entry.extent.index).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(list(&mut h, 0, 2), [1, 5]);
    assert_eq!(list(&mut h, 6, 2), [9]);
}

#[test]
fn more_records_than_the_cache_holds_are_loaded_when_needed() {
    let mut h = Harness::new(256 * MIB);
    for index in 0..300 {
        h.write(extent(index), blocks(0, 1), pattern(index as u8, 1)).unwrap();
    }
    let tickets: Vec<_> = (0..300)
        .map(|index| h.submit(StoreOp::Read { extent: extent(index), blocks: blocks(0, 1) }))
        .collect();
    h.run();
    for (index, ticket) in tickets.iter().enumerate() {
        let answer = h.answers.remove(ticket);
        let Some(Ok(StoreReply::Data(data))) = answer else { panic!("extent {index}: {answer:?}") };
        assert_eq!(data.into_bytes(), pattern(index as u8, 1));
    }
    assert!(h.store.stats().records_loaded > 100);
    assert!(h.store.stats().records_cached <= 128);
    let tickets: Vec<_> =
        (0..300).map(|index| h.submit(block_write(extent(index), 1, index as u8, 2, version(1)))).collect();
    h.run();
    assert!(tickets.iter().all(|ticket| h.answers[ticket].is_ok()));
}

#[test]
fn a_shut_down_store_replays_nothing_and_refuses_operations() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 20), pattern(1, 20)).unwrap();
    let first = h.report;
    h.store.shutdown();
    assert_eq!(h.read(extent(0), blocks(0, 1)), Err(StoreError::Stopped));
    let mut h = Harness::open(h.close()).unwrap();
    assert!(h.report.clean);
    assert_eq!((h.report.records_replayed, h.report.extents), (0, 1));
    assert_eq!(h.report.incarnation.0, first.incarnation.0 + 1);
    assert_eq!(h.report.mount, first.mount + 1);
    assert_eq!(h.read(extent(0), blocks(0, 20)).unwrap(), pattern(1, 20));
    // Nothing changed: closing again is still clean.
    assert!(Harness::open(h.close()).unwrap().report.clean);
}

#[test]
fn a_store_of_others_is_refused_in_one_line() {
    let mut disk = formatted(64 * MIB, MIB);
    let mut options = open_options();
    options.group = "other".into();
    let fault = crate::Store::open(&mut disk, &options).unwrap_err();
    assert!(matches!(fault, StoreFault::ForeignGroup { .. }));
    assert!(!fault.to_string().contains('\n') && fault.to_string().contains("harbour"));
    let mut options = open_options();
    options.server = ServerId(8);
    assert!(matches!(crate::Store::open(&mut disk, &options), Err(StoreFault::ForeignServer { .. })));
}

/// Two writers of one region, one of which always waits while the other's record is written.
#[test]
fn reads_get_their_turn_however_many_writes_come_behind_them() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 1), pattern(1, 1)).unwrap();
    let mut sequence = 1;
    let mut write = |h: &mut Harness| {
        sequence += 1;
        let op = block_write(extent(0), sequence as u16 % 2, sequence as u8, sequence, version(sequence - 1));
        h.submit(op);
        h.poll()
    };
    let mut ios = write(&mut h);
    let image = h.submit(StoreOp::ReadRegion { extent: extent(0), region: region(0) });
    let described = h.submit(StoreOp::Describe { extent: extent(0) });
    for _ in 0..10 {
        ios.extend(write(&mut h));
        let io = ios.remove(0);
        h.complete(&io);
        ios.extend(h.poll());
    }
    let Ok(StoreReply::Image(image)) = &h.answers[&image] else { panic!("{:?}", h.answers[&image]) };
    let Ok(StoreReply::Description(Some(described))) = &h.answers[&described] else { panic!() };
    assert_eq!(
        (image.version, described.versions[0]),
        (version(2), version(2)),
        "as it was when they were asked"
    );
    for io in ios {
        h.complete(&io);
    }
    h.run();
    assert_eq!(h.read(extent(0), blocks(0, 1)).unwrap(), pattern(12, 1));
}
