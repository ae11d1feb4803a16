//! Comparing what the servers' stores hold with what the directory says.
//!
//! An extent that was never written has no record anywhere. One that was has its data at its replicas, and nowhere
//! else but at the target of a move in progress. What a server keeps after it gave a copy up (the accepted epoch, no
//! data) is not a copy.

use evenkeel_api::Finding;
use evenkeel_meta::View;
use evenkeel_types::store_op::InventoryEntry;
use evenkeel_types::{ExtentId, ServerId, VolumeId};
use std::collections::{BTreeMap, BTreeSet};

/// What the stores of the servers hold.
pub(crate) type Inventories = BTreeMap<ServerId, Vec<InventoryEntry>>;

/// Everything that is not as it should be with a volume, and with records of volumes that the directory does not know,
/// in order of the extents. Moves and releases that are under way can show up
/// as findings for an instant: what is still there a moment later is real.
pub(crate) fn verify(view: &View, volume: VolumeId, inventories: &Inventories) -> Vec<Finding> {
    let mut extents: BTreeSet<ExtentId> =
        inventories.values().flatten().filter(|entry| entry.has_data).map(|entry| entry.extent).collect();
    extents.retain(|extent| extent.volume == volume || view.volume(extent.volume).is_none());
    extents.extend(view.entries(volume).map(|(index, _)| ExtentId { volume, index }));
    let records: BTreeMap<(ExtentId, ServerId), &InventoryEntry> = inventories
        .iter()
        .flat_map(|(server, entries)| entries.iter().map(move |entry| ((entry.extent, *server), entry)))
        .collect();
    extents.into_iter().flat_map(|extent| verify_extent(view, extent, &records, inventories)).collect()
}

fn verify_extent(
    view: &View,
    extent: ExtentId,
    records: &BTreeMap<(ExtentId, ServerId), &InventoryEntry>,
    inventories: &Inventories,
) -> Vec<Finding> {
    let holders: Vec<(ServerId, &InventoryEntry)> = inventories
        .keys()
        .filter_map(|server| records.get(&(extent, *server)).map(|entry| (*server, *entry)))
        .filter(|(_, entry)| entry.has_data)
        .collect();
    let shown = show(view, extent);
    let finding = |kind: &str, server: ServerId, detail: String| Finding {
        kind: kind.to_owned(),
        server: name(view, server),
        detail: format!("{shown}: {detail}"),
    };
    let Some(route) = view.route(extent) else {
        let gone = "the directory knows no such extent";
        return holders
            .iter()
            .map(|(server, _)| finding("orphan-record", *server, gone.to_owned()))
            .collect();
    };
    let mut findings = Vec::new();
    for (server, entry) in &holders {
        if !route.names(*server) {
            let detail = format!("holds {} units, but the route names {}", entry.units, names(view, &route));
            findings.push(finding("orphan-record", *server, detail));
        }
        if entry.accepted > route.epoch {
            let detail = format!("accepted epoch {}, but the directory's is {}", entry.accepted, route.epoch);
            findings.push(finding("stale-epoch", *server, detail));
        }
    }
    // A copy in which nothing was ever written may have stayed when its volume was placed over other servers.
    let is_written = holders.iter().any(|(_, entry)| entry.units > 0 || entry.versions_hash != 0);
    if route.entry_revision.is_some() || is_written {
        for replica in (0..route.replicas.len()).map(|n| route.replicas[n]) {
            let answered = inventories.contains_key(&replica);
            if answered && !holders.iter().any(|(server, _)| *server == replica) {
                let detail = "the route names it, but its store has no copy".to_owned();
                findings.push(finding("missing-copy", replica, detail));
            }
        }
    }
    // A record without replicas was made by a write, and only an owner makes one that way.
    let claims = |(server, entry): &&(ServerId, &InventoryEntry)| {
        entry.replicas.first().is_none_or(|owner| owner == server)
    };
    let claimants: Vec<_> = holders.iter().filter(claims).collect();
    if let [(first, _), rest @ ..] = &claimants[..] {
        for (server, entry) in rest {
            let detail = format!(
                "served it as owner until epoch {}, and so did {}",
                entry.accepted,
                name(view, *first)
            );
            findings.push(finding("two-owners", *server, detail));
        }
    }
    findings
}

fn show(view: &View, extent: ExtentId) -> String {
    match view.volume(extent.volume) {
        Some(kept) => format!("extent {} of '{}'", extent.index, kept.record.name),
        None => format!("extent {extent}"),
    }
}

fn name(view: &View, server: ServerId) -> String {
    view.server(server).map_or_else(|| server.to_string(), |kept| kept.record.name.clone())
}

fn names(view: &View, route: &evenkeel_meta::Route) -> String {
    let names: Vec<String> = (0..route.replicas.len()).map(|n| name(view, route.replicas[n])).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
