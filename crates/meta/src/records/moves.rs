//! `move/<move>`: a move, why it was made and how it ended. For people; the data path reads none of it.

use evenkeel_types::{ExtentId, Incarnation, ServerId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Move records that are kept of each server's moves; older ones go as new ones come.
pub const MOVES_KEPT_PER_SERVER: usize = 1024;
/// Bytes of a recorded reason at most.
pub const MOVE_REASON_BYTES_MAX: usize = 8 << 10;

/// Names a move. Made without asking anybody: server (16 bits), its incarnation (24 bits), and a number that grows with
/// each move that the server begins (24 bits). Moves of one server sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MoveId(pub u64);

impl MoveId {
    /// The `number`-th move that this start of the server begins; `None` beyond the bits.
    #[must_use]
    pub fn new(server: ServerId, incarnation: Incarnation, number: u32) -> Option<Self> {
        let fits = server.0 < 1 << 16 && incarnation.0 < 1 << 24 && number < 1 << 24;
        fits.then_some(Self(u64::from(server.0) << 48 | incarnation.0 << 24 | u64::from(number)))
    }

    /// The server that began the move.
    #[must_use]
    pub const fn server(self) -> ServerId {
        ServerId((self.0 >> 48) as u32)
    }
}

impl fmt::Display for MoveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}.{}.{}", self.0 >> 48, self.0 >> 24 & 0xff_ffff, self.0 & 0xff_ffff)
    }
}

/// Reads what [`fmt::Display`] prints.
impl FromStr for MoveId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = || {
            let mut parts = text.strip_prefix('m')?.split('.');
            let server = ServerId(parts.next()?.parse().ok()?);
            let incarnation = Incarnation(parts.next()?.parse().ok()?);
            let id = Self::new(server, incarnation, parts.next()?.parse().ok()?)?;
            parts.next().is_none().then_some(id)
        };
        id().ok_or_else(|| format!("{text:?} is not a move; moves are named like m1.2.3"))
    }
}

/// How far a move is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MoveState {
    /// The intent is in the route entry.
    Copying,
    /// The target is in the place of the replica that it replaces.
    Moved,
    /// The intent was cleared.
    Aborted,
}

/// A move and its reason.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MoveRecord {
    /// What was moved.
    pub extent: ExtentId,
    /// The replica that is replaced.
    pub from: ServerId,
    /// Its successor.
    pub to: ServerId,
    /// How far the move is.
    pub state: MoveState,
    /// When the intent was written, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// When it became `moved` or `aborted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_unix_ms: Option<u64>,
    /// Who asked for it and why, as whoever decided put it.
    pub reason: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn move_ids_print_and_read_back() {
        let id = MoveId::new(ServerId(3), Incarnation(12), 77).unwrap();
        assert_eq!(id.to_string(), "m3.12.77");
        assert_eq!("m3.12.77".parse(), Ok(id));
        assert_eq!(id.server(), ServerId(3));
        for bad in ["", "m", "m1", "m1.2", "m1.2.3.4", "m65536.1.1", "m1.16777216.1", "1.2.3", "m-1.2.3"] {
            assert!(bad.parse::<MoveId>().is_err(), "{bad}");
        }
    }
}
