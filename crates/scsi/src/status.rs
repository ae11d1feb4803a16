//! Status codes (SAM-5 clause 5.3.1).

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Status {
    /// Done as asked.
    Good = 0x00,
    /// Not done; the sense data says why.
    CheckCondition = 0x02,
    /// A PRE-FETCH that fits.
    ConditionMet = 0x04,
    /// Not done now; try again.
    Busy = 0x08,
    /// Not done: another initiator holds a reservation.
    ReservationConflict = 0x18,
    /// Not accepted: too many commands are open.
    TaskSetFull = 0x28,
    /// Not accepted: an auto contingent allegiance is in force.
    AcaActive = 0x30,
    /// Aborted by another initiator.
    TaskAborted = 0x40,
}

impl Status {
    /// The status with this code, if there is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0x00 => Self::Good,
            0x02 => Self::CheckCondition,
            0x04 => Self::ConditionMet,
            0x08 => Self::Busy,
            0x18 => Self::ReservationConflict,
            0x28 => Self::TaskSetFull,
            0x30 => Self::AcaActive,
            0x40 => Self::TaskAborted,
            _ => return None,
        })
    }

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}
