//! From a message to the pieces of its frame.

use crate::header::{GroupHash, HEADER_BYTES, Header, Parts};
use crate::hello::Peer;
use crate::message::Message;
use evenkeel_types::Bytes;
use evenkeel_types::checksum::{Crc32c, crc32c};
use smallvec::SmallVec;

/// Pieces of a frame that take no allocation of their own.
pub const PIECES_INLINE: usize = 4;
/// Room for header and body of the messages of the data path, so that their encoding allocates once.
const HEAD_BYTES_TYPICAL: usize = 256;

/// Makes frames of one sender.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    sender: Peer,
    group: GroupHash,
}

impl Encoder {
    /// For frames of this server in this life.
    #[must_use]
    pub const fn new(sender: Peer, group: GroupHash) -> Self {
        Self { sender, group }
    }

    /// The frame of a message: header and body in the first piece, then the payload's pieces as they are.
    #[must_use]
    pub fn encode(&self, message: &Message) -> SmallVec<[Bytes; PIECES_INLINE]> {
        let mut head = Vec::with_capacity(HEAD_BYTES_TYPICAL);
        head.resize(HEADER_BYTES, 0);
        let mut head =
            postcard::to_extend(message, head).expect("messages hold nothing that postcard cannot encode");
        let mut pieces = SmallVec::new();
        pieces.push(Bytes::new());
        let (mut payload_crc, mut payload_len) = (Crc32c::default(), 0);
        message.for_each_payload_piece(|piece| {
            if !piece.is_empty() {
                payload_crc.update(piece);
                payload_len += piece.len();
                pieces.push(piece.clone());
            }
        });
        let header = Header {
            sender: self.sender.server,
            incarnation: self.sender.incarnation,
            group: self.group,
            kind: message.kind(),
            request: message.number(),
            epoch: message.epoch(),
        };
        let parts = Parts {
            body_len: u32::try_from(head.len() - HEADER_BYTES).unwrap_or(u32::MAX),
            payload_len: u32::try_from(payload_len).unwrap_or(u32::MAX),
            body_crc: crc32c(&head[HEADER_BYTES..]),
            payload_crc: payload_crc.value(),
        };
        head[..HEADER_BYTES].copy_from_slice(&header.encode(parts));
        pieces[0] = Bytes::from(head);
        pieces
    }
}
