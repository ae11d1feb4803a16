//! `GET /v1/volumes/NAME/route` and `/verify`.

use super::Group;
use super::load::OfServer;
use super::reply::{Failure, Reply, no_such_volume, unavailable};
use crate::ask::Ask;
use crate::verify::{Inventories, verify as compare};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use evenkeel_api::{Finding, RouteTable, VerifyReport};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Moves and releases under way look wrong for an instant: only what is found this often counts.
const ROUNDS: usize = 4;
/// Pause between the rounds.
const ROUND_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn show(
    State(group): State<Arc<Group>>,
    Path(volume): Path<String>,
    of: Result<Query<OfServer>, QueryRejection>,
) -> Reply<RouteTable> {
    let Query(of) = of?;
    let server = group.server(of.server.as_deref())?;
    let table = server.ask(|answer| Ask::Route(volume.clone(), answer)).await;
    let table = table.ok_or_else(|| unavailable(format!("server '{}' does not answer", server.name)))?;
    table.map(Json).ok_or_else(|| no_such_volume(&volume))
}

/// Asks every server what its store holds, and compares with the directory.
pub(super) async fn verify(
    State(group): State<Arc<Group>>,
    Path(volume): Path<String>,
) -> Reply<VerifyReport> {
    let view = group.view().await?;
    let id = view.volume_named(&volume).ok_or_else(|| no_such_volume(&volume))?.record;
    let mut lasting: Option<Vec<Finding>> = None;
    let (mut extents, mut records) = (0, 0);
    for round in 0..ROUNDS {
        let inventories = group.inventories().await?;
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

impl Group {
    /// What the stores of all servers hold.
    async fn inventories(&self) -> Result<Inventories, Failure> {
        let mut all = Inventories::new();
        for server in &self.servers {
            let answer = server.ask(Ask::Inventory).await;
            let entries =
                answer.ok_or_else(|| unavailable(format!("server '{}' does not answer", server.name)))?;
            let entries = entries.map_err(|why| unavailable(format!("server '{}': {why}", server.name)))?;
            all.insert(server.id, entries);
        }
        Ok(all)
    }
}
