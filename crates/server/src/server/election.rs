//! The election of the planner, through the directory: whoever puts the role's key under its lease first has it, and
//! keeps it while it renews the lease. Nothing unsafe follows if two believe to have it; they would only both decide.

use evenkeel_meta::change::{Actor, campaign};
use evenkeel_meta::records::Role;
use evenkeel_meta::{Directory, DirectoryError, KeyRange, Keyspace, LeaseId, Snapshot, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the role stays with a server that is silent.
const LEASE_FOR: Duration = Duration::from_secs(5);
/// How often the lease is renewed, or the role sought.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// This server's candidacy. Dropping it ends it.
pub(crate) struct Candidacy {
    elected: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Candidacy {
    /// Seeks the role from now on, on a thread of its own: the directory's calls block.
    pub(crate) fn begin(directory: Arc<dyn Directory>, keys: Keyspace, actor: Actor) -> Self {
        let (elected, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let candidate = Self { elected: Arc::clone(&elected), stop: Arc::clone(&stop) };
        std::thread::spawn(move || {
            let mut lease = None;
            while !stop.load(Ordering::Relaxed) {
                let won = renew(&*directory, &keys, actor, &mut lease).unwrap_or_else(|e| {
                    tracing::debug!("the planner's role cannot be had now: {e}");
                    lease = None;
                    false
                });
                elected.store(won, Ordering::Relaxed);
                std::thread::sleep(RENEW_EVERY);
            }
            if let Some(lease) = lease {
                // If it fails, the lease runs out by itself.
                let _ = directory.revoke_lease(lease);
            }
        });
        candidate
    }

    /// Whether this server has the role.
    pub(crate) fn is_elected(&self) -> bool {
        self.elected.load(Ordering::Relaxed)
    }
}

impl Drop for Candidacy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn renew(
    directory: &dyn Directory,
    keys: &Keyspace,
    actor: Actor,
    lease: &mut Option<LeaseId>,
) -> Result<bool, DirectoryError> {
    let held = match *lease {
        Some(held) => match directory.keep_alive(held) {
            Ok(()) => held,
            Err(DirectoryError::LeaseNotFound { .. }) => directory.grant_lease(LEASE_FOR)?,
            Err(e) => return Err(e),
        },
        None => directory.grant_lease(LEASE_FOR)?,
    };
    *lease = Some(held);
    let own = directory.range(&KeyRange::key(&keys.member(actor.server)), None)?;
    let lead = directory.range(&KeyRange::key(&keys.lead(Role::Planner)), None)?;
    let entries = own.entries.into_iter().chain(lead.entries).collect();
    let unusable = |e: String| DirectoryError::Unavailable { reason: e };
    let view = View::from_snapshot(keys.clone(), &Snapshot { revision: lead.revision, entries })
        .map_err(|e| unusable(e.to_string()))?;
    if let Some(leader) = view.leader(Role::Planner) {
        return Ok(leader.record.server == actor.server && leader.record.incarnation == actor.incarnation);
    }
    let txn = campaign(&view, actor, Role::Planner, held).map_err(|e| unusable(e.to_string()))?;
    Ok(directory.transact(&txn)?.succeeded)
}
