use super::*;

const VOLUME: u64 = 0xfeed;
const TWO: Blocks = Blocks { first: 1023, count: 2 };

fn ledger() -> Ledger {
    Ledger::new(VOLUME, 16 << 20)
}

fn write(ledger: &mut Ledger, blocks: Blocks, portal: usize, acknowledged: bool) -> Bytes {
    let sequence = ledger.begin_write(blocks);
    ledger.end_write(blocks, sequence, portal, acknowledged);
    ledger.content(blocks, sequence)
}

fn read(ledger: &mut Ledger, blocks: Blocks, data: &[u8]) -> Checked {
    ledger.begin_read(blocks);
    ledger.end_read(blocks, Some(data))
}

#[test]
fn a_read_must_see_the_last_acknowledged_write() {
    let mut ledger = ledger();
    let zeros = vec![0; 8192];
    assert_eq!(read(&mut ledger, TWO, &zeros).mismatches, 0);
    let first = write(&mut ledger, TWO, 0, true);
    let second = write(&mut ledger, TWO, 1, true);
    assert_eq!(read(&mut ledger, TWO, &second), Checked { blocks: 2, ..Checked::default() });
    let stale = read(&mut ledger, TWO, &first);
    assert_eq!(stale.mismatches, 2);
    assert_eq!(
        stale.first_mismatch.as_deref(),
        Some("block 1023 (extent 0) holds write 1, where write 2 was acknowledged")
    );
    assert_eq!(read(&mut ledger, TWO, &zeros).mismatches, 2);
}

#[test]
fn a_write_of_unknown_outcome_may_be_seen_until_it_was_seen_or_overwritten() {
    let mut ledger = ledger();
    let first = write(&mut ledger, TWO, 0, true);
    let unknown = write(&mut ledger, TWO, 0, false);
    assert_eq!(read(&mut ledger, TWO, &first).mismatches, 0);
    assert_eq!(read(&mut ledger, TWO, &unknown).mismatches, 0);
    assert_eq!(read(&mut ledger, TWO, &first).mismatches, 2, "once seen it stays");
    let later = write(&mut ledger, TWO, 0, false);
    let last = write(&mut ledger, TWO, 0, true);
    assert_eq!(read(&mut ledger, TWO, &later).mismatches, 2, "a later write was acknowledged");
    assert_eq!(read(&mut ledger, TWO, &last).mismatches, 0);
}

#[test]
fn requests_that_would_race_with_a_write_are_not_free() {
    let mut ledger = ledger();
    let one = Blocks { first: 1024, count: 1 };
    ledger.begin_read(TWO);
    ledger.begin_read(one);
    assert!(ledger.is_free(TWO, false) && !ledger.is_free(one, true));
    ledger.end_read(one, None);
    assert!(!ledger.is_free(one, true), "the other read is still under way");
    ledger.end_read(TWO, None);
    let sequence = ledger.begin_write(one);
    assert!(!ledger.is_free(TWO, false) && !ledger.is_free(TWO, true));
    ledger.end_write(one, sequence, 0, true);
    assert!(ledger.is_free(TWO, true));
}

#[test]
fn short_data_and_damaged_blocks_are_mismatches() {
    let mut ledger = ledger();
    let content = write(&mut ledger, TWO, 0, true);
    assert_eq!(read(&mut ledger, TWO, &content[..4096]).mismatches, 1);
    let mut damaged = content.to_vec();
    damaged[5000] ^= 1;
    assert_eq!(read(&mut ledger, TWO, &damaged).mismatches, 1);
}

#[test]
fn written_blocks_are_found_in_pieces_that_another_portal_can_read() {
    let mut ledger = ledger();
    for (first, count, portal) in [(10, 4, 0), (14, 2, 1), (16, 4, 2), (1022, 4, 1)] {
        write(&mut ledger, Blocks { first, count }, portal, true);
    }
    let mut from = 0;
    let mut pieces = Vec::new();
    while let Some((blocks, writers)) = ledger.written_in(from..1024, 64, 3) {
        pieces.push((blocks.first, blocks.count, writers.0));
        from = blocks.first + u64::from(blocks.count);
    }
    assert_eq!(pieces, [(10, 6, 0b011), (16, 4, 0b100), (1022, 2, 0b010)]);
    assert_eq!(ledger.written_in(10..1024, 3, 3).unwrap().0.count, 3);
    assert_eq!(ledger.written_in(1024..2048, 64, 1).unwrap().0, Blocks { first: 1024, count: 2 });
}
