//! `access/<volume>`: who may do what with a volume. Apart from the volume's record, so that a change raises no epoch.

use super::RecordError;
use evenkeel_types::{Incarnation, ServerId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// Initiators that a volume lists at most.
pub const ACCESS_INITIATORS_MAX: usize = 512;
/// Bytes of an initiator's name at most (RFC 7143 section 4.2.7.1).
pub const INITIATOR_NAME_BYTES_MAX: usize = 223;
/// Changes that a record names at most, the latest.
pub const ACCESS_CHANGES_KEPT: usize = 16;

/// Who may do what with a volume; by default nobody anything.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AccessRecord {
    /// Any initiator may use it.
    #[serde(default)]
    pub any: bool,
    /// These initiators may, by their iSCSI names.
    #[serde(default)]
    pub initiators: BTreeSet<String>,
    /// What initiators have reserved, as the front ends of all servers keep it; nothing in here looks into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservations: Option<serde_json::Value>,
    /// How often initiators have reset it, for all of them.
    #[serde(default)]
    pub resets: Resets,
    /// The latest changes: whoever made one and got no answer finds it here, if it happened.
    #[serde(default)]
    pub changes: VecDeque<AccessChange>,
}

/// How often initiators have ended what was under way, by how far that goes. Servers carry out what is more than they saw last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Resets {
    /// Commands were aborted.
    #[serde(default)]
    pub task_sets: u64,
    /// The logical unit was reset too.
    #[serde(default)]
    pub units: u64,
    /// Connections were closed too.
    #[serde(default)]
    pub targets: u64,
}

/// Names a change of an access record for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccessChange {
    /// The server that made it.
    pub server: ServerId,
    /// In which life.
    pub incarnation: Incarnation,
    /// Unique in that life.
    pub number: u64,
}

impl AccessRecord {
    /// Whether the initiator of this name may use the volume.
    #[must_use]
    pub fn permits(&self, initiator: &str) -> bool {
        self.any || self.initiators.contains(initiator)
    }

    /// The record with one more change named in it.
    #[must_use]
    pub fn changed_by(mut self, change: AccessChange) -> Self {
        self.changes.push_back(change);
        while self.changes.len() > ACCESS_CHANGES_KEPT {
            self.changes.pop_front();
        }
        self
    }

    /// Whether the lists are within their bounds; checked before writing.
    ///
    /// # Errors
    /// Says what is not possible.
    pub(crate) fn check(&self) -> Result<(), RecordError> {
        let count = self.initiators.len();
        if count > ACCESS_INITIATORS_MAX {
            return Err(RecordError {
                what: format!("{count} initiators, at most {ACCESS_INITIATORS_MAX} are possible"),
            });
        }
        let is_possible = |name: &&String| (1..=INITIATOR_NAME_BYTES_MAX).contains(&name.len());
        match self.initiators.iter().find(|name| !is_possible(name)) {
            Some(name) => Err(RecordError {
                what: format!("the initiator name {name:?} has not 1 to {INITIATOR_NAME_BYTES_MAX} bytes"),
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_the_latest_changes() {
        let change = |number| AccessChange { server: ServerId(1), incarnation: Incarnation(2), number };
        let record =
            (0..20).fold(AccessRecord::default(), |record, number| record.changed_by(change(number)));
        assert_eq!(record.changes.len(), ACCESS_CHANGES_KEPT);
        assert!(record.changes.contains(&change(19)) && !record.changes.contains(&change(3)));
    }

    #[test]
    fn a_record_without_what_came_later_can_be_read() {
        let read: AccessRecord = serde_json::from_str(r#"{"any":true,"initiators":[]}"#).unwrap();
        assert_eq!(read, AccessRecord { any: true, ..AccessRecord::default() });
    }
}
