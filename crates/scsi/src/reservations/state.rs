//! The state of the reservations of one logical unit.

use super::access::{Access, Conflict, Permits};
use super::kind::ReservationType;
use super::name::{Nexus, SessionId};
use super::record::Record;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Registrations of a logical unit at most; beyond that PERSISTENT RESERVE OUT is refused with INSUFFICIENT REGISTRATION
/// RESOURCES.
pub const REGISTRATIONS_MAX: usize = 256;

/// A persistent reservation. Its scope is the logical unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// Its type.
    pub kind: ReservationType,
    /// Who holds it; `None` if all registered nexuses do. A holder is registered.
    pub holder: Option<Nexus>,
}

/// A reservation by RESERVE (SPC-2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spc2Reservation {
    /// Who holds it.
    pub nexus: Nexus,
    /// The session that it ends with.
    pub session: SessionId,
}

/// What the latest change of the state was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// REGISTER or REGISTER AND IGNORE EXISTING KEY, which may also have ended a registration and a reservation.
    Registered,
    /// REGISTER AND MOVE.
    Moved,
    /// RESERVE as a service action.
    Reserved,
    /// RELEASE as a service action.
    Released,
    /// CLEAR.
    Cleared,
    /// PREEMPT or PREEMPT AND ABORT.
    Preempted,
    /// RESERVE or RELEASE of SPC-2, or the end of what RESERVE made.
    Spc2,
}

/// The latest change of the state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LatestChange {
    /// Which nexus asked for it; none if a session or a reset ended a reservation by RESERVE.
    pub by: Option<Nexus>,
    /// What it was.
    pub kind: ChangeKind,
}

/// All there is to know of the reservations of one logical unit. A new one has none.
///
/// A reservation by RESERVE excludes registrations and a persistent reservation. The holder of a persistent reservation is
/// registered, and one that is held by all registrants ends with the last of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
pub struct ReservationState {
    /// Counts all changes, so that it can be told whether one was missed.
    pub(super) step: u64,
    /// PRGENERATION.
    pub(super) generation: u32,
    /// The last valid APTPL.
    pub(super) aptpl: bool,
    pub(super) registrations: BTreeMap<Nexus, u64>,
    pub(super) reservation: Option<Reservation>,
    pub(super) spc2: Option<Spc2Reservation>,
    pub(super) latest: Option<LatestChange>,
}

impl ReservationState {
    /// How many changes it has seen.
    #[must_use]
    pub const fn step(&self) -> u64 {
        self.step
    }

    /// PRGENERATION.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether reservations were asked to outlive a loss of power (APTPL). They always do; this is what PTPL_A says.
    #[must_use]
    pub const fn aptpl(&self) -> bool {
        self.aptpl
    }

    /// The registered nexuses and their reservation keys, which are not zero.
    pub fn registrations(&self) -> impl ExactSizeIterator<Item = (&Nexus, u64)> {
        self.registrations.iter().map(|(nexus, key)| (nexus, *key))
    }

    /// The reservation key of a nexus, if it is registered.
    #[must_use]
    pub fn key_of(&self, nexus: &Nexus) -> Option<u64> {
        self.registrations.get(nexus).copied()
    }

    /// Whether a nexus is registered.
    #[must_use]
    pub fn is_registered(&self, nexus: &Nexus) -> bool {
        self.registrations.contains_key(nexus)
    }

    /// The persistent reservation, if there is one.
    #[must_use]
    pub const fn reservation(&self) -> Option<&Reservation> {
        self.reservation.as_ref()
    }

    /// The reservation by RESERVE, if there is one.
    #[must_use]
    pub const fn spc2(&self) -> Option<&Spc2Reservation> {
        self.spc2.as_ref()
    }

    /// The latest change, if there was any.
    #[must_use]
    pub const fn latest(&self) -> Option<&LatestChange> {
        self.latest.as_ref()
    }

    /// Whether a nexus holds the persistent reservation (SPC-4 clause 5.13.10).
    #[must_use]
    pub fn is_holder(&self, nexus: &Nexus) -> bool {
        match &self.reservation {
            None => false,
            Some(Reservation { holder: Some(holder), .. }) => holder == nexus,
            Some(Reservation { holder: None, .. }) => self.is_registered(nexus),
        }
    }

    /// What a nexus may do; `None` stands for one that cannot be registered.
    #[must_use]
    pub fn permits(&self, nexus: Option<&Nexus>) -> Permits {
        if let Some(held) = &self.spc2 {
            let persistent =
                Permits::ALL.without(&[Access::PersistentReserveIn, Access::PersistentReserveOut]);
            return if nexus == Some(&held.nexus) {
                persistent
            } else {
                persistent.without(&[Access::Ready, Access::Read, Access::Write])
            };
        }
        let Some(reservation) = &self.reservation else { return Permits::ALL };
        let admitted = nexus.is_some_and(|nexus| {
            self.is_holder(nexus) || reservation.kind.admits_registrants() && self.is_registered(nexus)
        });
        if admitted {
            Permits::ALL
        } else if reservation.kind.excludes_reads() {
            Permits::ALL.without(&[Access::Read, Access::Write])
        } else {
            Permits::ALL.without(&[Access::Write])
        }
    }

    /// Whether a nexus may send a command of this class.
    ///
    /// # Errors
    /// If it conflicts with a reservation.
    pub fn check(&self, nexus: &Nexus, access: Access) -> Result<(), Conflict> {
        self.permits(Some(nexus)).check(access)
    }

    /// The state after a change that counts in PRGENERATION.
    pub(super) fn counted(&self, by: &Nexus, kind: ChangeKind) -> Self {
        Self { generation: self.generation.wrapping_add(1), ..self.changed(Some(by), kind) }
    }

    /// The state after a change, before what it changes.
    pub(super) fn changed(&self, by: Option<&Nexus>, kind: ChangeKind) -> Self {
        let latest = Some(LatestChange { by: by.cloned(), kind });
        Self { step: self.step + 1, latest, ..self.clone() }
    }

    /// Ends the persistent reservation if nobody holds it any more (SPC-4 table 71).
    pub(super) fn release_if_unheld(&mut self) {
        let held = match &self.reservation {
            None => return,
            Some(Reservation { holder: Some(holder), .. }) => self.is_registered(holder),
            Some(Reservation { holder: None, .. }) => !self.registrations.is_empty(),
        };
        if !held {
            self.reservation = None;
        }
    }
}
