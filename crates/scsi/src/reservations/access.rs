//! The classes of commands that reservations tell apart, and what a nexus may do (SPC-4 table 65, SBC-3 clause 4.17,
//! SPC-2 clause 5.5).

use snafu::Snafu;

/// What a command does, as far as reservations are concerned: a column of [`crate::opcodes::COMMANDS`].
///
/// | held by another nexus | write exclusive | exclusive access | RESERVE |
/// |---|---|---|---|
/// | `Always` | yes | yes | yes |
/// | `Ready` | yes | yes | no |
/// | `Read` | yes | no | no |
/// | `Write` | no | no | no |
///
/// Registered nexuses may do everything under the types for registrants. `PersistentReserveIn` goes with every persistent
/// reservation and with no RESERVE, whoever holds it; `PersistentReserveOut` likewise, and the command decides itself
/// which of its service actions are allowed (SPC-4 table 66). RESERVE and RELEASE decide themselves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Access {
    /// Tells what the logical unit is: INQUIRY, REPORT LUNS, REQUEST SENSE, READ CAPACITY, REPORT TARGET PORT GROUPS.
    Always,
    /// Asks whether the logical unit can be used: TEST UNIT READY.
    Ready,
    /// Reads the medium, or parameters of the logical unit.
    Read,
    /// Changes the medium, or parameters of the logical unit.
    Write,
    /// PERSISTENT RESERVE IN.
    PersistentReserveIn,
    /// PERSISTENT RESERVE OUT.
    PersistentReserveOut,
    /// RESERVE and RELEASE.
    ReserveRelease,
}

impl Access {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Always,
        Self::Ready,
        Self::Read,
        Self::Write,
        Self::PersistentReserveIn,
        Self::PersistentReserveOut,
        Self::ReserveRelease,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A command conflicts with a reservation: it ends with RESERVATION CONFLICT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Snafu)]
#[snafu(display("the command conflicts with a reservation of another nexus"))]
pub struct Conflict;

/// The classes of commands that a nexus may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permits(u8);

impl Permits {
    /// Everything.
    pub const ALL: Self = Self(0x7f);

    /// Everything but these.
    pub(crate) const fn without(self, classes: &[Access]) -> Self {
        let mut left = self.0;
        let mut at = 0;
        while at < classes.len() {
            left &= !classes[at].bit();
            at += 1;
        }
        Self(left)
    }

    /// Whether commands of this class are allowed.
    ///
    /// # Errors
    /// If they are not.
    pub const fn check(self, access: Access) -> Result<(), Conflict> {
        if self.0 & access.bit() != 0 { Ok(()) } else { Err(Conflict) }
    }
}
