//! What the directory knows of a server while it runs: one lease, under which its hint of life stands, and the planner's
//! role while it has it.
//!
//! Whoever puts the role's key under its lease first has the role, and keeps it while it renews the lease. Nothing unsafe
//! follows if two believe to have it; they would only both decide. Nor is anything fenced by the hint of life. So while
//! the directory is away all of this simply rests.

use crate::change::{Actor, ChangeError, announce, campaign};
use crate::directory::{Directory, DirectoryError, Key, LeaseId, Snapshot, UnavailableSnafu};
use crate::records::{Keyspace, Role};
use crate::txn::{Operation, Response, Txn};
use crate::view::View;
use std::time::Duration;

/// How long hint and role stay with a server that is silent.
pub const LEASE_FOR: Duration = Duration::from_secs(5);
/// How often the lease is renewed, and looked whether hint and role are there.
pub const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Renews the lease, or takes another one, and puts back under it what is not there; true if the server has the role.
///
/// # Errors
/// Those of the directory; what was done before stays, and the next call goes on from there.
pub fn renew(
    directory: &dyn Directory,
    keys: &Keyspace,
    actor: Actor,
    lease: &mut Option<LeaseId>,
) -> Result<bool, DirectoryError> {
    let held = match *lease {
        // One that cannot be reached is kept: it may well live when the directory is back.
        Some(held) => match directory.keep_alive(held) {
            Err(DirectoryError::LeaseNotFound { .. }) => directory.grant_lease(LEASE_FOR)?,
            renewed => renewed.map(|()| held)?,
        },
        None => directory.grant_lease(LEASE_FOR)?,
    };
    *lease = Some(held);
    let view = look(directory, keys, actor)?;
    let impossible = |e: ChangeError| unusable(&e);
    if view.live(actor.server).is_none_or(|live| live.incarnation != actor.incarnation) {
        let _ = directory.transact(&announce(&view, actor, held).map_err(impossible)?)?;
    }
    if let Some(leader) = view.leader(Role::Planner) {
        return Ok(leader.record.server == actor.server && leader.record.incarnation == actor.incarnation);
    }
    let txn = campaign(&view, actor, Role::Planner, held).map_err(impossible)?;
    Ok(directory.transact(&txn)?.succeeded)
}

/// What the directory has of this server, and who has the role: three keys, read at once.
fn look(directory: &dyn Directory, keys: &Keyspace, actor: Actor) -> Result<View, DirectoryError> {
    let wanted: [Key; 3] = [keys.member(actor.server), keys.live(actor.server), keys.lead(Role::Planner)];
    let reads = wanted.iter().map(Operation::read).collect();
    let outcome = directory.transact(&Txn { success: reads, ..Txn::default() })?;
    let entries = outcome.responses.into_iter().flat_map(|response| match response {
        Response::Entries(entries) => entries,
        Response::Put | Response::Deleted(_) => Vec::new(),
    });
    let snapshot = Snapshot { revision: outcome.revision, entries: entries.collect() };
    View::from_snapshot(keys.clone(), &snapshot).map_err(|e| unusable(&e))
}

fn unusable(e: &dyn std::fmt::Display) -> DirectoryError {
    UnavailableSnafu { reason: e.to_string() }.build()
}
