use crate::fixtures::{assert_invalid_field, decode, good_data, unit};
use crate::initiator::request;

#[test]
fn standard_data_has_the_bytes_of_the_standard() {
    let data = good_data(decode(&unit(), &request::inquiry(260).cdb));
    assert_eq!(data.len(), 96);
    assert_eq!(data[..8], [0x00, 0x00, 0x06, 0x12, 91, 0, 0, 0x02]);
    assert_eq!(&data[8..36], b"EVENKEELVOLUME          0001");
    assert_eq!(data[58..66], [0x00, 0xa0, 0x09, 0x60, 0x04, 0x60, 0x04, 0xc0]);
    assert!(data[36..58].iter().chain(&data[66..]).all(|byte| *byte == 0));
}

#[test]
fn the_answer_is_cut_to_the_allocation_length_and_its_own_length_stays_true() {
    let whole = good_data(decode(&unit(), &request::inquiry(512).cdb));
    for len in 0..=256u16 {
        let data = good_data(decode(&unit(), &request::inquiry(len).cdb));
        assert_eq!(data, whole[..whole.len().min(len.into())]);
    }
}

#[test]
fn a_page_code_without_evpd_is_refused() {
    assert_invalid_field(decode(&unit(), &[0x12, 0, 0x83, 0, 255, 0]), 2);
}

#[test]
fn command_support_data_is_obsolete_and_refused() {
    assert_invalid_field(decode(&unit(), &[0x12, 0x02, 0, 0, 255, 0]), 1);
}
