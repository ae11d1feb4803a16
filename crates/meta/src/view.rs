//! One server's picture of the directory.
//!
//! A view is always a prefix of the directory's history: it begins as a list of all keys at one revision, and then
//! takes whole revisions in order. Whatever it answers was true at one moment of the past. A record that cannot be
//! read is not ignored: it is listed as a problem, and no route is computed that depends on it.

mod holdings;
mod placement;
mod placing;
mod query;
mod share;
#[cfg(test)]
mod tests;

pub use holdings::{Holding, Loss};
pub use placing::Spread;
pub use share::Owners;

use crate::directory::{Batch, Entry, Key, Revision, Snapshot};
use crate::records::{
    AccessRecord, CertificateRecord, CounterName, FORMAT_VERSION, Fingerprint, FormatRecord, JoinTokenRecord,
    Keyspace, LeadRecord, LiveRecord, MemberRecord, MoveId, MoveRecord, MoveState, NextPlaceRecord,
    ParsedKey, PlacedRecord, RecordError, Role, RouteEntry, RouteKey, ServerRecord, TombstoneRecord,
    VolumeRecord, decode_counter, decode_json,
};
use evenkeel_types::{ExtentId, ServerId, VolumeId};
use placement::Placement;
use serde::de::DeserializeOwned;
use snafu::{Snafu, ensure};
use std::collections::{BTreeMap, BTreeSet};

/// A record with the revision of its last put.
#[derive(Clone, PartialEq, Debug)]
pub struct Kept<T> {
    /// The record.
    pub record: T,
    /// The revision of its last put.
    pub revision: Revision,
}

/// The directory of a group as it was at one revision.
#[derive(PartialEq, Debug)]
pub struct View {
    keys: Keyspace,
    revision: Revision,
    format: Option<Kept<FormatRecord>>,
    members: BTreeMap<ServerId, Kept<MemberRecord>>,
    servers: BTreeMap<ServerId, Kept<ServerRecord>>,
    live: BTreeMap<ServerId, Kept<LiveRecord>>,
    names: BTreeMap<String, Kept<VolumeId>>,
    volumes: BTreeMap<VolumeId, VolumeState>,
    access: BTreeMap<VolumeId, Kept<AccessRecord>>,
    routes: BTreeMap<VolumeId, VolumeRoutes>,
    next_places: BTreeMap<VolumeId, NextPlace>,
    placed: BTreeMap<(VolumeId, ServerId), Kept<PlacedRecord>>,
    tombstones: BTreeMap<VolumeId, Kept<TombstoneRecord>>,
    leads: BTreeMap<Role, Kept<LeadRecord>>,
    counters: BTreeMap<CounterName, Kept<u64>>,
    /// All moves on record; with their records only those under way, which are few.
    moves: BTreeMap<MoveId, Option<MoveRecord>>,
    certificates: BTreeMap<Fingerprint, Kept<CertificateRecord>>,
    join_tokens: BTreeMap<Fingerprint, Kept<JoinTokenRecord>>,
    problems: BTreeMap<Key, String>,
}

#[derive(PartialEq, Debug)]
struct VolumeState {
    kept: Kept<VolumeRecord>,
    placement: Placement,
}

#[derive(PartialEq, Debug, Default)]
struct VolumeRoutes {
    /// `None` for an entry that cannot be read.
    extents: BTreeMap<u32, Option<Kept<RouteEntry>>>,
    /// Those of whole runs; they count for extents that have none of their own.
    runs: BTreeMap<u32, Option<Kept<RouteEntry>>>,
}

/// The place that a volume is to get.
#[derive(PartialEq, Debug)]
struct NextPlace {
    kept: Kept<NextPlaceRecord>,
    /// `None` as long as there is no volume whose runs could be placed.
    placement: Option<Placement>,
}

/// What a batch changed, for whoever keeps something that was computed from the view.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// The revision of the batch.
    pub revision: Revision,
    /// The generation of all epochs changed: everything is to be looked at again.
    pub all: bool,
    /// Servers whose member record changed: all routes that name one of them have a new epoch.
    pub members: BTreeSet<ServerId>,
    /// Servers whose addresses, domain or capacity changed, and those that came or went.
    pub servers: BTreeSet<ServerId>,
    /// Servers whose hint of life came or went.
    pub live: BTreeSet<ServerId>,
    /// Volumes that came, changed or went: the routes of their extents without an entry have a new epoch.
    pub volumes: BTreeSet<VolumeId>,
    /// Volumes whose place to come was published, or is none any more.
    pub next_places: BTreeSet<VolumeId>,
    /// Runs whose route entry came, changed or went.
    pub runs: BTreeSet<(VolumeId, u32)>,
    /// Volumes that were deleted for ever.
    pub tombstones: BTreeSet<VolumeId>,
    /// Volumes of which is said anew who may do what with them.
    pub access: BTreeSet<VolumeId>,
    /// Extents whose route entry came, changed or went.
    pub extents: BTreeSet<ExtentId>,
    /// Roles with another holder.
    pub roles: BTreeSet<Role>,
    /// Moves whose record came, changed or went.
    pub moves: BTreeSet<MoveId>,
}

/// Why a view could not be made or continued.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
pub enum ViewError {
    /// The batch does not come after what the view has.
    #[snafu(display("directory revision {got} arrived after {have}"))]
    OutOfOrder {
        /// The view's revision.
        have: Revision,
        /// The batch's.
        got: Revision,
    },
    /// The group's records were written by a newer program.
    #[snafu(display(
        "the group's directory has format {found}; this program reads up to {FORMAT_VERSION}: upgrade it"
    ))]
    NewerFormat {
        /// The format found.
        found: u32,
    },
}

impl View {
    /// The view that a list of all keys with the keyspace's prefix gives.
    ///
    /// # Errors
    /// [`ViewError::NewerFormat`].
    pub fn from_snapshot(keys: Keyspace, snapshot: &Snapshot) -> Result<Self, ViewError> {
        let mut view = Self {
            keys,
            revision: snapshot.revision,
            format: None,
            members: BTreeMap::new(),
            servers: BTreeMap::new(),
            live: BTreeMap::new(),
            names: BTreeMap::new(),
            volumes: BTreeMap::new(),
            access: BTreeMap::new(),
            routes: BTreeMap::new(),
            next_places: BTreeMap::new(),
            placed: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            leads: BTreeMap::new(),
            counters: BTreeMap::new(),
            moves: BTreeMap::new(),
            certificates: BTreeMap::new(),
            join_tokens: BTreeMap::new(),
            problems: BTreeMap::new(),
        };
        let mut changes = Changes::default();
        for entry in &snapshot.entries {
            view.change(&entry.key, Some(entry), &mut changes);
        }
        view.check_format()?;
        Ok(view)
    }

    /// Takes the next batch of the watch that follows the snapshot.
    ///
    /// # Errors
    /// [`ViewError::OutOfOrder`] (nothing changed), [`ViewError::NewerFormat`] (the view must not be used any more).
    pub fn apply(&mut self, batch: &Batch) -> Result<Changes, ViewError> {
        ensure!(batch.revision > self.revision, OutOfOrderSnafu { have: self.revision, got: batch.revision });
        let generation = self.generation();
        let mut changes = Changes { revision: batch.revision, ..Changes::default() };
        for change in &batch.changes {
            self.change(&change.key, change.entry.as_ref(), &mut changes);
        }
        self.revision = batch.revision;
        self.check_format()?;
        changes.all = self.generation() != generation;
        Ok(changes)
    }

    fn check_format(&self) -> Result<(), ViewError> {
        let found = self.format.as_ref().map_or(FORMAT_VERSION, |kept| kept.record.version);
        ensure!(found <= FORMAT_VERSION, NewerFormatSnafu { found });
        Ok(())
    }

    fn change(&mut self, key: &Key, entry: Option<&Entry>, changes: &mut Changes) {
        let changed = match self.keys.parse(key) {
            ParsedKey::Format => set_json(&mut self.format, entry),
            ParsedKey::Member(server) => {
                changes.members.insert(server);
                let kept = keep_json(&mut self.members, server, entry);
                if let Some(kept) = self.members.get_mut(&server).filter(|kept| kept.record.leaves) {
                    kept.record.left = Some(kept.revision.0);
                    kept.record.leaves = false;
                }
                kept
            }
            ParsedKey::Server(server) => {
                changes.servers.insert(server);
                keep_json(&mut self.servers, server, entry)
            }
            ParsedKey::Live(server) => {
                changes.live.insert(server);
                keep_json(&mut self.live, server, entry)
            }
            ParsedKey::Name(name) => keep_json(&mut self.names, name.to_owned(), entry),
            ParsedKey::Volume(volume) => {
                changes.volumes.insert(volume);
                self.change_volume(volume, entry)
            }
            ParsedKey::Access(volume) => {
                changes.access.insert(volume);
                keep_json(&mut self.access, volume, entry)
            }
            ParsedKey::Route(volume, at) => self.change_route(volume, at, entry, changes),
            ParsedKey::NextPlace(volume) => {
                changes.next_places.insert(volume);
                self.change_next_place(volume, entry)
            }
            ParsedKey::Placed(volume, server) => keep_json(&mut self.placed, (volume, server), entry),
            ParsedKey::Tombstone(volume) => {
                changes.tombstones.insert(volume);
                keep_json(&mut self.tombstones, volume, entry)
            }
            ParsedKey::Lead(role) => {
                changes.roles.insert(role);
                keep_json(&mut self.leads, role, entry)
            }
            ParsedKey::Counter(what) => keep(&mut self.counters, what, entry, decode_counter),
            ParsedKey::Move(id) => {
                changes.moves.insert(id);
                self.change_move(id, entry)
            }
            ParsedKey::Certificate(certificate) => keep_json(&mut self.certificates, certificate, entry),
            ParsedKey::JoinToken(token) => keep_json(&mut self.join_tokens, token, entry),
            ParsedKey::Unknown => Ok(()),
        };
        match changed {
            Ok(()) => self.problems.remove(key),
            Err(problem) => self.problems.insert(key.clone(), problem.what),
        };
    }

    fn change_volume(&mut self, volume: VolumeId, entry: Option<&Entry>) -> Result<(), RecordError> {
        self.volumes.remove(&volume);
        let Some(entry) = entry else { return Ok(()) };
        let record: VolumeRecord = decode_json(&entry.value)?;
        record.check()?;
        let placement = Placement::new(record.runs());
        if let Some(next) = self.next_places.get_mut(&volume) {
            next.placement = Some(Placement::new(record.runs()));
        }
        let kept = Kept { record, revision: entry.mod_revision };
        self.volumes.insert(volume, VolumeState { kept, placement });
        Ok(())
    }

    fn change_next_place(&mut self, volume: VolumeId, entry: Option<&Entry>) -> Result<(), RecordError> {
        self.next_places.remove(&volume);
        let Some(entry) = entry else { return Ok(()) };
        let kept = Kept { record: decode_json(&entry.value)?, revision: entry.mod_revision };
        let placement = self.volumes.get(&volume).map(|state| Placement::new(state.kept.record.runs()));
        self.next_places.insert(volume, NextPlace { kept, placement });
        Ok(())
    }

    fn change_route(
        &mut self,
        volume: VolumeId,
        at: RouteKey,
        entry: Option<&Entry>,
        changes: &mut Changes,
    ) -> Result<(), RecordError> {
        let routes = self.routes.entry(volume).or_default();
        let (entries, index) = match at {
            RouteKey::Extent(index) => {
                changes.extents.insert(ExtentId { volume, index });
                (&mut routes.extents, index)
            }
            RouteKey::Run(run) => {
                changes.runs.insert((volume, run));
                (&mut routes.runs, run)
            }
        };
        let decoded = entry.map(|entry| (entry, RouteEntry::decode(&entry.value)));
        let changed = match decoded {
            None => {
                entries.remove(&index);
                Ok(())
            }
            Some((_, Ok(record))) if matches!(at, RouteKey::Run(_)) && !record.is_settled() => {
                entries.insert(index, None);
                Err(RecordError { what: "the entry of a run with a move; only extents move".into() })
            }
            Some((entry, Ok(record))) => {
                entries.insert(index, Some(Kept { record, revision: entry.mod_revision }));
                Ok(())
            }
            Some((_, Err(error))) => {
                entries.insert(index, None);
                Err(RecordError { what: error.to_string() })
            }
        };
        if routes.extents.is_empty() && routes.runs.is_empty() {
            self.routes.remove(&volume);
        }
        changed
    }

    fn change_move(&mut self, id: MoveId, entry: Option<&Entry>) -> Result<(), RecordError> {
        let Some(entry) = entry else {
            self.moves.remove(&id);
            return Ok(());
        };
        let decoded = decode_json::<MoveRecord>(&entry.value);
        let under_way = decoded.clone().ok().filter(|record| record.state == MoveState::Copying);
        self.moves.insert(id, under_way);
        decoded.map(|_| ())
    }
}

fn set_json<T: DeserializeOwned>(
    slot: &mut Option<Kept<T>>,
    entry: Option<&Entry>,
) -> Result<(), RecordError> {
    *slot = None;
    if let Some(entry) = entry {
        *slot = Some(Kept { record: decode_json(&entry.value)?, revision: entry.mod_revision });
    }
    Ok(())
}

fn keep_json<K: Ord, T: DeserializeOwned>(
    map: &mut BTreeMap<K, Kept<T>>,
    key: K,
    entry: Option<&Entry>,
) -> Result<(), RecordError> {
    keep(map, key, entry, decode_json)
}

/// Puts the record into the map, or takes it out if it was deleted or cannot be read.
fn keep<K: Ord, T>(
    map: &mut BTreeMap<K, Kept<T>>,
    key: K,
    entry: Option<&Entry>,
    decode: impl Fn(&[u8]) -> Result<T, RecordError>,
) -> Result<(), RecordError> {
    map.remove(&key);
    if let Some(entry) = entry {
        map.insert(key, Kept { record: decode(&entry.value)?, revision: entry.mod_revision });
    }
    Ok(())
}
