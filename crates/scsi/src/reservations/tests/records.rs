//! The state as a record.

use super::*;
use crate::reservations::record::STEP_MAX;
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(record: &Value) -> Result<ReservationState, String> {
    serde_json::from_value(record.clone()).map_err(|error| error.to_string())
}

fn name(which: u8) -> Value {
    json!({ "initiator": format!("iqn.2026-01.test:{which}"), "isid": format!("4000000000{which:02x}"), "port": 1 })
}

fn registration(which: u8, key: &str) -> Value {
    let mut registration = name(which);
    registration["key"] = json!(key);
    registration
}

fn full() -> Value {
    json!({
        "version": 1, "step": 3, "generation": 2, "aptpl": true,
        "registrations": [registration(1, "00000000000000ab"), registration(2, "ffffffffffffffff")],
        "reservation": { "type": "write-exclusive-registrants-only", "holder": name(1) },
        "latest": { "by": name(1), "kind": "reserved" },
    })
}

#[test]
fn a_state_is_written_as_people_read_it() {
    let mut unit = Unit::default();
    unit.register(&nexus(1), 0xab);
    let out = ReserveOut { service_action_key: u64::MAX, aptpl: true, ..ReserveOut::default() };
    unit.good(&nexus(2), code::REGISTER, out);
    unit.reserve(&nexus(1), ReservationType::WriteExclusiveRegistrantsOnly);
    assert_eq!(serde_json::to_value(&unit.state).unwrap(), full());
    assert_eq!(read(&full()).unwrap(), unit.state);
    let empty = json!({ "version": 1, "step": 0, "generation": 0, "aptpl": false });
    assert_eq!(serde_json::to_value(ReservationState::default()).unwrap(), empty);
    assert_eq!(read(&empty).unwrap(), ReservationState::default());
}

#[test]
fn what_reserve_made_is_written_with_its_session() {
    let mut unit = Unit::default();
    unit.send(&nexus(1), &ReservationCommand(command::Action::Spc2Reserve)).unwrap();
    let record = serde_json::to_value(&unit.state).unwrap();
    assert_eq!(record["spc2"], json!({ "nexus": name(1), "incarnation": 3, "number": 7 }));
    assert_eq!(read(&record).unwrap(), unit.state);
}

#[test]
fn each_damage_of_a_record_is_an_error_that_names_it() {
    let spc2 = json!({ "nexus": name(1), "incarnation": 1, "number": 1 });
    let many: Vec<_> = (1..=REGISTRATIONS_MAX as u16 + 1)
        .map(|port| {
            let mut registration = registration(1, "0000000000000001");
            registration["port"] = json!(port);
            registration
        })
        .collect();
    let damages = [
        ("/version", json!(2), "version 2"),
        ("/step", json!(STEP_MAX + 1), "4611686018427387905 changes"),
        ("/step", json!(-1), "invalid value"),
        ("/generation", json!(1u64 << 32), "invalid value"),
        ("/registrations/0/initiator", json!(""), "\"\" is not one"),
        ("/registrations/0/initiator", json!("i".repeat(224)), "is not one"),
        ("/registrations/0/initiator", json!("a\u{0}b"), "is not one"),
        ("/registrations/0/port", json!(0), "at port 0"),
        ("/registrations/0/key", json!("0000000000000000"), "is zero"),
        ("/registrations/0/key", json!("ab"), "16 hexadecimal digits"),
        ("/registrations/0/isid", json!("4000000000zz"), "12 hexadecimal digits"),
        ("/registrations/1", registration(1, "0000000000000001"), "registered twice"),
        ("/registrations", json!(many), "257 registrations"),
        ("/registrations/0", name(1), "missing field `key`"),
        (
            "/registrations",
            json!([registration(2, "0000000000000001")]),
            "cannot be held by iqn.2026-01.test:1",
        ),
        ("/reservation/type", json!("write-exclusive-all-registrants"), "cannot be held by iqn"),
        ("/reservation/type", json!("shared"), "unknown variant"),
        ("/reservation/holder", Value::Null, "cannot be held by all registrants"),
        ("/latest/kind", json!("guessed"), "unknown variant"),
        ("/latest/by/port", json!(65536), "invalid value"),
        ("/spc2", spc2, "by RESERVE although"),
        ("/more", json!(1), "unknown field `more`"),
    ];
    for (at, value, expected) in damages {
        let mut record = full();
        match record.pointer_mut(at) {
            Some(place) => *place = value,
            None => record[at.trim_start_matches('/')] = value,
        }
        let error = read(&record).expect_err(at);
        assert!(error.contains(expected), "{at}: {error}");
    }
    let mut nobody = full();
    nobody["registrations"] = json!([]);
    nobody["reservation"] = json!({ "type": "write-exclusive-all-registrants" });
    assert!(read(&nobody).unwrap_err().contains("cannot be held by all registrants"));
    for field in ["version", "step", "generation", "aptpl"] {
        let mut record = full();
        record.as_object_mut().unwrap().remove(field);
        assert!(read(&record).unwrap_err().contains("missing field"), "{field}");
    }
}

proptest! {
    /// Bytes of a record are put out of order: what is read all the same is a state that is written and read again.
    #[test]
    fn a_damaged_text_is_an_error_or_a_possible_state(at in any::<usize>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut text = serde_json::to_vec(&full()).unwrap();
        let at = at % text.len();
        if cut {
            text.truncate(at);
        } else {
            text[at] = byte;
        }
        if let Ok(state) = serde_json::from_slice::<ReservationState>(&text) {
            let again = serde_json::to_vec(&state).unwrap();
            prop_assert_eq!(serde_json::from_slice::<ReservationState>(&again).unwrap(), state);
        }
    }
}
