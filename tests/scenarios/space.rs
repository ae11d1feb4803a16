//! Space: a full store says so in the words of SCSI and goes on, and what is unmapped comes back.

use evenkeel_iscsi::initiator::Done;
use evenkeel_scsi::initiator::request;
use evenkeel_scsi::{AdditionalSense, SenseKey, Status};
use evenkeel_tests::{Group, GroupOptions, Initiator, run};
use evenkeel_types::Bytes;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Logical blocks of a mebibyte.
const MIB_SECTORS: u64 = 2048;
/// Mebibytes of the volume: more than the store can hold.
const VOLUME_MIB: u64 = 512;
/// Longest time for space to come back.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(30);

fn piece(number: u64, round: u8) -> Bytes {
    let mut data = vec![round; MIB as usize];
    for (block, bytes) in (0u64..).zip(data.chunks_exact_mut(4096)) {
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..16].copy_from_slice(&block.to_le_bytes());
    }
    Bytes::from(data)
}

fn write(initiator: &mut Initiator, number: u64, round: u8) -> Done {
    initiator.ask(&request::write_16(number * MIB_SECTORS, piece(number, round), 512))
}

fn assert_full(done: &Done) {
    assert_eq!(done.status, Some(Status::CheckCondition), "{done:?}");
    let sense = done.sense.as_ref().expect("sense data");
    assert_eq!(
        (sense.key, sense.additional),
        (SenseKey::DataProtect, AdditionalSense::SPACE_ALLOCATION_FAILED)
    );
    let fixed = sense.to_fixed();
    assert_eq!((fixed[2] & 0x0f, fixed[12], fixed[13]), (0x07, 0x27, 0x07), "as the standard numbers it");
}

fn assert_holds(initiator: &mut Initiator, number: u64, round: u8) {
    let data = initiator.good(&request::read_16(number * MIB_SECTORS, MIB_SECTORS as u32, 512));
    assert!(data[..] == piece(number, round)[..], "mebibyte {number} is not as written in round {round}");
}

/// Bytes in use and bytes in all of the one server's store, and the bytes that the volume takes.
fn figures(group: &Group) -> (u64, u64, u64) {
    let servers = group.evenkeel(&["server", "list", "-o", "json"]).ok().json();
    let volume = group.evenkeel(&["volume", "show", "v1", "-o", "json"]).ok().json();
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let row = &servers["servers"][0];
    (number(&row["allocated_bytes"]), number(&row["total_bytes"]), number(&volume["allocated_bytes"]))
}

#[test]
fn a_full_store_refuses_writes_serves_reads_and_takes_writes_after_an_unmap() {
    let mut group = Group::start(GroupOptions::servers(1).store_size("256MiB"));
    let iqn = group.create_volume("v1", "512MiB");
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    let mut written = 0;
    let refused = loop {
        let done = write(&mut initiator, written, 1);
        if done.status != Some(Status::Good) {
            break done;
        }
        written += 1;
        assert!(written < VOLUME_MIB, "a store of 256 MiB took {written} MiB");
    };
    assert!(written > 150, "only {written} MiB fit into a store of 256 MiB");
    assert_full(&refused);
    // Again, and elsewhere, and for a single block; what there is can be read and even overwritten.
    assert_full(&write(&mut initiator, written, 1));
    assert_full(&write(&mut initiator, VOLUME_MIB - 1, 1));
    let block = Bytes::from(vec![9; 4096]);
    assert_full(&initiator.ask(&request::write_16((VOLUME_MIB - 1) * MIB_SECTORS, block, 512)));
    for number in [0, written / 2, written - 1] {
        assert_holds(&mut initiator, number, 1);
    }
    assert_eq!(write(&mut initiator, 5, 2).status, Some(Status::Good), "what has space can be written");
    let (used, total, of_volume) = figures(&group);
    assert!(used * 100 >= total * 99 && of_volume * 100 >= total * 99, "{used} of {total}, {of_volume}");
    // An initiator of others is told the same.
    let url = group.url(1, &iqn);
    let at_end = format!("write {}M 1M", VOLUME_MIB - 1);
    let ran = run("qemu-io", &["-f", "raw", "-c", &at_end, &url]);
    assert!(ran.code != 0 && (ran.stderr + &ran.stdout).contains("No space left on device"));
    let _ = run("qemu-io", &["-f", "raw", "-r", "-c", "read 5M 1M", &url]).ok();
    // Sixteen mebibytes are given back, and as many can be written elsewhere.
    let _ = initiator.good(&request::unmap(&[(100 * MIB_SECTORS, 16 * MIB_SECTORS as u32)]));
    for number in 0..16 {
        let done = write(&mut initiator, VOLUME_MIB - 16 + number, 3);
        assert_eq!(done.status, Some(Status::Good), "mebibyte {number} after the unmap: {:?}", done.sense);
    }
    assert_full(&write(&mut initiator, 100, 1));
    let check = |initiator: &mut Initiator| {
        for number in (0..written).filter(|number| !(100..116).contains(number)) {
            assert_holds(initiator, number, if number == 5 { 2 } else { 1 });
        }
        (VOLUME_MIB - 16..VOLUME_MIB).for_each(|number| assert_holds(initiator, number, 3));
        let data = initiator.good(&request::read_16(100 * MIB_SECTORS, 16 * MIB_SECTORS as u32 / 2, 512));
        assert!(data.iter().all(|byte| *byte == 0), "what was unmapped reads as zeros");
    };
    check(&mut initiator);
    drop(initiator);
    group.kill();
    group.spawn();
    group.wait();
    check(&mut Initiator::open(&group.portal(1), &iqn));
}

#[test]
fn a_store_that_is_full_elsewhere_is_told_through_every_portal_and_spares_the_others() {
    let options = GroupOptions::servers(2).store_size("256MiB").flag("--balance false");
    let group = Group::start(options);
    // So many runs of extents that chance gives every server some.
    let iqn = group.create_volume("v1", "16GiB");
    let table = group.evenkeel(&["route", "v1", "-o", "json"]).ok().json();
    let rows = table["extents"].as_array().expect("rows");
    let of = |server: &str| -> Vec<u64> {
        let extents = rows.iter().filter(|row| row["owner"] == server);
        extents.map(|row| row["extent"].as_u64().expect("a number")).collect()
    };
    let (near, far) = (of("s1"), of("s2"));
    assert!(near.len() >= 4 && far.len() >= 64, "{} and {} extents", near.len(), far.len());
    let mut through_s1 = Initiator::open(&group.portal(1), &iqn);
    let mut through_s2 = Initiator::open(&group.portal(2), &iqn);
    let mebibytes: Vec<u64> = far.iter().flat_map(|extent| extent * 4..extent * 4 + 4).collect();
    let mut written = 0;
    for number in &mebibytes {
        let done = write(&mut through_s1, *number, 1);
        if done.status != Some(Status::Good) {
            assert_full(&done);
            break;
        }
        written += 1;
    }
    assert!(written > 150 && written < mebibytes.len(), "{written} MiB fit into a store of 256 MiB");
    assert_full(&write(&mut through_s2, mebibytes[written], 1));
    for initiator in [&mut through_s1, &mut through_s2] {
        assert_holds(initiator, mebibytes[0], 1);
        assert_holds(initiator, mebibytes[written - 1], 1);
        assert_eq!(write(initiator, near[1] * 4, 2).status, Some(Status::Good), "the other server has room");
        assert_holds(initiator, near[1] * 4, 2);
    }
}

fn assert_given_back(group: &Group) {
    let began = Instant::now();
    loop {
        let (used, total, of_volume) = figures(group);
        if used * 100 <= total && of_volume * 100 <= 64 * MIB {
            return;
        }
        let late = began.elapsed() > GIVEN_BACK_WITHIN;
        assert!(!late, "{used} bytes of {total} are in use, {of_volume} by the volume");
    }
}

#[test]
fn unmap_and_write_same_of_everything_give_all_space_back() {
    let mut group = Group::start(GroupOptions::servers(1).store_size("256MiB"));
    let iqn = group.create_volume("v1", "64MiB");
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    let fill = |initiator: &mut Initiator, group: &Group, round: u8| {
        for number in 0..64 {
            assert_eq!(write(initiator, number, round).status, Some(Status::Good));
        }
        // Single blocks go another way to the disk than whole regions.
        for block in 0..64u64 {
            let data = Bytes::from(vec![round; 4096]);
            let _ = initiator.good(&request::write_16(block * 520, data, 512));
        }
        let (used, _, of_volume) = figures(group);
        assert!(
            used >= 64 * MIB && of_volume >= 64 * MIB,
            "{used} bytes are in use, {of_volume} by the volume"
        );
    };
    let zeros = |initiator: &mut Initiator| {
        for number in 0..64 {
            let data = initiator.good(&request::read_16(number * MIB_SECTORS, MIB_SECTORS as u32, 512));
            assert!(data.iter().all(|byte| *byte == 0), "mebibyte {number} is not zeros");
        }
    };
    fill(&mut initiator, &group, 1);
    let _ = initiator.good(&request::unmap(&[(0, 64 * MIB_SECTORS as u32)]));
    assert_given_back(&group);
    zeros(&mut initiator);
    fill(&mut initiator, &group, 2);
    for quarter in 0..4 {
        let (lba, count) = (quarter * 16 * MIB_SECTORS, 16 * MIB_SECTORS as u32);
        let block = if quarter % 2 == 0 { Bytes::new() } else { Bytes::from(vec![0; 512]) };
        let _ = initiator.good(&request::write_same_16(lba, count, block, true));
    }
    assert_given_back(&group);
    zeros(&mut initiator);
    drop(initiator);
    assert_eq!(group.stop().0, 0);
    group.spawn();
    group.wait();
    assert_given_back(&group);
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    zeros(&mut initiator);
    fill(&mut initiator, &group, 3);
}

/// A host that makes a file system discards the whole volume first. That takes nothing of the store, whose table has
/// room for far fewer records than the volume has extents: all space can be written afterwards.
#[test]
fn discarding_a_large_empty_volume_leaves_all_space_to_be_written() {
    let group = Group::start(GroupOptions::servers(1).store_size("256MiB"));
    let iqn = group.create_volume("v1", "2GiB");
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    for number in 0..32 {
        let range = (number * 64 * MIB_SECTORS, 64 * MIB_SECTORS as u32);
        let done = initiator.ask(&request::unmap(&[range]));
        assert_eq!(done.status, Some(Status::Good), "64 MiB from {} MiB: {:?}", number * 64, done.sense);
    }
    // A mebibyte of every fourth extent.
    let places = (0..128).map(|number| number * 16);
    for number in places.clone() {
        let done = write(&mut initiator, number, 1);
        assert_eq!(done.status, Some(Status::Good), "mebibyte {number}: {:?}", done.sense);
    }
    for number in places {
        assert_holds(&mut initiator, number, 1);
    }
}
