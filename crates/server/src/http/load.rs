//! `GET /v1/load` and `PUT /v1/balancing`.

use super::Group;
use super::reply::{Reply, unavailable};
use super::scope::Caller;
use crate::ask::Ask;
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::Method;
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
    caller: Caller,
    of: Result<Query<OfServer>, QueryRejection>,
) -> Reply<LoadTable> {
    let Query(of) = of?;
    let Some(server) = group.own_server(of.server.as_deref())? else {
        return group.ask_server(&caller, of.server.as_deref().unwrap_or_default(), "/load").await.map(Json);
    };
    server
        .ask(Ask::Load)
        .await
        .map(Json)
        .ok_or_else(|| unavailable(format!("server '{}' does not answer", server.name)))
}

/// Turns balancing on or off on all servers of the group, until they start anew.
pub(super) async fn enable(
    State(group): State<Arc<Group>>,
    caller: Caller,
    balancing: Result<Json<Balancing>, JsonRejection>,
) -> Reply<Balancing> {
    let Json(balancing) = balancing?;
    for server in &group.servers {
        let answer = server.ask(|answer| Ask::EnableBalancing(balancing.enabled, answer)).await;
        answer.ok_or_else(|| unavailable(format!("server '{}' does not answer", server.name)))?;
    }
    let body = serde_json::to_vec(&balancing).unwrap_or_default();
    for (_, answer) in group.tell_others::<Balancing>(&caller, Method::PUT, "/balancing", Some(body)).await {
        let _ = answer?;
    }
    Ok(Json(balancing))
}
