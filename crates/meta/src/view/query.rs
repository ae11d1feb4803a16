//! What a view answers.

use super::{Kept, View, VolumeState};
use crate::directory::{Key, Revision};
use crate::place::{Place, PlaceError, PlacedServer};
use crate::records::{
    AccessRecord, COUNTER_FIRST, CertificateRecord, CounterName, Fingerprint, FormatRecord, JoinTokenRecord,
    Keyspace, LeadRecord, LiveRecord, MemberRecord, MoveId, MoveRecord, REPLICAS_MAX, Role, RouteEntry,
    ServerRecord, TombstoneRecord, VolumeRecord,
};
use crate::route::{Route, epoch_of, replica_sets};
use evenkeel_types::geometry::EXTENTS_PER_RUN;
use evenkeel_types::{ExtentId, ServerId, VolumeId};
use std::collections::BTreeSet;

/// What the copies of an extent must not share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// A failure domain.
    Domains,
    /// A server; all of them may be on one machine.
    Servers,
}

/// Bytes of a server's space for each unit of its weight in a place.
const WEIGHT_UNIT_BYTES: u64 = 1 << 30;

impl View {
    /// The revision up to which the view knows everything.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The keys of the group.
    #[must_use]
    pub const fn keys(&self) -> &Keyspace {
        &self.keys
    }

    /// The group's first record; `None` before the group begins.
    #[must_use]
    pub fn format(&self) -> Option<&FormatRecord> {
        self.format.as_ref().map(|kept| &kept.record)
    }

    /// The revision of the group's first record.
    pub(crate) fn format_revision(&self) -> Option<Revision> {
        self.format.as_ref().map(|kept| kept.revision)
    }

    /// The upper bits of all epochs.
    #[must_use]
    pub fn generation(&self) -> u16 {
        self.format().map_or(0, |format| format.generation)
    }

    /// A server's membership.
    #[must_use]
    pub fn member(&self, server: ServerId) -> Option<&Kept<MemberRecord>> {
        self.members.get(&server)
    }

    /// All members in order.
    pub fn members(&self) -> impl Iterator<Item = (ServerId, &Kept<MemberRecord>)> {
        self.members.iter().map(|(server, kept)| (*server, kept))
    }

    /// A server's addresses, domain and capacity.
    #[must_use]
    pub fn server(&self, server: ServerId) -> Option<&Kept<ServerRecord>> {
        self.servers.get(&server)
    }

    /// All servers in order.
    pub fn servers(&self) -> impl Iterator<Item = (ServerId, &Kept<ServerRecord>)> {
        self.servers.iter().map(|(server, kept)| (*server, kept))
    }

    /// The server of this name.
    #[must_use]
    pub fn server_named(&self, name: &str) -> Option<ServerId> {
        self.servers.iter().find(|(_, kept)| kept.record.name == name).map(|(server, _)| *server)
    }

    /// A server's hint of life.
    #[must_use]
    pub fn live(&self, server: ServerId) -> Option<&LiveRecord> {
        self.live.get(&server).map(|kept| &kept.record)
    }

    /// A volume.
    #[must_use]
    pub fn volume(&self, volume: VolumeId) -> Option<&Kept<VolumeRecord>> {
        self.volumes.get(&volume).map(|state| &state.kept)
    }

    /// All volumes in order of their ids.
    pub fn volumes(&self) -> impl Iterator<Item = (VolumeId, &Kept<VolumeRecord>)> {
        self.volumes.iter().map(|(volume, state)| (*volume, &state.kept))
    }

    /// The volume of this name, with the revision of the name.
    #[must_use]
    pub fn volume_named(&self, name: &str) -> Option<&Kept<VolumeId>> {
        self.names.get(name)
    }

    /// Who may use a volume.
    #[must_use]
    pub fn access(&self, volume: VolumeId) -> Option<&Kept<AccessRecord>> {
        self.access.get(&volume)
    }

    /// Whether the initiator of this name may use the volume.
    #[must_use]
    pub fn permits(&self, volume: VolumeId, initiator: &str) -> bool {
        self.volumes.contains_key(&volume)
            && self.access.get(&volume).is_some_and(|kept| kept.record.permits(initiator))
    }

    /// The tombstone of a volume that was deleted.
    #[must_use]
    pub fn tombstone(&self, volume: VolumeId) -> Option<&TombstoneRecord> {
        self.tombstones.get(&volume).map(|kept| &kept.record)
    }

    /// Who does a task for the group.
    #[must_use]
    pub fn leader(&self, role: Role) -> Option<&Kept<LeadRecord>> {
        self.leads.get(&role)
    }

    /// The next number of a counter, and the revision of the counter if it exists.
    #[must_use]
    pub fn counter(&self, what: CounterName) -> (u64, Option<Revision>) {
        self.counters.get(&what).map_or((COUNTER_FIRST, None), |kept| (kept.record, Some(kept.revision)))
    }

    /// The route entry of an extent; `None` if it has none or one that cannot be read.
    #[must_use]
    pub fn entry(&self, extent: ExtentId) -> Option<&Kept<RouteEntry>> {
        self.routes.get(&extent.volume)?.extents.get(&extent.index)?.as_ref()
    }

    /// The route entries of a volume that can be read, in order of the extents.
    pub fn entries(&self, volume: VolumeId) -> impl Iterator<Item = (u32, &Kept<RouteEntry>)> {
        let entries = self.routes.get(&volume).into_iter().flat_map(|routes| &routes.extents);
        entries.filter_map(|(index, kept)| Some((*index, kept.as_ref()?)))
    }

    /// All moves on record, oldest first for each server.
    pub fn moves(&self) -> impl Iterator<Item = MoveId> {
        self.moves.keys().copied()
    }

    /// The record of a move that is under way.
    #[must_use]
    pub fn move_under_way(&self, id: MoveId) -> Option<&MoveRecord> {
        self.moves.get(&id)?.as_ref()
    }

    /// The records of all moves that are under way.
    pub fn moves_under_way(&self) -> impl Iterator<Item = (MoveId, &MoveRecord)> {
        self.moves.iter().filter_map(|(id, record)| Some((*id, record.as_ref()?)))
    }

    /// The record of a certificate.
    #[must_use]
    pub fn certificate(&self, certificate: Fingerprint) -> Option<&Kept<CertificateRecord>> {
        self.certificates.get(&certificate)
    }

    /// All certificates on record.
    pub fn certificates(&self) -> impl Iterator<Item = (Fingerprint, &Kept<CertificateRecord>)> {
        self.certificates.iter().map(|(certificate, kept)| (*certificate, kept))
    }

    /// The certificates that nobody believes any more.
    pub fn revoked_certificates(&self) -> impl Iterator<Item = Fingerprint> {
        self.certificates().filter(|(_, kept)| kept.record.revoked_unix_ms.is_some()).map(|(id, _)| id)
    }

    /// A join token, by its hash, if its time is not over.
    #[must_use]
    pub fn join_token(&self, token: Fingerprint, now_unix_ms: u64) -> Option<&Kept<JoinTokenRecord>> {
        self.join_tokens.get(&token).filter(|kept| now_unix_ms < kept.record.expires_unix_ms)
    }

    /// All join tokens on record, by their hashes.
    pub fn join_tokens(&self) -> impl Iterator<Item = (Fingerprint, &Kept<JoinTokenRecord>)> {
        self.join_tokens.iter().map(|(token, kept)| (*token, kept))
    }

    /// Records that cannot be read, each with what is wrong. Routes that depend on one are not answered.
    pub fn problems(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.problems.iter().map(|(key, problem)| (key, problem.as_str()))
    }

    /// The route of an extent. `None` if there is no such extent, or if a record is missing or cannot be read that the
    /// route depends on: then the extent is not served, and its absence says nothing about its data.
    #[must_use]
    pub fn route(&self, extent: ExtentId) -> Option<Route> {
        let volume = self.volumes.get(&extent.volume)?;
        if extent.index >= volume.kept.record.extents() {
            return None;
        }
        match self.routes.get(&extent.volume) {
            None => self.placed(volume, extent.index),
            Some(routes) => match routes.extents.get(&extent.index) {
                Some(kept) => {
                    let kept = kept.as_ref()?;
                    self.routed(&kept.record, kept.revision, Some(kept.revision))
                }
                None if routes.runs.contains(&(extent.index / EXTENTS_PER_RUN)) => None,
                None => self.placed(volume, extent.index),
            },
        }
    }

    /// The servers that may take extents now, as the place of a new volume. A server's weight is its space in GiB. Copies
    /// of an extent go to different failure domains, or only to different servers.
    ///
    /// # Errors
    /// [`PlaceError::Count`] if there is none, or if there are too many.
    pub fn place_for_new_volume(&self, spread: Spread) -> Result<Place, PlaceError> {
        let takers = || {
            self.servers()
                .filter(|(server, _)| self.member(*server).is_some_and(|kept| kept.record.takes_extents()))
        };
        let domains: BTreeSet<&str> = takers().map(|(_, kept)| kept.record.domain.as_str()).collect();
        let place = |(server, kept): (ServerId, &Kept<ServerRecord>)| {
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
        };
        Place::new(takers().map(place).collect())
    }

    fn placed(&self, volume: &VolumeState, index: u32) -> Option<Route> {
        let replicas = volume.placement.locate(&volume.kept.record, index / EXTENTS_PER_RUN);
        self.routed(&RouteEntry::settled(replicas), volume.kept.revision, None)
    }

    fn routed(&self, entry: &RouteEntry, base: Revision, entry_revision: Option<Revision>) -> Option<Route> {
        let first = self.members.get(entry.replicas.first()?)?;
        let mut members = [first; REPLICAS_MAX];
        for (n, server) in entry.replicas.iter().enumerate().skip(1) {
            members[n] = self.members.get(server)?;
        }
        let members = &members[..entry.replicas.len()];
        let target = match entry.intent {
            Some(intent) => Some(self.members.get(&intent.to)?),
            None => None,
        };
        let revisions = members.iter().copied().chain(target).map(|kept| kept.revision);
        let epoch = epoch_of(self.generation(), base, revisions);
        let mut records = [&first.record; REPLICAS_MAX];
        for (n, kept) in members.iter().enumerate() {
            records[n] = &kept.record;
        }
        let (in_sync, present) = replica_sets(&records[..members.len()]);
        Some(Route {
            epoch,
            replicas: entry.replicas,
            in_sync,
            present,
            from: entry.from,
            intent: entry.intent,
            entry_revision,
        })
    }
}
