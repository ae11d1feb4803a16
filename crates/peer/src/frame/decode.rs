//! From received bytes to messages.
//!
//! ```text
//!  Head ──header and body complete, payload empty or already received──▶ (frame) ──▶ Head
//!    └──payload still to come──▶ Payload ──received into its own aligned buffer──▶ (frame) ──▶ Head
//! ```

use super::{Frame, FrameError};
use crate::header::{
    BODY_BYTES_MAX, GroupHash, HEADER_BYTES, Header, HeaderError, PAYLOAD_BYTES_MAX, Parts, WIRE_VERSION,
};
use crate::hello::Peer;
use crate::message::Message;
use evenkeel_types::checksum::crc32c;
use evenkeel_types::{AlignedBuf, Bytes};

/// Bytes of the buffer that everything but a large payload is received into.
pub const RECEIVE_BYTES: usize = 128 << 10;

const _: () = assert!(RECEIVE_BYTES >= HEADER_BYTES + BODY_BYTES_MAX as usize);

/// Takes bytes in the order of the stream, gives frames.
///
/// A driver loops: read into [`Self::receive_space`], report with [`Self::handle_received`], then take frames with
/// [`Self::poll_frame`] until there is none.
#[derive(Debug)]
pub struct Decoder {
    /// Received bytes that no frame was made of yet: `start..end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    payload: Option<PayloadInFlight>,
    expected: Option<(Peer, GroupHash)>,
    /// Nobody has introduced itself yet.
    greeting: bool,
}

#[derive(Debug)]
struct PayloadInFlight {
    header: Header,
    message: Message,
    crc: u32,
    buffer: AlignedBuf,
    filled: usize,
}

impl Decoder {
    /// A decoder at the start of a stream. Frames of others than `expected` are errors; without it any sender is
    /// taken, until [`Self::expect`] names one.
    #[must_use]
    pub fn new(expected: Option<(Peer, GroupHash)>) -> Self {
        Self { buffer: vec![0; RECEIVE_BYTES], start: 0, end: 0, payload: None, expected, greeting: false }
    }

    /// A decoder at the start of a connection of somebody unknown: it takes a hello, or a refusal, and reserves memory
    /// for nothing else until [`Self::expect`] names who is there.
    #[must_use]
    pub fn greeting() -> Self {
        Self { greeting: true, ..Self::new(None) }
    }

    /// From now on only frames of this life of this server are taken.
    pub const fn expect(&mut self, peer: Peer, group: GroupHash) {
        self.expected = Some((peer, group));
        self.greeting = false;
    }

    /// Where to receive the next bytes; never empty if all frames were taken.
    pub fn receive_space(&mut self) -> &mut [u8] {
        if let Some(payload) = &mut self.payload {
            return &mut payload.buffer[payload.filled..];
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// `count` bytes were received into the space.
    pub fn handle_received(&mut self, count: usize) {
        match &mut self.payload {
            Some(payload) => {
                assert!(
                    count <= payload.buffer.len() - payload.filled,
                    "received more than there was space for"
                );
                payload.filled += count;
            }
            None => {
                assert!(count <= self.buffer.len() - self.end, "received more than there was space for");
                self.end += count;
            }
        }
    }

    /// The next complete frame, if there is one.
    ///
    /// # Errors
    /// The stream is not one of frames (any more); the connection must be closed.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(payload) = self.payload.take_if(|payload| payload.filled == payload.buffer.len()) {
            return finish(payload.header, payload.message, payload.crc, payload.buffer.freeze()).map(Some);
        }
        if self.payload.is_some() {
            return Ok(None);
        }
        let received = &self.buffer[self.start..self.end];
        let Some(head) = received.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let (header, parts) = Header::decode(head).map_err(FrameError::from)?;
        self.check_sender(&header)?;
        if self.greeting && (!Message::is_greeting(header.kind) || parts.payload_len > 0) {
            return Err(FrameError::HelloMissing { kind: header.kind, payload: parts.payload_len });
        }
        let body_end = HEADER_BYTES + parts.body_len as usize;
        let Some(body) = received.get(HEADER_BYTES..body_end) else {
            return Ok(None);
        };
        let message = decode_body(&header, parts, body)?;
        let payload_len = parts.payload_len as usize;
        let here = payload_len.min(received.len() - body_end);
        self.start += body_end + here;
        let mut buffer = AlignedBuf::for_overwrite(payload_len);
        buffer[..here].copy_from_slice(&received[body_end..body_end + here]);
        if here == payload_len {
            return finish(header, message, parts.payload_crc, buffer.freeze()).map(Some);
        }
        self.payload =
            Some(PayloadInFlight { header, message, crc: parts.payload_crc, buffer, filled: here });
        Ok(None)
    }

    fn check_sender(&self, header: &Header) -> Result<(), FrameError> {
        let Some((expected, group)) = self.expected else {
            return Ok(());
        };
        if header.group != group {
            return Err(FrameError::GroupMismatch);
        }
        if !expected.sent(header, group) {
            let found = Peer { server: header.sender, incarnation: header.incarnation };
            return Err(FrameError::SenderMismatch { expected, found });
        }
        Ok(())
    }
}

fn decode_body(header: &Header, parts: Parts, body: &[u8]) -> Result<Message, FrameError> {
    if crc32c(body) != parts.body_crc {
        return Err(FrameError::ChecksumMismatch { part: "body" });
    }
    let malformed = FrameError::MessageMalformed { kind: header.kind };
    let (message, rest) = postcard::take_from_bytes::<Message>(body).map_err(|_| malformed.clone())?;
    // The header repeats what the body says, for those who look at headers only; the two must not contradict.
    let agrees = message.kind() == header.kind
        && message.number() == header.request
        && message.epoch() == header.epoch
        && rest.is_empty();
    if agrees { Ok(message) } else { Err(malformed) }
}

fn finish(header: Header, mut message: Message, crc: u32, payload: Bytes) -> Result<Frame, FrameError> {
    if crc32c(&payload) != crc {
        return Err(FrameError::ChecksumMismatch { part: "payload" });
    }
    if !message.complete(payload) {
        return Err(FrameError::MessageMalformed { kind: header.kind });
    }
    Ok(Frame { header, message })
}

impl From<HeaderError> for FrameError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Magic(found) => Self::MagicMismatch { found },
            HeaderError::Version(found) => Self::VersionMismatch { found, ours: WIRE_VERSION },
            HeaderError::Checksum => Self::ChecksumMismatch { part: "header" },
            HeaderError::BodyLength(found) => Self::PartTooLong { part: "body", found, max: BODY_BYTES_MAX },
            HeaderError::PayloadLength(found) => {
                Self::PartTooLong { part: "payload", found, max: PAYLOAD_BYTES_MAX }
            }
        }
    }
}
