//! What a view answers.

use super::{Kept, View, VolumeState};
use crate::directory::{Key, Revision};
use crate::records::{
    AccessRecord, COUNTER_FIRST, CertificateRecord, CounterName, Fingerprint, FormatRecord, JoinTokenRecord,
    Keyspace, LeadRecord, LiveRecord, MemberRecord, MoveId, MoveRecord, REPLICAS_MAX, Role, RouteEntry,
    ServerRecord, TombstoneRecord, VolumeRecord,
};
use crate::route::{Route, epoch_of, replica_sets};
use evenkeel_types::geometry::EXTENTS_PER_RUN;
use evenkeel_types::{ExtentId, ServerId, VolumeId};

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

    /// All members in order, without those that are gone for good.
    pub fn members(&self) -> impl Iterator<Item = (ServerId, &Kept<MemberRecord>)> {
        self.members.iter().filter(|(_, kept)| !kept.record.forgotten).map(|(server, kept)| (*server, kept))
    }

    /// Whether any server is gone for good.
    #[must_use]
    pub fn is_any_forgotten(&self) -> bool {
        self.members.values().any(|kept| kept.record.forgotten)
    }

    /// Whether a server is gone for good.
    #[must_use]
    pub fn is_forgotten(&self, server: ServerId) -> bool {
        self.members.get(&server).is_some_and(|kept| kept.record.forgotten)
    }

    /// A server's addresses, domain and capacity.
    #[must_use]
    pub fn server(&self, server: ServerId) -> Option<&Kept<ServerRecord>> {
        self.servers.get(&server)
    }

    /// All servers in order, without those that are gone for good.
    pub fn servers(&self) -> impl Iterator<Item = (ServerId, &Kept<ServerRecord>)> {
        self.servers
            .iter()
            .filter(|(server, _)| !self.is_forgotten(**server))
            .map(|(server, kept)| (*server, kept))
    }

    /// The servers that are gone for good.
    pub fn forgotten_servers(&self) -> impl Iterator<Item = (ServerId, &Kept<ServerRecord>)> {
        self.servers
            .iter()
            .filter(|(server, _)| self.is_forgotten(**server))
            .map(|(server, kept)| (*server, kept))
    }

    /// The server of this name.
    #[must_use]
    pub fn server_named(&self, name: &str) -> Option<ServerId> {
        self.servers().find(|(_, kept)| kept.record.name == name).map(|(server, _)| server)
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

    /// The revision by which it is decided who may do what with a volume: that of its access record, or of its tombstone,
    /// when nobody may do anything any more. It never falls while the volume exists.
    #[must_use]
    pub fn access_revision(&self, volume: VolumeId) -> Revision {
        let of_record = self.access.get(&volume).map(|kept| kept.revision);
        let of_tombstone = self.tombstones.get(&volume).map(|kept| kept.revision);
        of_record.max(of_tombstone).unwrap_or_default()
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

    /// The route entry of a run; `None` if it has none or one that cannot be read.
    #[must_use]
    pub fn run_entry(&self, volume: VolumeId, run: u32) -> Option<&Kept<RouteEntry>> {
        self.routes.get(&volume)?.runs.get(&run)?.as_ref()
    }

    /// The route entries of a volume's runs that can be read, in order of the runs.
    pub fn run_entries(&self, volume: VolumeId) -> impl Iterator<Item = (u32, &Kept<RouteEntry>)> {
        let entries = self.routes.get(&volume).into_iter().flat_map(|routes| &routes.runs);
        entries.filter_map(|(run, kept)| Some((*run, kept.as_ref()?)))
    }

    /// How many extents of a run have a route entry of their own, be it readable or not.
    #[must_use]
    pub fn entered_of_run(&self, volume: VolumeId, run: u32) -> usize {
        let first = run.saturating_mul(EXTENTS_PER_RUN);
        let own = first..first.saturating_add(EXTENTS_PER_RUN);
        self.routes.get(&volume).map_or(0, |routes| routes.extents.range(own).count())
    }

    /// Whether an extent has a route entry, or its run has one, be it readable or not.
    pub(super) fn has_entry(&self, extent: ExtentId) -> bool {
        self.routes.get(&extent.volume).is_some_and(|routes| {
            routes.extents.contains_key(&extent.index)
                || routes.runs.contains_key(&(extent.index / EXTENTS_PER_RUN))
        })
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
        let run = extent.index / EXTENTS_PER_RUN;
        if let Some(routes) = self.routes.get(&extent.volume) {
            if let Some(kept) = routes.extents.get(&extent.index) {
                let kept = kept.as_ref()?;
                let route = self.routed(&kept.record, kept.revision)?;
                return Some(Route { entry_revision: Some(kept.revision), ..route });
            }
            if let Some(kept) = routes.runs.get(&run) {
                let kept = kept.as_ref()?;
                let route = self.routed(&kept.record, kept.revision)?;
                return Some(Route { run_revision: Some(kept.revision), ..route });
            }
        }
        self.computed(volume, run)
    }

    fn computed(&self, volume: &VolumeState, run: u32) -> Option<Route> {
        let replicas = volume.placement.locate(&volume.kept.record, run);
        self.routed(&RouteEntry::settled(replicas), volume.kept.revision)
    }

    fn routed(&self, entry: &RouteEntry, base: Revision) -> Option<Route> {
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
        let records = &records[..members.len()];
        let (in_sync, present) = replica_sets(records);
        Some(Route {
            epoch,
            replicas: entry.replicas,
            in_sync,
            present,
            from: entry.from,
            intent: entry.intent,
            entry_revision: None,
            run_revision: None,
            is_lost: records.iter().all(|member| member.forgotten),
        })
    }
}
