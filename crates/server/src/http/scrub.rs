//! `GET /v1/scrub` and `PUT /v1/scrub`.

use super::Group;
use super::reply::{Reply, unavailable};
use super::scope::Caller;
use crate::ask::Ask;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::Method;
use evenkeel_api::{ScrubTable, StartScrub};
use std::sync::Arc;

pub(super) async fn show(State(group): State<Arc<Group>>, caller: Caller) -> Reply<ScrubTable> {
    let mut table = group.own_scrubs(None).await?;
    for (_, answer) in group.ask_others::<ScrubTable>(&caller, "/scrub").await {
        // A process that does not answer has no row.
        table.servers.extend(answer.map(|of_other| of_other.servers).unwrap_or_default());
    }
    table.servers.sort_by(|a, b| a.server.cmp(&b.server));
    Ok(Json(table))
}

/// Has all servers of the group begin a pass.
pub(super) async fn start(
    State(group): State<Arc<Group>>,
    caller: Caller,
    start: Result<Json<StartScrub>, JsonRejection>,
) -> Reply<ScrubTable> {
    let Json(start) = start?;
    let mut table = group.own_scrubs(Some(&start)).await?;
    let body = serde_json::to_vec(&start).unwrap_or_default();
    for (_, answer) in group.tell_others::<ScrubTable>(&caller, Method::PUT, "/scrub", Some(body)).await {
        table.servers.extend(answer?.servers);
    }
    table.servers.sort_by(|a, b| a.server.cmp(&b.server));
    Ok(Json(table))
}

impl Group {
    async fn own_scrubs(&self, start: Option<&StartScrub>) -> Result<ScrubTable, super::reply::Failure> {
        let mut servers = Vec::new();
        for server in &self.servers {
            let row = server.ask(|answer| Ask::Scrub(start.cloned(), answer)).await;
            servers
                .push(row.ok_or_else(|| unavailable(format!("server '{}' does not answer", server.name)))?);
        }
        Ok(ScrubTable { servers })
    }
}
