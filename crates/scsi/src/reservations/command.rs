//! Commands that change reservations: PERSISTENT RESERVE OUT, RESERVE and RELEASE, as values that are applied to a state.

use super::kind::ReservationType;
use super::name::{InitiatorPort, Nexus, SessionId};
use super::state::ReservationState;
use super::transport_id::TransportId;
use super::{hold, preempt, register, spc2};
use crate::command::Response;
use crate::sense::{AdditionalSense, Sense};
use crate::status::Status;

/// What a command needs to know of the target beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The session that the command came on.
    pub session: SessionId,
    /// RELATIVE TARGET PORT IDENTIFIERs of all target ports through which the logical unit can be reached. The command's
    /// own port counts as one of them in any case.
    pub ports: &'a [u16],
    /// Initiator ports that are known because they have a session. Those that are registered are known in any case.
    pub initiators: &'a [InitiatorPort],
}

/// What a command does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The state behind it. `None` if the command changes nothing and is done.
    pub state: Option<ReservationState>,
    /// The nexuses whose commands PREEMPT AND ABORT aborts, in order; perhaps that of the command itself, whose other
    /// commands are meant then.
    pub aborts: Vec<Nexus>,
}

impl Change {
    pub(super) const fn none() -> Self {
        Self { state: None, aborts: Vec::new() }
    }

    pub(super) const fn to(state: ReservationState) -> Self {
        Self { state: Some(state), aborts: Vec::new() }
    }
}

/// A command that changes reservations, with its parameter list. Commands compare as what they ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReservationCommand(pub(crate) Action);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Register(Register),
    RegisterAndMove(RegisterAndMove),
    Reserve {
        key: u64,
        kind: ReservationType,
    },
    /// `scope_and_type` is judged only if there is something to release.
    Release {
        key: u64,
        scope_and_type: u8,
    },
    Clear {
        key: u64,
    },
    Preempt(Preempt),
    /// RESERVE of SPC-2.
    Spc2Reserve,
    /// RELEASE of SPC-2.
    Spc2Release,
}

/// REGISTER, and REGISTER AND IGNORE EXISTING KEY, for which `key` is nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Register {
    pub(crate) key: Option<u64>,
    pub(crate) new_key: u64,
    pub(crate) aptpl: bool,
    pub(crate) all_ports: bool,
    /// SPEC_I_PT: other initiator ports to register.
    pub(crate) others: Option<Vec<TransportId>>,
}

/// REGISTER AND MOVE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RegisterAndMove {
    pub(crate) key: u64,
    pub(crate) new_key: u64,
    pub(crate) aptpl: bool,
    pub(crate) unregister: bool,
    pub(crate) to: Nexus,
}

/// PREEMPT and PREEMPT AND ABORT. `scope_and_type` is judged only if there is a reservation to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Preempt {
    pub(crate) key: u64,
    pub(crate) victim: u64,
    pub(crate) scope_and_type: u8,
    pub(crate) abort: bool,
}

impl ReservationCommand {
    /// What the command does to a state when it comes from this nexus. The state has to be the latest there is, also if
    /// nothing changes.
    ///
    /// # Errors
    /// The answer, if it is not done: RESERVATION CONFLICT, or CHECK CONDITION.
    pub fn apply(
        &self,
        state: &ReservationState,
        nexus: &Nexus,
        surroundings: &Surroundings<'_>,
    ) -> Result<Change, Response> {
        let spc2_command = matches!(self.0, Action::Spc2Reserve | Action::Spc2Release);
        if !spc2_command && state.spc2().is_some() {
            // Whoever holds it (SPC-2 clause 5.5.1).
            return Err(conflict());
        }
        match &self.0 {
            Action::Register(command) => register::register(command, state, nexus, surroundings),
            Action::RegisterAndMove(command) => {
                register::register_and_move(command, state, nexus, surroundings)
            }
            Action::Reserve { key, kind } => hold::reserve(state, nexus, *key, *kind),
            Action::Release { key, scope_and_type } => hold::release(state, nexus, *key, *scope_and_type),
            Action::Clear { key } => preempt::clear(state, nexus, *key),
            Action::Preempt(command) => preempt::preempt(command, state, nexus),
            Action::Spc2Reserve => spc2::reserve(state, nexus, surroundings.session),
            Action::Spc2Release => spc2::release(state, nexus),
        }
    }

    /// The standard's name of the command or service action.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match &self.0 {
            Action::Register(Register { key: Some(_), .. }) => "REGISTER",
            Action::Register(_) => "REGISTER AND IGNORE EXISTING KEY",
            Action::RegisterAndMove(_) => "REGISTER AND MOVE",
            Action::Reserve { .. } => "RESERVE",
            Action::Release { .. } => "RELEASE",
            Action::Clear { .. } => "CLEAR",
            Action::Preempt(Preempt { abort: false, .. }) => "PREEMPT",
            Action::Preempt(_) => "PREEMPT AND ABORT",
            Action::Spc2Reserve => "RESERVE (SPC-2)",
            Action::Spc2Release => "RELEASE (SPC-2)",
        }
    }
}

/// RESERVATION CONFLICT.
pub(super) fn conflict() -> Response {
    Response::status(Status::ReservationConflict)
}

/// INVALID FIELD IN PARAMETER LIST, at this byte of it.
pub(super) fn invalid_parameter(byte: u16) -> Response {
    Sense::invalid_field_in_parameter_list(byte).into()
}

/// INVALID FIELD IN CDB for SCOPE and TYPE.
pub(super) fn invalid_scope_or_type() -> Response {
    Sense::invalid_field_in_cdb(field::SCOPE_AND_TYPE, None).into()
}

/// Every registered nexus has shown the key that it is registered with (SPC-4 clause 6.16.3).
pub(super) fn verify_key(state: &ReservationState, nexus: &Nexus, key: u64) -> Result<(), Response> {
    if state.key_of(nexus) == Some(key) { Ok(()) } else { Err(conflict()) }
}

pub(super) fn insufficient_resources() -> Response {
    Sense::illegal_request(AdditionalSense::INSUFFICIENT_REGISTRATION_RESOURCES).into()
}

/// Where fields are: that of the CDB, the others in the parameter list.
pub(crate) mod field {
    /// SCOPE and TYPE in the CDB.
    pub(crate) const SCOPE_AND_TYPE: u16 = 2;
    /// SERVICE ACTION RESERVATION KEY.
    pub(crate) const SERVICE_ACTION_KEY: u16 = 8;
    /// RELATIVE TARGET PORT IDENTIFIER of REGISTER AND MOVE.
    pub(crate) const MOVE_PORT: u16 = 18;
    /// The byte with SPEC_I_PT, ALL_TG_PT and APTPL.
    pub(crate) const FLAGS: u16 = 20;
    /// TransportID of REGISTER AND MOVE.
    pub(crate) const MOVE_TRANSPORT_ID: u16 = 24;
}
