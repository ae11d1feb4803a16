//! Who is told what after a change.

use super::*;
use crate::nexus::UnitAttention as U;
use ReservationType as T;
use std::sync::Arc;

fn out(key: u64, service_action_key: u64, kind: T) -> ReserveOut<'static> {
    ReserveOut { key, service_action_key, kind: Some(kind), ..ReserveOut::default() }
}

/// Nexuses 1 to 3 are registered with the keys 0xa, 0xb and 0xc, and the first holds a reservation.
fn three(kind: T) -> Unit {
    let mut unit = Unit::default();
    for who in 1..=3 {
        unit.register(&nexus(who), 0x9 + u64::from(who));
    }
    unit.reserve(&nexus(1), kind);
    unit
}

/// What is told after a command.
fn told(mut unit: Unit, from: u8, service_action: u8, out: ReserveOut<'_>) -> Vec<(Nexus, U)> {
    let before = unit.state.clone();
    unit.good(&nexus(from), service_action, out);
    attentions(&before, &unit.state)
}

#[test]
fn a_release_concerns_registrants_where_they_took_part() {
    for kind in T::ALL {
        let expected = if kind.admits_registrants() {
            vec![(nexus(2), U::ReservationsReleased), (nexus(3), U::ReservationsReleased)]
        } else {
            vec![]
        };
        assert_eq!(told(three(kind), 1, code::RELEASE, out(0xa, 0, kind)), expected, "{kind:?}");
    }
}

#[test]
fn the_end_of_the_holders_registration_concerns_the_registrants_of_a_type_for_registrants_only() {
    for kind in T::ALL {
        let only = matches!(kind, T::WriteExclusiveRegistrantsOnly | T::ExclusiveAccessRegistrantsOnly);
        let expected = if only {
            vec![(nexus(2), U::ReservationsReleased), (nexus(3), U::ReservationsReleased)]
        } else {
            vec![]
        };
        for service_action in [code::REGISTER, code::REGISTER_AND_IGNORE_EXISTING_KEY] {
            assert_eq!(told(three(kind), 1, service_action, out(0xa, 0, kind)), expected, "{kind:?}");
        }
        assert_eq!(told(three(kind), 2, code::REGISTER, out(0xb, 0, kind)), [], "{kind:?}: of another");
    }
}

#[test]
fn clear_is_told_to_all_that_were_registered() {
    let expected = [(nexus(1), U::ReservationsPreempted), (nexus(3), U::ReservationsPreempted)];
    assert_eq!(told(three(T::WriteExclusive), 2, code::CLEAR, out(0xb, 0, T::WriteExclusive)), expected);
}

#[test]
fn a_preemption_is_told_to_the_preempted_and_a_change_of_type_to_the_others() {
    for service_action in [code::PREEMPT, code::PREEMPT_AND_ABORT] {
        let same = told(three(T::WriteExclusive), 2, service_action, out(0xb, 0xa, T::WriteExclusive));
        assert_eq!(same, [(nexus(1), U::RegistrationsPreempted)]);
        let other = told(three(T::WriteExclusive), 2, service_action, out(0xb, 0xa, T::ExclusiveAccess));
        assert_eq!(other, [(nexus(1), U::RegistrationsPreempted), (nexus(3), U::ReservationsReleased)]);
        let removed = told(three(T::WriteExclusive), 2, service_action, out(0xb, 0xc, T::ExclusiveAccess));
        assert_eq!(removed, [(nexus(3), U::RegistrationsPreempted)]);
        let own = told(three(T::WriteExclusive), 2, service_action, out(0xb, 0xb, T::ExclusiveAccess));
        assert_eq!(own, [], "nobody is told of what it did itself");
        let all =
            told(three(T::WriteExclusiveAllRegistrants), 2, service_action, out(0xb, 0, T::WriteExclusive));
        assert_eq!(all, [(nexus(1), U::RegistrationsPreempted), (nexus(3), U::RegistrationsPreempted)]);
    }
}

#[test]
fn what_takes_nothing_from_anybody_is_told_to_nobody() {
    let mut unit = three(T::WriteExclusiveRegistrantsOnly);
    let states: Vec<_> = [
        (4, code::REGISTER, out(0, 5, T::WriteExclusive)),
        (4, code::REGISTER, out(5, 6, T::WriteExclusive)),
        (4, code::REGISTER, out(6, 0, T::WriteExclusive)),
    ]
    .into_iter()
    .map(|(who, service_action, out)| {
        let before = unit.state.clone();
        unit.good(&nexus(who), service_action, out);
        (before, unit.state.clone())
    })
    .collect();
    for (before, after) in states {
        assert_eq!(attentions(&before, &after), []);
        assert_eq!(attentions(&after, &before), [], "an older state says nothing");
    }
    let mut unit = Unit::default();
    unit.register(&nexus(1), 1);
    unit.register(&nexus(2), 2);
    let before = unit.state.clone();
    unit.reserve(&nexus(1), T::WriteExclusive);
    assert_eq!(attentions(&before, &unit.state), []);
}

#[test]
fn an_initiator_that_ends_its_registrations_at_all_ports_is_not_told_of_it() {
    let mut unit = Unit::default();
    let all = |key, new| ReserveOut { all_target_ports: true, ..out(key, new, T::WriteExclusive) };
    unit.good(&nexus(1), code::REGISTER, all(0, 5));
    let before = unit.state.clone();
    unit.good(&nexus(1), code::REGISTER, all(5, 0));
    assert_eq!(attentions(&before, &unit.state), []);
}

#[test]
fn states_that_were_missed_are_made_up_for_by_the_difference() {
    let before = three(T::WriteExclusiveRegistrantsOnly);
    // Preempted, then somebody registers: what is seen is that a registration is gone.
    let mut unit = before.clone();
    unit.good(&nexus(2), code::PREEMPT, out(0xb, 0xa, T::ExclusiveAccess));
    unit.register(&nexus(4), 4);
    assert_eq!(attention(&before.state, &unit.state, &nexus(1)), Some(U::RegistrationsPreempted));
    assert_eq!(attention(&before.state, &unit.state, &nexus(3)), Some(U::ReservationsReleased));
    // Released, then reserved by another as the same type.
    let mut unit = before.clone();
    unit.good(&nexus(1), code::RELEASE, out(0xa, 0, T::WriteExclusiveRegistrantsOnly));
    unit.reserve(&nexus(2), T::WriteExclusiveRegistrantsOnly);
    assert_eq!(attention(&before.state, &unit.state, &nexus(3)), Some(U::ReservationsReleased));
    // Somebody registers, then all is cleared.
    let mut unit = before.clone();
    unit.register(&nexus(4), 4);
    unit.good(&nexus(4), code::CLEAR, out(4, 0, T::WriteExclusive));
    assert_eq!(attention(&before.state, &unit.state, &nexus(1)), Some(U::ReservationsPreempted));
    // Somebody registers, then an initiator ends its own registration.
    let mut unit = before.clone();
    unit.register(&nexus(4), 4);
    unit.good(&nexus(2), code::REGISTER, out(0xb, 0, T::WriteExclusive));
    assert_eq!(attention(&before.state, &unit.state, &nexus(2)), None);
}

#[test]
fn a_nexus_takes_a_state_over_with_what_it_may_do_and_what_it_is_told() {
    let unit = three(T::WriteExclusive);
    let mut second = NexusState::default();
    second.set_name(nexus(2));
    second.set_reservations(Arc::new(unit.state.clone()));
    assert!(!second.is_pending(), "it was not registered in what it knew");
    assert!(second.check(Access::Write).is_err() && second.check(Access::Read).is_ok());
    let mut after = unit.clone();
    after.good(&nexus(3), code::PREEMPT, out(0xc, 0xb, T::WriteExclusive));
    second.set_reservations(Arc::new(after.state.clone()));
    assert!(second.is_pending());
    second.set_reservations(Arc::new(unit.state));
    assert_eq!(**second.reservations(), after.state, "an older state is not taken");
    let told = crate::fixtures::unit().decode(&mut second, LUN, &cdb(&[0; 6]));
    assert_eq!(crate::fixtures::sense(told), U::RegistrationsPreempted.sense());
}

#[test]
fn a_name_that_comes_after_the_state_counts_too() {
    let mut first = NexusState::default();
    first.set_reservations(Arc::new(three(T::ExclusiveAccess).state));
    assert!(first.check(Access::Read).is_err());
    first.set_name(nexus(1));
    assert!(first.check(Access::Read).is_ok());
}
