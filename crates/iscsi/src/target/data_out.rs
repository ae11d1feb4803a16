//! Data-Out of one command: immediate, unsolicited and solicited pieces put together in one buffer, in order
//! (DataPDUInOrder and DataSequenceInOrder are always Yes).

use crate::negotiate::Parameters;
use crate::pdu::{DataOut, RESERVED_TAG, flags};
use evenkeel_scsi::{AdditionalSense, Sense};
use evenkeel_types::AlignedBuf;
use evenkeel_types::aligned_buf::BUFFER_ALIGNMENT;
use smallvec::SmallVec;

/// An R2T whose data has not all come.
#[derive(Clone, Copy, Debug)]
struct OpenR2t {
    ttt: u32,
    end: u32,
    next_data_sn: u32,
}

/// An R2T to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NewR2t {
    pub(super) ttt: u32,
    pub(super) r2t_sn: u32,
    pub(super) offset: u32,
    pub(super) len: u32,
}

/// What to do with the data segment of a Data-Out.
#[derive(Debug)]
pub(super) enum Piece {
    /// It goes on where the data stopped.
    Place,
    /// The command has failed already; only the end of its data is waited for.
    Ignore,
    /// It belongs to nothing open.
    Unknown,
}

/// The Data-Out of a command.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Bytes that the command needs and the initiator announced.
    want: u32,
    /// Bytes that may come unsolicited.
    unsolicited_max: u32,
    /// Bytes that came, from the start.
    received: u32,
    /// The header of a PDU has come, its data is on the way.
    arriving: bool,
    /// Unsolicited Data-Out PDUs may still come.
    unsolicited_open: bool,
    unsolicited_data_sn: u32,
    open_r2ts: SmallVec<[OpenR2t; 2]>,
    /// Bytes that came or were asked for.
    asked: u32,
    r2ts_sent: u32,
    buf: Option<AlignedBuf>,
    /// Bytes that the buffer is made for: all that is wanted, or before there is room only what may come unsolicited.
    capacity: u32,
    /// Offset of the data in the buffer, so that data for an aligned place of a volume is aligned in memory.
    skew: usize,
    failed: Option<Sense>,
}

impl Collected {
    /// Nothing is wanted yet. `expected` is the length that the initiator announced; `open` says whether Data-Out PDUs
    /// follow the command unasked, which with `immediate` bytes in the command itself has to be allowed.
    pub(super) fn new(parameters: &Parameters, expected: u32, immediate: u32, open: bool) -> Self {
        let unsolicited_max = expected.min(parameters.first_burst);
        let allowed = (immediate == 0 || parameters.immediate_data)
            && (!open || !parameters.initial_r2t)
            && immediate <= unsolicited_max;
        let arriving = immediate > 0;
        let mut collected = Self { unsolicited_max, unsolicited_open: open, arriving, ..Self::default() };
        if !allowed {
            collected.fail(AdditionalSense::UNEXPECTED_UNSOLICITED_DATA);
        }
        collected
    }

    /// The command needs this many bytes, for a place with this offset in its volume. Without room for a whole buffer
    /// (see [`Self::needs_room`]), only what may come unsolicited is taken, and nothing is asked for.
    pub(super) fn expect(&mut self, want: u32, offset: u64, has_room: bool) {
        self.want = want;
        self.capacity = if has_room { want } else { want.min(self.unsolicited_max) };
        self.skew = (offset % BUFFER_ALIGNMENT as u64) as usize;
    }

    /// Whether this many bytes are more than what every command may have (FirstBurstLength).
    pub(super) const fn needs_room(want: u32, parameters: &Parameters) -> bool {
        want > parameters.first_burst
    }

    /// There is room for a whole buffer now.
    pub(super) fn grant_room(&mut self) {
        self.capacity = self.want;
        if let Some(buf) = self.buf.take() {
            self.keep(buf);
        }
    }

    /// Whether a buffer for all of the data may be had.
    pub(super) const fn has_room(&self) -> bool {
        self.capacity == self.want
    }

    const fn buffer_bytes(&self) -> usize {
        self.capacity as usize + self.skew
    }

    /// Keeps the buffer, or a larger copy of it if there is room now and was not when it was made.
    fn keep(&mut self, buf: AlignedBuf) {
        if buf.len() >= self.buffer_bytes() {
            self.buf = Some(buf);
            return;
        }
        let mut whole = AlignedBuf::for_overwrite(self.buffer_bytes());
        whole[..buf.len()].copy_from_slice(&buf);
        self.buf = Some(whole);
    }

    /// Why the command fails for its data, if it does.
    pub(super) const fn failure(&self) -> Option<Sense> {
        self.failed
    }

    /// The command fails; the first reason counts.
    pub(super) fn fail(&mut self, reason: AdditionalSense) {
        self.failed.get_or_insert(Sense::aborted_command(reason));
    }

    /// Whether Data-Out that was announced or asked for has not come.
    pub(super) fn is_open(&self) -> bool {
        self.arriving || self.unsolicited_open || !self.open_r2ts.is_empty()
    }

    /// Target transfer tags of the R2Ts whose data has not all come.
    pub(super) fn open_transfers(&self) -> impl Iterator<Item = u32> {
        self.open_r2ts.iter().map(|r2t| r2t.ttt)
    }

    /// Whether all that is wanted is here.
    pub(super) const fn is_complete(&self) -> bool {
        self.received >= self.want
    }

    /// R2Ts sent so far.
    pub(super) const fn r2ts_sent(&self) -> u32 {
        self.r2ts_sent
    }

    /// Checks the header of a Data-Out PDU of this command (RFC 7143 section 11.7): sequence, numbers, offset, length.
    pub(super) fn check(&mut self, pdu: &DataOut) -> Piece {
        let (ttt, last) = (pdu.ttt.get(), pdu.flags & flags::FINAL != 0);
        let len = pdu.data_segment_len.get();
        let expected_sn = if ttt == RESERVED_TAG {
            if !self.unsolicited_open {
                return Piece::Unknown;
            }
            let expected = self.unsolicited_data_sn;
            self.unsolicited_data_sn = expected.wrapping_add(1);
            self.check_range(pdu.buffer_offset.get(), len, self.unsolicited_max, false);
            self.unsolicited_open = !last;
            expected
        } else {
            let Some(at) = self.open_r2ts.iter().position(|r2t| r2t.ttt == ttt) else {
                return Piece::Unknown;
            };
            let r2t = &mut self.open_r2ts[at];
            let (expected, end) = (r2t.next_data_sn, r2t.end);
            r2t.next_data_sn = expected.wrapping_add(1);
            self.check_range(pdu.buffer_offset.get(), len, end, last);
            if last {
                self.open_r2ts.remove(at);
            }
            expected
        };
        if pdu.data_sn.get() != expected_sn {
            // A PDU seems to have been lost: at error recovery level 0 the command fails (RFC 7143 section 7.9).
            self.failed = Some(Sense::aborted_command(AdditionalSense::PROTOCOL_SERVICE_CRC_ERROR));
        }
        self.arriving = true;
        if self.failed.is_some() { Piece::Ignore } else { Piece::Place }
    }

    /// The data of the PDU whose header came last is here, or was dropped.
    pub(super) fn arrived(&mut self) {
        self.arriving = false;
    }

    /// Data must go on where it stopped and end within its sequence; the last PDU of a solicited one ends it exactly.
    fn check_range(&mut self, offset: u32, len: u32, end: u32, to_the_end: bool) {
        let stop = offset.checked_add(len);
        if offset != self.received {
            self.fail(AdditionalSense::PROTOCOL_SERVICE_CRC_ERROR);
        } else if stop.is_none_or(|stop| stop > end) {
            self.fail(AdditionalSense::UNEXPECTED_UNSOLICITED_DATA);
        } else if to_the_end && stop != Some(end) {
            self.fail(AdditionalSense::NOT_ENOUGH_UNSOLICITED_DATA);
        }
    }

    /// Takes the next bytes. What is not wanted is dropped.
    pub(super) fn place(&mut self, data: &[u8]) {
        let at = self.skew + self.received as usize;
        let keep = data.len().min(self.capacity.saturating_sub(self.received) as usize);
        self.received += data.len() as u32;
        if keep == 0 {
            return;
        }
        let whole = self.buffer_bytes();
        if self.buf.is_none() && at == 0 && keep == whole {
            self.buf = Some(AlignedBuf::copy_of(&data[..keep]));
            return;
        }
        let buf = self.buf.get_or_insert_with(|| AlignedBuf::for_overwrite(whole));
        buf[at..at + keep].copy_from_slice(&data[..keep]);
    }

    /// Lends the buffer out, so that the next `len` bytes are received into it from the given offset on; only if all of
    /// them are wanted. It comes back by [`Self::give_back`].
    pub(super) fn lend(&mut self, len: u32) -> Option<(AlignedBuf, usize)> {
        let end = self.received.checked_add(len)?;
        if end > self.capacity {
            return None;
        }
        let whole = self.buffer_bytes();
        let buf = self.buf.take().unwrap_or_else(|| AlignedBuf::for_overwrite(whole));
        Some((buf, self.skew + self.received as usize))
    }

    /// Takes the buffer back with `len` more bytes in it.
    pub(super) fn give_back(&mut self, buf: AlignedBuf, len: u32) {
        assert!(self.buf.is_none(), "the buffer was lent");
        self.keep(buf);
        self.received += len;
    }

    /// The next R2T to send, if one is due and may be open: the unsolicited data has ended, more is wanted, and there
    /// are fewer than MaxOutstandingR2T.
    pub(super) fn next_r2t(
        &mut self,
        parameters: &Parameters,
        ttt: impl FnOnce(u32) -> u32,
    ) -> Option<NewR2t> {
        self.asked = self.asked.max(self.received);
        let open = u32::try_from(self.open_r2ts.len()).unwrap_or(u32::MAX);
        if self.arriving
            || self.unsolicited_open
            || self.failed.is_some()
            || !self.has_room()
            || self.asked >= self.want
            || open >= parameters.max_outstanding_r2t.min(R2TS_OPEN_MAX)
        {
            return None;
        }
        let len = (self.want - self.asked).min(parameters.max_burst);
        let r2t = NewR2t { ttt: ttt(self.r2ts_sent), r2t_sn: self.r2ts_sent, offset: self.asked, len };
        self.asked += len;
        self.r2ts_sent += 1;
        self.open_r2ts.push(OpenR2t { ttt: r2t.ttt, end: r2t.offset + len, next_data_sn: 0 });
        Some(r2t)
    }

    /// All of the data, as long as was wanted.
    pub(super) fn take(&mut self) -> evenkeel_types::Bytes {
        assert!(self.is_complete(), "the data is taken when it is complete");
        let skew = self.skew;
        self.buf.take().map(|buf| buf.freeze().slice(skew..)).unwrap_or_default()
    }
}

/// R2Ts of a command that are open at once at most, whatever was agreed.
const R2TS_OPEN_MAX: u32 = 16;

#[cfg(test)]
mod tests;
