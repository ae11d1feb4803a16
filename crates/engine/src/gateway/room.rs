//! How much of a gateway's data is under way at one owner. What an owner has to answer, and what it is sent, waits in
//! queues before its connection; they stay short because no gateway has more than its part in them. Pieces for which
//! there is no room wait here, in their order, so that large ones are not overtaken for ever by small ones.

use super::{PieceState, Wait};
use crate::config::FORWARDED_BYTES_MAX;
use crate::engine::Engine;
use crate::event::RequestId;
use evenkeel_peer::PieceOp;
use evenkeel_types::ServerId;
use std::collections::{BTreeMap, VecDeque};

/// A piece of a request.
type PieceKey = (RequestId, u16);

/// The room at all owners.
#[derive(Debug)]
pub(super) struct Rooms {
    owners: BTreeMap<ServerId, Room>,
    /// The piece whose turn it is: it came first in its queue.
    turn: Option<PieceKey>,
}

/// The room at one owner.
#[derive(Default, Debug)]
struct Room {
    /// Bytes under way.
    bytes: u64,
    /// Pieces that wait; some may have ended or gone elsewhere meanwhile.
    queue: VecDeque<PieceKey>,
}

impl Room {
    const fn fits(&self, bytes: u64) -> bool {
        self.bytes == 0 || self.bytes + bytes <= FORWARDED_BYTES_MAX
    }
}

/// Bytes of data that an operation sends, or is sent.
pub(super) fn data_bytes(op: &PieceOp) -> u64 {
    u64::from(op.data_len())
}

impl Rooms {
    pub(super) const fn new() -> Self {
        Self { owners: BTreeMap::new(), turn: None }
    }

    /// Takes room for a piece; without room, or if others wait for it, the piece is queued and this is false.
    pub(super) fn admit(&mut self, owner: ServerId, bytes: u64, piece: PieceKey) -> bool {
        let room = self.owners.entry(owner).or_default();
        let admitted = room.fits(bytes) && (room.queue.is_empty() || self.turn == Some(piece));
        if admitted {
            room.bytes += bytes;
        } else {
            room.queue.push_back(piece);
        }
        admitted
    }

    pub(super) fn release(&mut self, owner: ServerId, bytes: u64) {
        if let Some(room) = self.owners.get_mut(&owner) {
            room.bytes -= bytes;
        }
    }
}

impl Engine {
    /// Sends what waits for room at an owner, as far as there is some. Pieces whose owner is gone go to wait for it.
    pub(super) fn serve_room(&mut self, owner: ServerId) {
        while let Some((id, number)) =
            self.gateway.rooms.owners.get(&owner).and_then(|room| room.queue.front().copied())
        {
            let piece = self.gateway.piece_mut(id, number);
            let waiting = piece
                .filter(|piece| matches!(piece.state, PieceState::Parked(Wait::Room(it)) if it == owner));
            let bytes = waiting.map(|piece| data_bytes(&piece.op));
            let Some(room) = self.gateway.rooms.owners.get_mut(&owner) else {
                return;
            };
            if bytes.is_some_and(|bytes| !room.fits(bytes)) {
                return;
            }
            room.queue.pop_front();
            if bytes.is_some() {
                self.gateway.rooms.turn = Some((id, number));
                self.dispatch(id, number);
                self.gateway.rooms.turn = None;
            }
        }
    }
}
