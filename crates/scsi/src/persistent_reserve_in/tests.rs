use crate::fixtures::{cdb, good_data, unit};
use crate::initiator::reservations::{
    FullStatus, HeldReservation, RegisteredKeys, RegistrationStatus, ReservationCapabilities, ReserveOut,
    persistent_reserve_in, persistent_reserve_out,
};
use crate::logical_unit::LUN;
use crate::nexus::NexusState;
use crate::opcodes::code;
use crate::reservations::transport_id::TransportId;
use crate::reservations::{InitiatorPort, Nexus, ReservationState, ReservationType, SessionId, Surroundings};
use crate::{Decoded, ReservationCommand};
use std::sync::Arc;

fn nexus(which: u8) -> Nexus {
    let name = if which == 1 { "iqn.a" } else { "iqn.2026-01.io.evenkeel:b" };
    Nexus::new(InitiatorPort::new(name, [0x40, 0, 0, 0, 0, which]).unwrap(), u16::from(which))
}

fn command(service_action: u8, out: &ReserveOut<'_>) -> ReservationCommand {
    let request = persistent_reserve_out(service_action, out);
    let mut state = NexusState::default();
    state.set_name(nexus(1));
    let Decoded::NeedsData { len, then } = unit().decode(&mut state, LUN, &request.cdb) else { panic!() };
    match unit().with_data(then, request.data_out, len) {
        Decoded::Reserve(command) => command,
        other => panic!("{other:?}"),
    }
}

/// Two registrations, and a reservation of the first.
fn reserved(kind: ReservationType) -> Arc<ReservationState> {
    let around = Surroundings { session: SessionId::default(), ports: &[1, 2], initiators: &[] };
    let mut state = ReservationState::default();
    for (who, service_action, out) in [
        (1, code::REGISTER, ReserveOut { service_action_key: 0xa, ..ReserveOut::default() }),
        (2, code::REGISTER, ReserveOut { service_action_key: 0xb, aptpl: true, ..ReserveOut::default() }),
        (1, code::RESERVE, ReserveOut { key: 0xa, kind: Some(kind), ..ReserveOut::default() }),
    ] {
        let change = command(service_action, &out).apply(&state, &nexus(who), &around);
        state = change.unwrap().state.unwrap();
    }
    Arc::new(state)
}

fn ask(state: &Arc<ReservationState>, service_action: u8, allocation_length: u16) -> Vec<u8> {
    let mut nexus = NexusState::default();
    nexus.set_reservations(Arc::clone(state));
    let request = persistent_reserve_in(service_action, allocation_length);
    good_data(unit().decode(&mut nexus, LUN, &cdb(&request.cdb)))
}

const IN: [u8; 4] =
    [code::READ_KEYS, code::READ_RESERVATION, code::REPORT_CAPABILITIES, code::READ_FULL_STATUS];

#[test]
fn nothing_is_registered_and_nothing_reserved_in_the_beginning() {
    for list in [code::READ_KEYS, code::READ_RESERVATION, code::READ_FULL_STATUS] {
        assert_eq!(ask(&Arc::default(), list, 255), [0; 8]);
    }
}

#[test]
fn keys_are_listed_one_for_each_nexus() {
    let bytes = ask(&reserved(ReservationType::WriteExclusive), code::READ_KEYS, 255);
    // The nexuses are in the order of their names.
    assert_eq!(bytes, [0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0xb, 0, 0, 0, 0, 0, 0, 0, 0xa]);
    assert_eq!(
        RegisteredKeys::parse(&bytes).unwrap(),
        RegisteredKeys { generation: 2, keys: vec![0xb, 0xa] }
    );
}

#[test]
fn a_reservation_is_described_with_the_key_of_its_holder_or_zero() {
    for kind in ReservationType::ALL {
        let bytes = ask(&reserved(kind), code::READ_RESERVATION, 255);
        let key = if kind.is_held_by_all_registrants() { 0 } else { 0xa };
        let expected = [0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, key, 0, 0, 0, 0, 0, kind.code(), 0, 0];
        assert_eq!(bytes, expected);
        let held = Some((u64::from(key), kind));
        assert_eq!(HeldReservation::parse(&bytes).unwrap(), HeldReservation { generation: 2, held });
    }
}

#[test]
fn full_status_names_every_nexus_and_who_holds_the_reservation() {
    for kind in ReservationType::ALL {
        let bytes = ask(&reserved(kind), code::READ_FULL_STATUS, u16::MAX);
        assert_eq!(bytes[4..8], ((bytes.len() - 8) as u32).to_be_bytes());
        let status = |which: u8, key, holds| RegistrationStatus {
            key,
            holds,
            port: Some(which.into()),
            initiator: TransportId::Port(nexus(which).initiator),
        };
        let all = kind.is_held_by_all_registrants().then_some(kind);
        assert_eq!(
            FullStatus::parse(&bytes).unwrap(),
            FullStatus {
                generation: 2,
                registrations: vec![status(2, 0xb, all), status(1, 0xa, Some(kind))]
            }
        );
    }
    let bytes = ask(&reserved(ReservationType::WriteExclusive), code::READ_FULL_STATUS, u16::MAX);
    let first = 24 + usize::from(bytes[8 + 23]);
    let second = &bytes[8 + first..];
    assert_eq!(second[..24], [0, 0, 0, 0, 0, 0, 0, 0xa, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 28]);
    assert_eq!(&second[24..], b"\x45\0\0\x18iqn.a,i,0x400000000001\0\0");
}

#[test]
fn capabilities_name_all_types_and_what_was_asked_for() {
    assert_eq!(ask(&Arc::default(), code::REPORT_CAPABILITIES, 255), [0, 8, 0x1d, 0xc0, 0xea, 0x01, 0, 0]);
    let bytes = ask(&reserved(ReservationType::WriteExclusive), code::REPORT_CAPABILITIES, 255);
    assert_eq!(bytes, [0, 8, 0x1d, 0xc1, 0xea, 0x01, 0, 0]);
    let expected = ReservationCapabilities {
        compatible_reserve: true,
        specifies_initiators: true,
        all_target_ports: true,
        persists: (true, true),
        types: Some(ReservationType::ALL.to_vec()),
    };
    assert_eq!(ReservationCapabilities::parse(&bytes).unwrap(), expected);
}

#[test]
fn an_answer_is_cut_to_the_allocation_length_and_says_how_long_it_is() {
    let state = reserved(ReservationType::WriteExclusive);
    for service_action in IN {
        let whole = ask(&state, service_action, u16::MAX);
        for len in 0..whole.len() {
            assert_eq!(ask(&state, service_action, len as u16), whole[..len]);
        }
    }
    let cut = ask(&state, code::READ_KEYS, 17);
    assert_eq!(RegisteredKeys::parse(&cut).unwrap().keys, [0xb], "what is whole is read");
    assert_eq!(FullStatus::parse(&ask(&state, code::READ_FULL_STATUS, 60)).unwrap().registrations.len(), 0);
}
