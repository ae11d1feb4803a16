//! `evenkeel check` on damaged stores of stopped servers, and what the servers make of them afterwards. Each damage has
//! the same store before it as its control.

use evenkeel_iscsi::initiator::Done;
use evenkeel_scsi::initiator::request;
use evenkeel_scsi::{AdditionalSense, SenseKey, Status};
use evenkeel_tests::{Group, GroupOptions, Initiator, Ran, SUPERBLOCK_COPIES, StoppedStore};
use evenkeel_types::Bytes;

const FOUND: i32 = 3;
const FAILED: i32 = 1;
const BLOCK: usize = 4096;
/// Logical blocks of a block.
const SECTORS: u64 = 8;
/// Blocks of a region.
const REGION_BLOCKS: u64 = 16;
/// Blocks that a scenario writes: two extents.
const BLOCKS: u64 = 2048;
/// Bytes that they take.
const DATA_BYTES: u64 = BLOCKS * BLOCK as u64;

/// What a block of the volume holds: nothing else does.
fn content(block: u64) -> Vec<u8> {
    let mut state = block.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(BLOCK / 8).flatten().collect()
}

fn read(initiator: &mut Initiator, block: u64, count: u32) -> Done {
    initiator.ask(&request::read_16(block * SECTORS, count * SECTORS as u32, 512))
}

fn write(initiator: &mut Initiator, block: u64, data: Vec<u8>) {
    let _ = initiator.good(&request::write_16(block * SECTORS, Bytes::from(data), 512));
}

/// A stopped server whose volume `v1` holds [`BLOCKS`] blocks, all in their places.
fn written() -> (Group, String) {
    let mut group = Group::start(GroupOptions::servers(1).store_size("256MiB"));
    let iqn = group.create_volume("v1", "16MiB");
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    for block in (0..BLOCKS).step_by(64) {
        write(&mut initiator, block, (block..block + 64).flat_map(content).collect());
    }
    drop(initiator);
    assert_eq!(group.stop().0, 0);
    assert_eq!(findings(&group, 0), [""; 0]);
    (group, iqn)
}

fn check(group: &Group) -> Ran {
    let data = group.data();
    group.evenkeel(&["check", data.to_str().expect("a readable path"), "-o", "json"])
}

/// The kinds of what a check finds, in order, after asserting its exit code and that it names the server.
fn findings(group: &Group, code: i32) -> Vec<String> {
    let ran = check(group);
    assert_eq!(ran.code, code, "{ran:?}");
    let report = ran.json();
    let findings = report["findings"].as_array().expect("findings");
    assert_eq!(code == FOUND, !findings.is_empty(), "{report}");
    let kind = |finding: &serde_json::Value| {
        assert_eq!(finding["server"], "s1", "{report}");
        finding["kind"].as_str().expect("a kind").to_owned()
    };
    findings.iter().map(kind).collect()
}

/// Reads every block alone: those of `bad` answer MEDIUM ERROR with their address, all others what was written.
fn assert_only_bad(initiator: &mut Initiator, bad: impl Fn(u64) -> bool) {
    let mut seen = 0;
    for block in 0..BLOCKS {
        let done = read(initiator, block, 1);
        if bad(block) {
            seen += 1;
            let sense = done.sense.unwrap_or_else(|| panic!("block {block} was read"));
            assert_eq!(done.status, Some(Status::CheckCondition));
            assert_eq!(sense.key, SenseKey::MediumError, "block {block}: {sense:?}");
            assert_eq!(sense.additional, AdditionalSense::UNRECOVERED_READ_ERROR, "block {block}");
            assert_eq!(sense.information, Some(block * SECTORS), "block {block}");
            assert!(done.data.is_empty(), "block {block} was given although it is bad");
        } else {
            assert_eq!(done.status, Some(Status::Good), "block {block}: {:?}", done.sense);
            assert!(done.data[..] == content(block), "block {block} has other content");
        }
    }
    assert!(seen > 0, "no block was bad");
}

#[test]
fn a_flipped_data_bit_is_found_and_only_its_block_is_lost_until_it_is_written() {
    let (mut group, iqn) = written();
    let store = StoppedStore::open(&group.store(1));
    let bad = 1234;
    store.flip_bit(store.find_data(&content(bad), 4 * DATA_BYTES) + 1000);
    assert_eq!(findings(&group, FOUND), ["bad-data"]);
    let detail = check(&group).json()["findings"][0]["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains("block 210 ") && detail.contains("checksum"), "{detail}");
    group.spawn();
    group.wait();
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    assert_only_bad(&mut initiator, |block| block == bad);
    // A longer read fails as a whole and says where.
    let done = read(&mut initiator, bad - 10, 20);
    assert_eq!(done.sense.and_then(|sense| sense.information), Some(bad * SECTORS));
    write(&mut initiator, bad, content(bad));
    let done = read(&mut initiator, bad - 10, 20);
    assert!(done.data[..] == (bad - 10..bad + 10).flat_map(content).collect::<Vec<_>>());
    drop(initiator);
    assert_eq!(group.stop().0, 0);
    assert_eq!(findings(&group, 0), [""; 0]);
}

#[test]
fn swapped_units_are_found_and_never_served_for_each_other() {
    let (mut group, iqn) = written();
    let store = StoppedStore::open(&group.store(1));
    let (one, other) = (5 * REGION_BLOCKS, 70 * REGION_BLOCKS);
    let places = [one, other].map(|block| store.find_data(&content(block), 4 * DATA_BYTES));
    let units = places.map(|place| store.read(place, BLOCK * REGION_BLOCKS as usize));
    store.write(places[0], &units[1]);
    store.write(places[1], &units[0]);
    assert_eq!(findings(&group, FOUND), ["bad-data"; 2 * REGION_BLOCKS as usize]);
    group.spawn();
    group.wait();
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    let within = |region: u64, block: u64| (region..region + REGION_BLOCKS).contains(&block);
    assert_only_bad(&mut initiator, |block| within(one, block) || within(other, block));
}

#[test]
fn a_flipped_metadata_bit_is_found_and_the_store_is_refused_rather_than_guessed_at() {
    let (mut group, iqn) = written();
    let store = StoppedStore::open(&group.store(1));
    let page = store.find_live_page();
    store.flip_bit(page + 1200);
    assert_eq!(findings(&group, FOUND), ["bad-metadata"]);
    let _ = group.start_in_vain().refusal(FAILED, &["s1/store", "metadata page 0 is damaged", "peers"]);
    store.flip_bit(page + 1200);
    assert_eq!(findings(&group, 0), [""; 0]);
    group.spawn();
    group.wait();
    assert!(read(&mut Initiator::open(&group.portal(1), &iqn), 3, 1).data[..] == content(3));
}

#[test]
fn a_truncated_store_is_found_and_refused() {
    let (group, _) = written();
    let store = StoppedStore::open(&group.store(1));
    store.set_len(128 << 20);
    assert_eq!(findings(&group, FOUND), ["truncated"]);
    let _ = group.start_in_vain().refusal(FAILED, &["s1/store", "134217728 bytes", "truncated"]);
    store.set_len(100);
    assert_eq!(findings(&group, FOUND), ["foreign-superblock"]);
    let _ = group.start_in_vain().refusal(FAILED, &["s1/store", "no store"]);
}

/// A server that was killed with records in its journal that are in no place yet, and a store with nothing bad in it.
fn killed() -> (Group, String, StoppedStore) {
    let (mut group, iqn) = written();
    group.spawn();
    group.wait();
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    for block in 0..8 {
        write(&mut initiator, block, content(block + BLOCKS));
    }
    group.kill();
    assert_eq!(findings(&group, 0), [""; 0]);
    let store = StoppedStore::open(&group.store(1));
    (group, iqn, store)
}

#[test]
fn a_torn_journal_is_found_and_costs_nothing_that_was_acknowledged() {
    let (mut group, iqn, store) = killed();
    // The record that was being written when the server was killed: its header claims the next number, its rest is
    // missing.
    let last = store.find_last_journal_record();
    let mut header = store.read(last, BLOCK);
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let (blocks, sequence) = (number(12) as u16 as u64 + (number(16) & 0xffff_ffff), number(56));
    header[56..64].copy_from_slice(&(sequence + 1).to_le_bytes());
    store.write(last + blocks * BLOCK as u64, &header);
    assert_eq!(findings(&group, FOUND), ["torn-journal"]);
    group.spawn();
    group.wait();
    assert!(group.records_replayed() > 0);
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    for block in 0..BLOCKS {
        let expected = if block < 8 { block + BLOCKS } else { block };
        assert!(read(&mut initiator, block, 1).data[..] == content(expected), "block {block}");
    }
    drop(initiator);
    assert_eq!(group.stop().0, 0);
    assert_eq!(findings(&group, 0), [""; 0]);
}

#[test]
fn a_damaged_record_in_the_middle_of_the_journal_is_no_torn_one() {
    let (group, _, store) = killed();
    let last = store.find_last_journal_record();
    // Each of the last writes has a record of two blocks.
    store.flip_bit(last - 2 * BLOCK as u64 + 200);
    let kinds = findings(&group, FOUND);
    assert!(
        kinds.contains(&"corrupt-journal".to_owned()) && !kinds.contains(&"torn-journal".to_owned()),
        "{kinds:?}"
    );
    let _ = group.start_in_vain().refusal(FAILED, &["s1/store", "journal record", "was durable"]);
}

#[test]
fn a_foreign_a_damaged_and_a_newer_superblock_are_told_apart() {
    let (group, _) = written();
    let store = StoppedStore::open(&group.store(1));
    store.flip_bit(SUPERBLOCK_COPIES[1] + 60);
    assert_eq!(findings(&group, FOUND), ["damaged-superblock-copy"]);
    store.flip_bit(SUPERBLOCK_COPIES[0] + 60);
    assert_eq!(findings(&group, FOUND), ["damaged-superblock"]);
    SUPERBLOCK_COPIES.iter().for_each(|copy| store.flip_bit(copy + 60));
    assert_eq!(findings(&group, 0), [""; 0]);
    store.set_format_version(9);
    assert_eq!(findings(&group, FOUND), ["newer-format"]);
    store.set_format_version(1);
    let (mine, kept) = (group.store(1), group.folder().join("kept"));
    std::fs::rename(&mine, &kept).expect("the store can be put away");
    let (namesake, _) = written();
    std::fs::copy(namesake.store(1), &mine).expect("the store can be copied");
    assert_eq!(findings(&group, FOUND), ["foreign-superblock"]);
    std::fs::write(&mine, vec![0x55; 1 << 20]).expect("a file can be written");
    assert_eq!(findings(&group, FOUND), ["foreign-superblock"]);
    std::fs::rename(&kept, &mine).expect("the store can be put back");
    assert_eq!(findings(&group, 0), [""; 0]);
    // The directory that knows whose store it is can be damaged too.
    std::fs::write(group.data().join("directory"), vec![0x55; 1 << 20]).expect("a file can be written");
    assert_eq!(findings(&group, FOUND), ["damaged-directory"]);
    let _ = group.start_in_vain().refusal(FAILED, &["data/directory", "damaged"]);
}
