use crate::fixtures::{assert_invalid_field, decode, good_data, unit};

fn report(select: u8, len: u8) -> Vec<u8> {
    good_data(decode(&unit(), &[0xa0, 0, select, 0, 0, 0, 0, 0, 0, len, 0, 0]))
}

#[test]
fn lun_0_is_all_there_is() {
    let lun_0 = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(report(0x00, 255), lun_0);
    assert_eq!(report(0x02, 255), lun_0);
    assert_eq!(report(0x01, 255), [0; 8]);
    assert_eq!(report(0x00, 8), lun_0[..8]);
    assert_eq!(report(0x00, 0), [0u8; 0]);
}

#[test]
fn an_unknown_selection_is_refused() {
    assert_invalid_field(decode(&unit(), &[0xa0, 0, 0x03, 0, 0, 0, 0, 0, 0, 16, 0, 0]), 2);
}
