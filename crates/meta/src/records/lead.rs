//! `live/<server>` and `lead/<role>`: records that go with a directory lease. They are hints; nothing is fenced by them.

use evenkeel_types::{Incarnation, ServerId};
use serde::{Deserialize, Serialize};

/// A server runs, as far as the directory can tell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveRecord {
    /// Which start of it.
    pub incarnation: Incarnation,
}

/// Who does a task for the group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeadRecord {
    /// The elected server.
    pub server: ServerId,
    /// Which start of it.
    pub incarnation: Incarnation,
}
