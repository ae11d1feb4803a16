//! Framing of received bytes: from a stream to headers and data segments, the same at both ends of a connection.
//!
//! ```text
//!           ┌────────────────────────── next PDU ─────────────────────────────┐
//!           ▼                                                                 │
//!        Header ──▶ Sink::header ──┬─▶ Whole: wait, then Sink::segment ───────┤
//!                                  ├─▶ Into: receive into a buffer ─▶ Tail:   │
//!                                  │        wait, then Sink::arrived ─────────┤
//!                                  └─▶ Discard: skip ─────────────────────────┘
//! ```
//!
//! Small segments are collected in one buffer together with the PDUs around them, so that one receive brings many;
//! large ones are received where they belong.

use crate::digest::{DIGEST_BYTES, Digests, digest, padded_digest, padding_of};
use crate::pdu::{AhsSummary, BHS_BYTES, Bhs};
use evenkeel_types::AlignedBuf;
use snafu::Snafu;

/// Data segments up to this many bytes are collected whole; larger ones are received into a buffer of their own.
pub(crate) const COLLECT_BYTES_MAX: usize = 64 << 10;
/// Bytes of additional header segments at most: 255 words.
const AHS_BYTES_MAX: usize = 255 * 4;
/// Bytes around a collected segment at most.
const OVERHEAD_BYTES_MAX: usize = BHS_BYTES + AHS_BYTES_MAX + DIGEST_BYTES + 3 + DIGEST_BYTES;
/// Bytes of the buffer that PDUs are collected in.
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 2 * COLLECT_BYTES_MAX;
/// When less space than this is left at the end of the buffer, what is in it moves to the front.
const SPACE_BYTES_MIN: usize = 4 << 10;

const _: () = assert!(RECEIVE_BUFFER_BYTES >= COLLECT_BYTES_MAX + OVERHEAD_BYTES_MAX + SPACE_BYTES_MIN);

/// Bytes that are no iSCSI, or not as agreed. The stream cannot be trusted any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Snafu)]
pub enum FrameError {
    /// The header digest is wrong, so the length of the PDU is unknown.
    #[snafu(display("header digest error"))]
    HeaderDigest,
    /// The data segment is longer than this side declared to receive.
    #[snafu(display("data segment of {len} bytes is longer than the {max} bytes declared"))]
    SegmentTooLong {
        /// Its length in bytes.
        len: u32,
        /// MaxRecvDataSegmentLength of this side.
        max: u32,
    },
    /// The lengths of the additional header segments do not fit together.
    #[snafu(display("malformed additional header segments"))]
    MalformedAhs,
}

/// The header of a received PDU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) bhs: Bhs,
    pub(crate) ahs: AhsSummary,
}

impl Header {
    pub(crate) const fn data_len(&self) -> usize {
        self.bhs.data_segment_len.get() as usize
    }
}

/// Where a data segment goes.
#[derive(Debug)]
pub(crate) enum Placement {
    /// To [`Sink::segment`], or to [`Sink::arrived`] with an own buffer from 0 on if it is large.
    Whole,
    /// Into this buffer from this offset on, then to [`Sink::arrived`].
    Into { buf: AlignedBuf, at: usize },
    /// Nowhere; the PDU is dealt with.
    Discard,
}

/// What one end of a connection does with PDUs.
pub(crate) trait Sink {
    type Error: From<FrameError>;
    /// A header has come and is undamaged: where does its data segment go?
    fn header(&mut self, header: &Header) -> Result<Placement, Self::Error>;
    /// The segment of a PDU that goes to `Whole`, perhaps empty. `intact` is false if its digest is wrong.
    fn segment(&mut self, header: &Header, data: &[u8], intact: bool) -> Result<(), Self::Error>;
    /// The segment was received into the buffer.
    fn arrived(
        &mut self,
        header: &Header,
        buf: AlignedBuf,
        at: usize,
        intact: bool,
    ) -> Result<(), Self::Error>;
    /// Whether no further PDU is wanted.
    fn is_closed(&self) -> bool;
    /// What was agreed for all PDUs from the next one on, if that is news.
    fn take_agreement(&mut self) -> Option<Agreement>;
}

/// What holds for received PDUs in the full feature phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreement {
    pub(crate) digests: Digests,
    /// MaxRecvDataSegmentLength of this side in bytes.
    pub(crate) max_segment: u32,
}

#[derive(Debug)]
enum Phase {
    Header,
    Whole { header: Header },
    Into { header: Header, buf: AlignedBuf, at: usize, filled: usize },
    Tail { header: Header, buf: AlignedBuf, at: usize },
    Discard { left: usize },
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Receiver {
    buf: AlignedBuf,
    start: usize,
    end: usize,
    digests: Digests,
    max_segment: u32,
    phase: Phase,
    /// The last segment was received directly; the next one is likely to be, so do not read far ahead of its header.
    large_expected: bool,
}

impl Receiver {
    /// A receiver that accepts data segments of up to `max_segment` bytes, without digests.
    pub(crate) fn new(max_segment: u32) -> Self {
        Self {
            buf: AlignedBuf::zeroed(RECEIVE_BUFFER_BYTES),
            start: 0,
            end: 0,
            digests: Digests::default(),
            max_segment,
            phase: Phase::Header,
            large_expected: false,
        }
    }

    /// What was agreed in the login holds from the next PDU on.
    pub(crate) fn agree(&mut self, agreement: Agreement) {
        self.digests = agreement.digests;
        self.max_segment = agreement.max_segment;
    }

    /// Where the next bytes of the stream go; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let small = self.large_expected && self.start == self.end && matches!(self.phase, Phase::Header);
        let limit = if small { BHS_BYTES + self.header_digest_len() } else { RECEIVE_BUFFER_BYTES };
        if let Phase::Into { header, buf, at, filled } = &mut self.phase {
            return &mut buf[*at + *filled..*at + header.data_len()];
        }
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        if self.buf.len() - self.end < SPACE_BYTES_MIN
            || self.buf.len() - self.start < COLLECT_BYTES_MAX + OVERHEAD_BYTES_MAX
        {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let end = self.buf.len().min(self.end + limit);
        &mut self.buf[self.end..end]
    }

    /// That many bytes were put into [`Self::space`].
    pub(crate) fn filled(&mut self, n: usize) {
        match &mut self.phase {
            Phase::Into { header, filled, .. } => {
                *filled += n;
                assert!(*filled <= header.data_len(), "more bytes were received than there was space for");
            }
            _ => {
                self.end += n;
                assert!(self.end <= self.buf.len(), "more bytes were received than there was space for");
            }
        }
    }

    /// Hands over everything that is complete.
    pub(crate) fn pump<S: Sink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        while !sink.is_closed() {
            if let Some(agreement) = sink.take_agreement() {
                self.agree(agreement);
            }
            let advanced = match &self.phase {
                Phase::Header => self.take_header(sink)?,
                Phase::Whole { header } => {
                    let header = *header;
                    self.take_whole(header, sink)?
                }
                Phase::Into { .. } => self.take_into(),
                Phase::Tail { .. } => self.take_tail(sink)?,
                Phase::Discard { left } => {
                    let left = *left;
                    self.skip(left)
                }
            };
            if !advanced {
                break;
            }
        }
        Ok(())
    }

    const fn header_digest_len(&self) -> usize {
        if self.digests.header { DIGEST_BYTES } else { 0 }
    }

    const fn data_digest_len(&self) -> usize {
        if self.digests.data { DIGEST_BYTES } else { 0 }
    }

    fn take_header<S: Sink>(&mut self, sink: &mut S) -> Result<bool, S::Error> {
        let bytes = &self.buf[self.start..self.end];
        let Some(first) = bytes.first_chunk::<BHS_BYTES>() else { return Ok(false) };
        let bhs = Bhs::new(*first);
        let covered = BHS_BYTES + usize::from(bhs.total_ahs_len) * 4;
        let whole = covered + self.header_digest_len();
        if bytes.len() < whole {
            return Ok(false);
        }
        if self.digests.header && digest(&bytes[..covered]) != bytes[covered..whole] {
            return Err(FrameError::HeaderDigest.into());
        }
        let len = bhs.data_segment_len.get();
        if len > self.max_segment {
            return Err(FrameError::SegmentTooLong { len, max: self.max_segment }.into());
        }
        let ahs = AhsSummary::parse(&bytes[BHS_BYTES..covered]).ok_or(FrameError::MalformedAhs)?;
        self.start += whole;
        let header = Header { bhs, ahs };
        let placement = sink.header(&header)?;
        self.phase = self.phase_for(header, placement);
        Ok(true)
    }

    fn phase_for(&mut self, header: Header, placement: Placement) -> Phase {
        let len = header.data_len();
        match placement {
            Placement::Whole if len <= COLLECT_BYTES_MAX => {
                self.large_expected = false;
                Phase::Whole { header }
            }
            Placement::Whole => Phase::Into { header, buf: AlignedBuf::for_overwrite(len), at: 0, filled: 0 },
            Placement::Into { buf, at } => {
                assert!(buf.len() >= at + len, "a segment is received into a buffer that has room for it");
                self.large_expected = true;
                Phase::Into { header, buf, at, filled: 0 }
            }
            Placement::Discard if len == 0 => Phase::Header,
            Placement::Discard => Phase::Discard { left: len + padding_of(len) + self.data_digest_len() },
        }
    }

    fn take_whole<S: Sink>(&mut self, header: Header, sink: &mut S) -> Result<bool, S::Error> {
        let len = header.data_len();
        if len == 0 {
            self.phase = Phase::Header;
            sink.segment(&header, &[], true)?;
            return Ok(true);
        }
        let padded = len + padding_of(len);
        let whole = padded + self.data_digest_len();
        if self.end - self.start < whole {
            return Ok(false);
        }
        let bytes = &self.buf[self.start..self.start + whole];
        let intact = !self.digests.data || digest(&bytes[..padded]) == bytes[padded..];
        self.start += whole;
        self.phase = Phase::Header;
        sink.segment(&header, &bytes[..len], intact)?;
        Ok(true)
    }

    /// Moves what was read ahead into the buffer that the segment belongs to.
    fn take_into(&mut self) -> bool {
        let Phase::Into { header, buf, at, filled } = &mut self.phase else { return false };
        let missing = header.data_len() - *filled;
        let here = missing.min(self.end - self.start);
        let to = *at + *filled;
        buf[to..to + here].copy_from_slice(&self.buf[self.start..self.start + here]);
        self.start += here;
        *filled += here;
        if here < missing {
            return false;
        }
        let Phase::Into { header, buf, at, .. } = std::mem::replace(&mut self.phase, Phase::Header) else {
            return false;
        };
        self.phase = Phase::Tail { header, buf, at };
        true
    }

    fn take_tail<S: Sink>(&mut self, sink: &mut S) -> Result<bool, S::Error> {
        let Phase::Tail { header, .. } = &self.phase else { return Ok(false) };
        let len = header.data_len();
        let padding = padding_of(len);
        let whole = padding + self.data_digest_len();
        if self.end - self.start < whole {
            return Ok(false);
        }
        let Phase::Tail { header, buf, at } = std::mem::replace(&mut self.phase, Phase::Header) else {
            return Ok(false);
        };
        let tail = &self.buf[self.start..self.start + whole];
        self.start += whole;
        let (pad, received) = tail.split_at(padding);
        let intact = !self.digests.data || covers(&buf[at..at + len], pad, received);
        sink.arrived(&header, buf, at, intact)?;
        Ok(true)
    }

    fn skip(&mut self, left: usize) -> bool {
        let here = left.min(self.end - self.start);
        self.start += here;
        let left = left - here;
        self.phase = if left == 0 { Phase::Header } else { Phase::Discard { left } };
        left == 0
    }
}

/// Whether the digest covers the data and its padding. Padding should be zero (RFC 7143 section 11.2.3); a sender
/// that pads otherwise and digests what it sent is right too.
fn covers(data: &[u8], pad: &[u8], received: &[u8]) -> bool {
    if pad.iter().all(|byte| *byte == 0) {
        return padded_digest(std::iter::once(data)) == received;
    }
    let mut crc = evenkeel_types::checksum::Crc32c::default();
    crc.update(data);
    crc.update(pad);
    crc.value().to_le_bytes() == received
}

#[cfg(test)]
mod tests;
