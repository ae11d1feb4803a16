use super::*;
use crate::command::Response;
use crate::fixtures::{BLOCKS, cdb, unit};
use crate::logical_unit::LUN;
use crate::sense::{AdditionalSense, SenseKey};
use proptest::prelude::*;

#[test]
fn rows_are_in_order_and_their_codes_unique() {
    let codes: Vec<_> = COMMANDS.iter().map(|row| (row.opcode, row.service_action)).collect();
    assert!(codes.is_sorted_by(|a, b| a < b), "{codes:02x?}");
    for row in COMMANDS {
        // An operation code has service actions in all of its rows or in none.
        assert_eq!(row.service_action.is_some(), has_service_actions(row.opcode), "{}", row.name);
    }
}

#[test]
fn cdb_lengths_are_those_of_the_groups_of_operation_codes() {
    for row in COMMANDS {
        let len = match row.opcode >> 5 {
            0 => 6,
            1 | 2 => 10,
            4 => 16,
            5 => 12,
            group => panic!("{} is in group {group}", row.name),
        };
        assert_eq!(row.cdb_len, len, "{}", row.name);
        assert!(row.fields[usize::from(row.cdb_len)..].iter().all(|byte| *byte == 0), "{}", row.name);
        assert_eq!(row.fields[usize::from(row.cdb_len) - 1], 0, "CONTROL of {}", row.name);
        assert_eq!(row.fields[0], 0, "{}", row.name);
    }
}

#[test]
fn every_row_is_found_by_its_codes() {
    for row in COMMANDS {
        let bytes = [row.opcode, row.service_action.unwrap_or(0)];
        match find(Cdb(&cdb(&bytes))) {
            Lookup::Found(found) => assert_eq!(found.name, row.name),
            other => panic!("{}: {other:?}", row.name),
        }
    }
    assert!(matches!(find(Cdb(&cdb(&[code::MAINTENANCE_IN, 0x0a]))), Lookup::UnknownServiceAction));
    assert!(matches!(find(Cdb(&cdb(&[0xc0]))), Lookup::UnknownOpcode));
}

/// The plainest CDB of a row: all fields zero.
fn plain(row: &Command) -> [u8; CDB_BYTES] {
    cdb(&[row.opcode, row.service_action.unwrap_or(0)])
}

fn points_at(response: &Response, byte: u16, bit: u8) -> bool {
    response.sense.is_some_and(|sense| {
        sense.additional == AdditionalSense::INVALID_FIELD_IN_CDB
            && sense.field.is_some_and(|field| (field.byte, field.bit) == (byte, Some(bit)))
    })
}

#[test]
fn each_bit_outside_of_the_usage_data_is_refused_and_pointed_at() {
    for row in COMMANDS {
        let usage = row.usage();
        for byte in 1..usize::from(row.cdb_len) {
            for bit in 0..8 {
                let of_service_action = byte == 1 && bit < 5 && row.service_action.is_some();
                if usage[byte] >> bit & 1 == 1 || of_service_action {
                    continue;
                }
                let mut bytes = plain(row);
                bytes[byte] |= 1 << bit;
                let Decoded::Immediate(response) = unit().decode(&mut NexusState::default(), LUN, &bytes)
                else {
                    panic!("{}: bit {bit} of byte {byte} is accepted", row.name);
                };
                assert!(points_at(&response, byte as u16, bit), "{}: {response:?}", row.name);
            }
        }
    }
}

#[test]
fn each_bit_in_the_usage_data_has_a_command_that_is_not_refused_for_it_as_reserved() {
    for row in COMMANDS {
        for byte in 1..usize::from(row.cdb_len) {
            for bit in (0..8).filter(|bit| row.fields[byte] >> bit & 1 == 1) {
                let mut bytes = plain(row);
                bytes[byte] |= 1 << bit;
                assert_eq!(row.reserved_bit_set_in(&bytes), None, "{}: bit {bit} of byte {byte}", row.name);
            }
        }
    }
}

/// SPC-4 table 65 and SBC-3 clause 4.17, by the names of the commands without their service actions.
#[test]
fn each_command_has_the_class_that_reservations_tell_apart() {
    for row in COMMANDS {
        let name = row.name.split(['(', ',']).next().unwrap();
        let expected = match name {
            "INQUIRY" | "REPORT LUNS" | "REQUEST SENSE" | "READ CAPACITY" => Access::Always,
            "TEST UNIT READY" => Access::Ready,
            "READ" | "MODE SENSE" | "GET LBA STATUS" | "REPORT SUPPORTED OPERATION CODES" => Access::Read,
            "WRITE" | "WRITE SAME" | "UNMAP" | "COMPARE AND WRITE" | "SYNCHRONIZE CACHE" => Access::Write,
            "PERSISTENT RESERVE IN" => Access::PersistentReserveIn,
            "PERSISTENT RESERVE OUT" => Access::PersistentReserveOut,
            "RESERVE" | "RELEASE" => Access::ReserveRelease,
            other => panic!("{other} has no class"),
        };
        assert_eq!(row.access, expected, "{}", row.name);
        assert!(!row.writes || row.access == Access::Write, "{} writes", row.name);
        assert_eq!(access_of(&plain(row)), expected, "{}", row.name);
    }
    assert_eq!(access_of(&cdb(&[0xff])), Access::Always);
}

#[test]
fn bytes_behind_the_cdb_are_not_looked_at() {
    for row in COMMANDS {
        let mut bytes = plain(row);
        bytes[usize::from(row.cdb_len)..].fill(0xff);
        assert_eq!(row.reserved_bit_set_in(&bytes), None, "{}", row.name);
    }
}

#[test]
fn naca_is_refused_by_every_command() {
    for row in COMMANDS {
        let mut bytes = plain(row);
        bytes[usize::from(row.cdb_len) - 1] = 0x04;
        assert_eq!(row.reserved_bit_set_in(&bytes), Some((u16::from(row.cdb_len) - 1, 2)), "{}", row.name);
    }
}

/// Random CDBs without reserved bits, many of them with numbers so small that they are not refused at once.
fn near_commands() -> impl Strategy<Value = [u8; CDB_BYTES]> {
    (0..COMMANDS.len(), any::<[u8; CDB_BYTES]>(), any::<u16>()).prop_map(|(row, noise, zeros)| {
        let row = &COMMANDS[row];
        let mut bytes = noise;
        for at in (2..CDB_BYTES).filter(|at| zeros >> at & 1 == 1) {
            bytes[at] = 0;
        }
        for (byte, allowed) in bytes.iter_mut().zip(row.fields) {
            *byte &= allowed;
        }
        bytes[0] = row.opcode;
        bytes[1] |= row.service_action.unwrap_or(0);
        bytes
    })
}

fn check_decoded(decoded: Decoded) -> Result<(), TestCaseError> {
    match decoded {
        Decoded::Immediate(response) => {
            prop_assert_eq!(
                response.sense.is_some(),
                response.status == crate::status::Status::CheckCondition
            );
        }
        Decoded::NeedsData { len, then } => {
            prop_assert_eq!(len, then.len);
            prop_assert!(
                then.write_range().is_none_or(|at| len > 0 && at.len == len && at.end() <= BLOCKS * 512)
            );
        }
        Decoded::Block(command) => {
            prop_assert!(!command.ops.is_empty() && command.ops.len() <= crate::limits::BLOCK_OPS_MAX);
            for at in command.ops.iter().filter_map(evenkeel_types::BlockOp::range) {
                prop_assert!(at.len > 0 && at.end() <= BLOCKS * 512);
            }
        }
        Decoded::Reserve(command) => prop_assert!(!command.name().is_empty()),
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_sixteen_bytes_are_decoded_without_harm(bytes in any::<[u8; CDB_BYTES]>(), lun in any::<u64>()) {
        check_decoded(unit().decode(&mut NexusState::default(), LUN, &bytes))?;
        check_decoded(unit().decode(&mut NexusState::default(), lun, &bytes))?;
    }

    #[test]
    fn whatever_fields_say_what_comes_out_lies_within_the_volume(bytes in near_commands()) {
        check_decoded(unit().decode(&mut NexusState::default(), LUN, &bytes))?;
    }

    #[test]
    fn unknown_operation_codes_are_named_as_such(bytes in any::<[u8; CDB_BYTES]>()) {
        prop_assume!(COMMANDS.iter().all(|row| row.opcode != bytes[0]));
        let Decoded::Immediate(response) = unit().decode(&mut NexusState::default(), LUN, &bytes) else {
            panic!("an unknown command is carried out");
        };
        let sense = response.sense.unwrap();
        prop_assert_eq!(sense.key, SenseKey::IllegalRequest);
        prop_assert_eq!(sense.additional, AdditionalSense::INVALID_OPERATION_CODE);
    }
}
