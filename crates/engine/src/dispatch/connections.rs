//! Connections to peers, and the heartbeats over them.

use crate::config::{HEARTBEAT_INTERVAL, LEASE, PEER_SILENCE_MAX};
use crate::core::PeerState;
use crate::engine::Engine;
use crate::event::{EngineEvent, Output};
use crate::extent::Extent;
use crate::owner::Phase;
use crate::slots::Key;
use crate::timers::Timer;
use evenkeel_peer::{Heartbeat, HeartbeatAck, Message, OldestOpen, VOIDED_MAX};
use evenkeel_types::{Incarnation, ServerId, Time, WriteId};

impl Engine {
    pub(crate) fn handle_peer_up(&mut self, server: ServerId, incarnation: Incarnation) {
        self.handle_peer_down(server);
        if incarnation < self.core.known_incarnation(server) {
            self.core.counters.stale_refusals += 1;
            self.core.out.push_back(Output::Disconnect { server });
            return;
        }
        let now = self.core.now;
        let known = self.core.peers.get(&server);
        let (last_answered, earlier_answered) = match known {
            Some(known) if known.incarnation == incarnation => (known.last_answered, known.earlier_answered),
            // A life that has ended may not know it yet, and what a later one gives up is none of its leases.
            Some(known) => (known.last_answered, known.last_answered),
            None => (None, None),
        };
        let peer = PeerState {
            incarnation,
            session: known.map_or(1, |known| known.session + 1),
            up: true,
            last_heard: now,
            acked_from: None,
            lease_from: None,
            last_answered,
            earlier_answered,
            gives_up: false,
        };
        self.core.peers.insert(server, peer);
        self.send_heartbeat(server);
        self.renew_resyncs(|_| false);
        for extent in self.extents.values() {
            if extent.reign.as_ref().is_some_and(|reign| reign.link(server).is_some()) {
                self.core.wake(extent.id);
            }
        }
        self.retry_parked();
    }

    pub(crate) fn handle_peer_down(&mut self, server: ServerId) {
        let Some(peer) = self.core.peers.get_mut(&server).filter(|peer| peer.up) else {
            return;
        };
        peer.up = false;
        peer.acked_from = None;
        let lease_from = peer.lease_from.take();
        self.core.voided.retain(|(owner, _), _| *owner != server);
        self.park_sent(server);
        let zero = (server, 0);
        let of_server = self.core.remote.range(zero..).take_while(|((from, _), _)| *from == server);
        let operations: Vec<Key> = of_server.map(|(_, key)| *key).collect();
        for key in operations {
            // What was not sequenced never is; what was goes on, and its answer is lost.
            if let Some(extent) = self.core.operations.get(key).map(|operation| operation.extent) {
                self.abandon(extent, key);
            }
        }
        self.core.remote.retain(|(from, _), _| *from != server);
        if let Some(from) = lease_from {
            self.note_lost_lease(server, from + LEASE);
        }
        for extent in self.extents.values_mut() {
            extent.lose_peer(&mut self.core, server);
        }
    }

    /// The connection is gone over which a server gave a lease until then.
    fn note_lost_lease(&mut self, server: ServerId, until: Time) {
        let waits_for_it = |extent: &&Extent| {
            extent.reign.as_ref().is_some_and(|reign| {
                reign.phase == Phase::Serving && reign.link(server).is_some_and(|link| link.role.is_replica())
            })
        };
        let extents = self.extents.values().filter(waits_for_it).count();
        if extents > 0 {
            let lease_ended = until.min(self.core.now);
            self.core.event(EngineEvent::StopsServing { server, extents, lease_ended });
        }
    }

    fn send_heartbeat(&mut self, to: ServerId) {
        let (oldest_open, extents) = (self.gateway.oldest_open(), self.gateway.oldest_open_at(to));
        let (sent_at, gives_up) = (self.core.now.0, self.core.gives_up);
        let heartbeat = Heartbeat { sent_at, oldest_open, gives_up, extents };
        self.core.send(to, Message::Heartbeat(heartbeat));
    }

    pub(crate) fn handle_heartbeat_due(&mut self) {
        let now = self.core.now;
        self.core.timers.at_latest(Timer::Heartbeat, now + HEARTBEAT_INTERVAL);
        self.consider_giving_up();
        let peers: Vec<(ServerId, Time)> = self
            .core
            .peers
            .iter()
            .filter(|(_, peer)| peer.up)
            .map(|(id, peer)| (*id, peer.last_heard))
            .collect();
        for (server, last_heard) in peers {
            if now.since(last_heard) > PEER_SILENCE_MAX {
                self.core.out.push_back(Output::Disconnect { server });
                self.handle_peer_down(server);
            } else {
                self.send_heartbeat(server);
            }
        }
        self.watch_silence();
        self.renew_resyncs(|_| false);
        self.consider_rejoining();
        self.throttle_rebuild();
        self.continue_rebuild();
        self.continue_placing();
    }

    /// While this server's store hangs or has stopped, it gives up the leases that it has: whoever goes on without it need
    /// not wait for them to run out. Answers to heartbeats from before give none any more.
    fn consider_giving_up(&mut self) {
        self.core.gives_up = self.core.store_stopped || self.is_store_stalled();
        if self.core.gives_up {
            let now = self.core.now;
            self.core.leases_after = Some(now);
            for peer in self.core.peers.values_mut() {
                peer.lease_from = None;
            }
        }
    }

    pub(super) fn handle_heartbeat(&mut self, from: ServerId, heartbeat: Heartbeat) {
        let voided = self.core.voided_for(from);
        let now = self.core.now;
        let fenced = self.core.known_incarnation(from);
        // A store that has stopped, or hangs, gives no leases: others are to go on without it.
        let gives_leases = !self.core.store_stopped && !self.is_store_stalled();
        let Some(peer) = self.core.peers.get_mut(&from) else {
            return;
        };
        let incarnation = peer.incarnation;
        if voided.len() > VOIDED_MAX {
            // An answer could not name all exceptions. A new connection needs none: attachments end with the old one.
            self.core.out.push_back(Output::Disconnect { server: from });
            self.handle_peer_down(from);
            return;
        }
        if incarnation >= fenced {
            let is_lease = gives_leases && !heartbeat.gives_up;
            if is_lease {
                peer.last_answered = Some(now);
            } else if heartbeat.gives_up {
                peer.last_answered = peer.earlier_answered;
            }
            let gave_up = std::mem::replace(&mut peer.gives_up, heartbeat.gives_up);
            let is_new = heartbeat.gives_up && !gave_up;
            let ack = HeartbeatAck { sent_at: heartbeat.sent_at, is_lease, voided };
            self.core.send(from, Message::HeartbeatAck(ack));
            if is_new {
                self.watch_silence();
            }
        }
        self.core.raise_floor(from, incarnation, heartbeat.oldest_open);
        for OldestOpen { extent, number } in heartbeat.extents {
            self.with_extent(extent, |extent, _| {
                extent.raise_floor(WriteId { gateway: from, incarnation, number });
            });
        }
    }

    pub(super) fn handle_heartbeat_ack(&mut self, from: ServerId, ack: &HeartbeatAck) {
        let sent_at = Time(ack.sent_at).min(self.core.now);
        let later = |earlier: Option<Time>| Some(earlier.map_or(sent_at, |earlier| earlier.max(sent_at)));
        if let Some(peer) = self.core.peers.get_mut(&from) {
            peer.acked_from = later(peer.acked_from);
            if ack.is_lease && self.core.leases_after.is_none_or(|after| sent_at > after) {
                peer.lease_from = later(peer.lease_from);
            }
        }
        if !ack.is_lease {
            return;
        }
        self.note_answer(from, sent_at);
        for void in &ack.voided {
            self.with_extent(void.extent, |extent, _| extent.handle_voided(from, void));
        }
        for id in std::mem::take(&mut self.core.awaiting_lease) {
            self.with_extent(id, Extent::unblock);
        }
    }
}

impl Extent {
    /// The connection to a server is gone.
    fn lose_peer(&mut self, core: &mut crate::core::Core, server: ServerId) {
        if self.copy.owner() == Some(server) {
            self.end_copy(core);
            core.wake(self.id);
        }
        if self.promise.as_ref().is_some_and(|promise| promise.to == server) {
            self.promise = None;
            core.wake(self.id);
        }
        if self.reign.as_ref().is_some_and(|reign| reign.link(server).is_some()) {
            self.drop_link(core, server);
            core.wake(self.id);
        }
    }
}
