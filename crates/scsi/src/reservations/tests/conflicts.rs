//! Who may send what: SPC-4 tables 65 and 66, and SPC-2.

use super::*;
use ReservationType as T;

/// Whom the rows of the tables are about.
const HOLDER: u8 = 1;
const REGISTERED: u8 = 2;
const STRANGER: u8 = 3;

fn held(kind: ReservationType) -> Unit {
    let mut unit = Unit::default();
    unit.register(&nexus(HOLDER), 0xa);
    unit.register(&nexus(REGISTERED), 0xb);
    unit.reserve(&nexus(HOLDER), kind);
    unit
}

fn may(unit: &Unit, who: u8, access: Access) -> bool {
    unit.state.check(&nexus(who), access).is_ok()
}

#[test]
fn each_type_keeps_out_whom_the_standard_names() {
    // Type, then what a registered nexus that does not hold it, and one that is not registered, may do: read, write.
    let table = [
        (T::WriteExclusive, (true, false), (true, false)),
        (T::ExclusiveAccess, (false, false), (false, false)),
        (T::WriteExclusiveRegistrantsOnly, (true, true), (true, false)),
        (T::ExclusiveAccessRegistrantsOnly, (true, true), (false, false)),
        (T::WriteExclusiveAllRegistrants, (true, true), (true, false)),
        (T::ExclusiveAccessAllRegistrants, (true, true), (false, false)),
    ];
    assert_eq!(table.map(|(kind, ..)| kind), T::ALL);
    for (kind, registered, stranger) in table {
        let unit = held(kind);
        for (who, (read, write)) in [(HOLDER, (true, true)), (REGISTERED, registered), (STRANGER, stranger)] {
            assert_eq!(may(&unit, who, Access::Read), read, "{kind:?}: reads of {who}");
            assert_eq!(may(&unit, who, Access::Write), write, "{kind:?}: writes of {who}");
            for access in
                Access::ALL.into_iter().filter(|access| !matches!(access, Access::Read | Access::Write))
            {
                assert!(may(&unit, who, access), "{kind:?}: {access:?} of {who}");
            }
        }
    }
}

#[test]
fn registrations_without_a_reservation_keep_nobody_out() {
    let mut unit = Unit::default();
    unit.register(&nexus(REGISTERED), 0xb);
    for access in Access::ALL {
        assert!(may(&unit, STRANGER, access), "{access:?}");
    }
}

#[test]
fn reserve_leaves_others_only_what_tells_what_the_unit_is() {
    let mut unit = Unit::default();
    unit.send(&nexus(HOLDER), &ReservationCommand(command::Action::Spc2Reserve)).unwrap();
    for access in Access::ALL {
        let persistent = matches!(access, Access::PersistentReserveIn | Access::PersistentReserveOut);
        assert_eq!(may(&unit, HOLDER, access), !persistent, "{access:?} of the holder");
        let open = matches!(access, Access::Always | Access::ReserveRelease);
        assert_eq!(may(&unit, STRANGER, access), open, "{access:?} of another");
        assert_eq!(unit.state.permits(None).check(access).is_ok(), open, "{access:?} of one without a name");
    }
}

#[test]
fn service_actions_are_allowed_as_the_standard_has_it() {
    // Service action, then whether one that is registered and does not hold the reservation, and one that is not
    // registered, may use it (SPC-4 table 66).
    let table = [
        (code::CLEAR, true, false),
        (code::PREEMPT, true, false),
        (code::PREEMPT_AND_ABORT, true, false),
        (code::REGISTER, true, true),
        (code::REGISTER_AND_IGNORE_EXISTING_KEY, true, true),
        (code::RELEASE, true, false),
        (code::RESERVE, false, false),
    ];
    for kind in [
        T::WriteExclusive,
        T::ExclusiveAccess,
        T::WriteExclusiveRegistrantsOnly,
        T::ExclusiveAccessRegistrantsOnly,
    ] {
        for (service_action, registered, stranger) in table {
            for (who, key, allowed) in [(REGISTERED, 0xb, registered), (STRANGER, 0, stranger)] {
                let out =
                    ReserveOut { key, service_action_key: 0xa, kind: Some(kind), ..ReserveOut::default() };
                let result = held(kind).send(&nexus(who), &command(service_action, &out));
                assert_eq!(result.is_ok(), allowed, "{kind:?}: {service_action} of {who}");
                if let Err(response) = result {
                    assert_conflict(&response);
                }
            }
        }
        let to = at_port(3, 2);
        for (who, key) in [(REGISTERED, 0xb), (STRANGER, 0)] {
            let command = ReservationCommand(command::Action::RegisterAndMove(command::RegisterAndMove {
                key,
                new_key: 0xc,
                aptpl: false,
                unregister: false,
                to: to.clone(),
            }));
            assert_conflict(&held(kind).send(&nexus(who), &command).unwrap_err());
        }
    }
}

#[test]
fn a_nexus_at_another_target_port_or_with_another_isid_is_another_nexus() {
    let unit = held(T::ExclusiveAccess);
    assert!(unit.state.check(&at_port(HOLDER, 2), Access::Read).is_err());
    let other_session = InitiatorPort::new(initiator(HOLDER).name(), [9; 6]).unwrap();
    assert!(unit.state.check(&Nexus::new(other_session, 1), Access::Read).is_err());
}

mod reserve_and_release {
    use super::*;

    fn reserve() -> ReservationCommand {
        decoded(&crate::initiator::reservations::reserve_6()).unwrap()
    }

    fn release() -> ReservationCommand {
        decoded(&crate::initiator::reservations::release_6()).unwrap()
    }

    #[test]
    fn one_nexus_holds_the_unit_until_it_releases_it() {
        let mut unit = Unit::default();
        unit.send(&nexus(1), &reserve()).unwrap();
        let held = unit.state.spc2().unwrap();
        assert_eq!((&held.nexus, held.session), (&nexus(1), SESSION));
        assert_eq!(apply(&reserve(), &unit.state, &nexus(1)).unwrap().state, None, "it holds it already");
        assert_conflict(&unit.send(&nexus(2), &reserve()).unwrap_err());
        assert_eq!(
            apply(&release(), &unit.state, &nexus(2)).unwrap().state,
            None,
            "it is not its to release"
        );
        unit.send(&nexus(1), &release()).unwrap();
        assert_eq!(unit.state.spc2(), None);
        assert_eq!(unit.state.generation(), 0);
        unit.send(&nexus(2), &reserve()).unwrap();
    }

    #[test]
    fn a_new_session_of_the_holder_takes_the_reservation_over() {
        let mut unit = Unit::default();
        unit.send(&nexus(1), &reserve()).unwrap();
        let session = SessionId { number: SESSION.number + 1, ..SESSION };
        let change =
            reserve().apply(&unit.state, &nexus(1), &Surroundings { session, ..surroundings() }).unwrap();
        assert_eq!(change.state.unwrap().spc2().unwrap().session, session);
    }

    #[test]
    fn a_reservation_ends_with_what_it_belongs_to_and_only_with_that() {
        let mut unit = Unit::default();
        assert_eq!(unit.state.without_spc2(|_| true), None);
        unit.send(&nexus(1), &reserve()).unwrap();
        let ends = |session| unit.state.without_spc2(|held| held.session == session);
        assert_eq!(ends(SessionId { number: 1, ..SESSION }), None);
        let after = ends(SESSION).unwrap();
        assert_eq!((after.spc2(), after.step()), (None, unit.state.step() + 1));
    }

    #[test]
    fn persistent_reserve_out_conflicts_with_reserve_whoever_holds_it() {
        let mut unit = Unit::default();
        unit.send(&nexus(1), &reserve()).unwrap();
        for who in [1, 2] {
            let out = ReserveOut { service_action_key: 5, ..ReserveOut::default() };
            assert_conflict(&unit.refused(&nexus(who), code::REGISTER, out));
        }
    }

    #[test]
    fn reserve_and_release_conflict_with_registrations_of_anybody() {
        let mut unit = Unit::default();
        unit.register(&nexus(2), 0xb);
        for who in [2, 3] {
            assert_conflict(&unit.send(&nexus(who), &reserve()).unwrap_err());
            assert_conflict(&unit.send(&nexus(who), &release()).unwrap_err());
        }
    }

    #[test]
    fn who_takes_part_in_a_persistent_reservation_may_reserve_and_release_without_effect() {
        for kind in T::ALL {
            let mut unit = held(kind);
            for (who, takes_part) in
                [(HOLDER, true), (REGISTERED, kind.admits_registrants()), (STRANGER, false)]
            {
                for command in [reserve(), release()] {
                    let result = apply(&command, &unit.state, &nexus(who));
                    if takes_part {
                        assert_eq!(result.unwrap(), Change::none(), "{kind:?}: {}", command.name());
                    } else {
                        assert_conflict(&unit.send(&nexus(who), &command).unwrap_err());
                    }
                }
            }
        }
    }
}
