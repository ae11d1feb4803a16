//! Messages of peers: to whom they belong.

use crate::config::{HOPS_MAX, PEER_SILENCE_MAX};
use crate::core::Pending;
use crate::engine::Engine;
use crate::event::Output;
use crate::extent::arrived;
use crate::operation::{Origin, owner_load};
use crate::owner::Floors;
use evenkeel_meta::Revision;
use evenkeel_peer::{INVENTORY_PAGE_MAX, Inventory, InventoryReply, Message, Reply, ReplyOutcome, Request};
use evenkeel_types::store_op::StoreOp;
use evenkeel_types::{ExtentId, ServerId, WriteId};
use std::collections::BTreeMap;
use std::time::Duration;

impl Engine {
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
            Message::Barrier(barrier) => self.handle_barrier_asked(from, barrier),
            Message::BarrierDone(answer) => self.handle_barrier_answered(from, answer),
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
            Message::Check(check) => {
                let id = check.extent;
                self.extent_mut(id);
                self.with_extent(id, |extent, core| extent.handle_check(core, from, &check));
            }
            Message::Checked(checked) => {
                self.with_extent(checked.extent, |extent, core| extent.handle_checked(core, from, &checked));
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
        let extent = request.extent;
        let admitted = Revision(request.admitted);
        let needed = self.core.view.as_ref().map_or(Revision(0), |view| view.access_revision(extent.volume));
        if admitted < needed {
            self.core.counters.stale_refusals += 1;
            let outcome = ReplyOutcome::Readmit { revision: needed.0 };
            self.core.send(from, Message::Reply(Reply { number, outcome }));
            return;
        }
        self.core.raise_floor(from, peer.incarnation, request.oldest_of_all);
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
        let operation = arrived(
            origin,
            extent,
            (request.epoch, admitted),
            request.op,
            request.identity,
            self.core.now,
            proof_at,
        );
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
}
