//! `format`: which group this is, and which servers can read its records.

use serde::{Deserialize, Serialize};

/// The version of keys, values and placement that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// The first record of a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FormatRecord {
    /// Servers that know only lower versions must not read on.
    pub version: u32,
    /// The group's name, as in the keys.
    pub group: String,
    /// Drawn when the group began, so that two groups of one name are told apart.
    #[serde(with = "super::hex_u64")]
    pub group_id: u64,
    /// Raised by each restore of the directory from a backup; the upper bits of every epoch, so that none falls.
    pub generation: u16,
}
