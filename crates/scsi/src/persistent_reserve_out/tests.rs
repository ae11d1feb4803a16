use super::*;
use crate::fixtures::{assert_invalid_field, assert_refused, cdb, sense, unit};
use crate::initiator::reservations::{ReserveOut, persistent_reserve_out as request, register_and_move};
use crate::logical_unit::LUN;
use crate::reservations::InitiatorPort;
use bytes::Bytes;

fn initiator(which: u8) -> InitiatorPort {
    InitiatorPort::new("iqn.2026-01.test:host", [0, 0, 0, 0, 0, which]).unwrap()
}

fn named() -> NexusState {
    let mut nexus = NexusState::default();
    nexus.set_name(Nexus::new(initiator(1), 1));
    nexus
}

/// Decodes a CDB with this parameter list, announced truthfully.
fn send(cdb: [u8; 16], list: &[u8]) -> Decoded {
    match unit().decode(&mut named(), LUN, &cdb) {
        Decoded::NeedsData { len, then } => {
            let (data, announced) = (Bytes::copy_from_slice(list), list.len() as u32);
            unit().with_data(then, data.slice(..data.len().min(len as usize)), announced)
        }
        decoded => decoded,
    }
}

fn read(decoded: Decoded) -> Action {
    match decoded {
        Decoded::Reserve(ReservationCommand(action)) => action,
        other => panic!("{other:?}"),
    }
}

fn out_cdb(service_action: u8, scope_and_type: u8, len: u32) -> [u8; 16] {
    let [a, b, c, d] = len.to_be_bytes();
    cdb(&[0x5f, service_action, scope_and_type, 0, 0, a, b, c, d, 0])
}

/// Keys 1 and 2, and flags.
fn list(flags: u8) -> Vec<u8> {
    let mut list = vec![0; 24];
    (list[7], list[15], list[20]) = (1, 2, flags);
    list
}

#[test]
fn each_service_action_takes_what_it_needs_of_the_parameter_list() {
    let register = |key, aptpl, all_ports| {
        Action::Register(Register { key, new_key: 2, aptpl, all_ports, others: None })
    };
    let preempt = |abort| Action::Preempt(Preempt { key: 1, victim: 2, scope_and_type: 0x33, abort });
    let table = [
        (0, 0x33, 0x00, register(Some(1), false, false)),
        (0, 0x33, 0x01, register(Some(1), true, false)),
        (6, 0x33, 0x04, register(None, false, true)),
        (1, 0x03, 0x05, Action::Reserve { key: 1, kind: ReservationType::ExclusiveAccess }),
        (2, 0x33, 0x05, Action::Release { key: 1, scope_and_type: 0x33 }),
        (3, 0x33, 0x05, Action::Clear { key: 1 }),
        (4, 0x33, 0x05, preempt(false)),
        (5, 0x33, 0x05, preempt(true)),
    ];
    for (service_action, scope_and_type, flags, expected) in table {
        assert_eq!(read(send(out_cdb(service_action, scope_and_type, 24), &list(flags))), expected);
    }
}

#[test]
fn a_list_of_another_length_is_refused_before_it_is_taken() {
    for service_action in 0..8 {
        for len in [0, 1, 23, 25, RESERVE_OUT_BYTES_MAX, RESERVE_OUT_BYTES_MAX + 1, u32::MAX] {
            let takes_more = [0, 7].contains(&service_action) && (24..=RESERVE_OUT_BYTES_MAX).contains(&len);
            let decoded = unit().decode(&mut named(), LUN, &out_cdb(service_action, 1, len));
            if takes_more {
                assert!(matches!(decoded, Decoded::NeedsData { len: wanted, .. } if wanted == len));
            } else {
                assert_refused(decoded, AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
            }
        }
    }
    let mut longer = list(0);
    longer.push(0);
    assert_refused(send(out_cdb(0, 0, 25), &longer), AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    let cut = send(out_cdb(3, 0, 24), &list(0)[..23]);
    assert_refused(cut, AdditionalSense::INVALID_FIELD_IN_INFORMATION_UNIT);
}

#[test]
fn a_reservation_of_an_unknown_scope_or_type_is_refused() {
    for scope_and_type in 0..=255 {
        let decoded = unit().decode(&mut named(), LUN, &out_cdb(1, scope_and_type, 24));
        if [1, 3, 5, 6, 7, 8].contains(&scope_and_type) {
            assert!(matches!(decoded, Decoded::NeedsData { .. }));
        } else {
            assert_invalid_field(decoded, 2);
        }
    }
}

#[test]
fn only_register_names_initiator_ports() {
    for service_action in 1..7 {
        let refused = sense(send(out_cdb(service_action, 1, 24), &list(SPEC_I_PT)));
        assert_eq!(refused, Sense::invalid_field_in_parameter_list(20));
    }
}

#[test]
fn initiator_ports_are_read_to_the_last() {
    let initiators = [initiator(2), initiator(3)];
    let request = request(code::REGISTER, &ReserveOut { initiators: &initiators, ..ReserveOut::default() });
    let Action::Register(Register { others: Some(others), .. }) = read(send(request.cdb, &request.data_out))
    else {
        panic!("no initiator ports")
    };
    assert_eq!(others, initiators.map(TransportId::Port));
    let none = [&list(SPEC_I_PT)[..], &[0; 4]].concat();
    let Action::Register(register) = read(send(out_cdb(0, 0, 28), &none)) else { panic!() };
    assert_eq!(register.others, Some(vec![]));
}

#[test]
fn initiator_ports_that_are_cut_off_or_none_are_refused() {
    let id = transport_id::encode(&initiator(2));
    let with = |length: u32, ids: &[u8]| {
        let list = [&list(SPEC_I_PT)[..], &length.to_be_bytes(), ids].concat();
        sense(send(out_cdb(0, 0, list.len() as u32), &list))
    };
    let length_error = length_error();
    assert_eq!(sense(send(out_cdb(0, 0, 24), &list(SPEC_I_PT))), length_error);
    assert_eq!(with(id.len() as u32 + 4, &id), length_error, "the list ends before");
    assert_eq!(with(u32::MAX, &id), length_error);
    let two = [&id[..], &id].concat();
    let invalid = |at: usize| Sense::invalid_field_in_parameter_list(at as u16);
    assert_eq!(with(two.len() as u32 - 4, &two), invalid(28 + id.len()), "the second is cut");
    assert_eq!(with(id.len() as u32, &[0; 64]), invalid(28));
}

#[test]
fn a_move_names_one_initiator_port_and_a_target_port() {
    let to = Nexus::new(initiator(2), 0x1234);
    for (unregister, aptpl) in [(false, true), (true, false)] {
        let request = register_and_move(1, &to, 2, unregister, aptpl);
        let expected = RegisterAndMove { key: 1, new_key: 2, aptpl, unregister, to: to.clone() };
        assert_eq!(read(send(request.cdb, &request.data_out)), Action::RegisterAndMove(expected));
    }
    let request = register_and_move(1, &to, 2, false, false);
    let changed = |at: usize, byte: u8| {
        let mut list = request.data_out.to_vec();
        list[at] = byte;
        sense(send(request.cdb, &list))
    };
    let invalid = Sense::invalid_field_in_parameter_list(24);
    assert_eq!(changed(24, 0x05), invalid, "an initiator as such");
    assert_eq!(changed(24, 0x46), invalid, "another transport");
    assert_eq!(changed(23, 24), invalid, "the TransportID is cut");
    assert_eq!(changed(20, 1), length_error(), "longer than the list");
    assert_eq!(sense(send(out_cdb(7, 0, 24), &[0; 24])), invalid, "no TransportID");
}

#[test]
fn a_nexus_without_a_name_has_no_reservations() {
    for cdb in [out_cdb(0, 0, 24), cdb(&[0x16, 0]), cdb(&[0x17, 0]), cdb(&[0x56, 0]), cdb(&[0x57, 0])] {
        let decoded = unit().decode(&mut NexusState::default(), LUN, &cdb);
        assert_refused(decoded, AdditionalSense::INVALID_OPERATION_CODE);
    }
}

#[test]
fn reserve_and_release_are_known_in_both_lengths_and_without_options() {
    for (opcode, expected) in [
        (0x16, Action::Spc2Reserve),
        (0x56, Action::Spc2Reserve),
        (0x17, Action::Spc2Release),
        (0x57, Action::Spc2Release),
    ] {
        assert_eq!(read(send(cdb(&[opcode, 0]), &[])), expected);
        assert_invalid_field(send(cdb(&[opcode, 0x01]), &[]), 1);
        assert_invalid_field(send(cdb(&[opcode, 0x10]), &[]), 1);
    }
}
