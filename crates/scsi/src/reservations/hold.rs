//! RESERVE and RELEASE, the service actions (SPC-4 clauses 5.13.9 and 5.13.11.2.2).

use super::command::{Change, conflict, verify_key};
use super::kind::ReservationType;
use super::name::Nexus;
use super::state::{ChangeKind, Reservation, ReservationState};
use crate::command::Response;
use crate::sense::{AdditionalSense, Sense};

/// The holder of a reservation of this type that a nexus makes.
pub(super) fn held_by(kind: ReservationType, nexus: &Nexus) -> Reservation {
    Reservation { kind, holder: (!kind.is_held_by_all_registrants()).then(|| nexus.clone()) }
}

pub(super) fn reserve(
    state: &ReservationState,
    nexus: &Nexus,
    key: u64,
    kind: ReservationType,
) -> Result<Change, Response> {
    verify_key(state, nexus, key)?;
    match state.reservation() {
        None => {
            let mut after = state.changed(Some(nexus), ChangeKind::Reserved);
            after.reservation = Some(held_by(kind, nexus));
            Ok(Change::to(after))
        }
        Some(reservation) if reservation.kind == kind && state.is_holder(nexus) => Ok(Change::none()),
        Some(_) => Err(conflict()),
    }
}

pub(super) fn release(
    state: &ReservationState,
    nexus: &Nexus,
    key: u64,
    scope_and_type: u8,
) -> Result<Change, Response> {
    verify_key(state, nexus, key)?;
    let Some(reservation) = state.reservation().filter(|_| state.is_holder(nexus)) else {
        return Ok(Change::none());
    };
    if ReservationType::from_scope_and_type(scope_and_type) != Some(reservation.kind) {
        let reason = AdditionalSense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION;
        return Err(Sense::illegal_request(reason).into());
    }
    let mut after = state.changed(Some(nexus), ChangeKind::Released);
    after.reservation = None;
    Ok(Change::to(after))
}
