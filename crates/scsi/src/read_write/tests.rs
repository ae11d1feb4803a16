use crate::command::Decoded;
use crate::fixtures::{
    BLOCKS, answer, assert_invalid_field, assert_refused, block_command, decode, send, unit, unit_4k,
};
use crate::initiator::{Request, request};
use crate::limits::TRANSFER_BYTES_MAX;
use crate::sense::AdditionalSense;
use crate::status::Status;
use bytes::Bytes;
use evenkeel_types::{BlockOp, ByteRange};
use proptest::prelude::*;

fn read_range(decoded: Decoded) -> ByteRange {
    let command = block_command(decoded);
    let [BlockOp::Read { at }] = command.ops[..] else { panic!("no read: {command:?}") };
    assert_eq!(command.expected_data_in, at.len);
    at
}

fn write_range(decoded: &Decoded) -> ByteRange {
    let Decoded::NeedsData { len, then } = decoded else { panic!("no write: {decoded:?}") };
    let at = then.write_range().unwrap();
    assert_eq!(at.len, *len);
    at
}

#[test]
fn each_length_of_cdb_has_its_fields_in_their_places() {
    let unit = unit();
    let six = [0x08, 0x1f, 0x02, 0x03, 0x04, 0];
    let ten = [0x28, 0, 0, 0x11, 0x02, 0x03, 0, 0x01, 0x04, 0];
    let twelve = [0xa8, 0, 0, 0x11, 0x02, 0x03, 0, 0, 0x01, 0x04, 0, 0];
    let sixteen = [0x88, 0, 0, 0, 0, 0, 0, 0x11, 0x02, 0x03, 0, 0, 0x01, 0x04, 0, 0];
    assert_eq!(read_range(decode(&unit, &six)), ByteRange::new(0x1f_0203 * 512, 4 * 512));
    for cdb in [&ten[..], &twelve, &sixteen] {
        let at = ByteRange::new(0x11_0203 * 512, 0x0104 * 512);
        assert_eq!(read_range(decode(&unit, cdb)), at);
        let mut write = cdb.to_vec();
        write[0] += 2;
        assert_eq!(write_range(&decode(&unit, &write)), at);
    }
    assert_eq!(write_range(&decode(&unit, &[0x0a, 0, 0, 3, 1, 0])), ByteRange::new(3 * 512, 512));
}

#[test]
fn blocks_of_4_kib_are_counted_in_their_own_size() {
    let at = read_range(decode(&unit_4k(), &request::read_16(3, 2, 4096).cdb));
    assert_eq!(at, ByteRange::new(3 * 4096, 2 * 4096));
}

#[test]
fn a_length_of_zero_means_256_blocks_in_six_byte_commands_alone() {
    let unit = unit();
    assert_eq!(read_range(decode(&unit, &[0x08, 0, 0, 0, 0, 0])).len, 256 * 512);
    assert_eq!(write_range(&decode(&unit, &[0x0a, 0, 0, 0, 0, 0])).len, 256 * 512);
    for opcode in [0x28, 0x2a, 0xa8, 0xaa, 0x88, 0x8a] {
        assert_eq!(answer(decode(&unit, &[opcode, 0, 0, 0, 0, 0])).status, Status::Good);
    }
}

#[test]
fn the_last_block_can_be_addressed_and_nothing_behind_it() {
    let unit = unit();
    for (lba, count) in [(BLOCKS - 1, 1), (BLOCKS - 256, 256)] {
        let at = read_range(decode(&unit, &request::read_16(lba, count, 512).cdb));
        assert_eq!(at.end(), BLOCKS * 512);
    }
    for (lba, count) in [(BLOCKS, 1), (BLOCKS - 1, 2), (BLOCKS + 1, 0), (u64::MAX, 0), (u64::MAX, 1)] {
        let read = request::read_16(lba, count, 512).cdb;
        assert_refused(decode(&unit, &read), AdditionalSense::LBA_OUT_OF_RANGE);
        let mut write = read;
        write[0] = 0x8a;
        assert_refused(decode(&unit, &write), AdditionalSense::LBA_OUT_OF_RANGE);
    }
    let six = [0x08, 0x1f, 0xff, 0xff, 2, 0];
    assert_refused(decode(&unit, &six), AdditionalSense::LBA_OUT_OF_RANGE);
}

#[test]
fn a_transfer_beyond_the_limit_points_at_its_length() {
    let unit = unit();
    let most = TRANSFER_BYTES_MAX / 512;
    assert_eq!(read_range(decode(&unit, &request::read_16(8, most, 512).cdb)).len, TRANSFER_BYTES_MAX);
    assert_invalid_field(decode(&unit, &request::read_16(8, most + 1, 512).cdb), 10);
    let ten = [0x2a, 0, 0, 0, 0, 0, 0, 0x40, 0x01, 0];
    assert_invalid_field(decode(&unit, &ten), 7);
    let twelve = [0xaa, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x01, 0, 0];
    assert_invalid_field(decode(&unit, &twelve), 6);
}

#[test]
fn protection_is_refused_and_cache_hints_accepted() {
    let unit = unit();
    for opcode in [0x28, 0x2a] {
        for protect in 1..8 {
            assert_invalid_field(decode(&unit, &[opcode, protect << 5, 0, 0, 0, 0, 0, 0, 1, 0]), 1);
        }
        for hints in [0x10, 0x08, 0x02, 0x18, 0x1a] {
            let decoded = decode(&unit, &[opcode, hints, 0, 0, 0, 0, 0, 0, 1, 0]);
            assert!(!matches!(decoded, Decoded::Immediate(_)), "{decoded:?}");
        }
    }
}

fn write_announced(blocks: u32, announced: usize) -> Decoded {
    let unit = unit();
    let Decoded::NeedsData { len, then } =
        decode(&unit, &[0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, blocks as u8, 0, 0])
    else {
        panic!("no write");
    };
    unit.with_data(then, Bytes::from(vec![b'b'; announced.min(len as usize)]), announced as u32)
}

#[test]
fn a_write_that_is_announced_too_short_writes_the_whole_blocks_that_came() {
    let command = block_command(write_announced(2, 512));
    let [BlockOp::Write { at, data }] = &command.ops[..] else { panic!("no write: {command:?}") };
    assert_eq!((*at, data.len()), (ByteRange::new(9 * 512, 512), 512));
    assert_eq!(answer(write_announced(2, 0)).status, Status::Good);
    assert_eq!(block_command(write_announced(1, 10_000)).ops[0].range(), Some(ByteRange::new(9 * 512, 512)));
}

#[test]
fn a_write_that_ends_within_a_block_writes_nothing() {
    assert_refused(write_announced(1, 200), AdditionalSense::INVALID_FIELD_IN_INFORMATION_UNIT);
    assert_refused(write_announced(2, 700), AdditionalSense::INVALID_FIELD_IN_INFORMATION_UNIT);
}

fn written(request: &Request) -> (ByteRange, Bytes) {
    let command = block_command(send(&unit(), request));
    let [BlockOp::Write { at, data }] = &command.ops[..] else { panic!("no write: {command:?}") };
    (*at, data.clone())
}

proptest! {
    #[test]
    fn what_an_initiator_builds_is_what_the_unit_reads(lba in 0..BLOCKS - 0x4000, count in 1u32..=0x4000) {
        let at = ByteRange::new(lba * 512, count * 512);
        let unit = unit();
        prop_assert_eq!(read_range(decode(&unit, &request::read_16(lba, count, 512).cdb)), at);
        prop_assert_eq!(read_range(decode(&unit, &request::read_10(lba as u32, count as u16, 512).cdb)), at);
        let data = Bytes::from(vec![7; at.len as usize]);
        prop_assert_eq!(written(&request::write_16(lba, data.clone(), 512)), (at, data.clone()));
        prop_assert_eq!(written(&request::write_10(lba as u32, data.clone(), 512)), (at, data));
    }
}
