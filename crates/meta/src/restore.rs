//! Going on with a directory that was restored from a backup, while all servers are stopped: the stores know better where
//! extents are.
//!
//! Of each extent the copy counts that accepted the highest epoch: whoever served it last, or was to serve it next, is
//! in that copy's list. Records without a copy say nothing about where one is; nor do copies of an older route, which
//! their servers will free, and those of servers that are gone for good, whose stores may still be there. At last the generation is raised, so that every epoch is above those that the stores accepted.

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
}

impl From<&InventoryEntry> for Held {
    fn from(entry: &InventoryEntry) -> Self {
        Self {
            extent: entry.extent,
            accepted: entry.accepted,
            replicas: entry.replicas.clone(),
            has_data: entry.has_data,
            bytes: u64::from(entry.units) * u64::from(REGION_BYTES),
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
    let members = members(&view, lists);
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

/// The servers that the directory has in another state than the one in which they are to start: whether a server was up
/// when all were stopped is not known, so all whose stores there are count as up. Of each extent the copy that was its
/// owner's last comes first and makes the others equal to itself. A server whose store is lost is down: nobody waits for it.
#[must_use]
pub fn members(view: &View, lists: &[StoreList]) -> Vec<(ServerId, MemberRecord)> {
    let has_list = |server: ServerId| lists.iter().any(|list| list.server == server);
    let wrong = view.members().filter_map(|(server, kept)| {
        let record = &kept.record;
        let state = if has_list(server) { MemberState::Up } else { MemberState::Down };
        if record.state == state || record.incarnation == Incarnation(0) || record.forgotten {
            return None;
        }
        let leaves = state == MemberState::Down && record.is_up();
        Some((server, MemberRecord { state, leaves, ..record.clone() }))
    });
    wrong.collect()
}

/// The best copy of an extent so far.
struct Best<'a> {
    holder: ServerId,
    held: &'a Held,
}

impl Best<'_> {
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
    let mut best: BTreeMap<ExtentId, Best<'_>> = BTreeMap::new();
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
            let found = Best { holder, held };
            if best.get(&extent).is_none_or(|known| found.rank() > known.rank()) {
                best.insert(extent, found);
            }
        }
    }
    plan.extents = best.len() as u64;
    for (extent, best) in best {
        if let Some(route) = changed_route(view, extent, &best)? {
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
    best: &Best<'_>,
) -> Result<Option<ChangedRoute>, RestoreError> {
    if view.volume(extent.volume).is_none() {
        return Ok(None);
    }
    let was = view.route(extent).map(|route| route.replicas);
    let listed = &best.held.replicas;
    // A record that a write made has no list: its extent was never moved, and is where placement says, or was it.
    if listed.is_empty() && was.is_some_and(|was| was.contains(&best.holder)) {
        return Ok(None);
    }
    let now = if listed.is_empty() { vec![best.holder] } else { listed.clone() };
    if let Some(stranger) = now.iter().find(|server| view.member(**server).is_none()) {
        return StrangerSnafu { extent, server: *stranger }.fail();
    }
    let now = Replicas::new(&now).context(BadReplicasSnafu { extent, replicas: now })?;
    Ok((was != Some(now)).then_some((extent, was, now)))
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
