//! Requests that have not ended, by initiator task tag.

use super::event::RequestId;
use crate::pdu::TaskFunction;
use evenkeel_types::{AlignedBuf, Bytes, Payload};

/// Requests of a connection at most.
pub(super) const REQUESTS_MAX: usize = 1024;

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Kind {
    /// A SCSI command.
    Command(CommandState),
    /// A NOP-Out.
    Ping,
    /// A task management function.
    Management {
        /// Which.
        function: TaskFunction,
        /// The command it is about, if it is about one.
        about: Option<RequestId>,
        /// The number of the first command that it cannot concern.
        cmd_sn: u32,
    },
    /// A text request; what has come of the answer.
    Text { answer: Vec<u8> },
    /// The logout.
    Logout,
}

/// A command under way.
#[derive(Debug, Default)]
pub(super) struct CommandState {
    /// What is written.
    pub(super) out: Payload,
    /// Bytes that may be read.
    pub(super) expected_in: u32,
    buf: Option<AlignedBuf>,
    received: u32,
    pub(super) next_data_sn: u32,
    pub(super) next_r2t_sn: u32,
    pub(super) lun: u64,
    pub(super) cmd_sn: u32,
}

impl CommandState {
    pub(super) fn new(lun: u64, cmd_sn: u32, out: Payload, expected_in: u32) -> Self {
        Self { out, expected_in, lun, cmd_sn, ..Self::default() }
    }

    /// Whether data of this length may come at this offset: without gaps, and no more than expected.
    pub(super) fn admits(&self, offset: u32, len: u32) -> bool {
        offset == self.received && offset.checked_add(len).is_some_and(|end| end <= self.expected_in)
    }

    /// Takes the next data.
    pub(super) fn place(&mut self, data: &[u8]) {
        let (at, whole) = (self.received as usize, self.expected_in as usize);
        self.received += data.len() as u32;
        if data.len() == whole {
            self.buf = Some(AlignedBuf::copy_of(data));
        } else if !data.is_empty() {
            let buf = self.buf.get_or_insert_with(|| AlignedBuf::for_overwrite(whole));
            buf[at..at + data.len()].copy_from_slice(data);
        }
    }

    /// Lends the buffer out, to receive the next data into it from the given offset on.
    pub(super) fn lend(&mut self) -> (AlignedBuf, usize) {
        let whole = self.expected_in as usize;
        (self.buf.take().unwrap_or_else(|| AlignedBuf::for_overwrite(whole)), self.received as usize)
    }

    /// Takes the buffer back with `len` more bytes in it.
    pub(super) fn give_back(&mut self, buf: AlignedBuf, len: u32) {
        self.buf = Some(buf);
        self.received += len;
    }

    /// What was read.
    pub(super) fn take(&mut self) -> Bytes {
        let mut data = self.buf.take().map(AlignedBuf::freeze).unwrap_or_default();
        data.truncate(self.received as usize);
        data
    }
}

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) itt: u32,
    pub(super) kind: Kind,
}

/// All requests that have not ended.
#[derive(Debug, Default)]
pub(super) struct Requests {
    slots: Vec<Option<Request>>,
    free: Vec<usize>,
    sent: u64,
}

const SLOT_BITS: u32 = 16;
const _: () = assert!(REQUESTS_MAX < 1 << SLOT_BITS);

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a request; gives its id and its tag.
    pub(super) fn insert(&mut self, kind: Kind) -> (RequestId, u32) {
        assert!(self.len() < REQUESTS_MAX, "the number of requests is bounded");
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.sent += 1;
        let id = RequestId(self.sent << SLOT_BITS | slot as u64);
        // The lower half is a slot below 0xffff, so that the tag is never the reserved one.
        let itt = id.0 as u32;
        self.slots[slot] = Some(Request { id, itt, kind });
        (id, itt)
    }

    pub(super) fn by_tag(&mut self, itt: u32) -> Option<&mut Request> {
        let slot = (itt & ((1 << SLOT_BITS) - 1)) as usize;
        self.slots.get_mut(slot)?.as_mut().filter(|request| request.itt == itt)
    }

    pub(super) fn by_id(&mut self, id: RequestId) -> Option<&mut Request> {
        self.by_tag(id.0 as u32).filter(|request| request.id == id)
    }

    pub(super) fn remove(&mut self, itt: u32) -> Option<Request> {
        self.by_tag(itt)?;
        let slot = (itt & ((1 << SLOT_BITS) - 1)) as usize;
        self.free.push(slot);
        self.slots[slot].take()
    }

    /// Tags of all commands with a CmdSN before this one.
    pub(super) fn commands_before(&self, cmd_sn: u32) -> Vec<u32> {
        let comes_before = |request: &&Request| match &request.kind {
            Kind::Command(command) => command.cmd_sn.wrapping_sub(cmd_sn) > 1 << 31,
            _ => false,
        };
        self.slots.iter().flatten().filter(comes_before).map(|request| request.itt).collect()
    }
}
