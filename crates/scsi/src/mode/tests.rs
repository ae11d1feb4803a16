use crate::fixtures::{assert_invalid_field, assert_refused, config, decode, good_data, unit};
use crate::logical_unit::{LogicalUnit, LunConfig};
use crate::sense::AdditionalSense;

fn mode_6(flags: u8, page: u8, subpage: u8) -> Vec<u8> {
    good_data(decode(&unit(), &[0x1a, flags, page, subpage, 255, 0]))
}

const CACHING: [u8; 20] = [0x08, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CONTROL: [u8; 12] = [0x0a, 0x0a, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn all_pages_come_in_order_behind_header_and_block_descriptor() {
    let data = mode_6(0, 0x3f, 0);
    assert_eq!(usize::from(data[0]), data.len() - 1);
    assert_eq!(data[1..4], [0, 0x10, 8]);
    assert_eq!(data[4..12], [0, 0x20, 0, 0, 0, 0, 2, 0]);
    assert_eq!(data[12..32], CACHING);
    assert_eq!(data[32..44], CONTROL);
    assert_eq!(data[44..], [0x1c, 0x0a, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(mode_6(0, 0x3f, 0xff), data);
}

#[test]
fn one_page_comes_alone_and_without_block_descriptor_if_so_asked() {
    assert_eq!(mode_6(0x08, 0x0a, 0)[..4], [15, 0, 0x10, 0]);
    assert_eq!(mode_6(0x08, 0x0a, 0)[4..], CONTROL);
    assert_eq!(mode_6(0, 0x08, 0)[12..], CACHING);
}

#[test]
fn nothing_can_be_changed_and_defaults_are_what_is() {
    let changeable = mode_6(0x08, 0x40 | 0x3f, 0);
    let mut pages = &changeable[4..];
    while let [_, len, rest @ ..] = pages {
        let (page, behind) = rest.split_at(usize::from(*len));
        assert!(page.iter().all(|byte| *byte == 0));
        pages = behind;
    }
    assert_eq!(mode_6(0x08, 0x80 | 0x3f, 0), mode_6(0x08, 0x3f, 0));
    assert_refused(
        decode(&unit(), &[0x1a, 0, 0xc0 | 0x3f, 0, 255, 0]),
        AdditionalSense::SAVING_PARAMETERS_NOT_SUPPORTED,
    );
}

#[test]
fn unknown_pages_and_subpages_are_refused() {
    for page in [0x00, 0x01, 0x3e] {
        assert_invalid_field(decode(&unit(), &[0x1a, 0, page, 0, 255, 0]), 2);
    }
    assert_invalid_field(decode(&unit(), &[0x1a, 0, 0x0a, 1, 255, 0]), 3);
}

#[test]
fn ten_bytes_have_a_long_header_and_on_demand_a_long_descriptor() {
    let data = good_data(decode(&unit(), &[0x5a, 0, 0x0a, 0, 0, 0, 0, 0, 255, 0]));
    assert_eq!(data[..8], [0, 26, 0, 0x10, 0, 0, 0, 8]);
    assert_eq!(data[8..16], [0, 0x20, 0, 0, 0, 0, 2, 0]);
    assert_eq!(data[16..], CONTROL);
    let data = good_data(decode(&unit(), &[0x5a, 0x10, 0x0a, 0, 0, 0, 0, 0, 255, 0]));
    assert_eq!(data[..8], [0, 34, 0, 0x10, 1, 0, 0, 16]);
    assert_eq!(data[8..24], [0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    let data = good_data(decode(&unit(), &[0x5a, 0x18, 0x0a, 0, 0, 0, 0, 0, 255, 0]));
    assert_eq!(data[..8], [0, 18, 0, 0x10, 0, 0, 0, 0]);
}

#[test]
fn a_read_only_unit_is_write_protected() {
    let unit = LogicalUnit::new(LunConfig { read_only: true, ..config() }).unwrap();
    assert_eq!(good_data(decode(&unit, &[0x1a, 0, 0x3f, 0, 255, 0]))[2], 0x90);
}

#[test]
fn the_answer_is_cut_to_the_allocation_length() {
    let whole = mode_6(0, 0x3f, 0);
    for len in 0..=255u8 {
        let data = good_data(decode(&unit(), &[0x1a, 0, 0x3f, 0, len, 0]));
        assert_eq!(data, whole[..whole.len().min(len.into())]);
    }
}
