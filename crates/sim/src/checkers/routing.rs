//! Who may serve what: the directory decides, and this judge follows it as it is, not as the servers see it.
//!
//! * The epoch of an extent never falls, and neither does the epoch that a server accepted for it, across its crashes.
//! * A version of an epoch is given by the owner of that epoch and by nobody else; every other server that applies it
//!   got it from there.
//! * A copy is given up only by a server that the directory, by then, counts neither as replica nor as target, or in a
//!   deleted volume.
//! * At rest exactly the routed servers hold an extent's data, and all of them the same versions of it.

use super::Violation;
use crate::coverage::Row;
use evenkeel_meta::records::{Role, VolumeRecord};
use evenkeel_meta::view::Kept;
use evenkeel_meta::{Batch, MemberState, Revision, Route, View};
use evenkeel_types::store_op::InventoryEntry;
use evenkeel_types::{Epoch, ExtentId, Incarnation, ServerId, Version, VolumeId};
use std::collections::{BTreeMap, BTreeSet};

/// See the module's head.
pub(crate) struct Routing {
    truth: View,
    /// Owner by epoch, for every epoch that an extent ever had.
    owners: BTreeMap<ExtentId, BTreeMap<Epoch, ServerId>>,
    /// The highest epoch whose acceptance a server has reported durable.
    accepted: BTreeMap<(ServerId, ExtentId), Epoch>,
    /// Versions that an owner gave.
    given: BTreeSet<(ExtentId, Version)>,
    /// Copies that moved.
    moved: u64,
}

/// What a revision changed that the simulator wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moved {
    /// Which extent.
    pub(crate) extent: ExtentId,
    /// To where.
    pub(crate) to: ServerId,
}

/// Rules of the protocol that a revision brought into play, counted by extents or servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    /// The epoch grew, and nobody had written a route.
    by_member: u64,
    /// The epoch grew, and the owner stayed.
    same_owner: u64,
    /// No replica is up any more, and the one that left last owns.
    last_up: u64,
    /// Servers that went down.
    marked: u64,
    /// Volumes that got another place.
    swapped: u64,
    /// Extents that were re-routed by that.
    rerouted: u64,
    /// Extents that got an entry which says where they are.
    entered: u64,
    /// Runs that did.
    runs_entered: u64,
    /// Places that were to come, and do not.
    withdrawn: u64,
    /// Of them, those whose live key was still there.
    outlived: u64,
}

impl Seen {
    /// The rows of the coverage table.
    pub(crate) const fn rows(self) -> [(Row, u64); 10] {
        [
            (Row::EpochByMember, self.by_member),
            (Row::SameOwner, self.same_owner),
            (Row::LastUp, self.last_up),
            (Row::MarkedDown, self.marked),
            (Row::PlacementSwapped, self.swapped),
            (Row::Rerouted, self.rerouted),
            (Row::Entered, self.entered),
            (Row::RunEntered, self.runs_entered),
            (Row::PlaceWithdrawn, self.withdrawn),
            (Row::LiveOutlived, self.outlived),
        ]
    }
}

impl Routing {
    pub(crate) fn new(truth: View) -> Result<Self, Violation> {
        let mut routing = Self {
            truth,
            owners: BTreeMap::new(),
            accepted: BTreeMap::new(),
            given: BTreeSet::new(),
            moved: 0,
        };
        routing.note_routes()?;
        Ok(routing)
    }

    /// The route of an extent as the directory has it.
    pub(crate) fn route(&self, extent: ExtentId) -> Option<Route> {
        self.truth.route(extent)
    }

    /// A server that is not up, if there is one.
    pub(crate) fn not_up(&self) -> Option<(ServerId, MemberState)> {
        let mut members = self.truth.members().map(|(server, kept)| (server, kept.record.state));
        members.find(|(_, state)| *state != MemberState::Up)
    }

    fn up(&self) -> BTreeSet<ServerId> {
        self.in_state(MemberState::Up)
    }

    fn down(&self) -> BTreeSet<ServerId> {
        self.in_state(MemberState::Down)
    }

    fn in_state(&self, state: MemberState) -> BTreeSet<ServerId> {
        let of_state = self.truth.members().filter(|(_, kept)| kept.record.state == state);
        of_state.map(|(server, _)| server).collect()
    }

    /// A volume that is not placed over the servers that are to stay, or is about to be, if there is one.
    pub(crate) fn not_placed(&self) -> Option<VolumeId> {
        let is_unplaced = |volume: &VolumeId| {
            self.truth.next_place(*volume).is_some() || self.truth.wanted_place(*volume).is_some()
        };
        self.truth.volumes().map(|(volume, _)| volume).find(is_unplaced)
    }

    /// The revisions of the volumes' records, with whether another place is to come.
    fn places(&self) -> BTreeMap<VolumeId, (Revision, bool)> {
        let of = |(volume, kept): (VolumeId, &Kept<VolumeRecord>)| {
            (volume, (kept.revision, self.truth.next_place(volume).is_some()))
        };
        self.truth.volumes().map(of).collect()
    }

    fn run_entries(&self) -> u64 {
        self.truth.volumes().map(|(volume, _)| self.truth.run_entries(volume).count() as u64).sum()
    }

    /// What the group may expect of a server.
    pub(crate) fn state_of(&self, server: ServerId) -> Option<MemberState> {
        self.truth.member(server).map(|kept| kept.record.state)
    }

    /// Which start of a server has the live key.
    pub(crate) fn live_of(&self, server: ServerId) -> Option<Incarnation> {
        self.truth.live(server).map(|live| live.incarnation)
    }

    /// Whether a server is the planner.
    pub(crate) fn has_planner(&self) -> bool {
        self.truth.leader(Role::Planner).is_some()
    }

    /// Whether a server holds a copy of an extent.
    pub(crate) fn is_replica(&self, extent: ExtentId, server: ServerId) -> bool {
        self.route(extent).is_some_and(|route| route.replicas.contains(&server))
    }

    pub(crate) const fn moves(&self) -> u64 {
        self.moved
    }

    /// All extents of all volumes.
    pub(crate) fn extents(&self) -> Vec<ExtentId> {
        let of = |(volume, extents): (_, u32)| (0..extents).map(move |index| ExtentId { volume, index });
        self.truth.volumes().map(|(volume, kept)| (volume, kept.record.extents())).flat_map(of).collect()
    }

    /// The directory took a transaction.
    pub(crate) fn revision(&mut self, batch: &Batch) -> Result<(Vec<Moved>, Seen), Violation> {
        let up_before = self.up();
        let down_before = self.down();
        let (places_before, runs_before) = (self.places(), self.run_entries());
        let before: BTreeMap<ExtentId, Option<Route>> =
            self.extents().into_iter().map(|extent| (extent, self.route(extent))).collect();
        let applied = self.truth.apply(batch);
        applied.map_err(|error| {
            Violation::new("routing", None, format!("the directory's history breaks: {error}"))
        })?;
        self.note_routes()?;
        let mut moved = Vec::new();
        let down = self.down();
        let marked: Vec<&ServerId> = down.difference(&down_before).collect();
        let outlived = marked.iter().filter(|server| self.truth.live(***server).is_some()).count() as u64;
        let mut seen = Seen { marked: marked.len() as u64, outlived, ..Seen::default() };
        seen.runs_entered = self.run_entries() - runs_before;
        let places = self.places();
        let is_swapped = |volume: VolumeId| {
            places.get(&volume).map(|place| place.0) != places_before.get(&volume).map(|place| place.0)
        };
        for (volume, (_, was_to_come)) in &places_before {
            let is_over = *was_to_come && places.get(volume).is_some_and(|(_, is_to_come)| !is_to_come);
            seen.swapped += u64::from(is_over && is_swapped(*volume));
            seen.withdrawn += u64::from(is_over && !is_swapped(*volume));
        }
        let up = self.up();
        for (extent, before) in before {
            let (Some(before), Some(after)) = (before, self.route(extent)) else { continue };
            let has_grown = after.epoch > before.epoch;
            let is_same = after.entry_revision == before.entry_revision
                && after.run_revision == before.run_revision
                && !(after.is_placed() && is_swapped(extent.volume));
            let is_entered = before.is_placed() && after.entry_revision.is_some();
            seen.entered += u64::from(is_entered && after.intent.is_none());
            if after.is_placed() && after.replicas != before.replicas {
                seen.rerouted += 1;
                continue;
            }
            seen.by_member += u64::from(has_grown && is_same);
            seen.same_owner +=
                u64::from(has_grown && after.owner().is_some() && after.owner() == before.owner());
            let none_up = |up: &BTreeSet<ServerId>, route: &Route| {
                route.replicas.len() > 1 && !route.replicas.iter().any(|replica| up.contains(replica))
            };
            let is_new = none_up(&up, &after) && !none_up(&up_before, &before);
            seen.last_up += u64::from(is_new && after.owner().is_some());
            let to = after.replicas.iter().copied().find(|replica| !before.replicas.contains(replica));
            if let Some(to) = to {
                self.moved += 1;
                moved.push(Moved { extent, to });
            }
        }
        Ok((moved, seen))
    }

    /// The directory was restored from a backup, and its routes rebuilt: epochs go on above all that any server accepted.
    /// Those that nobody did may come again: nothing happened in them.
    pub(crate) fn restored(&mut self, truth: View) -> Result<(), Violation> {
        let mut before = self.extents();
        self.truth = truth;
        before.retain(|extent| self.route(*extent).is_none());
        if let Some(extent) = before.first() {
            return Err(Violation::new("routing", *extent, "its volume is lost with the directory".into()));
        }
        for extent in self.extents() {
            let by_any = self.accepted.iter().filter(|((_, of), _)| *of == extent);
            let last = by_any.map(|(_, epoch)| *epoch).max().unwrap_or(Epoch::ZERO);
            let epoch = self.route(extent).map(|route| route.epoch);
            if epoch.is_none_or(|epoch| epoch <= last) {
                let what = format!("after a restore it is in epoch {epoch:?}, and a server accepted {last}");
                return Err(Violation::new("routing", extent, what));
            }
            if let Some(owners) = self.owners.get_mut(&extent) {
                owners.retain(|epoch, _| *epoch <= last);
            }
        }
        self.note_routes()
    }

    fn note_routes(&mut self) -> Result<(), Violation> {
        for extent in self.extents() {
            let Some(route) = self.route(extent) else { continue };
            let owners = self.owners.entry(extent).or_default();
            if let Some((last, _)) = owners.last_key_value()
                && *last > route.epoch
            {
                let what = format!("the epoch fell from {last} to {}", route.epoch);
                return Err(Violation::new("routing", extent, what));
            }
            let Some(owner) = route.owner() else { continue };
            let known = *owners.entry(route.epoch).or_insert(owner);
            if known != owner {
                let what = format!("epoch {} has two owners, {known} and {owner}", route.epoch);
                return Err(Violation::new("routing", extent, what));
            }
        }
        Ok(())
    }

    /// A server tells its store to apply a version that it did not get from another one.
    pub(crate) fn given(
        &mut self,
        by: ServerId,
        extent: ExtentId,
        version: Version,
    ) -> Result<(), Violation> {
        let owner = self.owners.get(&extent).and_then(|owners| owners.get(&version.epoch));
        if owner != Some(&by) && !self.given.contains(&(extent, version)) {
            let what = match owner {
                Some(owner) => {
                    format!(
                        "{by} applies version {version}, which the owner of that epoch, {owner}, never gave"
                    )
                }
                None => format!("{by} applies version {version} of an epoch that the extent never had"),
            };
            return Err(Violation::new("routing", extent, what));
        }
        if owner == Some(&by) {
            self.given.insert((extent, version));
        }
        Ok(())
    }

    /// A server sends a version to a copy: it must be the owner of the epoch that it sends in.
    pub(crate) fn sent(
        &mut self,
        by: ServerId,
        extent: ExtentId,
        epoch: Epoch,
        version: Version,
    ) -> Result<(), Violation> {
        let owner = self.owners.get(&extent).and_then(|owners| owners.get(&epoch));
        if owner != Some(&by) {
            let what = format!("{by} sends version {version} in epoch {epoch}, which {owner:?} owns");
            return Err(Violation::new("routing", extent, what));
        }
        if version.epoch == epoch {
            self.given.insert((extent, version));
        }
        Ok(())
    }

    /// A store reported an epoch as accepted for good.
    pub(crate) fn accepted(&mut self, by: ServerId, extent: ExtentId, epoch: Epoch) -> Result<(), Violation> {
        let known = self.accepted.entry((by, extent)).or_insert(epoch);
        if *known > epoch {
            let what = format!("{by} had accepted epoch {known}, and says {epoch} now");
            return Err(Violation::new("routing", extent, what));
        }
        *known = epoch;
        Ok(())
    }

    /// The record of a deleted volume's extent is gone for good.
    pub(crate) fn forgotten(&mut self, by: ServerId, extent: ExtentId) {
        self.accepted.remove(&(by, extent));
    }

    /// A server gives a copy up.
    pub(crate) fn freed(&self, by: ServerId, extent: ExtentId) -> Result<(), Violation> {
        if self.truth.tombstone(extent.volume).is_some() {
            return Ok(());
        }
        let refuse = |what: String| Err(Violation::new("routing", extent, what));
        let Some(route) = self.route(extent) else {
            return refuse(format!("{by} gives up a copy of an extent without a route"));
        };
        if route.replicas.contains(&by) {
            return refuse(format!(
                "{by} gives up a copy that the directory routes to it in epoch {}",
                route.epoch
            ));
        }
        // A target that never heard of the move may still free what an earlier one left; one that was attached may not.
        let accepted = self.accepted.get(&(by, extent)).copied().unwrap_or(Epoch::ZERO);
        if route.names(by) && accepted >= route.epoch {
            return refuse(format!(
                "{by}, target of a move and attached in epoch {accepted}, gives up its copy"
            ));
        }
        Ok(())
    }

    /// With nothing under way, what the stores hold is what the directory says. How many extents have data.
    pub(crate) fn at_rest(
        &self,
        inventories: &BTreeMap<ServerId, Vec<InventoryEntry>>,
    ) -> Result<u64, Violation> {
        let mut holders: BTreeMap<ExtentId, BTreeMap<ServerId, u64>> = BTreeMap::new();
        for (server, entries) in inventories {
            for entry in entries {
                if entry.has_data {
                    holders.entry(entry.extent).or_default().insert(*server, entry.versions_hash);
                } else if entry.units > 0 {
                    let what = format!("{server} keeps {} units of a copy that it gave up", entry.units);
                    return Err(Violation::new("routing", entry.extent, what));
                }
                let route = self.route(entry.extent);
                if let Some(route) = route.filter(|route| route.epoch < entry.accepted) {
                    let what =
                        format!("{server} accepted {}, the directory is at {}", entry.accepted, route.epoch);
                    return Err(Violation::new("routing", entry.extent, what));
                }
            }
        }
        for extent in self.extents() {
            let Some(route) = self.route(extent) else { continue };
            if route.intent.is_some() {
                return Err(Violation::new(
                    "routing",
                    extent,
                    "an intent stays though nothing is in its way".into(),
                ));
            }
            let found = holders.remove(&extent).unwrap_or_default();
            let named = route.replicas.iter().copied().collect::<BTreeSet<_>>();
            let hashes: BTreeSet<u64> =
                named.iter().map(|server| found.get(server).copied().unwrap_or(0)).collect();
            if hashes.len() > 1 {
                let what = format!("its copies at {named:?} have different versions");
                return Err(Violation::new("routing", extent, what));
            }
            // What was never written and never got an entry needs no copy anywhere.
            let is_enough = route.is_placed() && hashes.contains(&0);
            let is_held = is_enough || named.iter().all(|server| found.contains_key(server));
            if !is_held || !found.keys().all(|server| named.contains(server)) {
                let held = found.keys().collect::<Vec<_>>();
                let what = format!("the directory routes it to {named:?}, and {held:?} hold data");
                return Err(Violation::new("routing", extent, what));
            }
        }
        match holders.first_key_value() {
            None => Ok(self.extents().len() as u64),
            Some((extent, found)) => Err(Violation::new(
                "routing",
                *extent,
                format!("{found:?} hold data of an extent that does not exist"),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
