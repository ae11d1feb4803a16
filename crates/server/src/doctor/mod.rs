//! After the directory was restored from a backup: the stores know better where extents are.
//!
//! While all servers are stopped, [`extents`] lists what the stores of a machine hold, and [`rebuild_routes`] takes the
//! lists of all machines, writes the routes that differ into the directory, and raises its generation, so that every
//! epoch is above those that the stores accepted.

mod adopt;
#[cfg(test)]
mod tests;

use crate::directory::{EtcdAddress, EtcdDirectory, EtcdTls};
use crate::disk::{DiskFile, DiskFileOptions};
use crate::error::{ServeError, error};
use crate::http::access;
use crate::{membership, offline};
pub use adopt::Adopt;
use evenkeel_api::{
    AdoptedVolume, ExtentList, ExtentLists, ExtentOnDisk, MissingVolume, RebuiltRoute, RebuiltRoutes,
};
use evenkeel_meta::records::MemberRecord;
use evenkeel_meta::restore::{self, Held, Plan, RestoreError, StoreList};
use evenkeel_meta::{Directory, Keyspace, Txn, View};
use evenkeel_types::geometry::REGION_BYTES;
use evenkeel_types::{Epoch, ExtentId, ServerId, VolumeId};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a directory that does not answer is waited for.
const DIRECTORY_WITHIN: Duration = Duration::from_secs(10);
/// How long hints of life that a backup brought along may last.
const HINTS_GONE_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
            versions: format!("{:016x}", entry.versions_hash),
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
    let view = at_rest(directory, keys, patience)?;
    check(&view, keys, rebuild)?;
    let allow = access(rebuild.allow).map_err(error)?;
    let lists = store_lists(rebuild.lists)?;
    let known = restore::plan(&view, &lists).map_err(|e| unfit(&e))?;
    let members = restore::members(&view, &lists, &known);
    let mut adopted = Vec::new();
    let (view, plan) = if rebuild.dry_run {
        (view, known)
    } else {
        let mut wanted = rebuild.adopt.iter();
        let adopt = |view: &View, plan: &Plan| {
            let Some(wanted) = wanted.next() else { return Ok(None) };
            let (volume, txn) = adopt::adopt(view, &plan.missing, &lists, wanted, &allow)?;
            adopted.push(volume);
            Ok(Some(txn))
        };
        let carry_out = |txn: &Txn| {
            carry_out(directory, txn)?;
            membership::read(directory, keys)
        };
        restore::rebuild(view, &lists, adopt, carry_out, unfit)?
    };
    Ok(report(&view, &plan, rebuild, adopted, &members))
}

fn unfit(why: &RestoreError) -> ServeError {
    error(why.to_string())
}

/// The lists without what is in them for people.
fn store_lists(lists: &[ExtentList]) -> Result<Vec<StoreList>, ServeError> {
    let held = |list: &ExtentList, record: &ExtentOnDisk| {
        let extent = ExtentId { volume: VolumeId(record.volume), index: record.extent };
        let number = |what: &str, text: &str| {
            u64::from_str_radix(text, 16).map_err(|_| {
                let store = &list.store;
                error(format!("list of store '{store}': extent {extent} has the {what} '{text}'"))
            })
        };
        let accepted = Epoch(number("epoch", &record.epoch)?);
        let versions = number("versions", &record.versions)?;
        let replicas = record.replicas.iter().copied().map(ServerId).collect();
        let ExtentOnDisk { has_data, bytes, .. } = *record;
        Ok(Held { extent, accepted, replicas, has_data, bytes, versions })
    };
    let of_store = |list: &ExtentList| {
        let extents: Result<_, ServeError> = list.extents.iter().map(|record| held(list, record)).collect();
        Ok(StoreList { server: ServerId(list.server), extents: extents? })
    };
    lists.iter().map(of_store).collect()
}

/// The directory when no server's hint of life is in it. A backup brings those of its time along, until their leases
/// run out.
fn at_rest(directory: &dyn Directory, keys: &Keyspace, patience: Duration) -> Result<View, ServeError> {
    let began = Instant::now();
    loop {
        let view = membership::read(directory, keys)?;
        let Some(server) = restore::running(&view) else { return Ok(view) };
        if began.elapsed() >= patience {
            let name = name_of(&view, server);
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

fn name_of(view: &View, server: ServerId) -> String {
    view.server(server).map_or_else(|| server.to_string(), |kept| kept.record.name.clone())
}

fn report(
    view: &View,
    plan: &Plan,
    rebuild: &Rebuild<'_>,
    adopted: Vec<AdoptedVolume>,
    members: &[(ServerId, MemberRecord)],
) -> RebuiltRoutes {
    let name = |server: &ServerId| name_of(view, *server);
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
        behind: members
            .iter()
            .filter(|(server, record)| {
                !record.is_up() && rebuild.lists.iter().any(|list| list.server == server.0)
            })
            .map(|(server, _)| name(server))
            .collect(),
    }
}
