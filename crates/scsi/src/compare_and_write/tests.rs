use crate::command::Decoded;
use crate::fixtures::{
    BLOCKS, answer, assert_invalid_field, assert_refused, block_command, decode, send, unit, unit_4k,
};
use crate::initiator::request;
use crate::sense::AdditionalSense;
use crate::status::Status;
use evenkeel_types::{BlockOp, ByteRange};

#[test]
fn the_first_half_is_compared_and_the_second_written() {
    for (unit, block) in [(unit(), 512), (unit_4k(), 4096)] {
        let (expected, data) = (vec![1; block as usize], vec![2; block as usize]);
        let command = block_command(send(&unit, &request::compare_and_write(5, &expected, &data, block)));
        let [BlockOp::CompareAndWrite { at, expected: compared, data: written }] = &command.ops[..] else {
            panic!("{command:?}")
        };
        assert_eq!(*at, ByteRange::new(5 * u64::from(block), block));
        assert!(*compared == expected && *written == data);
    }
}

#[test]
fn more_than_one_block_is_refused() {
    let two = vec![0; 1024];
    assert_invalid_field(decode(&unit(), &request::compare_and_write(0, &two, &two, 512).cdb), 13);
}

#[test]
fn no_blocks_are_no_error_but_must_exist() {
    let nothing = request::compare_and_write(0, &[], &[], 512);
    assert_eq!(answer(send(&unit(), &nothing)).status, Status::Good);
    let one = [0; 512];
    for (lba, blocks) in [(BLOCKS, &one[..]), (BLOCKS + 1, &[]), (u64::MAX, &one)] {
        let cdb = request::compare_and_write(lba, blocks, blocks, 512).cdb;
        assert_refused(decode(&unit(), &cdb), AdditionalSense::LBA_OUT_OF_RANGE);
    }
}

#[test]
fn a_count_that_its_byte_cannot_hold_is_refused_and_not_taken_for_none() {
    let unit = unit();
    for announced in [1, 512, 1024, 2 * 256 * 512] {
        let Decoded::NeedsData { len: 0, then } =
            decode(&unit, &request::compare_and_write(0, &[], &[], 512).cdb)
        else {
            panic!("the announced length is not asked for")
        };
        assert_invalid_field(unit.with_data(then, bytes::Bytes::new(), announced), 13);
    }
}

#[test]
fn data_of_another_length_than_two_blocks_is_refused() {
    let unit = unit();
    let one = [0; 512];
    for announced in [0, 512, 1023, 1536, 2048] {
        let Decoded::NeedsData { len, then } =
            decode(&unit, &request::compare_and_write(0, &one, &one, 512).cdb)
        else {
            panic!("no data wanted")
        };
        assert_eq!(len, 1024);
        let decoded = unit.with_data(then, vec![0; announced.min(1024)].into(), announced as u32);
        assert_refused(decoded, AdditionalSense::INVALID_FIELD_IN_INFORMATION_UNIT);
    }
}
