//! One server's engine: takes events, and gives everything to whom it concerns.

use crate::barrier::Barriers;
use crate::config::{ACTIVE_EXTENTS_MAX, EngineConfig, HEARTBEAT_INTERVAL};
use crate::core::Core;
use crate::counters::Counters;
use crate::event::{Event, MoveOrder, Output};
use crate::extent::Extent;
use crate::gateway::Gateway;
use crate::membership::{Membership, Placing, Rebuild};
use crate::operation::Origin;
use crate::replica::Sweep;
use crate::scrub::Scrub;
use crate::slots::Key;
use crate::timers::Timer;
use evenkeel_meta::View;
use evenkeel_peer::{Inventory, Message, Reply, ReplyOutcome};
use evenkeel_types::{Bytes, ExtentId, ServerId, Time, VolumeId};
use std::collections::BTreeMap;

/// How many extents are looked at to find one that can be forgotten, for each one that comes.
const EVICTION_SCAN_MAX: usize = 16;

/// The engine of one server. It does nothing by itself: a driver gives it events with [`Self::handle`], then carries out
/// what [`Self::poll_output`] gives until there is nothing more, and comes back at [`Self::poll_timeout`] at the latest.
#[derive(Debug)]
pub struct Engine {
    pub(crate) core: Core,
    pub(crate) gateway: Gateway,
    pub(crate) extents: BTreeMap<ExtentId, Extent>,
    pub(crate) sweep: Sweep,
    pub(crate) membership: Membership,
    pub(crate) rebuild: Rebuild,
    pub(crate) scrub: Scrub,
    pub(crate) placing: Placing,
    pub(crate) barriers: Barriers,
    /// Moves that wait for their turn.
    pub(crate) orders: BTreeMap<ExtentId, MoveOrder>,
    eviction_hand: ExtentId,
}

impl Engine {
    /// The engine of a server that has just started: the directory has its incarnation, no connection stands.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        let mut core = Core::new(config);
        core.timers.at_latest(Timer::Scrub, config.started + config.scrub.first_after);
        core.timers.at_latest(Timer::Heartbeat, config.started + HEARTBEAT_INTERVAL);
        Self {
            core,
            gateway: Gateway::new(config.incarnation),
            extents: BTreeMap::new(),
            sweep: Sweep::default(),
            membership: Membership::default(),
            rebuild: Rebuild::default(),
            scrub: Scrub::new(config.started + config.scrub.first_after),
            placing: Placing::default(),
            barriers: Barriers::default(),
            orders: BTreeMap::new(),
            eviction_hand: ExtentId { volume: VolumeId(0), index: 0 },
        }
    }

    /// Something happened. `now` never goes back, and is read just before the call: leases are judged by it.
    pub fn handle(&mut self, now: Time, event: Event) {
        assert!(now >= self.core.now, "time went back from {} to {now}", self.core.now);
        self.core.now = now;
        if self.core.retired {
            // Others may act for it already. Whoever waits here hears that the server ends.
            return;
        }
        match event {
            Event::Request { id, volume, op, proof_at, digest } => {
                self.handle_request(id, volume, &op, proof_at, digest);
            }
            Event::Cancel { id } => self.handle_cancel(id),
            Event::Proof { id, at } => self.handle_proof(id, at),
            Event::Admitted { volume, revision } => self.handle_admitted(volume, revision),
            Event::Barrier { id, volume, revision } => self.handle_barrier(id, volume, revision),
            Event::EndBarrier { id } => self.handle_barrier_given_up(id),
            Event::PeerUp { server, incarnation } => self.handle_peer_up(server, incarnation),
            Event::PeerDown { server } => self.handle_peer_down(server),
            Event::Message { from, message } => self.handle_message(from, message),
            Event::Store { ticket, outcome } => self.handle_store(ticket, outcome),
            Event::Directory(event) => self.handle_directory(event),
            Event::StartMove(order) => self.handle_order(order),
            Event::AbortMove { extent } => self.handle_abort(extent),
            Event::SetMoveRate { extent, rate } => self.set_move_rate(extent, rate),
            Event::StartScrub { rate } => self.start_scrub(rate),
            Event::Timer => self.handle_timers(),
        }
        self.settle();
    }

    /// The next thing to be done outside.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.out.pop_front()
    }

    /// When [`Event::Timer`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.core.retired { None } else { self.core.timers.next() }
    }

    /// This server's view of the directory; `None` before the first list.
    #[must_use]
    pub fn view(&self) -> Option<&View> {
        self.core.view.as_deref()
    }

    /// What the engine did since its start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// Requests of front ends that have not ended.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.gateway.open()
    }

    /// Operations on extents that are executed here and have not ended.
    #[must_use]
    pub fn open_operations(&self) -> usize {
        self.core.operations.len()
    }

    /// Peers with a connection.
    pub fn peers(&self) -> impl Iterator<Item = ServerId> {
        self.core.peers.iter().filter(|(_, peer)| peer.up).map(|(server, _)| *server)
    }

    /// Sends a report of the load monitor to all peers.
    pub fn send_load(&mut self, report: &Bytes) {
        let peers: Vec<ServerId> = self.peers().collect();
        for peer in peers {
            self.core.send(peer, Message::Load { report: report.clone() });
        }
    }

    /// Asks a peer what its store holds, from an extent on; [`Output::InventoryPage`] brings the answer. False if there is
    /// no connection.
    pub fn ask_inventory(&mut self, server: ServerId, number: u64, from: ExtentId, max: u32) -> bool {
        self.core.send(server, Message::Inventory(Inventory { number, from, max }));
        self.core.session(server).is_some()
    }

    /// The state of an extent, made if there is none.
    pub(crate) fn extent_mut(&mut self, id: ExtentId) -> &mut Extent {
        if self.extents.len() >= ACTIVE_EXTENTS_MAX && !self.extents.contains_key(&id) {
            self.evict();
        }
        self.extents.entry(id).or_insert_with(|| Extent::new(id))
    }

    /// Forgets an extent that nothing is lost with, if one is found soon; those in use are bounded by what is in flight.
    fn evict(&mut self) {
        let (hand, mut last) = (self.eviction_hand, None);
        let mut found = None;
        for (id, extent) in
            self.extents.range(hand..).chain(self.extents.range(..hand)).take(EVICTION_SCAN_MAX)
        {
            last = Some(*id);
            if extent.is_idle(&self.core) {
                found = last;
                break;
            }
        }
        if let Some(id) = found
            && let Some(mut extent) = self.extents.remove(&id)
        {
            extent.detach_all(&mut self.core);
        }
        if let Some(last) = last {
            self.eviction_hand = ExtentId { index: last.index.saturating_add(1), ..last };
        }
    }

    /// Gives an operation to its extent.
    pub(crate) fn admit(&mut self, id: ExtentId, operation: Key) {
        self.extent_mut(id);
        if let Some(extent) = self.extents.get_mut(&id) {
            if extent.pins >= crate::config::OPERATIONS_PER_EXTENT_MAX as u32 {
                extent.pins += 1;
                extent.end(&mut self.core, operation, ReplyOutcome::Busy);
            } else {
                extent.admit(&mut self.core, operation);
            }
        }
    }

    /// Gives an operation up, if that is certain; whether it was.
    pub(crate) fn give_up(&mut self, id: ExtentId, operation: Key, outcome: ReplyOutcome) -> bool {
        self.extents.get_mut(&id).is_some_and(|extent| extent.give_up(&mut self.core, operation, outcome))
    }

    /// Like [`Self::give_up`], for an operation whose end nobody waits for.
    pub(crate) fn abandon(&mut self, id: ExtentId, operation: Key) -> bool {
        if let Some(operation) = self.core.operations.get_mut(operation) {
            operation.origin = Origin::Gone;
        }
        self.give_up(id, operation, ReplyOutcome::Busy)
    }

    fn handle_timers(&mut self) {
        while let Some(timer) = self.core.timers.take_due(self.core.now) {
            match timer {
                Timer::Heartbeat => self.handle_heartbeat_due(),
                Timer::Patience => self.handle_patience(),
                Timer::Scrub => self.continue_scrub(),
                Timer::Rebuild => self.continue_rebuild(),
                Timer::Retry(id) => self.retry_request(id),
                // It is looked at before this call ends.
                Timer::Barrier => {}
                Timer::Extent(id) => self.core.wake(id),
            }
        }
    }

    /// Carries on until nothing is left to be done inside: nothing reacts within the call that caused it.
    fn settle(&mut self) {
        loop {
            if let Some((origin, outcome)) = self.core.finished.pop_front() {
                match origin {
                    Origin::Local { id, piece } => self.handle_outcome(id, piece, outcome),
                    Origin::Remote { server, session, number } => {
                        self.core.answer(server, session, Message::Reply(Reply { number, outcome }));
                    }
                    Origin::Gone => {}
                }
            } else if let Some(id) = self.core.wake.pop_front() {
                if let Some(extent) = self.extents.get_mut(&id) {
                    extent.tick(&mut self.core);
                }
            } else if !self.begin_ordered_moves()
                && !self.continue_copies()
                && !self.follow_rebuilds()
                && !self.continue_resyncs()
                && !self.continue_scrubbing()
            {
                self.enter_extents();
                self.continue_barriers();
                return;
            }
        }
    }
}
