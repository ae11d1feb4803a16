//! Frames: turning messages into pieces of bytes, and bytes into messages.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use crate::header::Header;
use crate::message::Message;
use snafu::Snafu;

pub use decode::{Decoder, RECEIVE_BYTES};
pub use encode::{Encoder, PIECES_INLINE};

/// A message as it came, with what its header says about the sender.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Sender, incarnation, group.
    pub header: Header,
    /// What it says.
    pub message: Message,
}

/// Why a stream of bytes is not one of frames. The connection must be closed: where the next frame begins is unknown.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
pub enum FrameError {
    /// The bytes do not begin with a frame's magic.
    #[snafu(display("not a peer frame: starts with {found:02x?}"))]
    MagicMismatch {
        /// What is there.
        found: [u8; 4],
    },
    /// The sender speaks another version of the protocol.
    #[snafu(display("peer speaks wire version {found}, this server {ours}: run one version in the group"))]
    VersionMismatch {
        /// What it speaks.
        found: u16,
        /// What this server speaks.
        ours: u16,
    },
    /// A part of the frame is damaged.
    #[snafu(display("frame {part} does not match its checksum"))]
    ChecksumMismatch {
        /// "header", "body" or "payload".
        part: &'static str,
    },
    /// A part of the frame is longer than allowed.
    #[snafu(display("frame {part} of {found} bytes is longer than the {max} allowed"))]
    PartTooLong {
        /// "body" or "payload".
        part: &'static str,
        /// Its length in bytes.
        found: u32,
        /// The longest allowed.
        max: u32,
    },
    /// Body or payload say something that no server says.
    #[snafu(display("malformed {} message", Message::kind_name(*kind)))]
    MessageMalformed {
        /// The kind that the header names.
        kind: u16,
    },
    /// The frame is not from whom the connection belongs to.
    #[snafu(display("frame from {found:?} on a connection of {expected:?}"))]
    SenderMismatch {
        /// Whose connection it is.
        expected: crate::hello::Peer,
        /// Who sent it.
        found: crate::hello::Peer,
    },
    /// The first frame of a connection is neither a hello nor a refusal, or drags data along.
    #[snafu(display("the other side did not say hello, but {} with {payload} bytes of payload", Message::kind_name(*kind)))]
    HelloMissing {
        /// The kind that the header names.
        kind: u16,
        /// Bytes of payload that it announces.
        payload: u32,
    },
    /// The frame belongs to another group.
    #[snafu(display("frame of another group"))]
    GroupMismatch,
}
