//! What servers say to each other: frames on a byte stream, and the messages in them. Sans-IO; the byte layout is
//! described in `docs/peer-protocol.md`.
//!
//! A frame is a fixed header of 64 bytes ([`header`]), a body (the [`Message`] without its bulk data, encoded with
//! postcard) and a payload (the bulk data as it is; it never goes through an encoder). [`Encoder`] gives a frame as a
//! list of pieces, so that payloads are not copied. [`Decoder`] is fed by a driver that reads into the space it
//! offers; a large payload is received straight into an aligned buffer that a disk can write from.
//!
//! What the frames promise:
//! * Whatever bytes come in, the answer is frames or one [`FrameError`], never a panic, and never more memory than
//!   [`RECEIVE_BYTES`] plus one payload of at most [`PAYLOAD_BYTES_MAX`]. After an error the stream is lost: the
//!   connection has to be closed.
//! * Lengths are believed only after the header's checksum matched, data only after its own checksum matched.
//! * Every header names group, sender and incarnation, so that a frame of another group, of another server, or of an
//!   earlier life of the same server is recognised before anything of it is carried out. The decoder refuses them once
//!   the [`hello`] exchange has told it whom to expect.

pub mod frame;
pub mod fuzz;
pub mod header;
pub mod hello;
pub mod message;

pub use frame::{Decoder, Encoder, Frame, FrameError, PIECES_INLINE, RECEIVE_BYTES};
pub use header::{BODY_BYTES_MAX, GroupHash, HEADER_BYTES, PAYLOAD_BYTES_MAX, WIRE_VERSION};
pub use hello::{Hello, HelloRefusal, Local, Peer};
pub use message::*;
