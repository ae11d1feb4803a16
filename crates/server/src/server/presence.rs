//! What the directory knows of this server while it runs: one lease, under which its hint of life stands, and the
//! planner's role while it has it.
//!
//! Whoever puts the role's key under its lease first has the role, and keeps it while it renews the lease. Nothing unsafe
//! follows if two believe to have it; they would only both decide. Nor is anything fenced by the hint of life. So while
//! the directory is away all of this simply rests.

use evenkeel_meta::change::{Actor, announce, campaign};
use evenkeel_meta::records::Role;
use evenkeel_meta::{
    Directory, DirectoryError, Key, Keyspace, LeaseId, Operation, Response, Snapshot, Txn, View,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long hint and role stay with a server that is silent.
const LEASE_FOR: Duration = Duration::from_secs(5);
/// How often the lease is renewed, and looked whether hint and role are there.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How soon the end is noticed.
const STOP_POLL: Duration = Duration::from_millis(100);

/// This server's presence. Dropping it ends it.
pub(crate) struct Presence {
    elected: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Presence {
    /// Keeps the hint of life and seeks the role from now on, on a thread of its own: the directory's calls block.
    pub(crate) fn begin(directory: Arc<dyn Directory>, keys: Keyspace, actor: Actor) -> Self {
        let (elected, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let presence = Self { elected: Arc::clone(&elected), stop: Arc::clone(&stop) };
        std::thread::spawn(move || {
            let mut lease = None;
            while !stop.load(Ordering::Relaxed) {
                let is_elected = renew(&*directory, &keys, actor, &mut lease).unwrap_or_else(|e| {
                    tracing::debug!("the directory is not told of this server now: {e}");
                    false
                });
                elected.store(is_elected, Ordering::Relaxed);
                for _ in 0..RENEW_EVERY.as_millis() / STOP_POLL.as_millis() {
                    if !stop.load(Ordering::Relaxed) {
                        std::thread::sleep(STOP_POLL);
                    }
                }
            }
            if let Some(lease) = lease {
                // If it fails, the lease runs out by itself.
                let _ = directory.revoke_lease(lease);
            }
        });
        presence
    }

    /// Whether this server has the planner's role.
    pub(crate) fn is_elected(&self) -> bool {
        self.elected.load(Ordering::Relaxed)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Renews the lease and puts back under it what is not there; true if this server has the role.
fn renew(
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
    let impossible = |e: evenkeel_meta::change::ChangeError| unusable(&e);
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
    DirectoryError::Unavailable { reason: e.to_string() }
}
