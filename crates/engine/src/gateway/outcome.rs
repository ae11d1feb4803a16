//! What became of a piece, and of a request when its last piece ends.

use super::{OpenRequest, PieceState, Sent, Wait};
use crate::config::{RETRY_DELAY, RETRY_DELAY_MAX};
use crate::engine::Engine;
use crate::event::{Output, RequestId};
use evenkeel_meta::Revision;
use evenkeel_peer::{Reply, ReplyOutcome};
use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::{BlockError, BlockOutcome, ExtentId, Payload, ServerId, Time, WriteId};

/// Tries of a piece that are made without a pause in between.
const PROMPT_TRIES: u32 = 4;

impl Engine {
    /// The owner of a piece elsewhere has answered.
    pub(crate) fn handle_reply(&mut self, from: ServerId, reply: Reply) {
        if self.gateway.sent.get(&reply.number).is_none_or(|sent| sent.server != from) {
            return;
        }
        let Some(Sent { id, piece, .. }) = self.gateway.take_sent(reply.number) else {
            return;
        };
        let is_there =
            |state: &PieceState| matches!(state, PieceState::Sent { number, .. } if *number == reply.number);
        if self.gateway.piece_mut(id, piece).is_some_and(|piece| is_there(&piece.state)) {
            self.handle_outcome(id, piece, reply.outcome);
        }
        self.serve_room(from);
    }

    /// A piece was executed, or not.
    pub(crate) fn handle_outcome(&mut self, id: RequestId, number: u16, outcome: ReplyOutcome) {
        let now = self.core.now;
        let Some(request) = self.gateway.requests.get_mut(&id) else {
            return;
        };
        let cancelled = request.cancelled;
        let piece = &mut request.pieces[usize::from(number)];
        if matches!(piece.state, PieceState::Ended(_)) {
            return;
        }
        let ended = match outcome {
            ReplyOutcome::Done { data } => {
                if !piece.op.is_write() && data.len() != piece.op.range().len as usize {
                    // Not what was asked for, whatever the peer thinks of it.
                    Err(Wait::Until(now + RETRY_DELAY_MAX))
                } else {
                    Ok(Ok(data))
                }
            }
            ReplyOutcome::Miscompare { offset } => Ok(Err(BlockError::Miscompare { offset })),
            ReplyOutcome::Medium { offset } => {
                let start = u64::from(piece.extent.index) * u64::from(EXTENT_BYTES);
                Ok(Err(BlockError::Medium { offset: start + u64::from(offset) }))
            }
            ReplyOutcome::NoSpace => Ok(Err(BlockError::NoSpace)),
            ReplyOutcome::NoVolume => Ok(Err(BlockError::NoVolume)),
            // This try did nothing, and what an earlier one did was not looked for.
            ReplyOutcome::Cancelled if piece.may_be_applied => Ok(Err(BlockError::Unknown)),
            ReplyOutcome::Cancelled => Ok(Err(BlockError::Aborted)),
            ReplyOutcome::Moved { epoch } => {
                piece.may_be_applied |= piece.op.is_write();
                if piece.tries <= PROMPT_TRIES {
                    Err(Wait::View(epoch))
                } else {
                    Err(later(now, piece.tries))
                }
            }
            ReplyOutcome::Readmit { revision } => Err(Wait::Admission(Revision(revision))),
            ReplyOutcome::Busy => Err(later(now, piece.tries)),
            ReplyOutcome::ProofTooOld => Err(Wait::Proof),
            ReplyOutcome::Unknown => {
                piece.may_be_applied |= piece.op.is_write();
                Err(later(now, piece.tries))
            }
        };
        match ended {
            Ok(ended) => self.end_piece(id, number, ended),
            // Who does not want it any more gets no further try, if nothing of it can happen.
            Err(_) if cancelled && !piece.may_be_applied => {
                self.end_piece(id, number, Err(BlockError::Aborted));
            }
            Err(wait) => {
                self.park(id, number, wait);
                if wait == Wait::Proof {
                    self.ask_for_proof(id);
                }
                self.retry_request(id);
            }
        }
    }

    /// Tells an extent's state here, if there is one, which writes of this server's front ends may be forgotten.
    pub(super) fn raise_own_floor(&mut self, extent: ExtentId) {
        let (gateway, incarnation) = (self.core.config.me, self.core.config.incarnation);
        let number = self.gateway.oldest_open_of(extent);
        if let Some(state) = self.extents.get_mut(&extent) {
            state.raise_floor(WriteId { gateway, incarnation, number });
        }
    }

    /// A piece is over.
    pub(super) fn end_piece(&mut self, id: RequestId, number: u16, ended: Result<Payload, BlockError>) {
        let Some(request) = self.gateway.requests.get_mut(&id) else {
            return;
        };
        let piece = &mut request.pieces[usize::from(number)];
        if matches!(piece.state, PieceState::Ended(_)) {
            return;
        }
        piece.state = PieceState::Ended(ended);
        request.open -= 1;
        if let Some(identity) = piece.identity {
            let extent = piece.extent;
            self.gateway.open_writes.remove(&identity.number);
            self.gateway.open_by_extent.remove(&(extent, identity.number));
            self.raise_own_floor(extent);
            let floor = self.gateway.oldest_open();
            self.core.raise_floor(identity.gateway, identity.incarnation, floor);
        }
        if self.gateway.requests.get(&id).is_some_and(|request| request.open == 0) {
            let request = self.gateway.requests.remove(&id).expect("just looked up");
            self.gateway.parked.remove(&id);
            self.core.out.push_back(Output::Complete { id, outcome: join(request) });
        }
    }
}

/// The outcome of a request from those of its pieces: data in order, or the gravest error.
fn join(request: OpenRequest) -> BlockOutcome {
    let (mut data, mut worst, mut applied) = (Payload::default(), None, false);
    for piece in request.pieces {
        let PieceState::Ended(ended) = piece.state else {
            unreachable!("a request is joined when all its pieces have ended")
        };
        match ended {
            Ok(part) => {
                applied |= piece.op.is_write();
                data.append(part);
            }
            Err(error) => {
                if worst.is_none_or(|worst| gravity(error) > gravity(worst)) {
                    worst = Some(error);
                }
            }
        }
    }
    match worst {
        None => Ok(data),
        // "Not applied" must hold for all of a write.
        Some(BlockError::Busy | BlockError::Aborted) if applied => Err(BlockError::Unknown),
        Some(error) => Err(error),
    }
}

const fn gravity(error: BlockError) -> u8 {
    match error {
        BlockError::Aborted => 0,
        BlockError::Busy => 1,
        BlockError::Miscompare { .. } => 2,
        BlockError::NoSpace => 3,
        BlockError::Medium { .. } => 4,
        BlockError::NoVolume => 5,
        BlockError::Unknown => 6,
    }
}

/// The pause before a piece is tried again: doubled each time.
fn later(now: Time, tries: u32) -> Wait {
    let delay = RETRY_DELAY.saturating_mul(1 << tries.min(8)).min(RETRY_DELAY_MAX);
    Wait::Until(now + delay)
}
