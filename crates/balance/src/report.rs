//! What a server tells its peers about its load every second.

use crate::capacity::Capacity;
use crate::filter::Filtered;
use crate::pattern::Pattern;
use crate::resource::Load;
use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::{ExtentId, Incarnation, ServerId};
use serde::{Deserialize, Serialize};

/// Hottest extents in a report.
pub const HOT_EXTENTS_MAX: usize = 64;
/// Largest utilisation that a report may name; beyond it lies only damage.
const UTILISATION_MAX: f64 = 1e9;

/// A load taken apart by what caused it.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Parts {
    /// Portal work: stays when extents move.
    pub front_end: Load,
    /// Owner work: goes with the extents.
    pub owner: Load,
    /// Copies for moves, resyncs and rebuilds: passes by itself.
    pub copy: Load,
}

impl Parts {
    /// What hosts ask for: the load that is judged.
    #[must_use]
    pub fn offered(&self) -> Load {
        self.front_end + self.owner
    }

    pub(crate) fn zip(self, other: Self, with: impl Fn(f64, f64) -> f64 + Copy) -> Self {
        Self {
            front_end: self.front_end.zip(other.front_end, with),
            owner: self.owner.zip(other.owner, with),
            copy: self.copy.zip(other.copy, with),
        }
    }

    fn is_sane(&self) -> bool {
        [self.front_end, self.owner, self.copy].iter().all(|load| load.is_sane(UTILISATION_MAX))
    }
}

/// An extent that is worth a look.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HotExtent {
    /// Which.
    pub extent: ExtentId,
    /// Utilisation that it causes at its owner.
    pub heat: Load,
    /// Its accesses per second.
    pub pattern: Pattern,
    /// Bytes that a move would copy.
    pub bytes: u32,
    /// In how many of the last eight seconds it was in use.
    pub ticks_in_use: u8,
}

/// A server's load at one moment. A newer one replaces it whole, so a lost one does no harm.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Who reports.
    pub server: ServerId,
    /// Its incarnation; with the sequence it orders reports.
    pub incarnation: Incarnation,
    /// Grows by one with each report of an incarnation.
    pub sequence: u64,
    /// How long the monitor has been measuring, in milliseconds; at the very start a report means little.
    pub uptime_ms: u64,
    /// What the server can do.
    pub capacity: Capacity,
    /// Offered utilisation, as filtered.
    pub utilisation: Filtered<Parts>,
    /// Accesses per second at the owner.
    pub pattern: Pattern,
    /// Bytes of the store in use.
    pub allocated_bytes: u64,
    /// Bytes of the store in all.
    pub total_bytes: u64,
    /// Moves under way from this server.
    pub moves_out: u16,
    /// Moves under way to this server.
    pub moves_in: u16,
    /// Heat of the extents on their way out.
    pub leaving: Load,
    /// The extents with most heat, hottest first.
    pub hot: Vec<HotExtent>,
}

impl Report {
    /// Whether the numbers can be reckoned with; a report comes from another machine.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        self.capacity.check().is_ok()
            && self.utilisation.fast.is_sane()
            && self.utilisation.slow.is_sane()
            && self.leaving.is_sane(UTILISATION_MAX)
            && self.pattern.is_sane()
            && self.hot.len() <= HOT_EXTENTS_MAX
            && self.hot.iter().all(|hot| {
                hot.heat.is_sane(UTILISATION_MAX) && hot.pattern.is_sane() && hot.bytes <= EXTENT_BYTES
            })
    }

    /// Whether this one was made after the other, by the same server.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.incarnation, self.sequence) > (other.incarnation, other.sequence)
    }
}
