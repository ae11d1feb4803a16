//! Which initiators are told what after a change (SPC-4 clause 5.13.11).
//!
//! A target may see only some of the states. Where one state follows the other, the latest change says what happened; where
//! states were missed, the difference has to. An initiator is then rather told too much: it will look.

use super::name::Nexus;
use super::state::{ChangeKind, ReservationState};
use crate::nexus::UnitAttention;

/// What the nexus is told when the state of its logical unit goes from `old` to `new`.
#[must_use]
pub fn attention(old: &ReservationState, new: &ReservationState, nexus: &Nexus) -> Option<UnitAttention> {
    if new.step <= old.step || !old.is_registered(nexus) {
        return None;
    }
    let follows = new.step == old.step + 1;
    let latest = new.latest()?;
    if follows && latest.by.as_ref() == Some(nexus) {
        return None;
    }
    if new.is_registered(nexus) { of_registered(old, new, follows) } else { of_removed(new, nexus, follows) }
}

/// All that are told something, in order.
#[must_use]
pub fn attentions(old: &ReservationState, new: &ReservationState) -> Vec<(Nexus, UnitAttention)> {
    let told = |nexus: &Nexus| Some((nexus.clone(), attention(old, new, nexus)?));
    old.registrations().filter_map(|(nexus, _)| told(nexus)).collect()
}

/// The nexus is registered as before; the reservation that it took part in may be gone.
fn of_registered(old: &ReservationState, new: &ReservationState, follows: bool) -> Option<UnitAttention> {
    let before = old.reservation()?;
    let preempted = matches!(new.latest()?.kind, ChangeKind::Preempted);
    let told = match new.reservation() {
        // Released, or its holder has ended its registration: types for one holder alone concern nobody else.
        None => before.kind.admits_registrants(),
        Some(now) if follows => preempted && before.kind != now.kind,
        Some(now) => {
            before.kind != now.kind || before.kind.admits_registrants() && before.holder != now.holder
        }
    };
    told.then_some(UnitAttention::ReservationsReleased)
}

/// The nexus is not registered any more, and another one may have done that.
fn of_removed(new: &ReservationState, nexus: &Nexus, follows: bool) -> Option<UnitAttention> {
    let latest = new.latest()?;
    let own_initiator = latest.by.as_ref().is_some_and(|by| by.initiator == nexus.initiator);
    match latest.kind {
        ChangeKind::Cleared => Some(UnitAttention::ReservationsPreempted),
        // An initiator ends registrations only of its own, at one target port or at all.
        ChangeKind::Registered | ChangeKind::Moved if follows || own_initiator => None,
        _ => Some(UnitAttention::RegistrationsPreempted),
    }
}
