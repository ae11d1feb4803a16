//! `volume/<volume>` and `tombstone/<volume>`.

use super::RecordError;
use super::names::check_volume_name;
use super::route::REPLICAS_MAX;
use crate::place::Place;
use evenkeel_types::geometry::{EXTENT_BYTES, EXTENTS_PER_RUN, VOLUME_BYTES_MAX};
use serde::{Deserialize, Serialize};

/// A volume. The routes of all its extents without an entry are computed from it, and their epochs grow with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its name, unique in the group.
    pub name: String,
    /// Its size, a multiple of the logical block.
    pub size_bytes: u64,
    /// Bytes of a logical block as initiators see it: 512 or 4096.
    pub logical_block_bytes: u32,
    /// Copies of each extent, 1 to 3.
    pub replicas: u8,
    /// Drawn when the volume was made; placement depends on it.
    #[serde(with = "super::hex_u64")]
    pub seed: u64,
    /// The servers over which it was placed, frozen.
    pub place: Place,
    /// When it was made, in milliseconds since 1970.
    pub created_unix_ms: u64,
}

impl VolumeRecord {
    /// Number of extents, the last of which may be partial.
    #[must_use]
    pub const fn extents(&self) -> u32 {
        self.size_bytes.div_ceil(EXTENT_BYTES as u64) as u32
    }

    /// Number of runs of extents that are placed together; the last may be partial.
    #[must_use]
    pub const fn runs(&self) -> u32 {
        self.extents().div_ceil(EXTENTS_PER_RUN)
    }

    /// Whether the fields are possible and go together; checked before writing and after reading.
    ///
    /// # Errors
    /// Says what is not possible.
    pub fn check(&self) -> Result<(), RecordError> {
        let refuse = |what: String| Err(RecordError { what });
        if let Err(error) = check_volume_name(&self.name) {
            return refuse(error.to_string());
        }
        if !matches!(self.logical_block_bytes, 512 | 4096) {
            return refuse(format!(
                "logical blocks of {} bytes; 512 and 4096 are possible",
                self.logical_block_bytes
            ));
        }
        let whole = self.size_bytes.is_multiple_of(u64::from(self.logical_block_bytes));
        if !whole || self.size_bytes == 0 || self.size_bytes > VOLUME_BYTES_MAX {
            return refuse(format!(
                "a size of {} bytes; multiples of {} up to {VOLUME_BYTES_MAX} are possible",
                self.size_bytes, self.logical_block_bytes
            ));
        }
        if !(1..=REPLICAS_MAX).contains(&usize::from(self.replicas)) {
            return refuse(format!("{} replicas; 1 to {REPLICAS_MAX} are possible", self.replicas));
        }
        Ok(())
    }
}

/// A volume that was deleted. Its copies may be given up, and its id is never given again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TombstoneRecord {
    /// The name that it had.
    pub name: String,
    /// When it was deleted, in milliseconds since 1970.
    pub deleted_unix_ms: u64,
}
