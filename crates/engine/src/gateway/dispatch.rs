//! Sending pieces to whoever owns their extents.

use super::{OpenRequest, Piece, PieceState, Sent, Wait, room, split};
use crate::config::{HOPS_MAX, PATIENCE_TICK, REQUEST_PATIENCE, REQUESTS_IN_FLIGHT_MAX};
use crate::engine::Engine;
use crate::event::{Arrival, Output, RequestId};
use crate::extent::arrived;
use crate::operation::{Origin, owner_load};
use crate::owner::Phase;
use crate::timers::Timer;
use evenkeel_meta::Revision;
use evenkeel_peer::{Message, Request};
use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::{BlockError, BlockOp, Epoch, Payload, ServerId, Time, VolumeId, WriteId};

impl Engine {
    /// A front end asks for something.
    pub(crate) fn handle_request(
        &mut self,
        id: RequestId,
        volume: VolumeId,
        op: &BlockOp,
        proof_at: Time,
        digest: bool,
    ) {
        if matches!(op, BlockOp::Flush) {
            // Acknowledged means durable, so whatever was answered needs no flush.
            self.core.out.push_back(Output::Complete { id, outcome: Ok(Payload::default()) });
            return;
        }
        if self.gateway.open() >= REQUESTS_IN_FLIGHT_MAX {
            self.core.out.push_back(Output::Complete { id, outcome: Err(BlockError::Busy) });
            return;
        }
        let now = self.core.now;
        let mut request = OpenRequest {
            volume,
            admitted: self.admits_by(volume),
            pieces: split(volume, op).into_iter().map(|(extent, op)| Piece::new(extent, op)).collect(),
            open: 0,
            deadline: now + REQUEST_PATIENCE,
            proof_at,
            proof_asked: false,
            cancelled: false,
            digest,
        };
        request.open = request.pieces.len() as u16;
        let count = request.open;
        assert!(count > 0, "a request touches at least one extent");
        let earlier = self.gateway.requests.insert(id, request);
        assert!(earlier.is_none(), "request {id:?} is open already");
        if !self.core.timers.is_set(Timer::Patience) {
            self.core.timers.at_latest(Timer::Patience, now + PATIENCE_TICK);
        }
        for piece in 0..count {
            self.dispatch(id, piece);
        }
    }

    /// Gives a write its identity, when it is first given to an owner. One that waits for an owner that is away has
    /// none: while it waited, every owner would have to remember all later writes.
    fn identify(&mut self, id: RequestId, number: u16) {
        let next = self.gateway.next_write + 1;
        let (me, incarnation) = (self.core.config.me, self.core.config.incarnation);
        let Some(piece) = self.gateway.piece_mut(id, number) else {
            return;
        };
        if piece.identity.is_some() || !piece.op.is_write() {
            return;
        }
        piece.identity = Some(WriteId { gateway: me, incarnation, number: next });
        let extent = piece.extent;
        self.gateway.next_write = next;
        self.gateway.open_writes.insert(next);
        self.gateway.open_by_extent.insert((extent, next));
        self.core.raise_floor(me, incarnation, self.gateway.oldest_open());
    }

    /// Sends a piece to the owner of its extent, or has it wait for one.
    pub(crate) fn dispatch(&mut self, id: RequestId, piece: u16) {
        let Some(waiting) = self.gateway.piece_mut(id, piece) else {
            return;
        };
        waiting.tries += 1;
        self.core.counters.retried += u64::from(waiting.tries > 1);
        let extent = waiting.extent;
        let admitted = self.gateway.requests.get(&id).map_or(Revision(0), |request| request.admitted);
        let needed = self.core.view.as_ref().map_or(Revision(0), |view| view.access_revision(extent.volume));
        if admitted < needed {
            self.park(id, piece, Wait::Admission(needed));
            return;
        }
        let serves = |reign: &crate::owner::Reign| reign.phase == Phase::Serving;
        if let Some(state) = self.extents.get(&extent)
            && let Some(reign) = state.reign.as_deref().filter(|reign| serves(reign))
        {
            let epoch = reign.epoch;
            self.dispatch_here(id, piece, epoch);
            return;
        }
        let Some(view) = &self.core.view else {
            self.park(id, piece, Wait::View(Epoch::ZERO));
            return;
        };
        let Some(route) = view.route(extent) else {
            if view.volume(extent.volume).is_none() {
                self.end_piece(id, piece, Err(BlockError::NoVolume));
            } else {
                self.park(id, piece, Wait::View(Epoch::ZERO));
            }
            return;
        };
        match route.owner() {
            Some(owner) if owner == self.core.me() => self.dispatch_here(id, piece, route.epoch),
            Some(owner) if self.core.session(owner).is_some() => {
                self.forward(id, piece, owner, route.epoch);
            }
            Some(owner) => self.park(id, piece, Wait::Peer(owner)),
            // Nobody has it, and nobody will: the host is to know.
            None if route.is_lost => {
                let start = u64::from(extent.index) * u64::from(EXTENT_BYTES);
                let at = self.gateway.piece_mut(id, piece).map_or(0, |piece| piece.op.range().offset);
                self.end_piece(id, piece, Err(BlockError::Medium { offset: start + at }));
            }
            None => self.park(id, piece, Wait::View(Epoch::ZERO)),
        }
    }

    fn dispatch_here(&mut self, id: RequestId, number: u16, epoch: Epoch) {
        let first = self.charge_front_end(id, number, false);
        self.identify(id, number);
        let Some(request) = self.gateway.requests.get_mut(&id) else {
            return;
        };
        let (proof_at, admitted) = (request.proof_at, request.admitted);
        let piece = &mut request.pieces[usize::from(number)];
        let origin = Origin::Local { id, piece: number };
        let operation = arrived(
            origin,
            piece.extent,
            (epoch, admitted),
            piece.op.clone(),
            piece.identity,
            self.core.now,
            proof_at,
        );
        let (extent, is_write) = (piece.extent, piece.op.is_write());
        let arrival = first.then(|| owner_load(extent, &piece.op, false));
        let key = self.core.operations.insert(operation);
        piece.state = PieceState::Local(key);
        self.core.out.extend(arrival.map(Output::Arrived));
        self.core.counters.local_operations += 1;
        if is_write {
            self.raise_own_floor(extent);
        }
        self.admit(extent, key);
    }

    fn forward(&mut self, id: RequestId, number: u16, owner: ServerId, epoch: Epoch) {
        let op = self.gateway.piece_mut(id, number).map(|piece| &piece.op);
        let Some(bytes) = op.map(room::data_bytes) else {
            return;
        };
        if !self.gateway.rooms.admit(owner, bytes, (id, number)) {
            // That it was not sent is no try.
            if let Some(piece) = self.gateway.piece_mut(id, number) {
                self.core.counters.retried -= u64::from(piece.tries > 1);
                piece.tries -= 1;
            }
            self.park(id, number, Wait::Room(owner));
            return;
        }
        self.charge_front_end(id, number, true);
        self.identify(id, number);
        self.gateway.next_number += 1;
        let sent = self.gateway.next_number;
        let oldest_of_all = self.gateway.oldest_open();
        let Some(extent) = self.gateway.piece_mut(id, number).map(|piece| piece.extent) else {
            return;
        };
        let oldest_open = self.gateway.oldest_open_of(extent);
        let Some(request) = self.gateway.requests.get_mut(&id) else {
            return;
        };
        let age = self.core.now.since(request.proof_at).as_millis();
        let admitted = request.admitted.0;
        let piece = &mut request.pieces[usize::from(number)];
        piece.state = PieceState::Sent { server: owner, number: sent };
        let message = Request {
            number: sent,
            extent: piece.extent,
            epoch,
            op: piece.op.clone(),
            identity: piece.identity,
            oldest_open,
            oldest_of_all,
            hops: HOPS_MAX,
            proof_age_ms: u32::try_from(age).unwrap_or(u32::MAX),
            admitted,
        };
        let writes_to = message.op.is_write().then_some(extent);
        self.gateway.sent.insert(sent, Sent { server: owner, id, piece: number, writes_to, bytes });
        self.core.counters.forwarded += 1;
        self.core.send(owner, Message::Request(message));
    }

    /// Tells the portal's part of a piece's load, when it is first given to an owner; whether it is.
    fn charge_front_end(&mut self, id: RequestId, number: u16, forwarded: bool) -> bool {
        let Some(request) = self.gateway.requests.get_mut(&id) else {
            return false;
        };
        let piece = &mut request.pieces[usize::from(number)];
        let first = !std::mem::replace(&mut piece.charged, true);
        if first {
            let (write, bytes, digest) = (piece.op.is_write(), piece.op.data_len(), request.digest);
            let arrival = Arrival::FrontEnd { write, bytes, digest, forwarded };
            self.core.out.push_back(Output::Arrived(arrival));
        }
        first
    }

    /// Has a piece wait.
    pub(super) fn park(&mut self, id: RequestId, piece: u16, wait: Wait) {
        let Some(waiting) = self.gateway.piece_mut(id, piece) else {
            return;
        };
        waiting.state = PieceState::Parked(wait);
        self.gateway.parked.insert(id);
        if let Wait::Until(time) = wait {
            self.core.timers.at_latest(Timer::Retry(id), time);
        }
    }

    /// Sends all pieces again that wait for nothing any more.
    pub(crate) fn retry_parked(&mut self) {
        let parked: Vec<RequestId> = self.gateway.parked.iter().copied().collect();
        for id in parked {
            self.retry_request(id);
        }
    }

    /// Sends a request's pieces again that wait for nothing any more.
    pub(crate) fn retry_request(&mut self, id: RequestId) {
        let Some(request) = self.gateway.requests.get(&id) else {
            self.gateway.parked.remove(&id);
            return;
        };
        let mut ready: Vec<u16> = Vec::new();
        let mut still_parked = false;
        for (number, piece) in request.pieces.iter().enumerate() {
            let PieceState::Parked(wait) = piece.state else {
                continue;
            };
            let is_over = match wait {
                Wait::View(epoch) => self.core.route(piece.extent).map_or_else(
                    || self.core.view.as_ref().is_some_and(|view| view.volume(piece.extent.volume).is_none()),
                    |route| route.epoch >= epoch,
                ),
                // The owner may be another one by now.
                Wait::Peer(_) => {
                    let owner = self.core.route(piece.extent).and_then(|route| route.owner());
                    owner.is_none_or(|owner| owner == self.core.me() || self.core.session(owner).is_some())
                }
                Wait::Until(time) => {
                    if time > self.core.now {
                        self.core.timers.at_latest(Timer::Retry(id), time);
                    }
                    time <= self.core.now
                }
                Wait::Proof => false,
                Wait::Admission(needed) => request.admitted >= needed,
                // There is a queue for it, which ends where the extent has another owner.
                Wait::Room(server) => {
                    let owner = self.core.route(piece.extent).and_then(|route| route.owner());
                    owner != Some(server)
                }
            };
            if is_over {
                ready.push(number as u16);
            } else {
                still_parked = true;
            }
        }
        if !still_parked {
            self.gateway.parked.remove(&id);
        }
        for piece in ready {
            self.dispatch(id, piece);
        }
    }
}
