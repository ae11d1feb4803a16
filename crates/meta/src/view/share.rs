//! Which servers hold copies of the same extents.

use super::{Spread, View};
use crate::directory::Revision;
use crate::records::MemberState;
use crate::route::Route;
use evenkeel_types::{ServerId, VolumeId};
use std::collections::BTreeSet;

/// What a server that was away needs of others before its copies are good.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owners {
    /// The owners of the extents of which it holds a replica, without itself.
    pub present: BTreeSet<ServerId>,
    /// Whether there is an extent among them that nobody can own now: its best copy is at a server that is down.
    pub is_any_away: bool,
    /// Those servers: of the replicas of such an extent, the one that was up last.
    pub away: BTreeSet<ServerId>,
}

impl View {
    /// The latest revision that may have changed who owns what a server holds.
    #[must_use]
    pub fn ownership_revision(&self, server: ServerId) -> Revision {
        let members = self.members.values().map(|kept| kept.revision);
        let volumes = self.volumes.values().map(|state| state.kept.revision);
        let entries = self
            .volumes
            .keys()
            .flat_map(|volume| self.entries(*volume).chain(self.run_entries(*volume)))
            .filter(|(_, kept)| kept.record.replicas.contains(&server));
        members.chain(volumes).chain(entries.map(|(_, kept)| kept.revision)).max().unwrap_or(Revision::ZERO)
    }

    /// Whether copies of a server's extents are elsewhere too. Where there are none, nobody can go on without it.
    #[must_use]
    pub fn has_shared_extents(&self, server: ServerId) -> bool {
        self.volumes.iter().any(|(volume, state)| {
            let record = &state.kept.record;
            record.replicas > 1
                && (record.place.servers().iter().any(|placed| placed.server == server)
                    || self
                        .entries(*volume)
                        .chain(self.run_entries(*volume))
                        .any(|(_, kept)| kept.record.replicas.contains(&server)))
        })
    }

    /// Whether a server must not take the place of a replica: it holds another one, or would fail together with one.
    /// A volume whose place spreads copies over servers only asks for no more.
    #[must_use]
    pub fn is_barred(&self, volume: VolumeId, route: &Route, replaces: ServerId, to: ServerId) -> bool {
        let mut others = route.replicas.iter().copied().filter(|server| *server != replaces);
        if route.replicas.contains(&to) {
            return true;
        }
        let domain = |server: ServerId| self.server(server).map(|kept| kept.record.domain.as_str());
        let is_by_server = self.spread(volume) == Spread::Servers;
        !is_by_server && others.any(|server| domain(server) == domain(to))
    }

    /// Whose promise a server needs that its copies are as good as theirs. Looks at each run and at each route entry.
    #[must_use]
    pub fn owners_for(&self, server: ServerId) -> Owners {
        let mut owners = Owners::default();
        for (volume, state) in &self.volumes {
            if state.kept.record.replicas < 2 {
                continue;
            }
            for (extent, _) in self.groups(*volume) {
                if let Some(route) = self.route(extent) {
                    owners.add(self, server, &route);
                }
            }
        }
        owners
    }
}

impl Owners {
    fn add(&mut self, view: &View, server: ServerId, route: &Route) {
        if !route.replicas.contains(&server) || route.replicas.len() < 2 || route.owner() == Some(server) {
            return;
        }
        let is_there = |owner| view.member(owner).is_some_and(|kept| kept.record.state != MemberState::Down);
        match route.owner().filter(|owner| is_there(*owner)) {
            Some(owner) => {
                self.present.insert(owner);
            }
            None => {
                self.is_any_away = true;
                self.away.extend(route.owner());
            }
        }
    }
}
