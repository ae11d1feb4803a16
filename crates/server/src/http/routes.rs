//! `GET /v1/volumes/NAME/route` and `/verify`.

use super::Group;
use super::fetch::fetch;
use super::load::OfServer;
use super::others::Process;
use super::reply::{Failure, Reply, no_such_volume, not_found, unavailable};
use super::scope::{Caller, HERE};
use crate::ask::{Ask, FIRST_EXTENT, ServerHandle, next_extent};
use crate::verify::{Inventories, verify as compare};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use evenkeel_api::{Finding, RouteTable, VerifyReport};
use evenkeel_meta::records::check_volume_name;
use evenkeel_types::store_op::InventoryEntry;
use evenkeel_types::{ExtentId, VolumeId};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Entries of an inventory that one process gives another at a time.
const PAGE_ENTRIES: usize = 4096;
/// Moves and releases under way look wrong for an instant: only what is found this often counts.
const ROUNDS: usize = 4;
/// Pause between the rounds.
const ROUND_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn show(
    State(group): State<Arc<Group>>,
    caller: Caller,
    Path(volume): Path<String>,
    of: Result<Query<OfServer>, QueryRejection>,
) -> Reply<RouteTable> {
    let Query(of) = of?;
    let Some(server) = group.own_server(of.server.as_deref())? else {
        // A volume of another name is none, so there is nothing to be escaped.
        check_volume_name(&volume).map_err(|_| no_such_volume(&volume))?;
        let (server, path) = (of.server.unwrap_or_default(), format!("/volumes/{volume}/route"));
        return group.ask_server(&caller, &server, &path).await.map(Json);
    };
    let table = server.ask(|answer| Ask::Route(volume.clone(), answer)).await;
    let table = table.ok_or_else(|| unavailable(format!("server '{}' does not answer", server.name)))?;
    table.map(Json).ok_or_else(|| no_such_volume(&volume))
}

/// Asks every server what its store holds, and compares with the directory.
pub(super) async fn verify(
    State(group): State<Arc<Group>>,
    caller: Caller,
    Path(volume): Path<String>,
) -> Reply<VerifyReport> {
    let view = group.view().await?;
    let id = view.volume_named(&volume).ok_or_else(|| no_such_volume(&volume))?.record;
    let mut lasting: Option<Vec<Finding>> = None;
    let (mut extents, mut records) = (0, 0);
    for round in 0..ROUNDS {
        let inventories = group.inventories(&caller).await?;
        let view = group.view().await?;
        let copies =
            || inventories.values().flatten().filter(|entry| entry.has_data && entry.extent.volume == id);
        extents = copies().map(|entry| entry.extent).collect::<BTreeSet<_>>().len() as u64;
        records = copies().count() as u64;
        let found = compare(&view, id, &inventories);
        let still = match lasting {
            None => found,
            Some(before) => found.into_iter().filter(|f| before.iter().any(|b| same_place(b, f))).collect(),
        };
        if still.is_empty() {
            lasting = Some(still);
            break;
        }
        lasting = Some(still);
        if round + 1 < ROUNDS {
            tokio::time::sleep(ROUND_EVERY).await;
        }
    }
    Ok(Json(VerifyReport { extents, records, findings: lasting.unwrap_or_default() }))
}

/// Findings about the same thing, whatever numbers they name.
fn same_place(a: &Finding, b: &Finding) -> bool {
    let place = |finding: &Finding| finding.detail.split(':').next().unwrap_or_default().to_owned();
    a.kind == b.kind && a.server == b.server && place(a) == place(b)
}

/// A page of one server's inventory.
#[derive(Deserialize)]
pub(super) struct PageOf {
    server: String,
    volume: u64,
    extent: u32,
}

/// The extent records in a store of this process, from one on, page by page.
pub(super) async fn inventory(
    State(group): State<Arc<Group>>,
    page: Result<Query<PageOf>, QueryRejection>,
) -> Reply<Vec<InventoryEntry>> {
    let Query(page) = page?;
    let server = group.own_server(Some(&page.server))?;
    let server = server.ok_or_else(|| not_found(format!("server '{}': not here", page.server)))?;
    let from = ExtentId { volume: VolumeId(page.volume), index: page.extent };
    inventory_page(server, from, PAGE_ENTRIES).await.map(Json)
}

async fn inventory_page(
    server: &ServerHandle,
    from: ExtentId,
    max: usize,
) -> Result<Vec<InventoryEntry>, Failure> {
    let answer = server.ask(|answer| Ask::Inventory(from, max, answer)).await;
    let entries = answer.ok_or_else(|| unavailable(format!("server '{}' does not answer", server.name)))?;
    entries.map_err(|why| unavailable(format!("server '{}': {why}", server.name)))
}

impl Group {
    /// What the stores of all servers hold.
    async fn inventories(&self, caller: &Caller) -> Result<Inventories, Failure> {
        let mut all = Inventories::new();
        for server in &self.servers {
            all.insert(server.id, inventory_page(server, FIRST_EXTENT, usize::MAX).await?);
        }
        for process in self.others(caller).await {
            for (id, record, _) in &process.servers {
                all.insert(*id, inventory_of(caller, &process, &record.name).await?);
            }
        }
        Ok(all)
    }
}

/// What the store of another process's server holds.
async fn inventory_of(
    caller: &Caller,
    process: &Process,
    name: &str,
) -> Result<Vec<InventoryEntry>, Failure> {
    let mut all: Vec<InventoryEntry> = Vec::new();
    loop {
        let ExtentId { volume, index } = all.last().map_or(FIRST_EXTENT, |last| next_extent(last.extent));
        let path = format!("{HERE}/inventory?server={name}&volume={}&extent={index}", volume.0);
        let page: Vec<InventoryEntry> = fetch(&process.api, Method::GET, &path, None, caller).await?;
        let is_last = page.len() < PAGE_ENTRIES;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}
