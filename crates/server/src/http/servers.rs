//! `GET /v1/version`, `/v1/health`, `/v1/servers`, `/v1/sessions`.

use super::Group;
use super::others::Process;
use super::reply::Failure;
use super::scope::Caller;
use crate::ask::{Ask, ServerHandle};
use axum::Json;
use axum::extract::State;
use evenkeel_api::{Health, ServerRow, ServerState, ServersTable, SessionsTable, VersionInfo};
use evenkeel_meta::View;
use evenkeel_meta::records::{MemberRecord, MemberState, ServerRecord};
use evenkeel_types::ServerId;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) async fn version() -> Json<VersionInfo> {
    Json(crate::version())
}

pub(super) async fn health(State(group): State<Arc<Group>>, caller: Caller) -> Json<Health> {
    let mut waiting_for = group.own_wait().await;
    if waiting_for.is_none() {
        let others = group.ask_others::<Health>(&caller, "/health").await;
        waiting_for = others.into_iter().find_map(|(process, answer)| match answer {
            Ok(health) => health.waiting_for,
            Err(why) => process
                .is_counted_on()
                .map(|name| format!("server {name} waits for its process: {}", why.line())),
        });
    }
    Json(Health { serving: waiting_for.is_none(), waiting_for })
}

pub(super) async fn list(State(group): State<Arc<Group>>, caller: Caller) -> Json<ServersTable> {
    let servers = rows(&group, &caller).await;
    Json(ServersTable { group: group.config.group.clone(), servers })
}

/// What there is to say of all servers.
pub(super) async fn rows(group: &Group, caller: &Caller) -> Vec<ServerRow> {
    let mut rows = group.own_rows().await;
    for (process, answer) in group.ask_others::<ServersTable>(caller, "/servers").await {
        rows.extend(process.rows(&answer));
    }
    rows.sort_by_key(|(id, _)| *id);
    let leaving: Vec<ServerId> = rows.iter().filter(|(_, row)| row.draining).map(|(id, _)| *id).collect();
    let holdings =
        move |view: &View| leaving.into_iter().map(|id| (id, view.holdings(id))).collect::<BTreeMap<_, _>>();
    let holdings = if caller.here_only { None } else { group.look(holdings).await.ok() }.unwrap_or_default();
    for (id, row) in &mut rows {
        if let Some(holdings) = holdings.get(id) {
            row.routed = Some(holdings.iter().map(|holding| holding.extents).sum());
            row.drained = holdings.is_empty() && row.allocated_bytes == 0;
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

pub(super) async fn sessions(State(group): State<Arc<Group>>, caller: Caller) -> Json<SessionsTable> {
    let mut sessions = Vec::new();
    for server in &group.servers {
        sessions.extend(server.ask(Ask::Sessions).await.unwrap_or_default());
    }
    for (_, answer) in group.ask_others::<SessionsTable>(&caller, "/sessions").await {
        sessions.extend(answer.map(|table| table.sessions).unwrap_or_default());
    }
    Json(SessionsTable { sessions })
}

impl Group {
    /// What the servers of this process wait for before they serve.
    async fn own_wait(&self) -> Option<String> {
        for server in self.present_servers().await {
            let waits = match server.status().await {
                Some(status) => status.waiting_for,
                None if server.stopped.get().is_some() => Some("its restart: it has stopped".to_owned()),
                None => Some("an answer".to_owned()),
            };
            if let Some(what) = waits {
                return Some(format!("server {} waits for {what}", server.name));
            }
        }
        None
    }

    /// The servers of this process without those that are gone for good.
    async fn present_servers(&self) -> Vec<&ServerHandle> {
        let stopped: Vec<ServerId> =
            self.servers.iter().filter(|one| one.stopped.get().is_some()).map(|one| one.id).collect();
        let gone = if stopped.is_empty() {
            Vec::new()
        } else {
            let gone = |view: &View| stopped.into_iter().filter(|id| view.is_forgotten(*id)).collect();
            self.look(gone).await.unwrap_or_default()
        };
        self.servers.iter().filter(|server| !gone.contains(&server.id)).collect()
    }

    async fn own_rows(&self) -> Vec<(ServerId, ServerRow)> {
        let mut rows = Vec::new();
        for server in self.present_servers().await {
            let row = match server.status().await {
                Some(status) => Some(status.row),
                None => match server.stopped.get() {
                    Some(why) => self.gone_row(server, ServerState::Stopped, why),
                    None => self.gone_row(server, ServerState::Down, "it does not answer: its disk may hang"),
                },
            };
            rows.extend(row.map(|row| (server.id, row)));
        }
        rows
    }

    /// What is known of a server that says nothing any more.
    fn gone_row(&self, server: &ServerHandle, state: ServerState, why: &str) -> Option<ServerRow> {
        let config = self.config.servers.iter().find(|config| config.name == server.name)?;
        Some(ServerRow {
            state,
            incarnation: server.actor().incarnation.0,
            reason: Some(why.to_owned()),
            ..row(&server.name, config.portal.to_string(), config.peer.to_string())
        })
    }
}

impl Process {
    /// The rows of its servers: what it answered of each, and else what is on record.
    fn rows(&self, answer: &Result<ServersTable, Failure>) -> Vec<(ServerId, ServerRow)> {
        let on_record = |(id, record, member): &(ServerId, ServerRecord, Option<MemberRecord>)| {
            let answered = answer
                .as_ref()
                .ok()
                .and_then(|table| table.servers.iter().find(|row| row.server == record.name));
            let why = || match answer {
                Ok(_) => format!("the process at {} does not run it", self.api),
                Err(why) => why.line().to_owned(),
            };
            (*id, answered.cloned().unwrap_or_else(|| silent_row(record, member.as_ref(), why())))
        };
        self.servers.iter().map(on_record).collect()
    }
}

/// What is on record of a server whose process says nothing of it.
fn silent_row(record: &ServerRecord, member: Option<&MemberRecord>, why: String) -> ServerRow {
    let state = match member.map(|member| member.state) {
        Some(MemberState::Up) => ServerState::Up,
        Some(MemberState::Syncing) => ServerState::Syncing,
        Some(MemberState::Down) | None => ServerState::Down,
    };
    ServerRow {
        state,
        draining: member.is_some_and(|member| member.draining),
        incarnation: member.map_or(0, |member| member.incarnation.0),
        total_bytes: record.capacity.bytes,
        reason: Some(why),
        ..row(&record.name, record.portals.join(" "), record.peer.clone())
    }
}

/// A row of which nothing is known but addresses.
fn row(name: &str, portal: String, peer: String) -> ServerRow {
    ServerRow {
        server: name.to_owned(),
        state: ServerState::Down,
        draining: false,
        routed: None,
        drained: false,
        incarnation: 0,
        portal,
        peer,
        allocated_bytes: 0,
        total_bytes: 0,
        sessions: 0,
        connected: Vec::new(),
        disk: "none".to_owned(),
        reason: None,
        waiting_for: None,
        counters: None,
    }
}
