//! RESERVE and RELEASE of SPC-2 (clauses 5.5.1, 7.21 and 7.22), with the exceptions that SPC-4 clause 5.13.3 makes for
//! nexuses that take part in a persistent reservation (CRH). What RESERVE made ends with its session, and with a reset.

use super::command::{Change, conflict};
use super::name::{Nexus, SessionId};
use super::state::{ChangeKind, ReservationState, Spc2Reservation};
use crate::command::Response;

/// Whether RESERVE and RELEASE are answered with GOOD and do nothing.
fn takes_part(state: &ReservationState, nexus: &Nexus) -> bool {
    state.reservation().is_some_and(|reservation| {
        state.is_holder(nexus) || reservation.kind.admits_registrants() && state.is_registered(nexus)
    })
}

pub(super) fn reserve(
    state: &ReservationState,
    nexus: &Nexus,
    session: SessionId,
) -> Result<Change, Response> {
    if takes_part(state, nexus) {
        return Ok(Change::none());
    }
    if state.registrations().len() > 0 || state.spc2().is_some_and(|held| held.nexus != *nexus) {
        return Err(conflict());
    }
    let held = Some(Spc2Reservation { nexus: nexus.clone(), session });
    if state.spc2 == held {
        return Ok(Change::none());
    }
    let mut after = state.changed(Some(nexus), ChangeKind::Spc2);
    after.spc2 = held;
    Ok(Change::to(after))
}

pub(super) fn release(state: &ReservationState, nexus: &Nexus) -> Result<Change, Response> {
    if takes_part(state, nexus) {
        return Ok(Change::none());
    }
    if state.registrations().len() > 0 {
        return Err(conflict());
    }
    if state.spc2().is_none_or(|held| held.nexus != *nexus) {
        return Ok(Change::none());
    }
    let mut after = state.changed(Some(nexus), ChangeKind::Spc2);
    after.spc2 = None;
    Ok(Change::to(after))
}

impl ReservationState {
    /// The state without the reservation by RESERVE, if there is one that this is true of: its session has ended, its
    /// target port is down, or the logical unit was reset. Persistent reservations outlive all of these.
    #[must_use]
    pub fn without_spc2(&self, has_ended: impl FnOnce(&Spc2Reservation) -> bool) -> Option<Self> {
        let held = self.spc2()?;
        has_ended(held).then(|| {
            let mut after = self.changed(None, ChangeKind::Spc2);
            after.spc2 = None;
            after
        })
    }
}
