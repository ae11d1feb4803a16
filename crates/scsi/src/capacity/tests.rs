use crate::fixtures::{assert_invalid_field, config, decode, good_data, unit, unit_4k};
use crate::initiator::request;
use crate::logical_unit::{LogicalUnit, LunConfig};

#[test]
fn both_commands_tell_the_last_block_and_the_size_of_blocks() {
    assert_eq!(
        good_data(decode(&unit(), &request::read_capacity_10().cdb)),
        [0, 0x1f, 0xff, 0xff, 0, 0, 2, 0]
    );
    let data = good_data(decode(&unit(), &request::read_capacity_16().cdb));
    assert_eq!(data[..16], [0, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0, 0, 2, 0, 0, 3, 0xc0, 0]);
    assert_eq!(data[16..], [0; 16]);
    let data = good_data(decode(&unit_4k(), &request::read_capacity_16().cdb));
    assert_eq!(data[..16], [0, 0, 0, 0, 0, 3, 0xff, 0xff, 0, 0, 0x10, 0, 0, 0, 0xc0, 0]);
}

#[test]
fn a_volume_too_large_for_ten_bytes_says_so() {
    for (blocks, last) in [(1u64 << 32, u32::MAX), ((1 << 32) + 1, u32::MAX), ((1 << 32) - 1, u32::MAX - 1)] {
        let unit = LogicalUnit::new(LunConfig { capacity_bytes: blocks * 512, ..config() }).unwrap();
        assert_eq!(good_data(decode(&unit, &request::read_capacity_10().cdb))[..4], last.to_be_bytes());
    }
}

#[test]
fn any_allocation_length_is_good() {
    let whole = good_data(decode(&unit(), &request::read_capacity_16().cdb));
    for len in 0..=40u8 {
        let data = good_data(decode(&unit(), &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, len, 0, 0]));
        assert_eq!(data, whole[..whole.len().min(len.into())]);
    }
}

#[test]
fn partial_medium_indicator_and_address_are_obsolete_and_refused() {
    assert_invalid_field(decode(&unit(), &[0x25, 0, 0, 0, 0, 0, 0, 0, 1, 0]), 8);
    assert_invalid_field(decode(&unit(), &[0x25, 0, 0, 0, 0, 1, 0, 0, 0, 0]), 5);
}
