//! Keeps this server's hint of life in the directory, and the planner's role while it has it.

use evenkeel_meta::change::Actor;
use evenkeel_meta::presence::{RENEW_EVERY, renew};
use evenkeel_meta::{Directory, Keyspace};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
