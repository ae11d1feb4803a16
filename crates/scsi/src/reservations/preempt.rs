//! PREEMPT, PREEMPT AND ABORT and CLEAR (SPC-4 clauses 5.13.11.2.4 to 5.13.11.2.7).

use super::command::{
    Change, Preempt, conflict, field, invalid_parameter, invalid_scope_or_type, verify_key,
};
use super::hold::held_by;
use super::kind::ReservationType;
use super::name::Nexus;
use super::state::{ChangeKind, Reservation, ReservationState};
use crate::command::Response;

pub(super) fn clear(state: &ReservationState, nexus: &Nexus, key: u64) -> Result<Change, Response> {
    verify_key(state, nexus, key)?;
    let mut after = state.counted(nexus, ChangeKind::Cleared);
    after.registrations.clear();
    after.reservation = None;
    Ok(Change::to(after))
}

/// Whom a preemption means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victims {
    /// All that are registered with the key.
    WithKey(u64),
    /// All that are registered.
    All,
}

impl Victims {
    const fn include(self, key: u64) -> bool {
        match self {
            Self::WithKey(own) => own == key,
            Self::All => true,
        }
    }
}

/// Takes registrations away, and the reservation too if one of those holds it (SPC-4 table 72 and figure 9).
pub(super) fn preempt(
    command: &Preempt,
    state: &ReservationState,
    nexus: &Nexus,
) -> Result<Change, Response> {
    verify_key(state, nexus, command.key)?;
    let (victims, takes_over) = match state.reservation() {
        Some(Reservation { holder: None, .. }) if command.victim == 0 => (Victims::All, true),
        _ if command.victim == 0 => return Err(invalid_parameter(field::SERVICE_ACTION_KEY)),
        Some(Reservation { holder: Some(holder), .. }) => {
            (Victims::WithKey(command.victim), state.key_of(holder) == Some(command.victim))
        }
        Some(Reservation { holder: None, .. }) | None => (Victims::WithKey(command.victim), false),
    };
    let meant: Vec<Nexus> = state
        .registrations()
        .filter(|(_, key)| victims.include(*key))
        .map(|(registered, _)| registered.clone())
        .collect();
    if meant.is_empty() {
        return Err(conflict());
    }
    let mut after = state.counted(nexus, ChangeKind::Preempted);
    if takes_over {
        let kind = ReservationType::from_scope_and_type(command.scope_and_type);
        let kind = kind.ok_or_else(invalid_scope_or_type)?;
        after.registrations.retain(|registered, key| registered == nexus || !victims.include(*key));
        after.reservation = Some(held_by(kind, nexus));
    } else {
        // Also that of the command's own nexus, if that is its key.
        after.registrations.retain(|_, key| !victims.include(*key));
        after.release_if_unheld();
    }
    let aborts = if command.abort { meant } else { Vec::new() };
    Ok(Change { state: Some(after), aborts })
}
