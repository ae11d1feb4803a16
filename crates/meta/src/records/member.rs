//! `member/<server>`: a server's part in the group. The epochs of all extents of a server grow with each change of it.

use evenkeel_types::Incarnation;
use serde::{Deserialize, Serialize};

/// What the group may expect of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// Its copies are in sync.
    Up,
    /// It runs, and its copies are being brought up to date.
    Syncing,
    /// It is not there; its last incarnation is refused everywhere.
    Down,
}

/// Membership of one server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemberRecord {
    /// What the group may expect of it.
    pub state: MemberState,
    /// It is being emptied: it takes no new extents.
    #[serde(default)]
    pub draining: bool,
    /// Which start of the server this is; 0 if it never started. Lower ones are refused everywhere.
    pub incarnation: Incarnation,
    /// Its place in the order in which servers left `up`; written on leaving `up` and at no other time. Where no
    /// replica is up, the one that left last is alone in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// It left `up` with this very put: its place in the order is the revision of the record, which nobody knows before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub leaves: bool,
    /// It is gone for good: its copies count for nothing, it never starts again, and its id is not given again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub forgotten: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl MemberRecord {
    /// The record of a server that was registered and never started.
    #[must_use]
    pub const fn registered() -> Self {
        Self {
            state: MemberState::Down,
            draining: false,
            incarnation: Incarnation(0),
            left: None,
            leaves: false,
            forgotten: false,
        }
    }

    /// Whether the server is `up`.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == MemberState::Up
    }

    /// Whether new extents and moves may go to the server.
    #[must_use]
    pub fn takes_extents(&self) -> bool {
        self.is_up() && !self.draining
    }

    /// Whether volumes are to be placed over the server, also while it is away for a moment.
    #[must_use]
    pub fn is_to_stay(&self) -> bool {
        !self.draining && !self.forgotten && self.incarnation > Incarnation(0)
    }
}
