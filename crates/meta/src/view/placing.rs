//! Over which servers volumes are placed, and are to be.

use super::{Kept, View};
use crate::directory::Revision;
use crate::place::{Place, PlaceError, PlacedServer};
use crate::records::{MemberRecord, MemberState, NextPlaceRecord, PlacedRecord, Replicas};
use evenkeel_types::geometry::EXTENTS_PER_RUN;
use evenkeel_types::{ExtentId, ServerId, VolumeId};
use std::collections::BTreeSet;

/// Bytes of a server's space for each unit of its weight in a place.
const WEIGHT_UNIT_BYTES: u64 = 1 << 30;

/// What the copies of an extent must not share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// A failure domain.
    Domains,
    /// A server; all of them may be on one machine.
    Servers,
}

impl View {
    /// The servers that may take extents now, as the place of a new volume. A server's weight is its space in GiB. Copies
    /// of an extent go to different failure domains, or only to different servers.
    ///
    /// # Errors
    /// [`PlaceError::Count`] if there is none, or if there are too many.
    pub fn place_for_new_volume(&self, spread: Spread) -> Result<Place, PlaceError> {
        self.place_of(spread, MemberRecord::takes_extents)
    }

    fn place_of(&self, spread: Spread, counts: impl Fn(&MemberRecord) -> bool) -> Result<Place, PlaceError> {
        let counted = || {
            self.servers().filter(|(server, _)| self.member(*server).is_some_and(|kept| counts(&kept.record)))
        };
        let domains: BTreeSet<&str> = counted().map(|(_, kept)| kept.record.domain.as_str()).collect();
        let placed = counted().map(|(server, kept)| {
            let units = kept.record.capacity.bytes / WEIGHT_UNIT_BYTES;
            let domain = domains.iter().take_while(|domain| **domain < kept.record.domain.as_str()).count();
            PlacedServer {
                server,
                weight: u32::try_from(units).unwrap_or(u32::MAX).max(1),
                domain: match spread {
                    Spread::Domains => u32::try_from(domain).unwrap_or(u32::MAX),
                    Spread::Servers => server.0,
                },
            }
        });
        Place::new(placed.collect())
    }

    /// What the copies of a volume's extents must not share: a place in which two servers of one failure domain count as
    /// two spreads them over servers only.
    #[must_use]
    pub fn spread(&self, volume: VolumeId) -> Spread {
        let domain = |server: ServerId| self.server(server).map(|kept| kept.record.domain.as_str());
        let placed = self.volume(volume).map_or(&[][..], |kept| kept.record.place.servers());
        let counts_twice = |(n, one): (usize, &PlacedServer)| {
            placed[..n].iter().any(|other| {
                one.domain != other.domain
                    && domain(one.server).is_some()
                    && domain(one.server) == domain(other.server)
            })
        };
        if placed.iter().enumerate().any(counts_twice) { Spread::Servers } else { Spread::Domains }
    }

    /// The place that a volume should have, if that is another one than it has: over all servers that are to stay, be they
    /// up at the moment or not. None if they are too few for its copies.
    #[must_use]
    pub fn wanted_place(&self, volume: VolumeId) -> Option<Place> {
        let record = &self.volume(volume)?.record;
        let wanted = self.place_of(self.spread(volume), MemberRecord::is_to_stay).ok()?;
        (wanted != record.place && wanted.domains() >= usize::from(record.replicas)).then_some(wanted)
    }

    /// The place that a volume is to get, if one was published.
    #[must_use]
    pub fn next_place(&self, volume: VolumeId) -> Option<&Kept<NextPlaceRecord>> {
        self.next_places.get(&volume).map(|next| &next.kept)
    }

    /// Volumes for which a place was published.
    pub fn next_places(&self) -> impl Iterator<Item = VolumeId> {
        self.next_places.keys().copied()
    }

    /// What a server confirmed about the place that a volume is to get.
    #[must_use]
    pub fn placed(&self, volume: VolumeId, server: ServerId) -> Option<&Kept<PlacedRecord>> {
        self.placed.get(&(volume, server))
    }

    /// Whether the place to come would re-route an extent: it has no entry, nor has its run, and its copies would be
    /// elsewhere.
    #[must_use]
    pub fn is_to_be_placed(&self, extent: ExtentId) -> bool {
        if self.next_places.is_empty() || self.has_entry(extent) {
            return false;
        }
        self.located(extent.volume, extent.index / EXTENTS_PER_RUN).is_some_and(|(now, next)| now != next)
    }

    /// Where a run is by the present place and by the one to come.
    fn located(&self, volume: VolumeId, run: u32) -> Option<(Replicas, Replicas)> {
        let state = self.volumes.get(&volume)?;
        let next = self.next_places.get(&volume)?;
        if run >= state.kept.record.runs() {
            return None;
        }
        let record = &state.kept.record;
        let to_come = next.placement.as_ref()?.locate_in(&next.kept.record.place, record, run);
        Some((state.placement.locate(record, run), to_come))
    }

    /// The latest change of the member record of any server of a volume's place: with each of them the owners of its
    /// extents may have changed.
    #[must_use]
    pub fn placing_members(&self, volume: VolumeId) -> Revision {
        let placed = self.volume(volume).map_or(&[][..], |kept| kept.record.place.servers());
        let revisions = placed.iter().filter_map(|placed| Some(self.member(placed.server)?.revision));
        revisions.max().unwrap_or(Revision::ZERO)
    }

    /// Whether all servers of a volume's place that are not gone for good are there, so that they can confirm another one.
    pub(crate) fn is_place_present(&self, volume: VolumeId) -> bool {
        self.placing_servers(volume).all(|(_, record)| record.state != MemberState::Down)
    }

    /// Whether all servers of a place are there: extents may come to each of them when it is swapped in.
    pub(crate) fn are_present(&self, place: &Place) -> bool {
        let member = |placed: &PlacedServer| self.member(placed.server).map(|kept| kept.record.state);
        place.servers().iter().all(|placed| member(placed).is_some_and(|state| state != MemberState::Down))
    }

    /// Whether all servers of a volume's place have confirmed the one to come, as of the latest change of any of them.
    pub(crate) fn is_place_confirmed(&self, volume: VolumeId) -> bool {
        let Some(published) = self.next_place(volume).map(|kept| kept.revision) else { return false };
        let members = self.placing_members(volume);
        let wanted = PlacedRecord { publication: published, members };
        self.is_place_present(volume)
            && self.placing_servers(volume).all(|(server, _)| {
                self.placed(volume, server).is_some_and(|confirmed| confirmed.record == wanted)
            })
    }

    fn placing_servers(&self, volume: VolumeId) -> impl Iterator<Item = (ServerId, &MemberRecord)> {
        let placed = self.volume(volume).map_or(&[][..], |kept| kept.record.place.servers());
        let members =
            placed.iter().filter_map(|placed| Some((placed.server, &self.member(placed.server)?.record)));
        members.filter(|(_, record)| !record.forgotten)
    }

    /// Runs whose placed copies are all gone for good, and that have no entry which says so, from the first on.
    pub(crate) fn lost_runs(&self, volume: VolumeId) -> impl Iterator<Item = u32> {
        let placed = self.volume(volume).map_or(&[][..], |kept| kept.record.place.servers());
        let is_any_gone = placed.iter().any(|placed| self.is_forgotten(placed.server));
        let state = self.volumes.get(&volume).filter(|_| is_any_gone);
        state.into_iter().flat_map(move |state| {
            let record = &state.kept.record;
            (0..record.runs()).filter(move |run| {
                let has_entry = self.routes.get(&volume).is_some_and(|routes| routes.runs.contains_key(run));
                let replicas = state.placement.locate(record, *run);
                !has_entry && replicas.iter().all(|server| self.is_forgotten(*server))
            })
        })
    }
}
