//! What the tests of reservations share: six nexuses, two initiators with two sessions or one and two target ports, and
//! commands as they come over the wire.

use super::*;
use crate::command::{Decoded, Response};
use crate::fixtures::{cdb, unit};
use crate::initiator::Request;
use crate::initiator::reservations::{ReserveOut, persistent_reserve_out};
use crate::logical_unit::LUN;
use crate::nexus::NexusState;
use crate::opcodes::code;
use crate::sense::{AdditionalSense, Sense};
use crate::status::Status;

mod conflicts;
mod model;
mod records;
mod service_actions;
mod told;

/// The target ports of the tests.
const PORTS: [u16; 2] = [1, 2];

fn initiator(which: u8) -> InitiatorPort {
    InitiatorPort::new(&format!("iqn.2026-01.test:{which}"), [0x40, 0, 0, 0, 0, which]).unwrap()
}

/// The nexus of an initiator at port 1.
fn nexus(which: u8) -> Nexus {
    at_port(which, 1)
}

fn at_port(which: u8, port: u16) -> Nexus {
    Nexus::new(initiator(which), port)
}

const SESSION: SessionId = SessionId { incarnation: 3, number: 7 };

fn surroundings() -> Surroundings<'static> {
    Surroundings { session: SESSION, ports: &PORTS, initiators: &[] }
}

/// What a request becomes at the logical unit: a command, or the answer that refuses it.
fn decoded(request: &Request) -> Result<ReservationCommand, Response> {
    let mut state = NexusState::default();
    state.set_name(nexus(1));
    let unit = unit();
    let decoded = match unit.decode(&mut state, LUN, &cdb(&request.cdb)) {
        Decoded::NeedsData { len, then } => {
            let announced = request.data_out.len() as u32;
            unit.with_data(then, request.data_out.slice(..announced.min(len) as usize), announced)
        }
        decoded => decoded,
    };
    match decoded {
        Decoded::Reserve(command) => Ok(command),
        Decoded::Immediate(response) => Err(response),
        other => panic!("{other:?}"),
    }
}

fn command(service_action: u8, out: &ReserveOut<'_>) -> ReservationCommand {
    decoded(&persistent_reserve_out(service_action, out)).unwrap()
}

fn apply(command: &ReservationCommand, state: &ReservationState, nexus: &Nexus) -> Result<Change, Response> {
    command.apply(state, nexus, &surroundings())
}

/// A logical unit whose state is changed step by step.
#[derive(Clone, Default)]
struct Unit {
    state: ReservationState,
}

impl Unit {
    fn send(&mut self, from: &Nexus, command: &ReservationCommand) -> Result<Vec<Nexus>, Response> {
        let change = apply(command, &self.state, from)?;
        if let Some(state) = change.state {
            assert_eq!(state.step(), self.state.step() + 1, "a change is one step");
            self.state = state;
        }
        Ok(change.aborts)
    }

    #[track_caller]
    fn good(&mut self, from: &Nexus, service_action: u8, out: ReserveOut<'_>) -> Vec<Nexus> {
        self.send(from, &command(service_action, &out)).unwrap()
    }

    /// Registers a nexus that is not registered yet.
    #[track_caller]
    fn register(&mut self, from: &Nexus, key: u64) {
        self.good(from, code::REGISTER, ReserveOut { service_action_key: key, ..ReserveOut::default() });
        assert_eq!(self.state.key_of(from), Some(key));
    }

    /// Reserves for a registered nexus.
    #[track_caller]
    fn reserve(&mut self, from: &Nexus, kind: ReservationType) {
        let key = self.state.key_of(from).unwrap();
        self.good(from, code::RESERVE, ReserveOut { key, kind: Some(kind), ..ReserveOut::default() });
        assert_eq!(self.state.reservation().unwrap().kind, kind);
    }

    /// Sends a command that must be refused, and changes nothing.
    #[track_caller]
    fn refused(&mut self, from: &Nexus, service_action: u8, out: ReserveOut<'_>) -> Response {
        self.send(from, &command(service_action, &out)).unwrap_err()
    }
}

#[track_caller]
fn assert_conflict(response: &Response) {
    assert_eq!((response.status, response.sense), (Status::ReservationConflict, None));
}

#[track_caller]
fn assert_sense(response: &Response, expected: Sense) {
    assert_eq!((response.status, response.sense), (Status::CheckCondition, Some(expected)));
}

fn illegal(additional: AdditionalSense) -> Sense {
    Sense::illegal_request(additional)
}
