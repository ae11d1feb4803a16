//! What each service action does, and what it refuses.

use super::*;
use crate::initiator::reservations::register_and_move;
use ReservationType as T;

fn keys(state: &ReservationState) -> Vec<(Nexus, u64)> {
    state.registrations().map(|(nexus, key)| (nexus.clone(), key)).collect()
}

fn out(key: u64, service_action_key: u64) -> ReserveOut<'static> {
    ReserveOut { key, service_action_key, ..ReserveOut::default() }
}

fn typed(key: u64, service_action_key: u64, kind: T) -> ReserveOut<'static> {
    ReserveOut { kind: Some(kind), ..out(key, service_action_key) }
}

#[test]
fn register_wants_the_key_that_is_registered_and_zero_from_who_is_not() {
    let mut unit = Unit::default();
    assert_conflict(&unit.refused(&nexus(1), code::REGISTER, out(1, 2)));
    unit.register(&nexus(1), 0xa);
    assert_conflict(&unit.refused(&nexus(1), code::REGISTER, out(0, 0xb)));
    unit.good(&nexus(1), code::REGISTER, out(0xa, 0xb));
    assert_eq!(unit.state.key_of(&nexus(1)), Some(0xb));
    unit.good(&nexus(1), code::REGISTER, out(0xb, 0));
    assert!(!unit.state.is_registered(&nexus(1)));
    assert_eq!(unit.state.generation(), 3);
}

#[test]
fn register_and_ignore_wants_no_key() {
    let mut unit = Unit::default();
    for (shown, new) in [(7, 0xa), (8, 0xb), (9, 0xb)] {
        unit.good(&nexus(1), code::REGISTER_AND_IGNORE_EXISTING_KEY, out(shown, new));
        assert_eq!(unit.state.key_of(&nexus(1)), Some(new));
    }
    assert_eq!(unit.state.generation(), 3, "the same key again counts, too");
    unit.good(&nexus(1), code::REGISTER_AND_IGNORE_EXISTING_KEY, out(9, 0));
    assert_eq!((keys(&unit.state).len(), unit.state.generation()), (0, 4));
}

#[test]
fn who_is_not_registered_and_wants_no_key_changes_nothing() {
    for service_action in [code::REGISTER, code::REGISTER_AND_IGNORE_EXISTING_KEY] {
        let change = apply(&command(service_action, &out(0, 0)), &ReservationState::default(), &nexus(1));
        assert_eq!(change.unwrap(), Change::none());
    }
}

#[test]
fn the_latest_registration_decides_about_power_loss() {
    let mut unit = Unit::default();
    unit.good(&nexus(1), code::REGISTER, ReserveOut { aptpl: true, ..out(0, 1) });
    assert!(unit.state.aptpl());
    unit.good(&nexus(1), code::RESERVE, typed(1, 0, T::WriteExclusive));
    assert!(unit.state.aptpl(), "other service actions ignore the bit");
    unit.good(&nexus(2), code::REGISTER, out(0, 2));
    assert!(!unit.state.aptpl());
    unit.send(&nexus(1), &decoded(&register_and_move(1, &nexus(3), 3, false, true)).unwrap()).unwrap();
    assert!(unit.state.aptpl());
}

#[test]
fn all_target_ports_are_registered_at_once_each_as_if_by_itself() {
    let mut unit = Unit::default();
    let all = |key, new| ReserveOut { all_target_ports: true, ..out(key, new) };
    unit.good(&nexus(1), code::REGISTER, all(0, 0xa));
    assert_eq!(keys(&unit.state), [(at_port(1, 1), 0xa), (at_port(1, 2), 0xa)]);
    assert_eq!(unit.state.generation(), 1);
    assert_conflict(&unit.refused(&at_port(1, 2), code::REGISTER, all(0, 0xb)));
    unit.good(&at_port(1, 2), code::REGISTER, all(0xa, 0xb));
    assert_eq!(keys(&unit.state), [(at_port(1, 1), 0xb), (at_port(1, 2), 0xb)]);
    unit.good(&nexus(1), code::REGISTER, out(0xb, 0xc));
    assert_conflict(&unit.refused(&nexus(1), code::REGISTER, all(0xc, 0)));
    unit.good(&nexus(1), code::REGISTER_AND_IGNORE_EXISTING_KEY, all(0, 0));
    assert_eq!(keys(&unit.state), []);
}

#[test]
fn a_target_port_that_came_later_is_registered_with_the_next_key() {
    let mut unit = Unit::default();
    unit.register(&nexus(1), 0xa);
    unit.good(&nexus(1), code::REGISTER, ReserveOut { all_target_ports: true, ..out(0xa, 0xb) });
    assert_eq!(keys(&unit.state), [(at_port(1, 1), 0xb), (at_port(1, 2), 0xb)]);
}

#[test]
fn other_initiators_are_registered_if_none_of_them_is() {
    let initiators = [initiator(2), initiator(3)];
    let with_others = |key, new| ReserveOut { initiators: &initiators, ..out(key, new) };
    let mut unit = Unit::default();
    unit.good(&nexus(1), code::REGISTER, ReserveOut { all_target_ports: true, ..with_others(0, 0xa) });
    assert_eq!(unit.state.registrations().len(), 6);
    assert!(unit.state.registrations().all(|(_, key)| key == 0xa));

    let mut unit = Unit::default();
    unit.register(&nexus(3), 0xc);
    let response = unit.refused(&nexus(1), code::REGISTER, with_others(0, 0xa));
    assert_sense(&response, Sense::invalid_field_in_parameter_list(24));
    unit.register(&nexus(1), 0xa);
    let response = unit.refused(&nexus(1), code::REGISTER, with_others(0xa, 0xb));
    assert_sense(&response, Sense::invalid_field_in_parameter_list(20));
    assert_conflict(&unit.refused(&nexus(1), code::REGISTER, with_others(0xb, 0xb)));
}

/// A parameter list of REGISTER with this key and an initiator as such.
fn register_device(new_key: u64, name: &str) -> ReservationCommand {
    let id = transport_id::TransportId::Device(name.to_owned());
    ReservationCommand(command::Action::Register(command::Register {
        key: Some(0),
        new_key,
        aptpl: false,
        all_ports: false,
        others: Some(vec![id]),
    }))
}

#[test]
fn an_initiator_as_such_stands_for_all_its_ports_that_are_known() {
    let (name, isids) = (initiator(2).name().to_owned(), [[1; 6], [2; 6], [3; 6]]);
    let ports = isids.map(|isid| InitiatorPort::new(&name, isid).unwrap());
    let around = Surroundings { initiators: &ports[..2], ..surroundings() };
    let device = register_device(0xa, &name);
    let mut state = device.apply(&ReservationState::default(), &nexus(1), &around).unwrap().state.unwrap();
    let registered =
        |state: &ReservationState, port: &InitiatorPort| state.is_registered(&Nexus::new(port.clone(), 1));
    assert_eq!(ports.each_ref().map(|port| registered(&state, port)), [true, true, false]);
    // One that is known by its registration at another target port.
    state = ReservationState::default();
    state.registrations.insert(Nexus::new(ports[2].clone(), 2), 5);
    state = device.apply(&state, &nexus(1), &surroundings()).unwrap().state.unwrap();
    assert!(registered(&state, &ports[2]));

    let unknown = device.apply(&ReservationState::default(), &nexus(1), &surroundings()).unwrap_err();
    assert_sense(&unknown, Sense::invalid_field_in_parameter_list(24));
}

#[test]
fn registrations_are_bounded() {
    let mut unit = Unit::default();
    let many: Vec<_> = (0..REGISTRATIONS_MAX as u16).map(|n| Nexus::new(initiator(1), n + 1)).collect();
    for nexus in &many {
        unit.register(nexus, 9);
    }
    let response = unit.refused(&nexus(2), code::REGISTER, out(0, 5));
    assert_sense(&response, illegal(AdditionalSense::INSUFFICIENT_REGISTRATION_RESOURCES));
    assert_eq!(
        (response.sense.unwrap().additional.code, response.sense.unwrap().additional.qualifier),
        (0x55, 4)
    );
    // Who is registered may still change its key, move to who is registered, and make room.
    unit.good(&many[0], code::REGISTER, out(9, 8));
    unit.reserve(&many[0], T::WriteExclusive);
    let to_another = decoded(&register_and_move(8, &nexus(2), 5, false, false)).unwrap();
    let response = unit.send(&many[0], &to_another).unwrap_err();
    assert_sense(&response, illegal(AdditionalSense::INSUFFICIENT_REGISTRATION_RESOURCES));
    let instead = decoded(&register_and_move(8, &nexus(2), 5, true, false)).unwrap();
    unit.send(&many[0], &instead).unwrap();
    assert_eq!(unit.state.registrations().len(), REGISTRATIONS_MAX);
}

#[test]
fn reserve_wants_a_registration_and_the_same_type_again_is_good() {
    let mut unit = Unit::default();
    assert_conflict(&unit.refused(&nexus(1), code::RESERVE, typed(0, 0, T::WriteExclusive)));
    unit.register(&nexus(1), 0xa);
    unit.register(&nexus(2), 0xb);
    assert_conflict(&unit.refused(&nexus(1), code::RESERVE, typed(0xb, 0, T::WriteExclusive)));
    unit.reserve(&nexus(1), T::WriteExclusive);
    assert_eq!(unit.state.generation(), 2, "a reservation does not count");
    let again = command(code::RESERVE, &typed(0xa, 0, T::WriteExclusive));
    assert_eq!(apply(&again, &unit.state, &nexus(1)).unwrap(), Change::none());
    assert_conflict(&unit.refused(&nexus(1), code::RESERVE, typed(0xa, 0, T::ExclusiveAccess)));
    assert_conflict(&unit.refused(&nexus(2), code::RESERVE, typed(0xb, 0, T::WriteExclusive)));
}

#[test]
fn all_registrants_hold_what_one_of_them_reserved() {
    for kind in [T::WriteExclusiveAllRegistrants, T::ExclusiveAccessAllRegistrants] {
        let mut unit = Unit::default();
        unit.register(&nexus(1), 0xa);
        unit.reserve(&nexus(1), kind);
        unit.register(&nexus(2), 0xb);
        assert_eq!(unit.state.reservation(), Some(&Reservation { kind, holder: None }));
        let again = command(code::RESERVE, &typed(0xb, 0, kind));
        assert_eq!(apply(&again, &unit.state, &nexus(2)).unwrap(), Change::none());
        unit.good(&nexus(1), code::REGISTER, out(0xa, 0));
        assert!(unit.state.is_holder(&nexus(2)), "it is held until the last registration ends");
        unit.good(&nexus(2), code::REGISTER, out(0xb, 0));
        assert_eq!(unit.state.reservation(), None);
    }
}

#[test]
fn release_is_for_the_holder_and_of_the_type_that_is_there() {
    for kind in T::ALL {
        let mut unit = Unit::default();
        unit.register(&nexus(1), 0xa);
        unit.register(&nexus(2), 0xb);
        let nothing = command(code::RELEASE, &typed(0xa, 0, kind));
        assert_eq!(apply(&nothing, &unit.state, &nexus(1)).unwrap(), Change::none());
        unit.reserve(&nexus(1), kind);
        assert_conflict(&unit.refused(&nexus(3), code::RELEASE, typed(0, 0, kind)));
        assert_conflict(&unit.refused(&nexus(1), code::RELEASE, typed(0xb, 0, kind)));
        if kind.is_held_by_all_registrants() {
            assert!(unit.state.is_holder(&nexus(2)));
        } else {
            let by_another = command(code::RELEASE, &typed(0xb, 0, kind));
            assert_eq!(apply(&by_another, &unit.state, &nexus(2)).unwrap(), Change::none());
        }
        let other = if kind == T::WriteExclusive { T::ExclusiveAccess } else { T::WriteExclusive };
        let response = unit.refused(&nexus(1), code::RELEASE, typed(0xa, 0, other));
        assert_sense(&response, illegal(AdditionalSense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION));
        unit.good(&nexus(1), code::RELEASE, typed(0xa, 0, kind));
        assert_eq!((unit.state.reservation(), unit.state.registrations().len()), (None, 2));
        assert_eq!(unit.state.generation(), 2, "a release does not count");
    }
}

#[test]
fn a_reservation_of_one_nexus_ends_with_its_registration() {
    for kind in T::ALL.into_iter().filter(|kind| !kind.is_held_by_all_registrants()) {
        let mut unit = Unit::default();
        unit.register(&nexus(1), 0xa);
        unit.register(&nexus(2), 0xb);
        unit.reserve(&nexus(1), kind);
        unit.good(&nexus(1), code::REGISTER, out(0xa, 0xc));
        assert!(unit.state.is_holder(&nexus(1)), "another key changes nothing");
        unit.good(&nexus(2), code::REGISTER, out(0xb, 0));
        assert!(unit.state.is_holder(&nexus(1)));
        unit.good(&nexus(1), code::REGISTER, out(0xc, 0));
        assert_eq!(unit.state.reservation(), None);
    }
}

#[test]
fn clear_leaves_nothing_but_the_generation() {
    let mut unit = Unit::default();
    unit.register(&nexus(1), 0xa);
    unit.register(&nexus(2), 0xb);
    unit.reserve(&nexus(1), T::ExclusiveAccess);
    assert_conflict(&unit.refused(&nexus(2), code::CLEAR, out(0xa, 0)));
    unit.good(&nexus(2), code::CLEAR, out(0xb, 0));
    assert_eq!((keys(&unit.state), unit.state.reservation(), unit.state.generation()), (vec![], None, 3));
}

#[test]
fn preempt_takes_the_reservation_from_its_holder_and_the_registrations_with_its_key() {
    let mut unit = Unit::default();
    unit.register(&nexus(1), 0xa);
    unit.register(&at_port(1, 2), 0xa);
    unit.register(&nexus(2), 0xb);
    unit.register(&nexus(3), 0xc);
    unit.reserve(&nexus(1), T::WriteExclusive);
    let aborts = unit.good(&nexus(2), code::PREEMPT, typed(0xb, 0xa, T::ExclusiveAccessRegistrantsOnly));
    assert_eq!(keys(&unit.state), [(nexus(2), 0xb), (nexus(3), 0xc)]);
    let expected = Reservation { kind: T::ExclusiveAccessRegistrantsOnly, holder: Some(nexus(2)) };
    assert_eq!((unit.state.reservation(), unit.state.generation()), (Some(&expected), 5));
    assert_eq!(aborts, []);
}

#[test]
fn preempt_of_others_leaves_the_reservation_alone() {
    for reserved in [false, true] {
        let mut unit = Unit::default();
        unit.register(&nexus(1), 0xa);
        unit.register(&nexus(2), 0xb);
        unit.register(&nexus(3), 0xc);
        if reserved {
            unit.reserve(&nexus(1), T::WriteExclusive);
        }
        let before = unit.state.reservation().cloned();
        // Scope and type are ignored.
        let change = decoded(&persistent_reserve_out(code::PREEMPT, &out(0xb, 0xc))).unwrap();
        unit.send(&nexus(2), &change).unwrap();
        assert_eq!(keys(&unit.state), [(nexus(1), 0xa), (nexus(2), 0xb)]);
        assert_eq!(unit.state.reservation().cloned(), before);
        assert_conflict(&unit.refused(&nexus(2), code::PREEMPT, out(0xb, 0xc)));
        assert_conflict(&unit.refused(&nexus(2), code::PREEMPT, out(0xa, 0xa)));
        let response = unit.refused(&nexus(2), code::PREEMPT, out(0xb, 0));
        assert_sense(&response, Sense::invalid_field_in_parameter_list(8));
    }
}

#[test]
fn a_preemption_of_ones_own_key_keeps_the_holder_and_takes_the_registration_of_others() {
    let mut unit = Unit::default();
    unit.register(&nexus(1), 0xa);
    unit.reserve(&nexus(1), T::WriteExclusive);
    unit.good(&nexus(1), code::PREEMPT, typed(0xa, 0xa, T::ExclusiveAccess));
    let held = Reservation { kind: T::ExclusiveAccess, holder: Some(nexus(1)) };
    assert_eq!((keys(&unit.state), unit.state.reservation()), (vec![(nexus(1), 0xa)], Some(&held)));

    unit.register(&nexus(2), 0xb);
    unit.good(&nexus(2), code::PREEMPT, out(0xb, 0xb));
    assert_eq!(
        keys(&unit.state),
        [(nexus(1), 0xa)],
        "its own registration, as it does not hold the reservation"
    );
    assert_eq!(unit.state.reservation(), Some(&held));
}

#[test]
fn all_registrants_are_preempted_by_zero_and_single_ones_by_their_key() {
    let mut unit = Unit::default();
    for who in 1..=3 {
        unit.register(&nexus(who), 0xa + u64::from(who));
    }
    unit.reserve(&nexus(1), T::WriteExclusiveAllRegistrants);
    let before = unit.clone();
    unit.good(&nexus(2), code::PREEMPT, typed(0xc, 0xb, T::ExclusiveAccess));
    assert_eq!(keys(&unit.state), [(nexus(2), 0xc), (nexus(3), 0xd)]);
    assert_eq!(unit.state.reservation().unwrap().kind, T::WriteExclusiveAllRegistrants);

    let mut unit = before;
    unit.good(&nexus(2), code::PREEMPT, typed(0xc, 0, T::ExclusiveAccess));
    assert_eq!(keys(&unit.state), [(nexus(2), 0xc)]);
    let held = Reservation { kind: T::ExclusiveAccess, holder: Some(nexus(2)) };
    assert_eq!(unit.state.reservation(), Some(&held));

    let mut unit = Unit::default();
    unit.register(&nexus(1), 0xa);
    unit.register(&nexus(2), 0xa);
    unit.reserve(&nexus(1), T::ExclusiveAccessAllRegistrants);
    unit.good(&nexus(2), code::PREEMPT, out(0xa, 0xa));
    assert_eq!(
        (keys(&unit.state), unit.state.reservation()),
        (vec![], None),
        "the last registration has ended"
    );
}

#[test]
fn a_preemption_makes_no_reservation_of_an_unknown_type() {
    let mut unit = Unit::default();
    unit.register(&nexus(1), 0xa);
    unit.register(&nexus(2), 0xb);
    unit.reserve(&nexus(1), T::WriteExclusive);
    // No type is type zero.
    let response = unit.refused(&nexus(2), code::PREEMPT, out(0xb, 0xa));
    assert_sense(&response, Sense::invalid_field_in_cdb(2, None));
}

#[test]
fn preempt_and_abort_aborts_the_commands_of_all_that_are_preempted() {
    let mut unit = Unit::default();
    for who in 1..=3 {
        unit.register(&nexus(who), if who == 3 { 0xc } else { 0xa });
    }
    let before = unit.clone();
    let aborts = unit.good(&nexus(3), code::PREEMPT_AND_ABORT, out(0xc, 0xa));
    assert_eq!(aborts, [nexus(1), nexus(2)]);

    let mut unit = before.clone();
    unit.reserve(&nexus(1), T::WriteExclusive);
    let aborts = unit.good(&nexus(1), code::PREEMPT_AND_ABORT, typed(0xa, 0xa, T::WriteExclusive));
    assert_eq!(aborts, [nexus(1), nexus(2)], "its own other commands, too");
    assert_eq!(keys(&unit.state), [(nexus(1), 0xa), (nexus(3), 0xc)]);

    let mut unit = before;
    unit.reserve(&nexus(1), T::WriteExclusiveAllRegistrants);
    let aborts = unit.good(&nexus(1), code::PREEMPT_AND_ABORT, typed(0xa, 0, T::WriteExclusive));
    assert_eq!(aborts, [nexus(1), nexus(2), nexus(3)]);
}

#[test]
fn a_move_registers_another_nexus_and_makes_it_the_holder() {
    let send_move = |unit: &mut Unit, from: u8, key, to: &Nexus, new_key, unregister| {
        unit.send(&nexus(from), &decoded(&register_and_move(key, to, new_key, unregister, false)).unwrap())
    };
    let mut unit = Unit::default();
    unit.register(&nexus(1), 0xa);
    let response = send_move(&mut unit, 1, 0xa, &nexus(2), 0xb, false).unwrap_err();
    assert_sense(&response, Sense::invalid_field_in_cdb(1, None));
    unit.reserve(&nexus(1), T::WriteExclusiveRegistrantsOnly);
    assert_conflict(&send_move(&mut unit, 1, 0xb, &nexus(2), 0xb, false).unwrap_err());
    let refusals = [
        (nexus(2), 0, 8),
        (at_port(2, 3), 0xb, 18),
        (at_port(2, 0), 0xb, 18),
        (nexus(1), 0xb, 24),
        (at_port(1, 2), 0xb, 24),
    ];
    for (to, new_key, byte) in refusals {
        let response = send_move(&mut unit, 1, 0xa, &to, new_key, false).unwrap_err();
        assert_sense(&response, Sense::invalid_field_in_parameter_list(byte));
    }
    send_move(&mut unit, 1, 0xa, &at_port(2, 2), 0xb, false).unwrap();
    assert_eq!(keys(&unit.state), [(nexus(1), 0xa), (at_port(2, 2), 0xb)]);
    assert!(unit.state.is_holder(&at_port(2, 2)) && !unit.state.is_holder(&nexus(1)));
    assert_eq!(unit.state.reservation().unwrap().kind, T::WriteExclusiveRegistrantsOnly);
    assert_eq!(unit.state.generation(), 2);

    // To one that is registered, which gets the key; the sender leaves.
    unit.register(&nexus(3), 0xc);
    let to_third = decoded(&register_and_move(0xb, &nexus(3), 0xd, true, false)).unwrap();
    unit.send(&at_port(2, 2), &to_third).unwrap();
    assert_eq!(keys(&unit.state), [(nexus(1), 0xa), (nexus(3), 0xd)]);
    assert!(unit.state.is_holder(&nexus(3)));
}

#[test]
fn what_all_registrants_hold_is_not_moved() {
    let mut unit = Unit::default();
    unit.register(&nexus(1), 0xa);
    unit.reserve(&nexus(1), T::WriteExclusiveAllRegistrants);
    let to = decoded(&register_and_move(0xa, &nexus(2), 0xb, false, false)).unwrap();
    assert_conflict(&unit.send(&nexus(1), &to).unwrap_err());
}
