//! What is routed to a server, and what would be lost with it.

use super::View;
use crate::records::RouteEntry;
use crate::route::Route;
use evenkeel_types::geometry::EXTENTS_PER_RUN;
use evenkeel_types::{ExtentId, ServerId, VolumeId};
use std::collections::BTreeSet;

/// What of a volume is routed to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Which volume.
    pub volume: VolumeId,
    /// Extents, written to or not, of which it holds a replica or is getting one.
    pub extents: u64,
    /// The same without those that are lost: their routes name the servers with which they were lost.
    pub kept: u64,
    /// The volume's place, or the one to come, has the server: extents may come to it that nothing names yet.
    pub is_placed: bool,
}

/// What of a volume has its only good copy at a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    /// Which volume.
    pub volume: VolumeId,
    /// Extents of which there is no other copy.
    pub lost: u64,
    /// Extents of which there is an older copy only.
    pub older: u64,
}

impl View {
    /// The extents of a volume in groups of one route each: one extent of the group, and how many they are.
    pub(super) fn groups(&self, volume: VolumeId) -> impl Iterator<Item = (ExtentId, u64)> {
        let routes = self.routes.get(&volume);
        let own = routes.into_iter().flat_map(|routes| routes.extents.keys());
        let own = own.map(move |index| (ExtentId { volume, index: *index }, 1));
        let record = self.volume(volume).map(|kept| &kept.record);
        let runs = record.into_iter().flat_map(move |record| {
            (0..record.runs()).filter_map(move |run| {
                // An extent of the run that has no entry of its own stands for all of them.
                let first = run * EXTENTS_PER_RUN;
                let end = (first + EXTENTS_PER_RUN).min(record.extents());
                let entries = routes.map_or(0, |routes| routes.extents.range(first..end).count());
                let has_none = |index: &u32| routes.is_none_or(|routes| !routes.extents.contains_key(index));
                let index = (first..end).find(has_none)?;
                Some((ExtentId { volume, index }, u64::from(end - first) - entries as u64))
            })
        });
        own.chain(runs)
    }

    /// What is routed to a server, or may come to be, by volume; empty if it may go without anybody noticing.
    #[must_use]
    pub fn holdings(&self, server: ServerId) -> Vec<Holding> {
        let of = |(volume, is_placed)| {
            let mut holding = Holding { volume, extents: 0, kept: 0, is_placed };
            for (extent, count) in self.groups(volume) {
                if let Some(route) = self.route(extent).filter(|route| route.names(server)) {
                    holding.extents += count;
                    holding.kept += if route.is_lost { 0 } else { count };
                }
            }
            (is_placed || holding.extents > 0).then_some(holding)
        };
        let is_in = |place: &crate::place::Place| place.servers().iter().any(|one| one.server == server);
        let volumes = self.volumes().map(|(volume, kept)| {
            let next = self.next_place(volume).is_some_and(|next| is_in(&next.record.place));
            (volume, next || is_in(&kept.record.place))
        });
        volumes.filter_map(of).collect()
    }

    /// What has its only good copy at a server, by volume. Of extents that follow their volume's placement nobody knows
    /// without the stores whether anything was ever written to them: they are counted.
    #[must_use]
    pub fn losses(&self, server: ServerId) -> Vec<Loss> {
        let of = |volume| {
            let mut loss = Loss { volume, lost: 0, older: 0 };
            for (extent, count) in self.groups(volume) {
                let Some(route) = self.route(extent).filter(|route| route.replicas.contains(&server)) else {
                    continue;
                };
                match self.rest_without(&route, server) {
                    Rest::Good => {}
                    Rest::Older => loss.older += count,
                    Rest::Nothing => loss.lost += count,
                }
            }
            (loss.lost > 0 || loss.older > 0).then_some(loss)
        };
        self.volumes().filter_map(|(volume, _)| of(volume)).collect()
    }

    /// Whether a route may name a server that is gone for good beside one that is not: then copies are missing.
    #[must_use]
    pub fn misses_copies(&self) -> bool {
        if !self.is_any_forgotten() {
            return false;
        }
        let misses_one = |entry: &RouteEntry| {
            let gone = entry.replicas.iter().filter(|server| self.is_forgotten(**server)).count();
            gone > 0 && gone < entry.replicas.len()
        };
        self.volumes().any(|(volume, kept)| {
            let record = &kept.record;
            // The entry of a run says nothing any more if each of its extents has one.
            let counts = |run: u32| {
                let extents = record.extents().saturating_sub(run * EXTENTS_PER_RUN).min(EXTENTS_PER_RUN);
                self.entered_of_run(volume, run) < extents as usize
            };
            let is_placed = record.place.servers().iter().any(|placed| self.is_forgotten(placed.server));
            is_placed && record.replicas > 1
                || self.entries(volume).any(|(_, kept)| misses_one(&kept.record))
                || self.run_entries(volume).any(|(run, kept)| misses_one(&kept.record) && counts(run))
        })
    }

    /// The servers whose copies, as good as a server's own, are what is left of its extents without it.
    #[must_use]
    pub fn good_beside(&self, server: ServerId) -> BTreeSet<ServerId> {
        let of = |volume| self.groups(volume).filter_map(|(extent, _)| self.route(extent));
        let routes = self.volumes().flat_map(|(volume, _)| of(volume));
        let shared = routes.filter(|route| route.replicas.contains(&server));
        shared
            .flat_map(|route| route.in_sync().collect::<Vec<_>>())
            .filter(|other| *other != server)
            .collect()
    }

    fn rest_without(&self, route: &Route, server: ServerId) -> Rest {
        if route.in_sync().any(|replica| replica != server) || route.is_lost {
            return Rest::Good;
        }
        let mut others = route.replicas.iter().filter(|other| **other != server);
        if others.any(|other| !self.is_forgotten(*other)) { Rest::Older } else { Rest::Nothing }
    }
}

/// What is left of an extent without one of its copies.
enum Rest {
    Good,
    Older,
    Nothing,
}
