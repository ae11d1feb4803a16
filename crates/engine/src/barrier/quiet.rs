//! Whether a server is done with what was admitted before a change.

use crate::config::LEASE_GUARD;
use crate::core::Pending;
use crate::engine::Engine;
use crate::timers::Timer;
use evenkeel_meta::{MemberState, Revision};
use evenkeel_types::{Time, VolumeId};

impl Engine {
    /// Whether the view is as new as this.
    pub(super) fn view_has(&self, revision: Revision) -> bool {
        self.core.view.as_ref().is_some_and(|view| view.revision() >= revision)
    }

    /// Whether nothing is under way here that was admitted before this revision of the volume's access record, nor will
    /// be. `seen` is when the view had it. A lease that is waited for wakes the engine.
    pub(super) fn is_quiet(&mut self, volume: VolumeId, revision: Revision, seen: Time) -> bool {
        !self.barriers.unjudged.contains_key(&volume)
            && !self.gateway.is_ending_any_of(volume)
            && !self.executes_admitted_before(volume, revision)
            && !self.applies_since_before(volume, seen)
            && self.is_every_lease_of_the_fenced_over()
    }

    fn executes_admitted_before(&self, volume: VolumeId, revision: Revision) -> bool {
        let mut operations = self.core.operations.values();
        operations.any(|operation| operation.extent.volume == volume && operation.admitted < revision)
    }

    /// Whether the store still applies a write that an owner elsewhere sent here before then: that owner may have been
    /// marked down meanwhile, and nobody else knows of the write.
    fn applies_since_before(&self, volume: VolumeId, seen: Time) -> bool {
        let is_one = |(asked, pending): &(Time, Pending)| {
            *asked <= seen
                && matches!(pending, Pending::ReplicaWrite { extent, .. } | Pending::Install { extent, .. }
                    if extent.volume == volume)
        };
        self.core.pending.values().any(is_one)
    }

    /// Whether the leases have run out that this server gave to servers that are down.
    fn is_every_lease_of_the_fenced_over(&mut self) -> bool {
        let Some(view) = &self.core.view else { return false };
        let (me, started) = (self.core.config.me, self.core.config.started);
        let down = view.members().filter(|(server, kept)| {
            *server != me && kept.record.state == MemberState::Down && kept.record.incarnation.0 > 0
        });
        // A lease that was given before this server's start may last, and is not remembered.
        let last_given =
            |server| self.core.peers.get(&server).and_then(|peer| peer.last_answered).unwrap_or(started);
        let over = down.map(|(server, _)| last_given(server).max(started) + LEASE_GUARD).max();
        match over {
            Some(over) if over > self.core.now => {
                self.core.timers.at_latest(Timer::Barrier, over);
                false
            }
            _ => true,
        }
    }
}
