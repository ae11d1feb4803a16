//! `GET /v1/load` and `PUT /v1/balancing`.

use super::Group;
use super::reply::{Reply, unavailable};
use crate::ask::Ask;
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use evenkeel_api::{Balancing, LoadTable};
use serde::Deserialize;
use std::sync::Arc;

/// Whose view.
#[derive(Deserialize)]
pub(super) struct OfServer {
    pub(super) server: Option<String>,
}

pub(super) async fn show(
    State(group): State<Arc<Group>>,
    of: Result<Query<OfServer>, QueryRejection>,
) -> Reply<LoadTable> {
    let Query(of) = of?;
    let server = group.server(of.server.as_deref())?;
    server
        .ask(Ask::Load)
        .await
        .map(Json)
        .ok_or_else(|| unavailable(format!("server '{}' does not answer", server.name)))
}

/// Turns balancing on or off on all servers of this process, until they start anew.
pub(super) async fn enable(
    State(group): State<Arc<Group>>,
    balancing: Result<Json<Balancing>, JsonRejection>,
) -> Reply<Balancing> {
    let Json(balancing) = balancing?;
    for server in &group.servers {
        let answer = server.ask(|answer| Ask::EnableBalancing(balancing.enabled, answer)).await;
        answer.ok_or_else(|| unavailable(format!("server '{}' does not answer", server.name)))?;
    }
    Ok(Json(balancing))
}
