//! `GET` and `POST /v1/moves`, `GET /v1/moves/ID`.

use super::Group;
use super::fetch::fetch;
use super::reply::{Failure, Reply, conflict, no_such_volume, not_found, unavailable};
use super::scope::{Caller, HERE};
use crate::ask::{Ask, MoveAsk, Ordered, Progress, ServerHandle};
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::Method;
use evenkeel_api::{MoveRequest, MoveRow, MoveState, MovesTable, RouteRow};
use evenkeel_balance::MoveReason;
use evenkeel_meta::records::{self, MoveRecord, ParsedKey, decode_json};
use evenkeel_meta::{KeyRange, MoveId, View};
use evenkeel_types::ServerId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often, and how many times, it is looked whether an ordered move has begun.
const BEGIN_POLL_EVERY: Duration = Duration::from_millis(20);
const BEGIN_POLLS: usize = 100;

/// What the servers of a process know of moves beyond the directory.
#[derive(Serialize, Deserialize)]
pub(super) struct OwnMoves {
    /// Their counters, without moves.
    counters: MovesTable,
    /// How far the moves are that they led, by number.
    progress: BTreeMap<u64, Progress>,
}

pub(super) async fn of_here(State(group): State<Arc<Group>>) -> Json<OwnMoves> {
    Json(group.own_moves().await)
}

pub(super) async fn list(State(group): State<Arc<Group>>, caller: Caller) -> Reply<MovesTable> {
    let OwnMoves { counters: mut table, progress } = group.all_moves(&caller).await;
    let (view, records) = group.view_and_records().await?;
    for (id, record) in records {
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
    caller: Caller,
    request: Result<Json<MoveRequest>, JsonRejection>,
) -> Reply<MoveRow> {
    let Json(request) = request?;
    let (volume, extent) = (&request.volume, request.extent);
    let row = group.own_route(volume, extent).await?;
    let Some(owner) = group.own_server(Some(&row.owner))? else {
        return group.start_elsewhere(&caller, &row.owner, &request).await;
    };
    let before = group.records().await?.into_iter().map(|(id, _)| id).collect();
    let ask = MoveAsk { volume: volume.clone(), extent, to: request.to.clone(), rate: request.rate };
    let answer = owner.ask(|answer| Ask::Move(ask, answer)).await;
    let answer = answer.ok_or_else(|| unavailable(format!("server '{}' does not answer", owner.name)))?;
    let ordered = answer.map_err(|why| conflict(format!("extent {extent} of '{volume}': {why}")))?;
    group.begun(&request, owner, ordered, &before).await
}

pub(super) async fn explain(
    State(group): State<Arc<Group>>,
    caller: Caller,
    id: Result<Path<u64>, PathRejection>,
) -> Reply<MoveRow> {
    let Path(id) = id?;
    let (view, records) = group.view_and_records().await?;
    let found = records.into_iter().find(|(known, _)| known.0 == id);
    let (id, record) = found
        .ok_or_else(|| not_found(format!("move {id}: not known; 'evenkeel moves' lists those that are")))?;
    Ok(Json(row(&view, id, &record, &group.all_moves(&caller).await.progress)))
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

    /// The directory as it is now, and the records of all moves in it.
    async fn view_and_records(&self) -> Result<(View, Vec<(MoveId, MoveRecord)>), Failure> {
        Ok((self.view().await?, self.records().await?))
    }

    /// What this process's servers know. Each is asked once, however many moves there are.
    async fn own_moves(&self) -> OwnMoves {
        let (mut counters, mut progress) = (empty(), BTreeMap::new());
        for server in &self.servers {
            if let Some(own) = server.ask(Ask::Moves).await {
                counters = add(counters, &own);
            }
            progress.extend(server.ask(Ask::Progress).await.unwrap_or_default());
        }
        OwnMoves { counters, progress }
    }

    /// What all processes know that answer.
    async fn all_moves(&self, caller: &Caller) -> OwnMoves {
        let mut all = self.own_moves().await;
        for (_, answer) in self.ask_others::<OwnMoves>(caller, "/moves").await {
            if let Ok(theirs) = answer {
                all.counters = add(all.counters, &theirs.counters);
                all.progress.extend(theirs.progress);
            }
        }
        all
    }

    /// The route of an extent, as a server of this process sees it.
    async fn own_route(&self, volume: &str, extent: u32) -> Result<RouteRow, Failure> {
        let running = self.servers.iter().find(|server| server.stopped.get().is_none());
        let server = running.ok_or_else(|| unavailable("this process runs no server any more"))?;
        let table = server.ask(|answer| Ask::Route(volume.to_owned(), answer)).await;
        let table = table.ok_or_else(|| unavailable(format!("server '{}' does not answer", server.name)))?;
        let mut table = table.ok_or_else(|| no_such_volume(volume))?;
        let count = table.extents.len();
        if extent as usize >= count {
            let last = count.saturating_sub(1);
            return Err(not_found(format!(
                "extent {extent} of '{volume}': beyond its end, name one from 0 to {last}"
            )));
        }
        Ok(table.extents.swap_remove(extent as usize))
    }

    /// Has the owner's process start a move.
    async fn start_elsewhere(&self, caller: &Caller, owner: &str, request: &MoveRequest) -> Reply<MoveRow> {
        if caller.here_only {
            let (extent, volume) = (request.extent, &request.volume);
            return Err(conflict(format!(
                "extent {extent} of '{volume}': it was just moved to {owner}, try again"
            )));
        }
        let process = self.process_of(caller, owner).await?;
        let body = serde_json::to_vec(request).unwrap_or_default();
        let path = format!("{HERE}/moves");
        fetch(&process.api, Method::POST, &path, Some(body), caller).await.map(Json)
    }

    /// The record of a move that its owner was just told to begin, as soon as the directory has it: none that was there
    /// `before`.
    async fn begun(
        &self,
        request: &MoveRequest,
        owner: &ServerHandle,
        ordered: Ordered,
        before: &BTreeSet<MoveId>,
    ) -> Result<Json<MoveRow>, Failure> {
        let (volume, extent) = (&request.volume, request.extent);
        for _ in 0..BEGIN_POLLS {
            // Asked first: a move whose record shows was not refused, whatever a later one was.
            let refusal = owner.ask(|answer| Ask::Refusal(ordered, answer)).await.flatten();
            let view = self.view().await?;
            let mine = self.records().await?.into_iter().find(|(id, record)| {
                !before.contains(id)
                    && record.extent == ordered.extent
                    && view.server_named(&request.to) == Some(record.to)
            });
            if let Some((id, record)) = mine {
                return Ok(Json(row(&view, id, &record, &self.own_moves().await.progress)));
            }
            if let Some(why) = refusal {
                return Err(conflict(format!("extent {extent} of '{volume}': {why}")));
            }
            tokio::time::sleep(BEGIN_POLL_EVERY).await;
        }
        Err(unavailable(format!(
            "extent {extent} of '{volume}': the move waits for its turn; `moves` will show it if it begins"
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
