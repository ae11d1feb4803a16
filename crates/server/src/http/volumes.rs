//! `GET` and `POST /v1/volumes`, `GET` and `DELETE /v1/volumes/NAME`.

use super::Group;
use super::reply::{Failure, Reply, bad_request, conflict, no_such_volume, unavailable};
use super::scope::Caller;
use crate::ask::{Ask, FIRST_EXTENT};
use crate::clock::wall_ms;
use crate::entropy::random_u64;
use crate::names::TargetNames;
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use evenkeel_api::{CreateVolume, Volume, VolumesTable};
use evenkeel_meta::change::{self, Actor, ChangeError, NewVolume};
use evenkeel_meta::records::{AccessRecord, check_volume_name};
use evenkeel_meta::{KeyRange, MemberState, Revision, Spread, Txn, View};
use evenkeel_types::VolumeId;
use evenkeel_types::geometry::{BLOCK_BYTES, REGION_BYTES, VOLUME_BYTES_MAX};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Attempts at a change of the directory that others change at the same time.
const ATTEMPTS_MAX: usize = 16;
/// How long a change waits at most until all servers know of it.
const REACHED_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked.
const REACHED_POLL_EVERY: Duration = Duration::from_millis(10);

pub(super) async fn list(State(group): State<Arc<Group>>, caller: Caller) -> Reply<VolumesTable> {
    let used = group.used_bytes(&caller).await;
    let names = group.names.clone();
    let all = move |view: &View| view.volumes().map(|(id, _)| describe(&names, view, id, &used)).collect();
    let mut volumes: Vec<Volume> = group.look(all).await?;
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(VolumesTable { volumes }))
}

pub(super) async fn show(
    State(group): State<Arc<Group>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Reply<Volume> {
    let used = group.used_bytes(&caller).await;
    let (names, wanted) = (group.names.clone(), name.clone());
    let one =
        move |view: &View| view.volume_named(&wanted).map(|kept| describe(&names, view, kept.record, &used));
    group.look(one).await?.map(Json).ok_or_else(|| no_such_volume(&name))
}

/// Bytes that each volume takes in the stores of this process.
pub(super) async fn used(State(group): State<Arc<Group>>) -> Json<BTreeMap<VolumeId, u64>> {
    Json(group.own_used_bytes().await)
}

/// Answers once this process's servers have seen a revision of the directory, or after a while.
pub(super) async fn reached(
    State(group): State<Arc<Group>>,
    revision: Result<Path<u64>, PathRejection>,
) -> Reply<()> {
    let Path(revision) = revision?;
    group.own_reached(Revision(revision)).await;
    Ok(Json(()))
}

/// Copies of each extent where nothing else is asked for and there are failure domains for them.
const REPLICAS_DEFAULT: usize = 2;
/// Said where that is not so.
const ONE_COPY: &str = "one copy of each extent, since all servers are in one failure domain: what a lost server or disk \
     holds is lost (--replicas 2 --same-host keeps copies at two servers of one machine)";

pub(super) async fn create(
    State(group): State<Arc<Group>>,
    caller: Caller,
    new: Result<Json<CreateVolume>, JsonRejection>,
) -> Reply<Volume> {
    let Json(new) = new?;
    check_volume_name(&new.name).map_err(|e| bad_request(e.to_string()))?;
    let size = new.size_bytes;
    if size == 0 || size > VOLUME_BYTES_MAX || !size.is_multiple_of(u64::from(BLOCK_BYTES)) {
        let range = format!("from {BLOCK_BYTES} to {VOLUME_BYTES_MAX} bytes");
        return Err(bad_request(format!("size {size}: must be a multiple of {BLOCK_BYTES} bytes, {range}")));
    }
    let access = access_of(&new.allow)?;
    let seed = random_u64().map_err(|e| unavailable(format!("no random numbers: {e}")))?;
    let (id, replicas) = group
        .change(&caller, |view, actor| {
            let spread = if new.same_host { Spread::Servers } else { Spread::Domains };
            let place = view
                .place_for_new_volume(spread)
                .map_err(|e| conflict(format!("volume '{}': {e}", new.name)))?;
            let default = place.domains().clamp(1, REPLICAS_DEFAULT) as u8;
            let replicas = new.replicas.unwrap_or(default);
            let volume = NewVolume {
                name: new.name.clone(),
                size_bytes: size,
                logical_block_bytes: 512,
                replicas,
                seed,
                place,
                access: access.clone(),
                created_unix_ms: wall_ms(),
            };
            let (id, txn) = change::create_volume(view, actor, &volume).map_err(failed)?;
            Ok(((id, replicas), txn))
        })
        .await?;
    let view = group.view().await?;
    let notice = (replicas == 1 && new.replicas.is_none()).then(|| ONE_COPY.to_owned());
    Ok(Json(Volume { notice, ..describe(&group.names, &view, id, &BTreeMap::new()) }))
}

pub(super) async fn delete(
    State(group): State<Arc<Group>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    group
        .change(&caller, |view, actor| {
            let id = view.volume_named(&name).ok_or_else(|| no_such_volume(&name))?.record;
            Ok(((), change::delete_volume(view, actor, id, wall_ms()).map_err(failed)?))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn failed(e: ChangeError) -> Failure {
    match e {
        ChangeError::NotPresent { .. } => unavailable(e.to_string()),
        ChangeError::VolumeNameTaken { name } => {
            conflict(format!("volume '{name}': exists already, take another name"))
        }
        ChangeError::TooFewDomains { replicas, domains } => bad_request(format!(
            "replicas {replicas}: the group has {domains} failure domain(s) that take extents; ask for fewer copies, \
             add machines, or let copies be on one machine (same_host)"
        )),
        e => bad_request(e.to_string()),
    }
}

fn access_of(allow: &[String]) -> Result<AccessRecord, Failure> {
    access(allow).map_err(bad_request)
}

/// Who may use a volume, from what people write.
///
/// # Errors
/// One line: what is no initiator's name.
pub(crate) fn access(allow: &[String]) -> Result<AccessRecord, String> {
    let mut access = AccessRecord::default();
    for who in allow {
        if who == "any" {
            access.any = true;
        } else if ["iqn.", "eui.", "naa."].iter().any(|start| who.starts_with(start)) {
            access.initiators.insert(who.clone());
        } else {
            return Err(format!(
                "allow '{who}': write an initiator name such as iqn.1993-08.org.debian:01:abc, or any"
            ));
        }
    }
    Ok(access)
}

impl Group {
    /// The directory as it is now.
    pub(super) async fn view(&self) -> Result<View, Failure> {
        let directory = Arc::clone(&self.directory);
        let range = KeyRange::prefix(self.keys.prefix());
        let listed = tokio::task::spawn_blocking(move || directory.range(&range, None)).await;
        let snapshot = listed.map_err(|e| unavailable(e.to_string()))??;
        View::from_snapshot(self.keys.clone(), &snapshot).map_err(|e| unavailable(e.to_string()))
    }

    /// Changes the directory in the name of a server of this process; tries again when others were quicker. Returns once
    /// all servers that can be asked know of it, so that whoever is asked next does.
    pub(super) async fn change<T>(
        &self,
        caller: &Caller,
        mut make: impl FnMut(&View, Actor) -> Result<(T, Txn), Failure>,
    ) -> Result<T, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let view = self.view().await?;
            // Any server acts that the group counts on.
            let is_there = |actor: &Actor| {
                let member = view.member(actor.server);
                member.is_some_and(|kept| {
                    kept.record.incarnation == actor.incarnation && kept.record.state != MemberState::Down
                })
            };
            let actor = self.servers.iter().map(crate::ask::ServerHandle::actor).find(is_there);
            let actor = actor.ok_or_else(|| unavailable("no server of this process is up"))?;
            let (result, txn) = make(&view, actor)?;
            let directory = Arc::clone(&self.directory);
            let done = tokio::task::spawn_blocking(move || directory.transact(&txn)).await;
            let outcome = done.map_err(|e| unavailable(e.to_string()))??;
            if outcome.succeeded {
                self.reached(caller, outcome.revision).await;
                return Ok(result);
            }
        }
        Err(unavailable("the directory changed under every attempt: try again"))
    }

    /// Waits until all servers have seen a revision, as far as they answer.
    async fn reached(&self, caller: &Caller, revision: Revision) {
        let path = format!("/reached/{revision}");
        let all = async {
            self.own_reached(revision).await;
            let _: Vec<(_, Result<(), Failure>)> = self.ask_others(caller, &path).await;
        };
        let _ = tokio::time::timeout(REACHED_WITHIN, all).await;
    }

    async fn own_reached(&self, revision: Revision) {
        let all = async {
            for server in &self.servers {
                while server.look(move |view| view.revision() < revision).await == Some(true) {
                    tokio::time::sleep(REACHED_POLL_EVERY).await;
                }
            }
        };
        let _ = tokio::time::timeout(REACHED_WITHIN, all).await;
    }

    /// Bytes that each volume takes in the stores that can be asked.
    async fn used_bytes(&self, caller: &Caller) -> BTreeMap<VolumeId, u64> {
        let mut used = self.own_used_bytes().await;
        for (_, answer) in self.ask_others::<BTreeMap<VolumeId, u64>>(caller, "/used").await {
            for (volume, bytes) in answer.unwrap_or_default() {
                *used.entry(volume).or_default() += bytes;
            }
        }
        used
    }

    async fn own_used_bytes(&self) -> BTreeMap<VolumeId, u64> {
        let mut used = BTreeMap::new();
        for server in &self.servers {
            let entries = server.ask(|answer| Ask::Inventory(FIRST_EXTENT, usize::MAX, answer)).await;
            for entry in entries.and_then(Result::ok).unwrap_or_default() {
                *used.entry(entry.extent.volume).or_default() +=
                    u64::from(entry.units) * u64::from(REGION_BYTES);
            }
        }
        used
    }
}

fn describe(names: &TargetNames, view: &View, id: VolumeId, used: &BTreeMap<VolumeId, u64>) -> Volume {
    let record = &view.volume(id).expect("the caller found it in this view").record;
    let access = view.access(id).map(|kept| &kept.record);
    let allow = access.map_or_else(Vec::new, |access| {
        access.any.then(|| "any".to_owned()).into_iter().chain(access.initiators.iter().cloned()).collect()
    });
    Volume {
        name: record.name.clone(),
        id: id.0,
        iqn: names.of(&record.name),
        size_bytes: record.size_bytes,
        replicas: record.replicas,
        allow,
        portals: view.servers().flat_map(|(_, kept)| kept.record.portals.clone()).collect(),
        allocated_bytes: used.get(&id).copied().unwrap_or(0),
        notice: None,
    }
}
