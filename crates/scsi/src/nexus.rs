//! What a logical unit remembers for one I_T nexus: the unit attention conditions that its initiator has not
//! seen (SAM-5 clause 5.14), and what reservations allow it.

use crate::reservations::{Access, Conflict, Nexus, Permits, ReservationState, attention};
use crate::sense::{AdditionalSense, Sense, SenseKey};
use std::sync::Arc;

/// Something that happened to the logical unit behind the initiator's back. In the order in which they are
/// told: what makes the others moot comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum UnitAttention {
    /// The target started, or was reset.
    PowerOnOrReset,
    /// LOGICAL UNIT RESET was carried out for another initiator.
    LogicalUnitReset,
    /// The nexus was lost and is there again.
    NexusLoss,
    /// Another initiator cleared the task set.
    CommandsCleared,
    /// Another initiator cleared all registrations and the persistent reservation.
    ReservationsPreempted,
    /// Another initiator released the persistent reservation, or took it over as one of another type.
    ReservationsReleased,
    /// Another initiator took the registration of the nexus away.
    RegistrationsPreempted,
    /// READ CAPACITY would answer something else than before.
    CapacityChanged,
    /// MODE SENSE would answer something else than before.
    ModeParametersChanged,
    /// INQUIRY would answer something else than before.
    InquiryDataChanged,
    /// REPORT LUNS would answer something else than before.
    ReportedLunsChanged,
}

impl UnitAttention {
    const ALL: [Self; 11] = [
        Self::PowerOnOrReset,
        Self::LogicalUnitReset,
        Self::NexusLoss,
        Self::CommandsCleared,
        Self::ReservationsPreempted,
        Self::ReservationsReleased,
        Self::RegistrationsPreempted,
        Self::CapacityChanged,
        Self::ModeParametersChanged,
        Self::InquiryDataChanged,
        Self::ReportedLunsChanged,
    ];

    /// How it is told.
    #[must_use]
    pub const fn sense(self) -> Sense {
        let additional = match self {
            Self::PowerOnOrReset => AdditionalSense::POWER_ON_OR_RESET,
            Self::LogicalUnitReset => AdditionalSense::LOGICAL_UNIT_RESET,
            Self::NexusLoss => AdditionalSense::NEXUS_LOSS,
            Self::CommandsCleared => AdditionalSense::COMMANDS_CLEARED_BY_ANOTHER_INITIATOR,
            Self::ReservationsPreempted => AdditionalSense::RESERVATIONS_PREEMPTED,
            Self::ReservationsReleased => AdditionalSense::RESERVATIONS_RELEASED,
            Self::RegistrationsPreempted => AdditionalSense::REGISTRATIONS_PREEMPTED,
            Self::CapacityChanged => AdditionalSense::CAPACITY_CHANGED,
            Self::ModeParametersChanged => AdditionalSense::MODE_PARAMETERS_CHANGED,
            Self::InquiryDataChanged => AdditionalSense::INQUIRY_DATA_CHANGED,
            Self::ReportedLunsChanged => AdditionalSense::REPORTED_LUNS_CHANGED,
        };
        Sense::new(SenseKey::UnitAttention, additional)
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// What a reset does not make moot: it changes neither the LUNs nor persistent reservations.
const OUTLIVE_A_RESET: u16 = UnitAttention::PowerOnOrReset.bit()
    | UnitAttention::ReservationsPreempted.bit()
    | UnitAttention::ReservationsReleased.bit()
    | UnitAttention::RegistrationsPreempted.bit()
    | UnitAttention::ReportedLunsChanged.bit();

/// State of one logical unit for one I_T nexus. A new one has nothing to tell, and knows of no reservation; a condition is
/// pending at most once.
#[derive(Clone, Debug)]
pub struct NexusState {
    pending: u16,
    /// Who the nexus is. One without a name can neither be registered nor hold a reservation.
    name: Option<Nexus>,
    reservations: Arc<ReservationState>,
    /// What follows from the two above.
    permits: Permits,
}

impl Default for NexusState {
    fn default() -> Self {
        Self { pending: 0, name: None, reservations: Arc::default(), permits: Permits::ALL }
    }
}

impl NexusState {
    /// Makes a condition pending until the initiator has seen it. A reset makes the conditions before it
    /// moot.
    pub fn raise(&mut self, attention: UnitAttention) {
        if attention <= UnitAttention::LogicalUnitReset {
            self.pending &= OUTLIVE_A_RESET;
        }
        self.pending |= attention.bit();
    }

    /// Says who the nexus is.
    pub fn set_name(&mut self, name: Nexus) {
        self.name = Some(name);
        self.permits = self.reservations.permits(self.name.as_ref());
    }

    /// Who the nexus is, if that was said.
    #[must_use]
    pub const fn name(&self) -> Option<&Nexus> {
        self.name.as_ref()
    }

    /// The reservations of the logical unit as they are now. The initiator will be told what another one did to it; a state
    /// that is not younger than the one that is known changes nothing.
    pub fn set_reservations(&mut self, state: Arc<ReservationState>) {
        if state.step() <= self.reservations.step() {
            return;
        }
        if let Some(name) = &self.name
            && let Some(attention) = attention(&self.reservations, &state, name)
        {
            self.raise(attention);
        }
        self.permits = state.permits(self.name.as_ref());
        self.reservations = state;
    }

    /// The reservations that are known.
    #[must_use]
    pub const fn reservations(&self) -> &Arc<ReservationState> {
        &self.reservations
    }

    /// Whether the nexus may send a command of this class.
    ///
    /// # Errors
    /// If it conflicts with a reservation.
    pub const fn check(&self, access: Access) -> Result<(), Conflict> {
        self.permits.check(access)
    }

    /// Whether something is pending.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        self.pending != 0
    }

    /// The condition to tell next; it is pending no longer.
    pub(crate) fn take(&mut self) -> Option<UnitAttention> {
        let next = UnitAttention::ALL.into_iter().find(|attention| self.pending & attention.bit() != 0)?;
        self.pending &= !next.bit();
        Some(next)
    }

    /// The initiator has learnt otherwise what a condition would have told.
    pub(crate) fn clear(&mut self, attention: UnitAttention) {
        self.pending &= !attention.bit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_told_once_each_in_order_of_weight() {
        let mut nexus = NexusState::default();
        assert!(!nexus.is_pending());
        nexus.raise(UnitAttention::ReportedLunsChanged);
        nexus.raise(UnitAttention::CapacityChanged);
        nexus.raise(UnitAttention::CapacityChanged);
        assert_eq!(nexus.take(), Some(UnitAttention::CapacityChanged));
        assert_eq!(nexus.take(), Some(UnitAttention::ReportedLunsChanged));
        assert_eq!(nexus.take(), None);
    }

    #[test]
    fn a_reset_makes_earlier_conditions_moot_except_the_change_of_luns() {
        let mut nexus = NexusState::default();
        nexus.raise(UnitAttention::ModeParametersChanged);
        nexus.raise(UnitAttention::ReportedLunsChanged);
        nexus.raise(UnitAttention::LogicalUnitReset);
        assert_eq!(nexus.take(), Some(UnitAttention::LogicalUnitReset));
        assert_eq!(nexus.take(), Some(UnitAttention::ReportedLunsChanged));
        assert_eq!(nexus.take(), None);
    }

    #[test]
    fn a_reset_hides_nothing_that_was_done_to_persistent_reservations() {
        let told = [
            UnitAttention::ReservationsPreempted,
            UnitAttention::ReservationsReleased,
            UnitAttention::RegistrationsPreempted,
        ];
        let mut nexus = NexusState::default();
        told.into_iter().for_each(|attention| nexus.raise(attention));
        nexus.raise(UnitAttention::CommandsCleared);
        nexus.raise(UnitAttention::LogicalUnitReset);
        assert_eq!(nexus.take(), Some(UnitAttention::LogicalUnitReset));
        assert_eq!([(); 3].map(|()| nexus.take()), told.map(Some));
        assert_eq!(nexus.take(), None);
        let codes = told.map(|attention| {
            let additional = attention.sense().additional;
            (additional.code, additional.qualifier)
        });
        assert_eq!(codes, [(0x2a, 3), (0x2a, 4), (0x2a, 5)]);
    }

    #[test]
    fn a_reset_of_the_logical_unit_does_not_hide_that_the_target_started() {
        let mut nexus = NexusState::default();
        nexus.raise(UnitAttention::PowerOnOrReset);
        nexus.raise(UnitAttention::LogicalUnitReset);
        assert_eq!(nexus.take(), Some(UnitAttention::PowerOnOrReset));
        assert_eq!(nexus.take(), Some(UnitAttention::LogicalUnitReset));
    }
}
