//! Going on with a directory that was restored from a backup, while all servers are stopped: the stores know better where
//! extents are.
//!
//! Of each extent the copy counts that accepted the highest epoch: whoever served it last, or was to serve it next, is
//! in that copy's list. Records without a copy say nothing about where one is; nor do copies of an older route, which
//! their servers will free, and those of servers that are gone for good, whose stores may still be there. Who is in that list and has given its copy up was replaced by the target of a move, which has
//! not served yet: the target takes its place. At last the generation is raised, so that every epoch is above those that the stores accepted.

use crate::change::{ChangeError, raise_generation};
use crate::records::{CounterName, MemberRecord, MemberState, RouteEntry, encode_counter, encode_json};
use crate::{Compare, KeyRange, Operation, Replicas, Txn, View};
use evenkeel_types::geometry::REGION_BYTES;
use evenkeel_types::store_op::InventoryEntry;
use evenkeel_types::{Epoch, ExtentId, Incarnation, ServerId, VolumeId};
use snafu::{OptionExt, Snafu};
use std::collections::{BTreeMap, BTreeSet};

/// Routes that one transaction writes.
const ROUTES_PER_TXN: usize = 100;

/// What a store holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreList {
    /// Its server.
    pub server: ServerId,
    /// Its extent records.
    pub extents: Vec<Held>,
}

/// An extent record of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Which extent.
    pub extent: ExtentId,
    /// The highest epoch that was accepted for it.
    pub accepted: Epoch,
    /// The replicas of the route that it was last served under, the owner first.
    pub replicas: Vec<ServerId>,
    /// False for what is left after the copy was given up.
    pub has_data: bool,
    /// Bytes that it takes.
    pub bytes: u64,
    /// A hash over the versions of all regions: equal for equal copies, 0 if nothing was ever written.
    pub versions: u64,
}

impl From<&InventoryEntry> for Held {
    fn from(entry: &InventoryEntry) -> Self {
        Self {
            extent: entry.extent,
            accepted: entry.accepted,
            replicas: entry.replicas.clone(),
            has_data: entry.has_data,
            bytes: u64::from(entry.units) * u64::from(REGION_BYTES),
            versions: entry.versions_hash,
        }
    }
}

/// A route that the directory has, if it has one, and the one that it is to have.
pub type ChangedRoute = (ExtentId, Option<Replicas>, Replicas);

/// What is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Extents that the stores have a copy of.
    pub extents: u64,
    /// Routes that differ, with what the directory has now.
    pub routes: Vec<ChangedRoute>,
    /// Volumes that the directory does not know.
    pub missing: BTreeMap<VolumeId, Missing>,
    /// The highest epoch that any store accepted; those of the directory must all be above it.
    pub highest: Epoch,
    /// The lowest numbers that the counters may give next: no number is given twice.
    pub counters: BTreeMap<CounterName, u64>,
    /// Servers that come before others: the owner of an extent before each holder of a copy that differs from its own.
    pub before: BTreeSet<(ServerId, ServerId)>,
}

/// What the stores have of a volume.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Its extents of which there is a copy.
    pub extents: BTreeSet<u32>,
    /// Bytes of all copies.
    pub bytes: u64,
    /// The servers that hold them.
    pub servers: BTreeSet<ServerId>,
}

/// Why the stores' lists do not fit the directory.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
pub enum RestoreError {
    /// A server that the directory does not know holds a copy.
    #[snafu(display(
        "extent {extent} is on server {server}, which the directory does not know: it joined after the backup; restore a \
         later one"
    ))]
    Stranger {
        /// The extent.
        extent: ExtentId,
        /// The server.
        server: ServerId,
    },
    /// A record names replicas that cannot be.
    #[snafu(display("extent {extent} has the replicas {replicas:?}"))]
    BadReplicas {
        /// The extent.
        extent: ExtentId,
        /// Its replicas.
        replicas: Vec<ServerId>,
    },
    /// The generation cannot be raised.
    #[snafu(context(false), display("{source}"))]
    Generation {
        /// Why not.
        source: ChangeError,
    },
}

/// The server that runs, as far as the directory can tell, if one does: then nothing may be rebuilt. A backup brings the
/// hints of its time along, until their leases run out.
#[must_use]
pub fn running(view: &View) -> Option<ServerId> {
    view.members().map(|(server, _)| server).find(|server| view.live(*server).is_some())
}

/// Writes everything that is to be written, in an order in which it can be broken off anywhere and begun again.
///
/// `adopt` makes the transaction that puts the next missing volume back, until it has none; `carry_out` carries one out, and
/// reads the directory again.
///
/// # Errors
/// What `adopt` or `carry_out` say, or what `refuse` makes of lists that do not fit the directory.
pub fn rebuild<E>(
    mut view: View,
    lists: &[StoreList],
    mut adopt: impl FnMut(&View, &Plan) -> Result<Option<Txn>, E>,
    mut carry_out: impl FnMut(&Txn) -> Result<View, E>,
    refuse: impl Fn(&RestoreError) -> E,
) -> Result<(View, Plan), E> {
    let known = plan(&view, lists).map_err(|e| refuse(&e))?;
    let members = members(&view, lists, &known);
    if view.next_places().next().is_some() {
        view = carry_out(&withdraw_places(&view))?;
    }
    if !members.is_empty() {
        view = carry_out(&write_members(&view, &members))?;
    }
    while let Some(txn) = adopt(&view, &known)? {
        view = carry_out(&txn)?;
    }
    let plan = plan(&view, lists).map_err(|e| refuse(&e))?;
    for routes in plan.routes.chunks(ROUTES_PER_TXN) {
        view = carry_out(&write_routes(&view, routes))?;
    }
    if !plan.counters.is_empty() {
        view = carry_out(&write_counters(&view, &plan))?;
    }
    loop {
        // Also if nothing differs: epochs that a store accepted must not come again.
        let raise = raise_generation(&view).map_err(|e| refuse(&e.into()))?;
        view = carry_out(&raise)?;
        if Epoch::new(view.generation(), 0) > plan.highest {
            return Ok((view, plan));
        }
    }
}

/// The servers that the directory has in another state than the one in which they are to start.
///
/// Whether a server was up when all were stopped is not known. One of whose copies none differs from its owner's counts as
/// up. One that has a copy which differs is behind: it is down until it starts, and up again when the owners have brought it
/// up to date, or else its copy could be served before. Where all replicas of an extent are behind somewhere, the owner of
/// that extent left `up` later than the others. Servers that are behind each other were writing when they were stopped:
/// nothing of that was acknowledged, and they are up. A server whose store is lost is down: nobody waits for it.
#[must_use]
pub fn members(view: &View, lists: &[StoreList], plan: &Plan) -> Vec<(ServerId, MemberRecord)> {
    let after = reach(&plan.before);
    let comes_before =
        |one: ServerId, other: ServerId| after.get(&one).is_some_and(|after| after.contains(&other));
    let is_behind = |server: ServerId| {
        after.keys().any(|other| comes_before(*other, server) && !comes_before(server, *other))
    };
    let wrong = view.members().filter_map(|(server, kept)| {
        let record = &kept.record;
        if record.incarnation == Incarnation(0) || record.forgotten {
            return None;
        }
        let wanted = match lists.iter().any(|list| list.server == server) {
            false => {
                let leaves = record.is_up();
                MemberRecord { state: MemberState::Down, leaves, ..record.clone() }
            }
            true if is_behind(server) => {
                // All that leave from now on do so in later revisions.
                let left = Some(after.get(&server).map_or(0, BTreeSet::len) as u64 + 1);
                MemberRecord { state: MemberState::Down, left, ..record.clone() }
            }
            true => MemberRecord { state: MemberState::Up, ..record.clone() },
        };
        (wanted != *record).then_some((server, wanted))
    });
    wrong.collect()
}

/// For each server all that come after it, or after one that does.
fn reach(before: &BTreeSet<(ServerId, ServerId)>) -> BTreeMap<ServerId, BTreeSet<ServerId>> {
    let mut after: BTreeMap<ServerId, BTreeSet<ServerId>> = BTreeMap::new();
    for (one, other) in before {
        after.entry(*one).or_default().insert(*other);
    }
    loop {
        let grown: BTreeMap<ServerId, BTreeSet<ServerId>> = after
            .iter()
            .map(|(server, direct)| {
                let further = direct.iter().filter_map(|next| after.get(next)).flatten();
                (*server, direct.iter().chain(further).copied().filter(|other| other != server).collect())
            })
            .collect();
        if grown == after {
            return after;
        }
        after = grown;
    }
}

/// A copy of an extent.
#[derive(Clone, Copy)]
struct Found<'a> {
    holder: ServerId,
    held: &'a Held,
}

impl Found<'_> {
    /// Of copies that are equally good the owner's own counts: it made the list, if it has one.
    fn rank(&self) -> (Epoch, bool) {
        (self.held.accepted, self.held.replicas.first() == Some(&self.holder))
    }
}

/// What the stores know and the directory does not.
///
/// # Errors
/// A list says what cannot be.
pub fn plan(view: &View, lists: &[StoreList]) -> Result<Plan, RestoreError> {
    let mut plan = Plan::default();
    let mut copies: BTreeMap<ExtentId, Vec<Found<'_>>> = BTreeMap::new();
    let (mut volume_max, mut server_max) = (0, 0);
    for list in lists {
        let holder = list.server;
        server_max = server_max.max(holder.0);
        for held in &list.extents {
            let extent = held.extent;
            plan.highest = plan.highest.max(held.accepted);
            volume_max = volume_max.max(extent.volume.0);
            server_max = held.replicas.iter().map(|server| server.0).fold(server_max, u32::max);
            if !held.has_data || view.is_forgotten(holder) {
                continue;
            }
            if view.volume(extent.volume).is_none() {
                let missing = plan.missing.entry(extent.volume).or_default();
                missing.extents.insert(extent.index);
                missing.bytes += held.bytes;
                missing.servers.insert(holder);
            }
            copies.entry(extent).or_default().push(Found { holder, held });
        }
    }
    plan.extents = copies.len() as u64;
    let is_listed = |server: ServerId| lists.iter().any(|list| list.server == server);
    for (extent, copies) in copies {
        // Of equal ones the first.
        let best = copies.iter().reduce(|best, found| if found.rank() > best.rank() { found } else { best });
        let Some(best) = best else { continue };
        // What was never written, and follows its placement, is anywhere.
        let is_blank = copies.iter().all(|copy| copy.held.versions == 0);
        if is_blank && view.entry(extent).is_none() {
            continue;
        }
        let now = replicas_now(best, &copies, is_listed);
        plan.before.extend(differing(&now, &copies));
        if let Some(route) = changed_route(view, extent, best, now)? {
            plan.routes.push(route);
        }
    }
    for (name, max) in [(CounterName::Volume, volume_max), (CounterName::Server, server_max.into())] {
        if view.counter(name).0 <= max {
            plan.counters.insert(name, max + 1);
        }
    }
    Ok(plan)
}

fn changed_route(
    view: &View,
    extent: ExtentId,
    best: &Found<'_>,
    now: Vec<ServerId>,
) -> Result<Option<ChangedRoute>, RestoreError> {
    if view.volume(extent.volume).is_none() {
        return Ok(None);
    }
    let was = view.route(extent).map(|route| route.replicas);
    // A record that a write made has no list: its extent was never moved, and is where placement says, or was it.
    if best.held.replicas.is_empty() && was.is_some_and(|was| was.contains(&best.holder)) {
        return Ok(None);
    }
    if let Some(stranger) = now.iter().find(|server| view.member(**server).is_none()) {
        return StrangerSnafu { extent, server: *stranger }.fail();
    }
    let now = Replicas::new(&now).context(BadReplicasSnafu { extent, replicas: now })?;
    Ok((was != Some(now)).then_some((extent, was, now)))
}

/// The owner of an extent, with each replica whose copy differs from the owner's.
fn differing(now: &[ServerId], copies: &[Found<'_>]) -> Vec<(ServerId, ServerId)> {
    let versions =
        |server: ServerId| copies.iter().find(|copy| copy.holder == server).map(|copy| copy.held.versions);
    let Some((owner, others)) = now.split_first() else { return Vec::new() };
    let best = versions(*owner);
    // The store of an owner without a copy is lost.
    let differ = others.iter().filter(|other| best.is_some() && versions(**other) != best);
    differ.map(|other| (*owner, *other)).collect()
}

/// The list of the best copy, as it became, or its holder alone if it has none. A server gives its copy up only when the directory names it neither replica
/// nor target: so a move has replaced it, and the target has had every write since before that was decided, though it has
/// not served, and its record names the replicas of before. The target accepted the epoch in which it was decided; no other
/// move was under way in it.
fn replicas_now(
    best: &Found<'_>,
    copies: &[Found<'_>],
    is_listed: impl Fn(ServerId) -> bool,
) -> Vec<ServerId> {
    let listed = &best.held.replicas;
    if listed.is_empty() {
        return vec![best.holder];
    }
    let has_copy = |server: ServerId| copies.iter().any(|copy| copy.holder == server);
    let targets = copies
        .iter()
        .filter(|copy| copy.held.accepted == best.held.accepted && !listed.contains(&copy.holder));
    let mut targets = targets.map(|copy| copy.holder);
    let mut now = listed.clone();
    for server in &mut now {
        // Of a store that is lost nothing is known.
        if !has_copy(*server) && is_listed(*server) {
            *server = targets.next().unwrap_or(*server);
        }
    }
    // Whoever has no copy gets one from an owner that has: it does not come first.
    now.sort_by_key(|server| is_listed(*server) && !has_copy(*server));
    now
}

/// Compares: each record as it was read.
fn write_members(view: &View, members: &[(ServerId, MemberRecord)]) -> Txn {
    members.iter().fold(Txn::default(), |txn, (server, record)| {
        let key = view.keys().member(*server);
        let read = view.member(*server).map(|kept| kept.revision);
        txn.when(Compare::as_read(key.clone(), read)).then(Operation::put(key, encode_json(record)))
    })
}

/// Takes places back that volumes were to get at the time of the backup: what servers confirmed about them then says nothing
/// about what was written since.
///
/// Compares: each publication as it was read.
fn withdraw_places(view: &View) -> Txn {
    let keys = view.keys();
    view.next_places().fold(Txn::default(), |txn, volume| {
        let read = view.next_place(volume).map(|kept| kept.revision);
        txn.when(Compare::as_read(keys.next_place(volume), read))
            .then(Operation::delete(&keys.next_place(volume)))
            .then(Operation::Delete(KeyRange::prefix(&keys.all_placed(volume))))
    })
}

/// Compares: each entry as it was read.
fn write_routes(view: &View, routes: &[ChangedRoute]) -> Txn {
    routes.iter().fold(Txn::default(), |txn, (extent, _, now)| {
        let key = view.keys().route(*extent);
        let read = view.entry(*extent).map(|kept| kept.revision);
        txn.when(Compare::as_read(key.clone(), read))
            .then(Operation::put(key, RouteEntry::settled(*now).encode()))
    })
}

/// Compares: each counter as it was read.
fn write_counters(view: &View, plan: &Plan) -> Txn {
    plan.counters.iter().fold(Txn::default(), |txn, (name, next)| {
        let key = view.keys().counter(*name);
        txn.when(Compare::as_read(key.clone(), view.counter(*name).1))
            .then(Operation::put(key, encode_counter(*next)))
    })
}

#[cfg(test)]
mod tests;
