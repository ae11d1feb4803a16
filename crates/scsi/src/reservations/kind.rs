//! The types of persistent reservations (SPC-4 clause 6.15.3.4).

use serde::{Deserialize, Serialize};

/// A type of persistent reservation: whom it keeps out, from what, and who holds it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum ReservationType {
    /// All but the holder are kept from writing.
    WriteExclusive = 1,
    /// All but the holder are kept from reading and writing.
    ExclusiveAccess = 3,
    /// All that are not registered are kept from writing; one nexus holds it.
    WriteExclusiveRegistrantsOnly = 5,
    /// All that are not registered are kept from reading and writing; one nexus holds it.
    ExclusiveAccessRegistrantsOnly = 6,
    /// All that are not registered are kept from writing; all that are registered hold it.
    WriteExclusiveAllRegistrants = 7,
    /// All that are not registered are kept from reading and writing; all that are registered hold it.
    ExclusiveAccessAllRegistrants = 8,
}

impl ReservationType {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrantsOnly,
        Self::ExclusiveAccessRegistrantsOnly,
        Self::WriteExclusiveAllRegistrants,
        Self::ExclusiveAccessAllRegistrants,
    ];

    /// The type with this code, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The type in a byte of SCOPE and TYPE, if both are known.
    #[must_use]
    pub fn from_scope_and_type(byte: u8) -> Option<Self> {
        // SCOPE is the upper half of the byte, and zero is the only one: the logical unit.
        Self::from_code(byte)
    }

    /// TYPE, and SCOPE and TYPE too.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether it keeps others from reading, too.
    #[must_use]
    pub const fn excludes_reads(self) -> bool {
        matches!(
            self,
            Self::ExclusiveAccess
                | Self::ExclusiveAccessRegistrantsOnly
                | Self::ExclusiveAccessAllRegistrants
        )
    }

    /// Whether every registered nexus holds it.
    #[must_use]
    pub const fn is_held_by_all_registrants(self) -> bool {
        matches!(self, Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants)
    }

    /// Whether every registered nexus may do what its holder may: registrants only, or all registrants.
    #[must_use]
    pub const fn admits_registrants(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_six_codes_with_the_scope_of_the_logical_unit_are_types() {
        let known: Vec<u8> =
            (0..=255).filter(|byte| ReservationType::from_scope_and_type(*byte).is_some()).collect();
        assert_eq!(known, [1, 3, 5, 6, 7, 8]);
    }
}
