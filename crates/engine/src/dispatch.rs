//! Answers of the store, messages of peers, and news of the directory: to whom they belong.

use crate::config::{HEARTBEAT_INTERVAL, HOPS_MAX, MOVES_OUT_MAX, MOVES_QUEUED_MAX, PEER_SILENCE_MAX};
use crate::core::{PeerState, Pending, TxnFor};
use crate::engine::Engine;
use crate::event::{DirectoryEvent, EngineEvent, MoveOrder, Output, TxnTicket};
use crate::extent::{Extent, arrived};
use crate::operation::{Origin, owner_load};
use crate::owner::{Floors, Phase};
use crate::replica::copy_outcome;
use crate::slots::Key;
use crate::timers::Timer;
use evenkeel_meta::{Batch, Changes, DirectoryError, MemberState, Revision, TxnOutcome, View};
use evenkeel_peer::{
    Copied, CopyOutcome, Fetched, Heartbeat, HeartbeatAck, INVENTORY_PAGE_MAX, Inventory, InventoryReply,
    Message, OldestOpen, Refusal, Reply, ReplyOutcome, Request, Reserved, VOIDED_MAX, Written,
};
use evenkeel_types::store_op::{RegionImage, StoreError, StoreOp, StoreOutcome, StoreReply, StoreTicket};
use evenkeel_types::{ExtentId, Incarnation, Payload, ServerId, Time, Version, WriteId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Engine {
    fn with_extent(&mut self, id: ExtentId, act: impl FnOnce(&mut Extent, &mut crate::core::Core)) {
        if let Some(extent) = self.extents.get_mut(&id) {
            act(extent, &mut self.core);
        }
    }

    pub(crate) fn handle_store(&mut self, ticket: StoreTicket, outcome: StoreOutcome) {
        let Some((_, pending)) = self.core.pending.remove(Key::from_bits(ticket.0)) else {
            return;
        };
        self.core.store_stopped |= matches!(outcome, Err(StoreError::Stopped));
        match pending {
            Pending::Read { operation, part } => {
                self.with_operation(operation, |extent, core| {
                    extent.handle_blocks(core, operation, part, outcome);
                });
            }
            Pending::Reserve { operation } => {
                self.with_operation(operation, |extent, core| {
                    extent.handle_reserved(core, operation, &outcome);
                });
            }
            Pending::Unreserve => {}
            Pending::Write { operation } => {
                self.with_operation(operation, |extent, core| {
                    extent.handle_written_here(core, operation, &outcome);
                });
            }
            Pending::Reign { extent, reign, step } => {
                self.with_extent(extent, |extent, core| extent.handle_reign_step(core, reign, step, outcome));
            }
            Pending::CopyRead { extent, server, region, read } => {
                self.with_extent(extent, |extent, core| {
                    extent.handle_region_read(core, server, region, read, outcome);
                });
            }
            Pending::Join { extent, attachment, step } => {
                self.with_extent(extent, |extent, core| {
                    extent.handle_join_step(core, attachment, step, outcome);
                });
            }
            Pending::Promise { extent, attachment } => {
                self.with_extent(extent, |extent, core| extent.handle_promised(core, attachment, &outcome));
            }
            Pending::Release { extent } => {
                self.with_extent(extent, |extent, core| extent.handle_released(core, &outcome));
            }
            Pending::Mend { extent, region, from } => {
                self.with_extent(extent, |extent, core| extent.handle_mended(core, region, from, &outcome));
            }
            Pending::Sweep => self.handle_sweep(outcome),
            Pending::Rebuild => {
                let page = match outcome {
                    Ok(StoreReply::Inventory(page)) => page,
                    _ => Vec::new(),
                };
                self.handle_rebuild_page(&page);
            }
            Pending::Compare { server, number } => {
                if let Ok(StoreReply::Inventory(page)) = outcome {
                    self.handle_own_page(server, number, page);
                }
            }
            pending => self.answer_copy(pending, outcome),
        }
    }

    /// Answers a peer whose message the store has carried out.
    fn answer_copy(&mut self, pending: Pending, outcome: StoreOutcome) {
        match pending {
            Pending::ReplicaWrite { server, session, extent, attachment, tag, version } => {
                let outcome = copy_outcome(&outcome);
                let written = Written { extent, attachment, tag, version, outcome };
                self.core.answer(server, session, Message::Written(written));
            }
            Pending::Install { server, session, extent, attachment, region, version } => {
                let outcome = copy_outcome(&outcome);
                let copied = Copied { extent, attachment, region, version, outcome };
                self.core.answer(server, session, Message::Copied(copied));
            }
            Pending::Fetch { server, session, extent, attachment, region } => {
                let nothing = |refusal| Fetched {
                    extent,
                    attachment,
                    region,
                    refusal: Some(refusal),
                    version: Version::NONE,
                    present: 0,
                    identities: Vec::new(),
                    data: Payload::default(),
                };
                let fetched = match outcome {
                    Ok(StoreReply::Image(RegionImage { version, present, identities, data })) => {
                        let refusal = None;
                        Fetched { extent, attachment, region, refusal, version, present, identities, data }
                    }
                    _ => nothing(Refusal::Busy),
                };
                self.core.answer(server, session, Message::Fetched(fetched));
            }
            Pending::ReplicaReserve { server, session, extent, attachment, regions } => {
                let refusal = match copy_outcome(&outcome) {
                    CopyOutcome::Applied => None,
                    CopyOutcome::Refused(refusal) => Some(refusal),
                    CopyOutcome::Mismatch { .. } => Some(Refusal::NotAttached),
                };
                let reserved = Reserved { extent, attachment, regions, refusal };
                self.core.answer(server, session, Message::Reserved(reserved));
            }
            Pending::Inventory { server, session, number } => {
                let entries = match outcome {
                    Ok(StoreReply::Inventory(entries)) => Some(entries),
                    _ => None,
                };
                self.core.answer(
                    server,
                    session,
                    Message::InventoryReply(InventoryReply { number, entries }),
                );
            }
            other => unreachable!("{other:?} is handled where the store answers"),
        }
    }

    fn with_operation(&mut self, operation: Key, act: impl FnOnce(&mut Extent, &mut crate::core::Core)) {
        if let Some(extent) = self.core.operations.get(operation).map(|operation| operation.extent) {
            self.with_extent(extent, act);
        }
    }

    pub(crate) fn handle_message(&mut self, from: ServerId, message: Message) {
        let now = self.core.now;
        let Some(peer) = self.core.peers.get_mut(&from).filter(|peer| peer.up) else {
            return;
        };
        if now.since(peer.last_heard) > PEER_SILENCE_MAX {
            // The connection has lapsed, here before somebody looked, and maybe at the other end. Nothing that lies on
            // it is carried out: others may have done it since.
            self.core.out.push_back(Output::Disconnect { server: from });
            self.handle_peer_down(from);
            return;
        }
        peer.last_heard = now;
        match message {
            Message::Request(request) => self.handle_remote_request(from, request),
            Message::Cancel { number } => self.handle_remote_cancel(from, number),
            Message::Reply(reply) => self.handle_reply(from, reply),
            Message::Heartbeat(heartbeat) => self.handle_heartbeat(from, heartbeat),
            Message::HeartbeatAck(ack) => self.handle_heartbeat_ack(from, &ack),
            Message::Current(current) => self.handle_current(from, &current),
            Message::Compared(compared) => self.handle_compared(from, &compared),
            Message::Probe(probe) => self.handle_probe(from, probe),
            Message::Probed(probed) => self.handle_probed(from, probed),
            Message::Load { report } => self.core.out.push_back(Output::LoadReport { from, report }),
            Message::Inventory(inventory) => self.handle_inventory(from, inventory),
            Message::InventoryReply(InventoryReply { number, entries }) => {
                if let Some(entries) = self.handle_peer_page(from, number, entries) {
                    self.core.out.push_back(Output::InventoryPage { from, number, entries });
                }
            }
            // Hellos belong to the driver's handshake.
            Message::Hello(_) | Message::Refuse { .. } => {}
            message => self.handle_extent_message(from, message),
        }
    }

    /// Messages between the owner of an extent and a copy.
    fn handle_extent_message(&mut self, from: ServerId, message: Message) {
        match message {
            Message::Attach(attach) => {
                let id = attach.extent;
                self.extent_mut(id);
                self.with_extent(id, |extent, core| extent.handle_attach(core, from, attach));
            }
            Message::Attached(attached) => self.with_extent(attached.extent, |extent, core| {
                extent.handle_attached(core, from, &attached);
            }),
            Message::AttachRefused(refused) => self.with_extent(refused.extent, |extent, core| {
                extent.handle_link_refused(core, from, refused.attachment, refused.refusal);
            }),
            Message::Write(write) => {
                let id = write.extent;
                self.extent_mut(id);
                self.with_extent(id, |extent, core| extent.handle_replica_write(core, from, write));
            }
            Message::Written(written) => self.with_extent(written.extent, |extent, core| {
                extent.handle_written_there(core, from, &written);
            }),
            Message::Copy(copy) => {
                let id = copy.extent;
                self.extent_mut(id);
                self.with_extent(id, |extent, core| extent.handle_region(core, from, copy));
            }
            Message::Copied(copied) => {
                self.with_extent(copied.extent, |extent, core| extent.handle_copied(core, from, &copied));
            }
            Message::Reserve(reserve) => {
                let id = reserve.extent;
                self.extent_mut(id);
                self.with_extent(id, |extent, core| extent.handle_reserve(core, from, &reserve));
            }
            Message::Fetch(fetch) => {
                let id = fetch.extent;
                self.extent_mut(id);
                self.with_extent(id, |extent, core| extent.handle_fetch(core, from, &fetch));
            }
            Message::Fetched(fetched) => {
                self.with_extent(fetched.extent, |extent, core| extent.handle_fetched(core, from, fetched));
            }
            Message::Reserved(answer) => self.with_extent(answer.extent, |extent, core| {
                extent.handle_reserved_there(core, from, &answer);
            }),
            Message::Detach(detach) => {
                self.with_extent(detach.extent, |extent, core| extent.handle_detach(core, from, &detach));
            }
            other => unreachable!("{other:?} is no message between an owner and a copy"),
        }
    }

    fn handle_remote_request(&mut self, from: ServerId, request: Request) {
        let Some(peer) = self.core.peers.get(&from).copied() else {
            return;
        };
        let number = request.number;
        let fenced = peer.incarnation < self.core.known_incarnation(from);
        let is_own =
            request.identity.is_none_or(|id| id.gateway == from && id.incarnation == peer.incarnation);
        let identified = request.identity.is_some() == request.op.is_write();
        let doubled = self.core.remote.contains_key(&(from, number));
        let late = request.identity.is_some_and(|identity| self.is_late(request.extent, identity));
        if fenced || !is_own || !identified || doubled || late || request.hops > HOPS_MAX {
            self.core.counters.stale_refusals += 1;
            self.core.send(from, Message::Reply(Reply { number, outcome: ReplyOutcome::Busy }));
            return;
        }
        self.core.raise_floor(from, peer.incarnation, request.oldest_of_all);
        let extent = request.extent;
        if let Some(identity) = request.identity {
            self.extent_mut(extent).raise_floor(WriteId { number: request.oldest_open, ..identity });
        }
        // The age says how old the proof was when the request was queued at its gateway. That was after the gateway
        // had answered the heartbeat whose answer came before the request, and so after that heartbeat was sent here,
        // however long the request was on its way.
        let queued_after = match peer.acked_from {
            Some(sent_at) => sent_at,
            None if request.op.is_write() => {
                self.core.send(from, Message::Reply(Reply { number, outcome: ReplyOutcome::Busy }));
                return;
            }
            None => self.core.now,
        };
        let proof_at = queued_after - Duration::from_millis(u64::from(request.proof_age_ms));
        let arrival = owner_load(extent, &request.op, true);
        let origin = Origin::Remote { server: from, session: peer.session, number };
        let operation = arrived(origin, extent, request.epoch, request.op, request.identity, proof_at);
        let key = self.core.operations.insert(operation);
        self.core.remote.insert((from, number), key);
        self.core.counters.remote_operations += 1;
        self.core.out.push_back(Output::Arrived(arrival));
        self.admit(extent, key);
    }

    /// Whether a write is below its gateway's floor: the gateway has given it up, or has its answer.
    fn is_late(&self, extent: ExtentId, identity: WriteId) -> bool {
        let none = BTreeMap::new();
        let of_extent = self.extents.get(&extent).map_or(&none, |extent| &extent.floors);
        let floor = Floors { of_extent, of_all: &self.core.floors }.of(identity.gateway);
        floor.is_some_and(|floor| identity.is_below(floor))
    }

    fn handle_remote_cancel(&mut self, from: ServerId, number: u64) {
        if let Some(key) = self.core.remote.get(&(from, number)).copied()
            && let Some(operation) = self.core.operations.get(key)
        {
            self.give_up(operation.extent, key, ReplyOutcome::Cancelled);
        }
    }

    fn handle_inventory(&mut self, from: ServerId, inventory: Inventory) {
        let Some(session) = self.core.session(from) else {
            return;
        };
        let max = inventory.max.min(INVENTORY_PAGE_MAX);
        self.core.store(
            Pending::Inventory { server: from, session, number: inventory.number },
            StoreOp::List { from: inventory.from, max },
        );
    }

    pub(crate) fn handle_peer_up(&mut self, server: ServerId, incarnation: Incarnation) {
        self.handle_peer_down(server);
        if incarnation < self.core.known_incarnation(server) {
            self.core.counters.stale_refusals += 1;
            self.core.out.push_back(Output::Disconnect { server });
            return;
        }
        let now = self.core.now;
        let known = self.core.peers.get(&server);
        let peer = PeerState {
            incarnation,
            session: known.map_or(1, |known| known.session + 1),
            up: true,
            last_heard: now,
            acked_from: None,
            lease_from: None,
            last_answered: known.and_then(|known| known.last_answered),
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
        peer.lease_from = None;
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
        for extent in self.extents.values_mut() {
            extent.lose_peer(&mut self.core, server);
        }
    }

    fn send_heartbeat(&mut self, to: ServerId) {
        let (oldest_open, extents) = (self.gateway.oldest_open(), self.gateway.oldest_open_at(to));
        let heartbeat = Heartbeat { sent_at: self.core.now.0, oldest_open, extents };
        self.core.send(to, Message::Heartbeat(heartbeat));
    }

    pub(crate) fn handle_heartbeat_due(&mut self) {
        let now = self.core.now;
        self.core.timers.at_latest(Timer::Heartbeat, now + HEARTBEAT_INTERVAL);
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
        self.continue_rebuild();
    }

    fn handle_heartbeat(&mut self, from: ServerId, heartbeat: Heartbeat) {
        let voided = self.core.voided_for(from);
        let now = self.core.now;
        let fenced = self.core.known_incarnation(from);
        let is_stalled = self.is_store_stalled();
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
            // A store that has stopped, or hangs, gives no leases: others are to go on without it.
            let is_lease = !self.core.store_stopped && !is_stalled;
            if is_lease {
                peer.last_answered = Some(now);
            }
            let ack = HeartbeatAck { sent_at: heartbeat.sent_at, is_lease, voided };
            self.core.send(from, Message::HeartbeatAck(ack));
        }
        self.core.raise_floor(from, incarnation, heartbeat.oldest_open);
        for OldestOpen { extent, number } in heartbeat.extents {
            self.with_extent(extent, |extent, _| {
                extent.raise_floor(WriteId { gateway: from, incarnation, number });
            });
        }
    }

    fn handle_heartbeat_ack(&mut self, from: ServerId, ack: &HeartbeatAck) {
        let sent_at = Time(ack.sent_at).min(self.core.now);
        let later = |earlier: Option<Time>| Some(earlier.map_or(sent_at, |earlier| earlier.max(sent_at)));
        if let Some(peer) = self.core.peers.get_mut(&from) {
            peer.acked_from = later(peer.acked_from);
            if ack.is_lease {
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

    pub(crate) fn handle_directory(&mut self, event: DirectoryEvent) {
        match event {
            DirectoryEvent::Snapshot(view) => self.handle_snapshot(view),
            DirectoryEvent::Batch(batch) => self.handle_batch(&batch),
            DirectoryEvent::TxnDone { ticket, outcome } => self.handle_txn(ticket, outcome),
        }
    }

    fn handle_snapshot(&mut self, view: Box<View>) {
        let me = self.core.me();
        let mut moving = Vec::new();
        for (volume, _) in view.volumes() {
            let own = view
                .entries(volume)
                .filter(|(_, kept)| kept.record.intent.is_some())
                .map(|(index, _)| ExtentId { volume, index });
            moving.extend(own.filter(|id| view.route(*id).is_some_and(|route| route.owner() == Some(me))));
        }
        let before = self.own_record();
        let revision = view.ownership_revision(me);
        self.core.view = Some(view);
        self.note_members();
        self.note_ownership(revision);
        self.compare_own_record(before);
        self.renew_resyncs(|_| true);
        for id in moving {
            self.extent_mut(id);
        }
        self.wake_all();
        self.sweep.begin(&mut self.core, None);
        self.retry_parked();
    }

    fn handle_batch(&mut self, batch: &Batch) {
        let Some(view) = &mut self.core.view else {
            return;
        };
        let before = view.member(self.core.config.me).map(|kept| (kept.revision, kept.record.state));
        match view.apply(batch) {
            Ok(changes) => {
                self.handle_changes(&changes);
                self.compare_own_record(before);
            }
            Err(why) => self.core.event(EngineEvent::ViewGap { why }),
        }
    }

    fn handle_changes(&mut self, changes: &Changes) {
        if changes.all
            || !changes.members.is_empty()
            || !changes.volumes.is_empty()
            || !changes.tombstones.is_empty()
        {
            self.wake_all();
        }
        let me = self.core.me();
        // Whoever is named by a changed route, or anybody at all if a member has changed, has to hear from all owners anew
        // that its copies are good. Owner and copy see it by the same revision.
        let routes = changes.extents.iter().filter_map(|id| self.core.route(*id));
        let named: BTreeSet<ServerId> = routes.flat_map(|route| route.replicas.to_vec()).collect();
        if changes.all || !changes.members.is_empty() {
            self.note_members();
            self.note_ownership(changes.revision);
            self.renew_resyncs(|_| true);
        } else if !named.is_empty() {
            if named.contains(&me) {
                self.note_ownership(changes.revision);
            }
            self.renew_resyncs(|server| named.contains(&server));
        }
        self.shorten_resyncs();
        for id in &changes.extents {
            let route = self.core.route(*id);
            if route.is_some_and(|route| route.owner() == Some(me) && route.intent.is_some()) {
                self.extent_mut(*id);
            }
            self.core.wake(*id);
        }
        for volume in &changes.tombstones {
            self.sweep.begin(&mut self.core, Some(*volume));
        }
        for server in &changes.members {
            if self.is_down(*server) {
                self.note_mark();
            }
            // A life that the directory has ended does not speak here any more.
            let ended = self.core.peers.get(server).filter(|peer| peer.up).map(|peer| peer.incarnation);
            if ended.is_some_and(|incarnation| incarnation < self.core.known_incarnation(*server)) {
                self.core.out.push_back(Output::Disconnect { server: *server });
                self.handle_peer_down(*server);
            }
        }
        self.retry_parked();
    }

    fn own_record(&self) -> Option<(Revision, MemberState)> {
        let own = self.core.view.as_ref()?.member(self.core.config.me)?;
        Some((own.revision, own.record.state))
    }

    fn compare_own_record(&mut self, before: Option<(Revision, MemberState)>) {
        if self.own_record().map(|(revision, _)| revision) != before.map(|(revision, _)| revision) {
            self.note_own_record(before.map(|(_, state)| state));
        }
    }

    fn is_down(&self, server: ServerId) -> bool {
        let member = self.core.view.as_ref().and_then(|view| view.member(server));
        member.is_some_and(|kept| kept.record.state == MemberState::Down)
    }

    fn wake_all(&mut self) {
        let ids: Vec<ExtentId> = self.extents.keys().copied().collect();
        for id in ids {
            self.core.wake(id);
        }
    }

    fn handle_txn(&mut self, ticket: TxnTicket, outcome: Result<TxnOutcome, DirectoryError>) {
        match self.core.txns.remove(&ticket) {
            Some(TxnFor::Prepare { extent }) => {
                self.with_extent(extent, |extent, core| extent.handle_prepared(core, outcome));
            }
            Some(TxnFor::Propose { extent }) => {
                self.with_extent(extent, |extent, core| extent.handle_proposed(core, ticket, outcome));
            }
            Some(TxnFor::MarkDown) => {
                self.handle_marked(outcome.is_ok_and(|outcome| outcome.succeeded));
            }
            Some(TxnFor::BecomeUp) => self.handle_became_up(ticket, &outcome),
            Some(TxnFor::Clear { extent, txn }) => {
                self.with_extent(extent, |extent, core| extent.handle_cleared(core, &txn, outcome));
            }
            None => {}
        }
    }

    pub(crate) fn handle_order(&mut self, order: MoveOrder) {
        let route = self.core.route(order.extent);
        let why = match route {
            _ if self.orders.len() >= MOVES_QUEUED_MAX => Some("too many moves wait already"),
            _ if self.orders.contains_key(&order.extent) => Some("a move of the extent waits already"),
            None => Some("there is no such extent"),
            Some(route) if route.owner() != Some(self.core.me()) => {
                Some("this server does not own the extent")
            }
            Some(_) => None,
        };
        match why {
            Some(why) => self.core.event(EngineEvent::MoveRefused {
                extent: order.extent,
                to: order.to,
                why: why.to_owned(),
            }),
            None => {
                self.orders.insert(order.extent, order);
            }
        }
    }

    /// Begins moves that wait, as many as may be under way; whether something was begun.
    pub(crate) fn begin_ordered_moves(&mut self) -> bool {
        let free = MOVES_OUT_MAX.saturating_sub(self.core.moving.len());
        let next: Vec<ExtentId> = self.orders.keys().copied().take(free).collect();
        let mut begun = false;
        for id in next {
            let owned = self.core.route(id).is_some_and(|route| route.owner() == Some(self.core.me()));
            let extent = self.extent_mut(id);
            let serving = extent.reign.as_ref().is_some_and(|reign| reign.phase == Phase::Serving);
            if owned && !serving {
                // Once; from then on the reign's beginning goes its way, and brings the extent here again.
                if !extent.move_wanted {
                    extent.move_wanted = true;
                    self.core.wake(id);
                    begun = true;
                }
            } else if let Some(order) = self.orders.remove(&id) {
                begun = true;
                self.with_extent(id, |extent, core| extent.begin_move(core, &order));
            }
        }
        begun
    }

    pub(crate) fn handle_abort(&mut self, id: ExtentId) {
        if let Some(order) = self.orders.remove(&id) {
            self.with_extent(id, |extent, _| extent.move_wanted = false);
            let why = "given up on request".to_owned();
            self.core.event(EngineEvent::MoveRefused { extent: id, to: order.to, why });
        }
        self.with_extent(id, |extent, core| extent.abort_move(core, "given up on request"));
    }

    pub(crate) fn set_move_rate(&mut self, id: ExtentId, rate: Option<u64>) {
        self.with_extent(id, |extent, core| {
            let Some(reign) = &mut extent.reign else {
                return;
            };
            let Some(mover) = &mut reign.mover else {
                return;
            };
            mover.rate = rate;
            let to = mover.to;
            if let Some(link) = reign.link_mut(to) {
                link.rate = rate;
                link.next_copy_at = core.now;
            }
            extent.progress_reign(core);
        });
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
