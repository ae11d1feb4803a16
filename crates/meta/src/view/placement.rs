//! The computed placement of a volume's runs, computed once each.

use crate::place::Place;
use crate::records::{Replicas, VolumeRecord};
use std::sync::OnceLock;

/// A cache with a place for each run of one volume; it is dropped with the record that it was computed from.
#[derive(Debug)]
pub(super) struct Placement {
    runs: Box<[OnceLock<Replicas>]>,
}

impl Placement {
    pub(super) fn new(runs: u32) -> Self {
        Self { runs: (0..runs).map(|_| OnceLock::new()).collect() }
    }

    /// Where the run is; `run` must be one of the volume's.
    pub(super) fn locate(&self, volume: &VolumeRecord, run: u32) -> Replicas {
        self.locate_in(&volume.place, volume, run)
    }

    /// The same in another place, of which this is the cache.
    pub(super) fn locate_in(&self, place: &Place, volume: &VolumeRecord, run: u32) -> Replicas {
        *self.runs[run as usize].get_or_init(|| place.locate(volume.seed, run, volume.replicas))
    }
}

/// What is in the cache follows from the record beside it: two views that differ only here are equal.
impl PartialEq for Placement {
    fn eq(&self, other: &Self) -> bool {
        self.runs.len() == other.runs.len()
    }
}
