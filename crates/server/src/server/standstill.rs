//! Noticing that this server stood still: its process was stopped, its machine paused or asleep, its thread starved.
//!
//! While a server stands still the others and the hosts go on. A host gives its connection up, sends the same write
//! through another server, then other writes after it. The first one still lies unread in a socket here. Were it read
//! afterwards it would come last, and no epoch is against it, for this server may be a legitimate gateway. So whoever
//! reads from a connection looks here first: a connection that is older than the latest standstill is closed, and not a
//! byte is read from it any more. An answer that this takes from a host only makes it try again.

use super::core::Core;
use super::portal::Portal;
use crate::clock::now;
use evenkeel_engine::config::PROOF_AGE_MAX;
use evenkeel_types::Time;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// A gap between two looks longer than this is a standstill. As long as a proof lasts that an initiator lives: a host
/// that leaves a connection sooner is not allowed for anywhere.
pub(crate) const STANDSTILL_AFTER: Duration = PROOF_AGE_MAX;
/// How often somebody looks when nothing else happens; shorter than [`STANDSTILL_AFTER`] by far, so that quiet is never
/// taken for a standstill.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Counts the standstills of a server.
#[derive(Debug)]
pub(crate) struct Standstill {
    looked_at: Cell<Time>,
    count: Cell<u64>,
}

impl Standstill {
    pub(crate) const fn new(now: Time) -> Self {
        Self { looked_at: Cell::new(now), count: Cell::new(0) }
    }

    /// The standstills so far, one that ends now included. A connection may be read from only while this is what it was
    /// when the connection was accepted.
    pub(crate) fn look(&self, now: Time) -> u64 {
        let gap = now.since(self.looked_at.replace(now));
        if gap > STANDSTILL_AFTER {
            self.count.set(self.count.get() + 1);
            tracing::warn!(
                "stood still for {:.1} s: all connections from before are closed",
                gap.as_secs_f64()
            );
        }
        self.count.get()
    }
}

/// Looks regularly, and closes initiators' connections that a standstill has outlived even if nothing comes on them.
pub(crate) async fn watch(core: Rc<Core>, portal: Rc<Portal>) {
    let mut known = core.standstill().look(now());
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let count = core.standstill().look(now());
        if count != known {
            known = count;
            portal.drop_outlived();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_longer_than_a_proof_lasts_is_a_standstill_and_quiet_is_none() {
        let start = Time(5_000_000_000);
        let standstill = Standstill::new(start);
        let mut now = start;
        for _ in 0..100 {
            now = now + STANDSTILL_AFTER;
            assert_eq!(standstill.look(now), 0);
        }
        now = now + STANDSTILL_AFTER + Duration::from_nanos(1);
        assert_eq!(standstill.look(now), 1);
        assert_eq!(standstill.look(now), 1, "a standstill is counted once");
        now = now + Duration::from_secs(3600);
        assert_eq!(standstill.look(now), 2);
    }
}
