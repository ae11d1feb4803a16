//! A bit flips under each of two copies, in different blocks: what is read stays right, and the copies are mended from
//! each other.

use evenkeel_api::{ScrubRow, ScrubTable, StartScrub};
use evenkeel_scsi::initiator::request;
use evenkeel_tests::{Group, Initiator, Processes, StoppedStore, wait_until};
use evenkeel_types::Bytes;

const BLOCK: usize = 4096;
/// Logical blocks of a block.
const SECTORS: u64 = 8;
/// Blocks of the volume that are written: one extent.
const BLOCKS: u64 = 1024;
/// The blocks whose bits flip, under the owner's copy and under the other one; in different regions.
const BAD: [u64; 2] = [100, 700];
/// Units of a store in which the extent can be.
const SEARCHED: u64 = 64 << 20;

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

/// The bad blocks that a check finds in a process's store.
fn bad_blocks(process: &Group) -> usize {
    let data = process.data();
    let ran = process.evenkeel(&["check", data.to_str().expect("a readable path"), "-o", "json"]);
    let report = ran.json();
    let findings = report["findings"].as_array().expect("findings");
    assert!(findings.iter().all(|finding| finding["kind"] == "bad-data"), "{report}");
    findings.len()
}

fn read_all(process: &Group, iqn: &str) {
    let mut initiator = Initiator::open(&process.portal(1), iqn);
    for block in (0..BLOCKS).step_by(32) {
        let data = initiator.good(&request::read_16(block * SECTORS, 32 * SECTORS as u32, 512));
        let expected: Vec<u8> = (block..block + 32).flat_map(content).collect();
        assert!(data[..] == expected, "blocks from {block} on are not as written");
    }
}

#[test]
fn a_bit_flipped_under_each_of_two_copies_changes_nothing_that_is_read_and_is_mended() {
    let mut group = Processes::start(3, "--balance false");
    let iqn = group.processes[0].create_replicated("v1", "4MiB", 2);
    let [owner, other, third] = group.placed("v1");
    let mut initiator = Initiator::open(&group.processes[third].portal(1), &iqn);
    for block in (0..BLOCKS).step_by(64) {
        let data: Vec<u8> = (block..block + 64).flat_map(content).collect();
        let _ = initiator.good(&request::write_16(block * SECTORS, Bytes::from(data), 512));
    }
    drop(initiator);
    for process in &mut group.processes {
        assert_eq!(process.stop().0, 0);
    }
    for (copy, bad) in [(owner, BAD[0]), (other, BAD[1])] {
        let process = &group.processes[copy];
        assert_eq!(bad_blocks(process), 0);
        let store = StoppedStore::open(&process.store(copy as u16 + 1));
        store.flip_bit(store.find_data(&content(bad), SEARCHED) + 1000);
        assert_eq!(bad_blocks(process), 1);
    }
    group.processes.iter_mut().for_each(Group::spawn);
    group.all_are_up();
    for process in &group.processes {
        read_all(process, &iqn);
    }
    // The owner's copy was mended by the first read of the block; the other one nobody has read.
    let mended = || group.counters().regions_mended;
    wait_until(|| format!("{} mended", mended()), || mended() >= 1);
    let by_reading = mended();
    let start = StartScrub { rate: Some(256 << 20) };
    let asked = group.processes[third].api();
    let _: ScrubTable = asked.put("/v1/scrub", &start).expect("the scrub begins");
    let found = || -> ScrubTable { asked.get("/v1/scrub").expect("what the scrub found") };
    let total = |of: fn(&ScrubRow) -> u64| found().servers.iter().map(of).sum::<u64>();
    wait_until(
        || format!("both copies are mended: {:?}", found()),
        || total(|row| row.mended) + total(|row| row.copies_mended) >= 2,
    );
    println!("{by_reading} regions mended by reading; the scrub: {:?}", found());
    for process in &mut group.processes {
        assert_eq!(process.stop().0, 0);
    }
    for copy in [owner, other] {
        assert_eq!(bad_blocks(&group.processes[copy]), 0, "both copies are as good as new");
    }
    assert_eq!(group.warnings_but(&["mended region", "mended from the copy here"]), []);
}
