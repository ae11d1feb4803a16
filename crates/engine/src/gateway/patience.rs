//! Requests that take long: proofs, cancelling, and the end of patience.

use super::{PieceState, Wait};
use crate::config::{PATIENCE_TICK, PROOF_AGE_MAX};
use crate::engine::Engine;
use crate::event::{Output, RequestId};
use crate::timers::Timer;
use evenkeel_peer::{Message, ReplyOutcome};
use evenkeel_types::{BlockError, ServerId, Time};

impl Engine {
    /// Asks the front end to have the initiator show that it lives, once until it does.
    pub(super) fn ask_for_proof(&mut self, id: RequestId) {
        if let Some(request) = self.gateway.requests.get_mut(&id)
            && !request.proof_asked
        {
            request.proof_asked = true;
            self.core.out.push_back(Output::Prove { id });
        }
    }

    /// The initiator has shown that it lived at a time.
    pub(crate) fn handle_proof(&mut self, id: RequestId, at: Time) {
        let now = self.core.now;
        let Some(request) = self.gateway.requests.get_mut(&id) else {
            return;
        };
        let at = request.proof_at.max(at);
        request.proof_at = at;
        request.proof_asked = false;
        for piece in &mut request.pieces {
            match &mut piece.state {
                PieceState::Local(key) => {
                    if let Some(operation) = self.core.operations.get_mut(*key) {
                        operation.proof_at = at;
                    }
                }
                PieceState::Parked(wait) if *wait == Wait::Proof => *wait = Wait::Until(now),
                _ => {}
            }
        }
        self.retry_request(id);
    }

    /// The front end wants a request no longer. Pieces that are certain not to be executed end at once.
    pub(crate) fn handle_cancel(&mut self, id: RequestId) {
        let Some(request) = self.gateway.requests.get_mut(&id) else {
            return;
        };
        request.cancelled = true;
        let count = request.pieces.len() as u16;
        for number in 0..count {
            let Some(piece) = self.gateway.piece_mut(id, number) else {
                return;
            };
            let may_be_applied = piece.may_be_applied;
            match piece.state {
                PieceState::Parked(_) if !may_be_applied => {
                    self.end_piece(id, number, Err(BlockError::Aborted));
                }
                PieceState::Local(key) if !may_be_applied => {
                    let extent = piece.extent;
                    self.give_up(extent, key, ReplyOutcome::Cancelled);
                }
                PieceState::Sent { server, number } => self.core.send(server, Message::Cancel { number }),
                _ => {}
            }
        }
    }

    /// Looks at the ages of open requests.
    pub(crate) fn handle_patience(&mut self) {
        let now = self.core.now;
        let (mut over, mut unproven) = (Vec::new(), Vec::new());
        for (id, request) in &self.gateway.requests {
            if request.deadline <= now {
                over.push(*id);
            } else if now.since(request.proof_at) >= PROOF_AGE_MAX / 2
                && request.pieces.iter().any(|piece| piece.op.is_write())
            {
                unproven.push(*id);
            }
        }
        for id in unproven {
            self.ask_for_proof(id);
        }
        for id in over {
            self.end_request(id);
        }
        if self.gateway.open() > 0 {
            self.core.timers.at_latest(Timer::Patience, now + PATIENCE_TICK);
        }
    }

    /// The time for tries is over.
    fn end_request(&mut self, id: RequestId) {
        let count = self.gateway.requests.get(&id).map_or(0, |request| request.pieces.len() as u16);
        for number in 0..count {
            let Some(piece) = self.gateway.piece_mut(id, number) else {
                return;
            };
            let write = piece.op.is_write();
            let (extent, mut uncertain) = (piece.extent, piece.may_be_applied);
            match piece.state {
                PieceState::Ended(_) => continue,
                PieceState::Parked(_) => {}
                PieceState::Sent { server, number } => {
                    uncertain |= write;
                    self.gateway.take_sent(number);
                    self.core.send(server, Message::Cancel { number });
                    self.serve_room(server);
                }
                PieceState::Local(key) => uncertain |= write && !self.abandon(extent, key),
            }
            let error = if uncertain { BlockError::Unknown } else { BlockError::Busy };
            self.end_piece(id, number, Err(error));
        }
    }

    /// The connection to a server is gone: what was sent to it waits for the next one.
    pub(crate) fn park_sent(&mut self, server: ServerId) {
        let mut lost = Vec::new();
        for (number, sent) in &self.gateway.sent {
            if sent.server == server {
                lost.push((*number, sent.id, sent.piece));
            }
        }
        for (number, id, piece) in lost {
            self.gateway.take_sent(number);
            if let Some(piece) = self.gateway.piece_mut(id, piece) {
                piece.may_be_applied |= piece.op.is_write();
            }
            self.park(id, piece, Wait::Peer(server));
            // Another server may own the extent by now.
            self.retry_request(id);
        }
        self.serve_room(server);
    }
}
