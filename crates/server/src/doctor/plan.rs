//! What is to be written into a directory that is older than the stores: pure, from what both say.
//!
//! Of each extent the copy counts that accepted the highest epoch: whoever served it last, or was to serve it next, is
//! in that copy's list. Records without a copy say nothing about where one is; nor do copies of an older route, which
//! their servers will free, and those of servers that are gone for good, whose stores may still be there.

use crate::error::{ServeError, error};
use evenkeel_api::{ExtentList, ExtentOnDisk};
use evenkeel_meta::records::CounterName;
use evenkeel_meta::{Replicas, View};
use evenkeel_types::{Epoch, ExtentId, ServerId, VolumeId};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Extents that the stores have a copy of.
    pub(super) extents: u64,
    /// Routes that differ, with what the directory has now.
    pub(super) routes: Vec<(ExtentId, Option<Replicas>, Replicas)>,
    /// Volumes that the directory does not know.
    pub(super) missing: BTreeMap<VolumeId, Missing>,
    /// The highest epoch that any store accepted; those of the directory must all be above it.
    pub(super) highest: Epoch,
    /// The lowest numbers that the counters may give next: no number is given twice.
    pub(super) counters: BTreeMap<CounterName, u64>,
}

/// What the stores have of a volume.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) extents: BTreeSet<u32>,
    pub(super) bytes: u64,
    pub(super) servers: BTreeSet<ServerId>,
}

/// The best copy of an extent so far.
struct Best<'a> {
    epoch: Epoch,
    holder: ServerId,
    record: &'a ExtentOnDisk,
}

/// # Errors
/// One line: a list says what cannot be.
pub(super) fn plan(view: &View, lists: &[ExtentList]) -> Result<Plan, ServeError> {
    let mut plan = Plan::default();
    let mut best: BTreeMap<ExtentId, Best<'_>> = BTreeMap::new();
    let (mut volume_max, mut server_max) = (0, 0);
    for list in lists {
        let holder = ServerId(list.server);
        server_max = server_max.max(list.server);
        for record in &list.extents {
            let extent = ExtentId { volume: VolumeId(record.volume), index: record.extent };
            let epoch = u64::from_str_radix(&record.epoch, 16).map(Epoch).map_err(|_| {
                let store = &list.store;
                error(format!("list of store '{store}': extent {extent} has the epoch '{}'", record.epoch))
            })?;
            plan.highest = plan.highest.max(epoch);
            volume_max = volume_max.max(record.volume);
            server_max = record.replicas.iter().copied().fold(server_max, u32::max);
            if !record.has_data || view.is_forgotten(holder) {
                continue;
            }
            if view.volume(extent.volume).is_none() {
                let missing = plan.missing.entry(extent.volume).or_default();
                missing.extents.insert(extent.index);
                missing.bytes += record.bytes;
                missing.servers.insert(holder);
            }
            // Of copies that are equally good the owner's own counts: it made the list, if it has one.
            let is_owner =
                |holder: ServerId, record: &ExtentOnDisk| record.replicas.first() == Some(&holder.0);
            let rank = |best: &Best<'_>| (best.epoch, is_owner(best.holder, best.record));
            let found = Best { epoch, holder, record };
            if best.get(&extent).is_none_or(|known| rank(&found) > rank(known)) {
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
) -> Result<Option<(ExtentId, Option<Replicas>, Replicas)>, ServeError> {
    if view.volume(extent.volume).is_none() {
        return Ok(None);
    }
    let was = view.route(extent).map(|route| route.replicas);
    let listed: Vec<ServerId> = best.record.replicas.iter().copied().map(ServerId).collect();
    // A record that a write made has no list: its extent was never moved, and is where placement says, or was it.
    if listed.is_empty() && was.is_some_and(|was| was.contains(&best.holder)) {
        return Ok(None);
    }
    let now = if listed.is_empty() { vec![best.holder] } else { listed };
    if let Some(stranger) = now.iter().find(|server| view.member(**server).is_none()) {
        return Err(error(format!(
            "extent {extent} is on server {stranger}, which the directory does not know: it joined after the backup; \
             restore a later one"
        )));
    }
    let now =
        Replicas::new(&now).ok_or_else(|| error(format!("extent {extent} has the replicas {now:?}")))?;
    Ok((was != Some(now)).then_some((extent, was, now)))
}

#[cfg(test)]
mod tests;
