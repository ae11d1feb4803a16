//! `GET` and `POST /v1/moves`, `GET /v1/moves/ID`.

use super::Group;
use super::reply::{Failure, Reply, conflict, no_such_volume, not_found, unavailable};
use crate::ask::{Ask, MoveAsk, Progress};
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use evenkeel_api::{MoveRequest, MoveRow, MoveState, MovesTable};
use evenkeel_balance::MoveReason;
use evenkeel_meta::records::{self, MoveRecord, ParsedKey, decode_json};
use evenkeel_meta::{KeyRange, MoveId, View};
use evenkeel_types::ServerId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often, and how many times, it is looked whether an ordered move has begun.
const BEGIN_POLL_EVERY: Duration = Duration::from_millis(20);
const BEGIN_POLLS: usize = 100;

pub(super) async fn list(State(group): State<Arc<Group>>) -> Reply<MovesTable> {
    let mut table = empty();
    for server in &group.servers {
        if let Some(counters) = server.ask(Ask::Moves).await {
            table = add(table, &counters);
        }
    }
    let view = group.view().await?;
    let progress = group.progress().await;
    for (id, record) in group.records().await? {
        table.moves.push(row(&view, id, &record, &progress));
    }
    table.moves.sort_by(|a, b| b.started_ms.cmp(&a.started_ms).then(b.id.cmp(&a.id)));
    Ok(Json(table))
}

const fn empty() -> MovesTable {
    MovesTable {
        moves: Vec::new(),
        writes_mirrored: 0,
        writes_waited: 0,
        writes_not_yet_copied: 0,
        pinned_over_cutover: 0,
        answered_moved: 0,
        regions_sent: 0,
        bytes_sent: 0,
        completed: 0,
        aborted: 0,
    }
}

const fn add(mut sum: MovesTable, table: &MovesTable) -> MovesTable {
    sum.writes_mirrored += table.writes_mirrored;
    sum.writes_waited += table.writes_waited;
    sum.writes_not_yet_copied += table.writes_not_yet_copied;
    sum.pinned_over_cutover += table.pinned_over_cutover;
    sum.answered_moved += table.answered_moved;
    sum.regions_sent += table.regions_sent;
    sum.bytes_sent += table.bytes_sent;
    sum.completed += table.completed;
    sum.aborted += table.aborted;
    sum
}

/// Starts a move at the extent's owner: it is the one that may.
pub(super) async fn start(
    State(group): State<Arc<Group>>,
    request: Result<Json<MoveRequest>, JsonRejection>,
) -> Reply<MoveRow> {
    let Json(request) = request?;
    let (volume, extent) = (&request.volume, request.extent);
    let first = group.server(None)?;
    let table = first.ask(|answer| Ask::Route(volume.clone(), answer)).await;
    let table = table.ok_or_else(|| unavailable(format!("server '{}' does not answer", first.name)))?;
    let table = table.ok_or_else(|| no_such_volume(volume))?;
    let row = table.extents.get(extent as usize).ok_or_else(|| {
        not_found(format!(
            "extent {extent} of '{volume}': beyond its end, name one from 0 to {}",
            table.extents.len().saturating_sub(1)
        ))
    })?;
    let owner = group.server(Some(&row.owner))?;
    let before = group.records().await?.into_iter().map(|(id, _)| id).collect();
    let ask = MoveAsk { volume: volume.clone(), extent, to: request.to.clone(), rate: request.rate };
    let answer = owner.ask(|answer| Ask::Move(ask, answer)).await;
    let answer = answer.ok_or_else(|| unavailable(format!("server '{}' does not answer", owner.name)))?;
    answer.map_err(|why| conflict(format!("extent {extent} of '{volume}': {why}")))?;
    group.begun(volume, extent, &request.to, &before).await
}

pub(super) async fn explain(
    State(group): State<Arc<Group>>,
    id: Result<Path<u64>, PathRejection>,
) -> Reply<MoveRow> {
    let Path(id) = id?;
    let view = group.view().await?;
    let found = group.records().await?.into_iter().find(|(known, _)| known.0 == id);
    let (id, record) = found
        .ok_or_else(|| not_found(format!("move {id}: not known; 'evenkeel moves' lists those that are")))?;
    Ok(Json(row(&view, id, &record, &group.progress().await)))
}

impl Group {
    /// The records of all moves that the directory keeps.
    async fn records(&self) -> Result<Vec<(MoveId, MoveRecord)>, Failure> {
        let directory = Arc::clone(&self.directory);
        let range = KeyRange::prefix(&self.keys.moves());
        let listed = tokio::task::spawn_blocking(move || directory.range(&range, None)).await;
        let entries = listed.map_err(|e| unavailable(e.to_string()))??.entries;
        let records = entries.iter().filter_map(|entry| match self.keys.parse(&entry.key) {
            ParsedKey::Move(id) => Some((id, decode_json::<MoveRecord>(&entry.value).ok()?)),
            _ => None,
        });
        Ok(records.collect())
    }

    /// How far all moves are, as the servers that lead them know. Each is asked once, however many moves there are.
    async fn progress(&self) -> BTreeMap<u64, Progress> {
        let mut all = BTreeMap::new();
        for server in &self.servers {
            all.extend(server.ask(Ask::Progress).await.unwrap_or_default());
        }
        all
    }

    /// The record of a move that was just ordered, as soon as the directory has it: none that was there `before`.
    async fn begun(
        &self,
        volume: &str,
        extent: u32,
        to: &str,
        before: &BTreeSet<MoveId>,
    ) -> Result<Json<MoveRow>, Failure> {
        for _ in 0..BEGIN_POLLS {
            let view = self.view().await?;
            let mine = self.records().await?.into_iter().find(|(id, record)| {
                !before.contains(id)
                    && view.volume_named(volume).is_some_and(|kept| kept.record == record.extent.volume)
                    && record.extent.index == extent
                    && view.server_named(to) == Some(record.to)
            });
            if let Some((id, record)) = mine {
                return Ok(Json(row(&view, id, &record, &self.progress().await)));
            }
            tokio::time::sleep(BEGIN_POLL_EVERY).await;
        }
        Err(unavailable(format!(
            "extent {extent} of '{volume}': the move waits for its turn; `moves` will show it"
        )))
    }
}

fn row(view: &View, id: MoveId, record: &MoveRecord, progress: &BTreeMap<u64, Progress>) -> MoveRow {
    let name = |server: ServerId| {
        view.server(server).map_or_else(|| server.to_string(), |kept| kept.record.name.clone())
    };
    let volume = view.volume(record.extent.volume);
    let progress = progress.get(&id.0).copied().unwrap_or_default();
    let state = match record.state {
        records::MoveState::Copying => MoveState::Running,
        records::MoveState::Moved => MoveState::Done,
        records::MoveState::Aborted => MoveState::Aborted,
    };
    let explanation = explanation(record, &name);
    MoveRow {
        id: id.0,
        volume: volume.map_or_else(|| record.extent.volume.to_string(), |kept| kept.record.name.clone()),
        extent: record.extent.index,
        from: name(record.from),
        to: name(record.to),
        state,
        reason: explanation.first().cloned().unwrap_or_default(),
        explanation,
        started_ms: record.started_unix_ms,
        ended_ms: record.ended_unix_ms,
        regions_current: match state {
            MoveState::Done => 64,
            _ => u32::try_from(progress.regions_sent + progress.regions_equal).unwrap_or(64).min(64),
        },
        regions_sent: progress.regions_sent,
    }
}

/// The recorded reason, a line for each thought.
fn explanation(record: &MoveRecord, name: &dyn Fn(ServerId) -> String) -> Vec<String> {
    if let Ok(reason) = serde_json::from_value::<MoveReason>(record.reason.clone()) {
        return reason.explain(record.extent, name).lines().map(str::to_owned).collect();
    }
    match record.reason.get("ordered").and_then(|how| how.as_str()) {
        Some(how) => vec![format!("ordered {how}")],
        None => vec![record.reason.to_string()],
    }
}
