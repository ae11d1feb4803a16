//! `GET /v1/version`, `/v1/health`, `/v1/servers`, `/v1/sessions`.

use super::Group;
use crate::ask::{Ask, ServerHandle};
use axum::Json;
use axum::extract::State;
use evenkeel_api::{Health, ServerRow, ServerState, ServersTable, SessionsTable, VersionInfo};
use std::sync::Arc;

pub(super) async fn version() -> Json<VersionInfo> {
    Json(crate::version())
}

pub(super) async fn health(State(group): State<Arc<Group>>) -> Json<Health> {
    let mut waiting_for = None;
    for server in &group.servers {
        let waits = match server.ask(Ask::Status).await {
            Some(status) => status.waiting_for,
            None if server.stopped.get().is_some() => Some("its restart: it has stopped".to_owned()),
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
        let row = match server.ask(Ask::Status).await {
            Some(status) => Some(status.row),
            None => server.stopped.get().and_then(|why| group.stopped_row(server, why)),
        };
        servers.extend(row);
    }
    Json(ServersTable { group: group.config.group.clone(), servers })
}

impl Group {
    /// What is known of a server that has stopped.
    fn stopped_row(&self, server: &ServerHandle, why: &str) -> Option<ServerRow> {
        let config = self.config.servers.iter().find(|config| config.name == server.name)?;
        Some(ServerRow {
            server: server.name.clone(),
            state: ServerState::Stopped,
            incarnation: server.actor.incarnation.0,
            portal: config.portal.to_string(),
            peer: config.peer.to_string(),
            allocated_bytes: 0,
            total_bytes: 0,
            sessions: 0,
            connected: Vec::new(),
            disk: "none".to_owned(),
            reason: Some(why.to_owned()),
        })
    }
}

pub(super) async fn sessions(State(group): State<Arc<Group>>) -> Json<SessionsTable> {
    let mut sessions = Vec::new();
    for server in &group.servers {
        sessions.extend(server.ask(Ask::Sessions).await.unwrap_or_default());
    }
    Json(SessionsTable { sessions })
}
