//! Bits that flip under copies of a volume where nobody reads: a pass of the scrub finds and mends all of them, and counters
//! tell of it.

use evenkeel_scsi::initiator::request;
use evenkeel_tests::{Group, GroupOptions, Initiator, StoppedStore};
use evenkeel_types::Bytes;
use std::time::{Duration, Instant};

const BLOCK: usize = 4096;
/// Logical blocks of a block.
const SECTORS: u64 = 8;
/// Blocks that are written: two extents.
const BLOCKS: u64 = 2048;
const DATA_BYTES: u64 = BLOCKS * BLOCK as u64;
const WITHIN: Duration = Duration::from_secs(60);

/// What a block of the volume holds: nothing else does.
fn content(block: u64) -> Vec<u8> {
    let words =
        (0..BLOCK as u64 / 8).map(|n| (block << 32 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.flatten().collect()
}

fn assert_all_is_there(group: &Group, portal: u16, iqn: &str) {
    let mut initiator = Initiator::open(&group.portal(portal), iqn);
    for block in (0..BLOCKS).step_by(64) {
        let data = initiator.good(&request::read_16(block * SECTORS, 64 * SECTORS as u32, 512));
        let expected: Vec<u8> = (block..block + 64).flat_map(content).collect();
        assert!(data[..] == expected[..], "blocks {block} to {} differ", block + 63);
    }
}

/// The sum of a column over all servers.
fn sum(group: &Group, column: &str) -> u64 {
    let table = group.evenkeel(&["scrub", "-o", "json"]).ok().json();
    let rows = table["servers"].as_array().expect("rows");
    assert_eq!(rows.len(), group.servers());
    rows.iter().map(|row| row[column].as_u64().expect("a count")).sum()
}

fn scrub_everything(group: &Group) {
    let before = sum(group, "passes");
    let _ = group.evenkeel(&["scrub", "--start", "--rate", "1GiB/s"]).ok();
    let began = Instant::now();
    while sum(group, "passes") < before + 2 {
        assert!(began.elapsed() < WITHIN, "no pass over everything within {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A written volume of two copies at two servers that stopped, and their stores.
fn written() -> (Group, String, [StoppedStore; 2]) {
    let mut group = Group::start(GroupOptions::servers(2).store_size("256MiB").flag("--balance false"));
    let iqn = group.create_replicated("v1", "16MiB", 2);
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    for block in (0..BLOCKS).step_by(64) {
        let data: Vec<u8> = (block..block + 64).flat_map(content).collect();
        let _ = initiator.good(&request::write_16(block * SECTORS, Bytes::from(data), 512));
    }
    drop(initiator);
    assert_eq!(group.stop().0, 0);
    let stores = [1, 2].map(|server| StoppedStore::open(&group.store(server)));
    (group, iqn, stores)
}

fn flip(store: &StoppedStore, block: u64) {
    store.flip_bit(store.find_data(&content(block), 4 * DATA_BYTES) + 1000);
}

fn assert_sound(group: &mut Group) {
    assert_eq!(group.stop().0, 0);
    let data = group.data();
    let _ = group.evenkeel(&["check", data.to_str().expect("a readable path")]).ok();
}

#[test]
fn flipped_bits_under_each_of_two_copies_are_mended_by_the_scrub() {
    let (mut group, iqn, stores) = written();
    // In each extent a block of each copy, two of them neighbours in one region.
    for (store, blocks) in stores.iter().zip([[100, 1500], [101, 2000]]) {
        blocks.iter().for_each(|block| flip(store, *block));
    }
    group.spawn();
    group.wait();
    scrub_everything(&group);
    let (here, at_copies) = (sum(&group, "mended"), sum(&group, "copies_mended"));
    println!("{here} regions mended at their owner, {at_copies} at the other copy");
    assert_eq!(
        (here, at_copies),
        (2, 2),
        "each extent has a bad block at its owner, and one at the other copy"
    );
    assert_eq!((sum(&group, "diverged"), sum(&group, "unreadable")), (0, 0));
    assert_eq!(sum(&group, "regions"), BLOCKS / 16);
    assert_all_is_there(&group, 1, &iqn);
    let log = group.log_since_start();
    assert_eq!(log.matches("mended").count() - log.matches("scrub: read").count(), 4, "{log}");
    assert_sound(&mut group);
}
