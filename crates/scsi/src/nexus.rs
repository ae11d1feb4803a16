//! What a logical unit remembers for one I_T nexus: the unit attention conditions that its initiator has not
//! seen (SAM-5 clause 5.14).

use crate::sense::{AdditionalSense, Sense, SenseKey};

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
    const ALL: [Self; 8] = [
        Self::PowerOnOrReset,
        Self::LogicalUnitReset,
        Self::NexusLoss,
        Self::CommandsCleared,
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
            Self::CapacityChanged => AdditionalSense::CAPACITY_CHANGED,
            Self::ModeParametersChanged => AdditionalSense::MODE_PARAMETERS_CHANGED,
            Self::InquiryDataChanged => AdditionalSense::INQUIRY_DATA_CHANGED,
            Self::ReportedLunsChanged => AdditionalSense::REPORTED_LUNS_CHANGED,
        };
        Sense::new(SenseKey::UnitAttention, additional)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// State of one logical unit for one I_T nexus. A new one has nothing to tell; a condition is pending at most
/// once.
#[derive(Clone, Default, Debug)]
pub struct NexusState {
    pending: u8,
}

impl NexusState {
    /// Makes a condition pending until the initiator has seen it. A reset makes the conditions before it
    /// moot.
    pub fn raise(&mut self, attention: UnitAttention) {
        if attention <= UnitAttention::LogicalUnitReset {
            self.pending &= UnitAttention::PowerOnOrReset.bit() | UnitAttention::ReportedLunsChanged.bit();
        }
        self.pending |= attention.bit();
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
    fn a_reset_of_the_logical_unit_does_not_hide_that_the_target_started() {
        let mut nexus = NexusState::default();
        nexus.raise(UnitAttention::PowerOnOrReset);
        nexus.raise(UnitAttention::LogicalUnitReset);
        assert_eq!(nexus.take(), Some(UnitAttention::PowerOnOrReset));
        assert_eq!(nexus.take(), Some(UnitAttention::LogicalUnitReset));
    }
}
