//! `PUT /v1/servers/NAME/draining`, `POST /v1/servers/NAME/remove` and `/forget`: servers that leave the group.

use super::Group;
use super::reply::{Failure, Reply, bad_request, conflict, not_found};
use super::scope::Caller;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use evenkeel_api::{Draining, Forget, Gone, LostOfVolume, ServerRow, show_size};
use evenkeel_meta::change::{self, ChangeError};
use evenkeel_meta::records::MemberRecord;
use evenkeel_meta::view::Loss;
use evenkeel_meta::{MemberState, Spread, View};
use evenkeel_types::{ServerId, VolumeId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Volumes that a refusal names at most.
const NAMED_MAX: usize = 16;
/// How full others may become by what a server gives up: from there on no copies are made anew, in 1/1000.
const FULL_AT: u64 = (evenkeel_engine::config::REBUILD_FULL_AT * 1000.0) as u64;

/// Begins to empty a server, or ends that. It takes no extents meanwhile.
pub(super) async fn drain(
    State(group): State<Arc<Group>>,
    caller: Caller,
    Path(name): Path<String>,
    wanted: Result<Json<Draining>, JsonRejection>,
) -> Reply<Draining> {
    let Json(Draining { draining }) = wanted?;
    let rows = if draining { super::servers::rows(&group, &caller).await } else { Vec::new() };
    group
        .change(&caller, |view, _| {
            let id = named(view, &name)?;
            if draining {
                may_drain(view, id, &name)?;
                has_room(&rows, &name)?;
            }
            Ok(((), change::set_draining(view, id, draining).map_err(|e| bad_request(e.to_string()))?))
        })
        .await?;
    Ok(Json(Draining { draining }))
}

/// Ends the part of a server that has been emptied.
pub(super) async fn remove(
    State(group): State<Arc<Group>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Reply<Gone> {
    group
        .change(&caller, |view, by| {
            let id = named(view, &name)?;
            let holdings = view.holdings(id);
            let draining = view.member(id).is_some_and(|kept| kept.record.draining);
            if !draining || !holdings.is_empty() {
                let held = holdings.iter().map(|holding| (holding.volume, holding.extents));
                let what = if draining { "is being emptied and still has" } else { "is not emptied: it has" };
                return Err(conflict(format!(
                    "server '{name}': {what} {}; 'evenkeel server drain {name}' empties it, and 'evenkeel server list' \
                     says when it is drained",
                    list(view, held)
                )));
            }
            Ok(((), change::forget_server(view, by, id, false).map_err(|e| bad_request(e.to_string()))?))
        })
        .await?;
    Ok(Json(Gone { server: name, lost: Vec::new() }))
}

/// Ends the part of a server that does not come back.
pub(super) async fn forget(
    State(group): State<Arc<Group>>,
    caller: Caller,
    Path(name): Path<String>,
    wanted: Result<Json<Forget>, JsonRejection>,
) -> Reply<Gone> {
    let Json(Forget { accept_loss }) = wanted?;
    let lost = group
        .change(&caller, |view, by| {
            let id = named(view, &name)?;
            let losses = view.losses(id);
            let runs = view.member(id).is_some_and(|kept| kept.record.state != MemberState::Down)
                && view.live(id).is_some();
            if !runs && !losses.is_empty() && !accept_loss {
                return Err(conflict(format!(
                    "server '{name}': has the last good copy of {}; start it again, or give that up for ever with \
                     --accept-loss",
                    list(view, losses.iter().map(|loss| (loss.volume, loss.lost + loss.older)))
                )));
            }
            let txn = change::forget_server(view, by, id, accept_loss).map_err(|e| match e {
                ChangeError::NotDown { .. } => conflict(format!(
                    "server '{name}': runs, or did until just now; stop it and try again in 10 s, or empty it with \
                     'evenkeel server drain {name}' and then remove it"
                )),
                e => bad_request(e.to_string()),
            })?;
            Ok((losses.iter().map(|loss| lost_of(view, loss)).collect(), txn))
        })
        .await?;
    let gone = Gone { server: name, lost };
    for LostOfVolume { volume, extents, older } in &gone.lost {
        tracing::warn!(
            "server '{}' was forgotten, and with it of volume '{volume}': {extents} extents without any other copy, {older} \
             with an older one",
            gone.server
        );
    }
    Ok(Json(gone))
}

fn named(view: &View, name: &str) -> Result<ServerId, Failure> {
    view.server_named(name).ok_or_else(|| {
        let known: Vec<&str> = view.servers().map(|(_, kept)| kept.record.name.as_str()).collect();
        not_found(format!("server '{name}': does not exist, the servers are {}", known.join(", ")))
    })
}

/// Whether the others can take what a server has.
fn may_drain(view: &View, id: ServerId, name: &str) -> Result<(), Failure> {
    let member = |server| view.member(server).map(|kept| &kept.record);
    let mut others = view.members().filter(|(other, _)| *other != id);
    if !others.any(|(_, kept)| kept.record.takes_extents()) {
        return Err(conflict(format!(
            "server '{name}': no other server is up that could take its copies; start or join one first"
        )));
    }
    let losses = view.losses(id);
    if member(id).is_some_and(|record| record.state == MemberState::Down) && !losses.is_empty() {
        return Err(conflict(format!(
            "server '{name}': is down, and has the last good copy of {}; start it first",
            list(view, losses.iter().map(|loss| (loss.volume, loss.lost + loss.older)))
        )));
    }
    let stays = |server: &ServerId| *server != id && member(*server).is_some_and(MemberRecord::is_to_stay);
    let too_few = view.volumes().filter(|(volume, kept)| {
        let rest = view.servers().filter(|(server, _)| stays(server));
        let places = match view.spread(*volume) {
            Spread::Domains => {
                rest.map(|(_, kept)| kept.record.domain.as_str()).collect::<BTreeSet<_>>().len()
            }
            Spread::Servers => rest.count(),
        };
        places < usize::from(kept.record.replicas)
    });
    let too_few: Vec<&str> = too_few.map(|(_, kept)| kept.record.name.as_str()).collect();
    if !too_few.is_empty() {
        return Err(conflict(format!(
            "server '{name}': without it there are too few failure domains for the copies of {}; join another machine \
             first",
            shortened(too_few.into_iter().map(str::to_owned))
        )));
    }
    Ok(())
}

/// Whether the stores of the others have room, as far as they answer.
fn has_room(rows: &[ServerRow], name: &str) -> Result<(), Failure> {
    let used = rows.iter().find(|row| row.server == name).map_or(0, |row| row.allocated_bytes);
    let takers = || rows.iter().filter(|row| row.server != name && !row.draining && row.reason.is_none());
    let room: u64 =
        takers().map(|row| (row.total_bytes / 1000 * FULL_AT).saturating_sub(row.allocated_bytes)).sum();
    if takers().count() > 0 && used > room {
        return Err(conflict(format!(
            "server '{name}': its {} do not fit, the others have room for {}; join another server first",
            show_size(used),
            show_size(room)
        )));
    }
    Ok(())
}

fn lost_of(view: &View, loss: &Loss) -> LostOfVolume {
    LostOfVolume { volume: volume_name(view, loss.volume), extents: loss.lost, older: loss.older }
}

fn volume_name(view: &View, volume: VolumeId) -> String {
    view.volume(volume).map_or_else(|| volume.to_string(), |kept| kept.record.name.clone())
}

fn list(view: &View, counts: impl Iterator<Item = (VolumeId, u64)>) -> String {
    shortened(counts.map(|(volume, count)| format!("{} ({count} extents)", volume_name(view, volume))))
}

/// A list that a line can hold.
fn shortened(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        None => items.join(", "),
        Some(more) => format!("{}, and {more} more volumes", items[..NAMED_MAX].join(", ")),
    }
}
