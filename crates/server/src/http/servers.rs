//! `GET /v1/version`, `/v1/health`, `/v1/servers`, `/v1/sessions`.

use super::Group;
use crate::ask::Ask;
use axum::Json;
use axum::extract::State;
use evenkeel_api::{Health, ServersTable, SessionsTable, VersionInfo};
use std::sync::Arc;

pub(super) async fn version() -> Json<VersionInfo> {
    Json(crate::version())
}

pub(super) async fn health(State(group): State<Arc<Group>>) -> Json<Health> {
    let mut waiting_for = None;
    for server in &group.servers {
        let waits = match server.ask(Ask::Status).await {
            Some(status) => status.waiting_for,
            None => Some("an answer".to_owned()),
        };
        if let Some(what) = waits {
            waiting_for = Some(format!("server {} waits for {what}", server.name));
            break;
        }
    }
    Json(Health { serving: waiting_for.is_none(), waiting_for })
}

pub(super) async fn list(State(group): State<Arc<Group>>) -> Json<ServersTable> {
    let mut servers = Vec::new();
    for server in &group.servers {
        servers.extend(server.ask(Ask::Status).await.map(|status| status.row));
    }
    Json(ServersTable { group: group.config.group.clone(), servers })
}

pub(super) async fn sessions(State(group): State<Arc<Group>>) -> Json<SessionsTable> {
    let mut sessions = Vec::new();
    for server in &group.servers {
        sessions.extend(server.ask(Ask::Sessions).await.unwrap_or_default());
    }
    Json(SessionsTable { sessions })
}
