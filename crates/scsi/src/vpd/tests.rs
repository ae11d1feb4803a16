use super::*;
use crate::fixtures::{TARGET, assert_invalid_field, decode, good_data, unit, unit_4k};
use crate::initiator::request;

fn page_of(unit: &LogicalUnit, code: u8) -> Vec<u8> {
    let data = good_data(decode(unit, &request::inquiry_page(code, u16::MAX).cdb));
    assert_eq!((data[0], data[1]), (0, code));
    assert_eq!(usize::from(u16::from_be_bytes([data[2], data[3]])), data.len() - 4);
    data
}

#[test]
fn every_listed_page_exists_and_no_other() {
    let listed = page_of(&unit(), code::SUPPORTED_PAGES).split_off(4);
    assert_eq!(listed, [0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    for code in 0..=u8::MAX {
        if listed.contains(&code) {
            page_of(&unit(), code);
        } else {
            assert_invalid_field(decode(&unit(), &request::inquiry_page(code, 255).cdb), 2);
        }
    }
}

#[test]
fn the_serial_number_is_that_of_the_configuration() {
    assert_eq!(page_of(&unit(), 0x80)[4..], *b"1011121314151617f8191a1b1c1d1e1f");
}

#[test]
fn block_limits_are_in_blocks_of_the_logical_unit() {
    let page = page_of(&unit(), 0xb0);
    assert_eq!(page.len(), 64);
    assert_eq!(page[4..8], [0, 1, 0, 8]);
    let long = |at: usize| u32::from_be_bytes(page[at..at + 4].try_into().unwrap());
    assert_eq!([long(8), long(12), long(16)], [0x4000, 0x800, 0]);
    assert_eq!([long(20), long(24), long(28), long(32)], [0x8_0000, 256, 8, 0x8000_0000]);
    assert_eq!([long(36), long(40)], [0, 0x8000]);
    assert!(page[44..].iter().all(|byte| *byte == 0));
    assert_eq!(page_of(&unit_4k(), 0xb0)[4..12], [0, 1, 0, 1, 0, 0, 0x08, 0]);
}

#[test]
fn the_medium_does_not_rotate() {
    let page = page_of(&unit(), 0xb1);
    assert_eq!((page.len(), &page[4..6]), (64, &[0, 1][..]));
    assert!(page[6..].iter().all(|byte| *byte == 0));
}

#[test]
fn provisioning_is_thin_and_unmapped_blocks_read_as_zeros() {
    assert_eq!(page_of(&unit(), 0xb2), [0, 0xb2, 0, 4, 0, 0xe4, 0x02, 0]);
}

/// Designators as (code set and protocol, association and type, designator).
fn designators(mut page: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let mut out = Vec::new();
    while let [set, kind, 0, len, rest @ ..] = page {
        let (designator, behind) = rest.split_at(usize::from(*len));
        out.push((*set, *kind, designator.to_vec()));
        page = behind;
    }
    assert!(page.is_empty());
    out
}

#[test]
fn identifiers_name_the_volume_the_port_and_the_target() {
    let page = page_of(&unit(), 0x83);
    let mut target = TARGET.as_bytes().to_vec();
    target.push(0);
    let mut port = format!("{TARGET},t,0x0001").into_bytes();
    port.push(0);
    for name in [&mut target, &mut port] {
        name.resize(name.len().next_multiple_of(4), 0);
    }
    let expected = [
        (0x02, 0x01, b"EVENKEELVOLUME          1011121314151617f8191a1b1c1d1e1f".to_vec()),
        // The upper four bits are the NAA: locally assigned.
        (0x01, 0x03, vec![0x38, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f]),
        (
            0x01,
            0x0a,
            vec![
                0x10, 0, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0xf8, 0x19, 0x1a, 0x1b, 0x1c, 0x1d,
                0x1e, 0x1f,
            ],
        ),
        (0x51, 0x94, vec![0, 0, 0, 1]),
        (0x51, 0x95, vec![0, 0, 0, 1]),
        (0x53, 0x98, port),
        (0x53, 0xa8, target),
    ];
    assert_eq!(designators(&page[4..]), expected);
}

#[test]
fn a_name_string_ends_with_a_nul_and_fills_whole_words() {
    for len in 0..9 {
        let string = name_string(&"n".repeat(len));
        assert_eq!(string.len() % 4, 0);
        assert!(string.len() > len && string.len() <= len + 4);
        assert_eq!(string.last(), Some(&0));
    }
}
