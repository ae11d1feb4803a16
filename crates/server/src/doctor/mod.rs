//! After the directory was restored from a backup: the stores know better where extents are.
//!
//! While all servers are stopped, [`extents`] lists what the stores of a machine hold, and [`rebuild_routes`] takes the
//! lists of all machines, writes the routes that differ into the directory, and raises its generation, so that every
//! epoch is above those that the stores accepted.

mod adopt;
mod plan;

use crate::directory::{EtcdAddress, EtcdDirectory, EtcdTls};
use crate::disk::{DiskFile, DiskFileOptions};
use crate::error::{ServeError, error};
use crate::http::access;
use crate::{membership, offline};
pub use adopt::Adopt;
use evenkeel_api::{
    AdoptedVolume, ExtentList, ExtentLists, ExtentOnDisk, MissingVolume, RebuiltRoute, RebuiltRoutes,
};
use evenkeel_meta::change::raise_generation;
use evenkeel_meta::records::{MemberRecord, MemberState, RouteEntry, encode_counter, encode_json};
use evenkeel_meta::{Compare, Directory, KeyRange, Keyspace, Operation, Replicas, Txn, View};
use evenkeel_types::geometry::REGION_BYTES;
use evenkeel_types::{Epoch, ExtentId, Incarnation, ServerId};
use plan::{Plan, plan};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a directory that does not answer is waited for.
const DIRECTORY_WITHIN: Duration = Duration::from_secs(10);
/// How long hints of life that a backup brought along may last.
const HINTS_GONE_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Routes that one transaction writes.
const ROUTES_PER_TXN: usize = 100;

/// What the stores of a data folder hold; none of its servers may run. Writes nothing.
///
/// # Errors
/// One line: there is no store, a server uses it, or it cannot be read.
pub fn extents(data: &Path) -> Result<ExtentLists, ServeError> {
    let mut lists = ExtentLists { stores: Vec::new() };
    for (_, store) in offline::stores(data)? {
        let options = DiskFileOptions { create: None, direct: None, lock: true, read_only: true };
        let file = DiskFile::open(&store, &options)?;
        let wrong = |e: evenkeel_store::StoreFault| error(format!("store '{}': {e}", store.display()));
        let (group, server) = evenkeel_store::belongs_to(&&file).map_err(wrong)?;
        let entries = evenkeel_store::inventory(&&file).map_err(wrong)?;
        let extents = entries.into_iter().map(|entry| ExtentOnDisk {
            volume: entry.extent.volume.0,
            extent: entry.extent.index,
            epoch: format!("{:016x}", entry.accepted.0),
            replicas: entry.replicas.iter().map(|server| server.0).collect(),
            has_data: entry.has_data,
            bytes: u64::from(entry.units) * u64::from(REGION_BYTES),
        });
        let store = store.display().to_string();
        lists.stores.push(ExtentList { group, server: server.0, store, extents: extents.collect() });
    }
    Ok(lists)
}

/// How routes are rebuilt.
pub struct Rebuild<'a> {
    /// The directory.
    pub address: &'a EtcdAddress,
    /// TLS with it.
    pub tls: &'a EtcdTls,
    /// The group's name.
    pub group: &'a str,
    /// What all stores hold.
    pub lists: &'a [ExtentList],
    /// Servers, by name, whose stores are lost: without their lists.
    pub without: &'a [String],
    /// Volumes that the stores hold and the directory does not know, which it is to know again.
    pub adopt: &'a [Adopt],
    /// Initiators that may use the adopted volumes, or `any`.
    pub allow: &'a [String],
    /// Only look what there is to do.
    pub dry_run: bool,
}

/// Writes the routes that the stores know and the directory does not, and raises its generation.
///
/// # Errors
/// One line: the directory or a list is not as it must be, or a server runs.
pub fn rebuild_routes(rebuild: &Rebuild<'_>) -> Result<RebuiltRoutes, ServeError> {
    let directory = EtcdDirectory::open(rebuild.address, rebuild.tls, DIRECTORY_WITHIN)?;
    let keys = Keyspace::new(rebuild.group).map_err(|e| error(e.to_string()))?;
    rebuild_in(&directory, &keys, rebuild, HINTS_GONE_WITHIN)
}

fn rebuild_in(
    directory: &dyn Directory,
    keys: &Keyspace,
    rebuild: &Rebuild<'_>,
    patience: Duration,
) -> Result<RebuiltRoutes, ServeError> {
    let mut view = at_rest(directory, keys, patience)?;
    check(&view, keys, rebuild)?;
    let allow = access(rebuild.allow).map_err(error)?;
    let mut plan = plan(&view, rebuild.lists)?;
    let members = members(&view, rebuild);
    let mut adopted = Vec::new();
    if !rebuild.dry_run {
        if view.next_places().next().is_some() {
            carry_out(directory, &withdraw_places(&view))?;
            view = membership::read(directory, keys)?;
        }
        if !members.is_empty() {
            carry_out(directory, &write_members(&view, &members))?;
            view = membership::read(directory, keys)?;
        }
        for wanted in rebuild.adopt {
            let (volume, txn) = adopt::adopt(&view, &plan.missing, rebuild.lists, wanted, &allow)?;
            carry_out(directory, &txn)?;
            adopted.push(volume);
            view = membership::read(directory, keys)?;
        }
        plan = plan::plan(&view, rebuild.lists)?;
        for routes in plan.routes.chunks(ROUTES_PER_TXN) {
            carry_out(directory, &write_routes(&view, routes))?;
        }
        carry_out(directory, &write_counters(&view, &plan))?;
        loop {
            // Also if nothing differs: epochs that a store accepted must not come again.
            carry_out(directory, &raise_generation(&view).map_err(|e| error(e.to_string()))?)?;
            view = membership::read(directory, keys)?;
            if Epoch::new(view.generation(), 0) > plan.highest {
                break;
            }
        }
    }
    Ok(report(&view, &plan, rebuild, adopted, &members))
}

/// The servers that the directory has in another state than the one in which they are to start: whether a server was up
/// when all were stopped is not known, so all whose stores are there are. Of each extent the copy that was its owner's last
/// comes first and makes the others equal to itself. A server whose store is lost is down: nobody waits for it.
fn members(view: &View, rebuild: &Rebuild<'_>) -> Vec<(ServerId, MemberRecord)> {
    let has_list = |server: ServerId| rebuild.lists.iter().any(|list| list.server == server.0);
    let wrong = view.members().filter_map(|(server, kept)| {
        let record = &kept.record;
        let state = if has_list(server) { MemberState::Up } else { MemberState::Down };
        if record.state == state || record.incarnation == Incarnation(0) {
            return None;
        }
        let leaves = state == MemberState::Down && record.is_up();
        Some((server, MemberRecord { state, leaves, ..record.clone() }))
    });
    wrong.collect()
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

/// The directory when no server's hint of life is in it. A backup brings those of its time along, until their leases
/// run out.
fn at_rest(directory: &dyn Directory, keys: &Keyspace, patience: Duration) -> Result<View, ServeError> {
    let began = Instant::now();
    loop {
        let view = membership::read(directory, keys)?;
        let Some((_, kept)) = view.servers().find(|(id, _)| view.live(*id).is_some()) else {
            return Ok(view);
        };
        if began.elapsed() >= patience {
            let name = &kept.record.name;
            return Err(error(format!("server '{name}' runs: stop all servers of the group, and try again")));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The lists are those of this group's stores, and all of them.
fn check(view: &View, keys: &Keyspace, rebuild: &Rebuild<'_>) -> Result<(), ServeError> {
    let group = keys.group();
    let format = view.format().ok_or_else(|| {
        error(format!("directory '{}': holds no group '{group}'; restore it first", rebuild.address))
    })?;
    if let Some((key, why)) = view.problems().next() {
        return Err(error(format!("directory '{}': key {key}: {why}", rebuild.address)));
    }
    let on_disk = membership::group_on_disk(group, format.group_id);
    if let Some(list) = rebuild.lists.iter().find(|list| list.group != on_disk) {
        let (store, found) = (&list.store, &list.group);
        return Err(error(format!(
            "list of store '{store}': is of the group {found}, the directory of {on_disk}"
        )));
    }
    for name in rebuild.without {
        if view.server_named(name).is_none() {
            return Err(error(format!(
                "server '{name}': the directory knows none of this name to do without"
            )));
        }
    }
    for (id, kept) in view.servers() {
        let name = &kept.record.name;
        let lists = rebuild.lists.iter().filter(|list| list.server == id.0).count();
        let is_without = rebuild.without.contains(name);
        match lists {
            0 if !is_without => {
                return Err(error(format!(
                    "server '{name}': no list of its store was given; make one with 'evenkeel doctor extents', or if it is \
                     lost, say --without {name}"
                )));
            }
            2.. => return Err(error(format!("server '{name}': {lists} lists of its store were given"))),
            _ => {}
        }
    }
    Ok(())
}

fn carry_out(directory: &dyn Directory, txn: &Txn) -> Result<(), ServeError> {
    let outcome = directory.transact(txn).map_err(|e| error(format!("{e}; it is safe to begin again")))?;
    if outcome.succeeded {
        return Ok(());
    }
    Err(error("somebody else changes the directory: stop all servers of the group, and begin again"))
}

/// Compares: each entry as it was read.
fn write_routes(view: &View, routes: &[(ExtentId, Option<Replicas>, Replicas)]) -> Txn {
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

fn report(
    view: &View,
    plan: &Plan,
    rebuild: &Rebuild<'_>,
    adopted: Vec<AdoptedVolume>,
    members: &[(ServerId, MemberRecord)],
) -> RebuiltRoutes {
    let name = |server: &ServerId| {
        view.server(*server).map_or_else(|| server.to_string(), |kept| kept.record.name.clone())
    };
    let names = |replicas: &[ServerId]| replicas.iter().map(name).collect::<Vec<_>>();
    let volume = |extent: &ExtentId| {
        view.volume(extent.volume).map_or_else(|| extent.volume.to_string(), |kept| kept.record.name.clone())
    };
    let routes = plan.routes.iter().map(|(extent, was, now)| RebuiltRoute {
        volume: volume(extent),
        extent: extent.index,
        was: was.as_ref().map_or_else(Vec::new, |was| names(was)),
        now: names(now),
    });
    let missing = plan.missing.iter().map(|(volume, missing)| MissingVolume {
        volume: volume.0,
        extents: missing.extents.len() as u64,
        last_extent: missing.extents.last().copied().unwrap_or(0),
        bytes: missing.bytes,
        servers: missing.servers.iter().map(name).collect(),
    });
    RebuiltRoutes {
        group: rebuild.group.to_owned(),
        written: !rebuild.dry_run,
        extents: plan.extents,
        routes: routes.collect(),
        missing_volumes: missing.collect(),
        generation: view.generation(),
        adopted_volumes: adopted,
        counted_again: members
            .iter()
            .filter(|(_, record)| record.is_up())
            .map(|(server, _)| name(server))
            .collect(),
    }
}
