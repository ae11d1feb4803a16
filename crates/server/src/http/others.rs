//! The other processes of the group, as the directory has them, and asking them all.

use super::Group;
use super::fetch::fetch;
use super::reply::{Failure, unavailable};
use super::scope::{Caller, HERE};
use crate::ask::{Ask, STATUS_WITHIN, ServerHandle};
use axum::http::Method;
use evenkeel_meta::View;
use evenkeel_meta::records::{MemberRecord, MemberState, ServerRecord};
use evenkeel_types::ServerId;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A process that others run.
#[derive(Clone)]
pub(super) struct Process {
    /// `http://HOST:PORT`; empty if its records name none.
    pub(super) api: String,
    /// Its servers, as on record.
    pub(super) servers: Vec<(ServerId, ServerRecord, Option<MemberRecord>)>,
}

impl Process {
    /// Whether the group counts on one of its servers.
    pub(super) fn is_counted_on(&self) -> Option<&str> {
        let counts = |member: &Option<MemberRecord>| {
            member.as_ref().is_some_and(|member| member.state != MemberState::Down)
        };
        let found = self.servers.iter().find(|(_, _, member)| counts(member));
        found.map(|(_, record, _)| record.name.as_str())
    }
}

impl ServerHandle {
    /// Looks at the server's view of the directory; `None` if it has none yet, has stopped, or does not answer soon.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let look = Box::new(move |view: &View| drop(answer.send(look(view))));
        self.asks.try_send(Ask::Look(look)).ok()?;
        tokio::time::timeout(STATUS_WITHIN, answered).await.ok()?.ok()
    }
}

impl Group {
    /// Looks at the directory as a server of this process sees it, whether or not the directory can be reached.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let server = self.servers.iter().find(|server| server.stopped.get().is_none());
        let server = server.ok_or_else(|| unavailable("this process runs no server any more"))?;
        let seen = server.look(look).await;
        seen.ok_or_else(|| unavailable(format!("server '{}' does not know the directory yet", server.name)))
    }

    /// The other processes of the group; none for a call that is about this one alone, or as long as nothing is known.
    pub(super) async fn others(&self, caller: &Caller) -> Vec<Process> {
        if caller.here_only {
            return Vec::new();
        }
        let own: Vec<ServerId> = self.servers.iter().map(|server| server.id).collect();
        let processes = self.look(move |view| {
            let mut processes: BTreeMap<String, Process> = BTreeMap::new();
            for (id, kept) in view.servers().filter(|(id, _)| !own.contains(id)) {
                let api = kept.record.api.clone().unwrap_or_default();
                let member = view.member(id).map(|kept| kept.record.clone());
                let process = || Process { api: api.clone(), servers: Vec::new() };
                let process = processes.entry(api.clone()).or_insert_with(process);
                process.servers.push((id, kept.record.clone(), member));
            }
            processes.into_values().collect()
        });
        processes.await.unwrap_or_default()
    }

    /// Asks all other processes the same at the same time: `path` begins behind [`HERE`].
    pub(super) async fn ask_others<T: DeserializeOwned + Send + 'static>(
        &self,
        caller: &Caller,
        path: &str,
    ) -> Vec<(Process, Result<T, Failure>)> {
        self.tell_others(caller, Method::GET, path, None).await
    }

    /// The same with another method, and a body.
    pub(super) async fn tell_others<T: DeserializeOwned + Send + 'static>(
        &self,
        caller: &Caller,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Vec<(Process, Result<T, Failure>)> {
        let mut asked = JoinSet::new();
        for process in self.others(caller).await {
            let (path, caller) = (format!("{HERE}{path}"), caller.clone());
            let (method, body) = (method.clone(), body.clone());
            asked.spawn(async move {
                let answer = fetch(&process.api, method, &path, body, &caller).await;
                (process, answer)
            });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(process, _)| process.servers.first().map(|(id, ..)| *id));
        answers
    }

    /// Asks the process of a server that is not one of this process's; `path` begins behind [`HERE`].
    ///
    /// # Errors
    /// There is no such server, or what its process answered.
    pub(super) async fn ask_server<T: DeserializeOwned>(
        &self,
        caller: &Caller,
        name: &str,
        path: &str,
    ) -> Result<T, Failure> {
        let process = self.process_of(caller, name).await?;
        // The name is one that is on record, so it is one segment of a query as it is.
        let path = format!("{HERE}{path}?server={name}");
        fetch(&process.api, Method::GET, &path, None, caller).await
    }

    /// The process that runs the server of this name.
    ///
    /// # Errors
    /// There is no such server.
    pub(super) async fn process_of(&self, caller: &Caller, name: &str) -> Result<Process, Failure> {
        let others = self.others(caller).await;
        let runs = |process: &Process| process.servers.iter().any(|(_, record, _)| record.name == name);
        let known = others
            .iter()
            .flat_map(|process| process.servers.iter().map(|(id, record, _)| (*id, &record.name)));
        let mut known: Vec<(ServerId, &String)> =
            known.chain(self.servers.iter().map(|server| (server.id, &server.name))).collect();
        known.sort();
        let known: Vec<&str> = known.into_iter().map(|(_, name)| name.as_str()).collect();
        let missing = || {
            super::reply::not_found(format!(
                "server '{name}': not here; the servers are {}",
                known.join(", ")
            ))
        };
        others.iter().find(|process| runs(process)).cloned().ok_or_else(missing)
    }
}
