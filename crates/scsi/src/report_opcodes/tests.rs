use super::*;
use crate::fixtures::{assert_invalid_field, decode, good_data, unit};

fn report(options: u8, opcode: u8, service_action: u8) -> Decoded {
    decode(&unit(), &[0xa3, 0x0c, options, opcode, 0, service_action, 0, 0, 0xff, 0xff, 0, 0])
}

#[test]
fn the_list_has_every_row_of_the_table() {
    for (rctd, step) in [(0, 8), (0x80, 20)] {
        let data = good_data(report(rctd, 0, 0));
        assert_eq!(u32::from_be_bytes(data[..4].try_into().unwrap()) as usize, data.len() - 4);
        assert_eq!(data.len(), 4 + step * COMMANDS.len());
        for (descriptor, row) in data[4..].chunks(step).zip(COMMANDS) {
            let servactv = u8::from(row.service_action.is_some());
            let flags = servactv | if rctd != 0 { 0x02 } else { 0 };
            let service_action = row.service_action.unwrap_or(0);
            assert_eq!(descriptor[..8], [row.opcode, 0, 0, service_action, 0, flags, 0, row.cdb_len]);
            assert!(descriptor.len() == 8 || descriptor[8..] == [0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30]);
        }
    }
}

#[test]
fn one_command_is_told_with_the_usage_of_its_cdb() {
    let expected = [0, 3, 0, 10, 0x28, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0];
    assert_eq!(good_data(report(1, 0x28, 0)), expected);
    assert_eq!(good_data(report(3, 0x28, 0)), expected);
    let rsoc = [0, 3, 0, 12, 0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0];
    assert_eq!(good_data(report(2, 0xa3, 0x0c)), rsoc);
    assert_eq!(good_data(report(3, 0xa3, 0x0c)), rsoc);
    let with_timeouts = good_data(report(0x81, 0x00, 0));
    assert_eq!(with_timeouts, [0, 0x83, 0, 6, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30]);
}

#[test]
fn each_way_of_asking_fits_only_its_kind_of_operation_code() {
    for row in COMMANDS {
        let service_action = row.service_action.unwrap_or(0);
        let (by_opcode, by_service_action) =
            (report(1, row.opcode, service_action), report(2, row.opcode, service_action));
        let (good, refused) = match row.service_action {
            Some(_) => (by_service_action, by_opcode),
            None => (by_opcode, by_service_action),
        };
        assert_eq!(good_data(good)[4..], row.usage()[..row.cdb_len.into()], "{}", row.name);
        assert_invalid_field(refused, OPCODE_FIELD);
    }
}

#[test]
fn an_unknown_command_is_told_as_not_supported() {
    for (options, opcode, service_action) in [(1, 0xc0, 0), (2, 0xa3, 0x0a), (3, 0xa3, 0x0a), (3, 0x28, 1)] {
        assert_eq!(good_data(report(options, opcode, service_action)), [0, 1, 0, 0]);
    }
}

#[test]
fn reserved_reporting_options_are_refused() {
    for options in 4..8 {
        assert_invalid_field(report(options, 0x28, 0), REPORTING_OPTIONS_FIELD);
    }
}
