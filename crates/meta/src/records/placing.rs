//! `place/<volume>` and `placed/<volume>/<server>`: a place that is to come, and who is ready for it.

use crate::directory::Revision;
use crate::place::Place;
use serde::{Deserialize, Serialize};

/// The place that a volume is to get. From its publication on no owner serves an extent that it would re-route, and that
/// nothing was written to, before the extent has a route entry. No route is computed from it, so no epoch grows by it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NextPlaceRecord {
    /// The servers.
    pub place: Place,
}

/// A server is ready: it serves no extent without an entry that the place to come would re-route, and all of them that
/// it owns, and that something was written to, have entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlacedRecord {
    /// The publication that it is about: the revision of `place/<volume>`.
    pub publication: Revision,
    /// Up to which change of a member of the volume's present place it looked: who owns what may have changed with a
    /// later one.
    pub members: Revision,
}
