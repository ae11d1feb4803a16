use super::*;
use crate::fixtures::{
    BLOCKS, assert_invalid_field, assert_refused, block_command, decode, send, unit, unit_4k,
};
use crate::initiator::request;
use evenkeel_types::aligned_buf::BUFFER_ALIGNMENT;

const MOST: u32 = WRITE_SAME_BYTES_MAX / 512;

fn zeroed(decoded: Decoded) -> ByteRange {
    let command = block_command(decoded);
    let [BlockOp::Zero { at }] = command.ops[..] else { panic!("{command:?}") };
    at
}

fn block(byte: u8) -> Bytes {
    Bytes::from(vec![byte; 512])
}

#[test]
fn a_block_of_zeros_clears_with_and_without_unmap() {
    for unmap in [false, true] {
        let at = ByteRange::new(7 * 512, 9 * 512);
        assert_eq!(zeroed(send(&unit(), &request::write_same_10(7, 9, block(0), unmap))), at);
        assert_eq!(zeroed(send(&unit(), &request::write_same_16(7, 9, block(0), unmap))), at);
        assert_eq!(zeroed(send(&unit(), &request::write_same_16(7, 9, Bytes::new(), unmap))), at);
    }
}

#[test]
fn a_pattern_fills_the_range_without_gap_in_operations_of_bounded_size() {
    let pattern: Bytes = (0..512u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    for (lba, count) in [(0, 1), (3, 5), (8, 2048), (5, 2049), (1, MOST)] {
        let command =
            block_command(send(&unit(), &request::write_same_16(lba, count, pattern.clone(), false)));
        let mut next = lba * 512;
        for op in &command.ops {
            let BlockOp::Write { at, data } = op else { panic!("{op:?}") };
            assert_eq!(at.offset, next);
            assert_eq!(at.len as usize, data.len());
            assert!(at.len <= PATTERN_OP_BYTES_MAX);
            assert!(data.chunks(512).all(|chunk| chunk == pattern));
            assert_eq!(data.as_ptr() as usize % BUFFER_ALIGNMENT, (at.offset % 4096) as usize);
            next = at.end();
        }
        assert_eq!(next, (lba + u64::from(count)) * 512);
    }
}

#[test]
fn unmap_clears_whatever_the_block_holds() {
    let at = ByteRange::new(7 * 512, 9 * 512);
    assert_eq!(zeroed(send(&unit(), &request::write_same_10(7, 9, block(0xff), true))), at);
    assert_eq!(zeroed(send(&unit(), &request::write_same_16(7, 9, block(0xff), true))), at);
    let written = block_command(send(&unit(), &request::write_same_16(7, 9, block(0xff), false)));
    assert!(matches!(written.ops[..], [BlockOp::Write { .. }]));
}

#[test]
fn a_count_of_zero_means_up_to_the_end_within_the_limit() {
    let unit = unit();
    let to_end = |from: u64| send(&unit, &request::write_same_10(from as u32, 0, block(0), true));
    assert_eq!(zeroed(to_end(BLOCKS - 3)), ByteRange::new((BLOCKS - 3) * 512, 3 * 512));
    assert_eq!(zeroed(to_end(BLOCKS - u64::from(MOST))).len, WRITE_SAME_BYTES_MAX);
    assert_invalid_field(to_end(BLOCKS - u64::from(MOST) - 1), 7);
    assert_invalid_field(to_end(0), 7);
    for from in [BLOCKS, BLOCKS + 1, 0x8000_0000, 0xffff_ffff] {
        assert_refused(to_end(from), AdditionalSense::LBA_OUT_OF_RANGE);
    }
}

#[test]
fn a_range_beyond_the_end_or_the_limit_is_refused() {
    let unit = unit();
    for (lba, count) in [(BLOCKS, 1), (BLOCKS - 1, 2), (u64::MAX, 1), (u64::MAX, 0)] {
        let cdb = request::write_same_16(lba, count, block(1), false).cdb;
        assert_refused(decode(&unit, &cdb), AdditionalSense::LBA_OUT_OF_RANGE);
    }
    assert_invalid_field(decode(&unit, &request::write_same_16(0, MOST + 1, block(1), false).cdb), 10);
}

#[test]
fn anchor_and_protection_are_refused() {
    let unit = unit();
    for flags in [0x10, 0x18, 0x20, 0xe0] {
        assert_invalid_field(decode(&unit, &[0x41, flags, 0, 0, 0, 0, 0, 0, 1, 0]), 1);
        assert_invalid_field(decode(&unit, &[0x93, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]), 1);
    }
}

#[test]
fn data_of_another_length_than_one_block_is_refused() {
    let unit = unit();
    for announced in [0, 256, 1024] {
        let request = request::write_same_10(0, 1, vec![0; announced].into(), true);
        assert_refused(send(&unit, &request), AdditionalSense::INVALID_FIELD_IN_INFORMATION_UNIT);
    }
}

#[test]
fn blocks_of_4_kib_are_one_pattern() {
    let pattern = Bytes::from(vec![3; 4096]);
    let command = block_command(send(&unit_4k(), &request::write_same_16(2, 3, pattern, false)));
    let [BlockOp::Write { at, .. }] = command.ops[..] else { panic!("{command:?}") };
    assert_eq!(at, ByteRange::new(2 * 4096, 3 * 4096));
}
