//! `access/<volume>`: who may use a volume. Apart from the volume's record, so that a grant raises no epoch.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Initiators that a volume lists at most.
pub const ACCESS_INITIATORS_MAX: usize = 512;
/// Bytes of an initiator's name at most (RFC 7143 section 4.2.7.1).
pub const INITIATOR_NAME_BYTES_MAX: usize = 223;

/// Who may use a volume; by default nobody.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AccessRecord {
    /// Any initiator may.
    #[serde(default)]
    pub any: bool,
    /// These initiators may, by their iSCSI names.
    #[serde(default)]
    pub initiators: BTreeSet<String>,
}

impl AccessRecord {
    /// Whether the initiator of this name may use the volume.
    #[must_use]
    pub fn permits(&self, initiator: &str) -> bool {
        self.any || self.initiators.contains(initiator)
    }
}
