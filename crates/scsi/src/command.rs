//! The way of a command through the logical unit: what decoding gives, and how commands end.

use crate::reservations::ReservationCommand;
use crate::sense::Sense;
use crate::status::Status;
use bytes::Bytes;
use evenkeel_types::{BlockOp, ByteRange, Payload};
use smallvec::SmallVec;

/// What a CDB asks for.
#[derive(Debug)]
pub enum Decoded {
    /// Nothing more: this is the answer.
    Immediate(Response),
    /// Data-Out of `len` bytes, to be given to [`crate::LogicalUnit::with_data`]; of none if the length that the
    /// initiator announced decides about the command.
    NeedsData {
        /// Length by the CDB in bytes. The initiator may have announced less or more.
        len: u32,
        /// What to do with the data.
        then: DataOutCommand,
    },
    /// Operations on the volume, whose end is to be given to [`crate::LogicalUnit::complete`].
    Block(BlockCommand),
    /// A change of the logical unit's reservations: to be applied to the latest state, and answered when it holds for all
    /// nexuses ([`ReservationCommand::apply`]).
    Reserve(ReservationCommand),
}

/// The answer to a command.
#[derive(Clone, Debug)]
pub struct Response {
    /// How it ended.
    pub status: Status,
    /// What goes to the initiator, already cut to the allocation length.
    pub data_in: Payload,
    /// Why it failed; with CHECK CONDITION only.
    pub sense: Option<Sense>,
}

impl Response {
    /// Done, without data.
    #[must_use]
    pub fn good() -> Self {
        Self::status(Status::Good)
    }

    /// Done, with data.
    #[must_use]
    pub fn data(data_in: Payload) -> Self {
        Self { status: Status::Good, data_in, sense: None }
    }

    /// Ended with a status that has no sense data.
    #[must_use]
    pub fn status(status: Status) -> Self {
        Self { status, data_in: Payload::default(), sense: None }
    }

    /// CHECK CONDITION.
    #[must_use]
    pub fn check_condition(sense: Sense) -> Self {
        Self { status: Status::CheckCondition, data_in: Payload::default(), sense: Some(sense) }
    }

    /// Done, with as much of the data as the allocation length allows (SPC-4 clause 4.2.5.6).
    pub(crate) fn truncated(data: impl Into<Bytes>, allocation_length: u32) -> Self {
        let mut data = data.into();
        data.truncate(usize::try_from(allocation_length).unwrap_or(usize::MAX));
        Self::data(data.into())
    }
}

impl From<Sense> for Response {
    fn from(sense: Sense) -> Self {
        Self::check_condition(sense)
    }
}

impl From<Response> for Decoded {
    fn from(response: Response) -> Self {
        Self::Immediate(response)
    }
}

/// A command that waits for its Data-Out.
#[derive(Clone, Copy, Debug)]
pub struct DataOutCommand {
    pub(crate) kind: DataOutKind,
    /// Length by the CDB in bytes.
    pub(crate) len: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum DataOutKind {
    /// Data is written as it is.
    Write { at: ByteRange },
    /// One block of data is written to every block of the range, or the range is cleared.
    WriteSame { at: ByteRange, unmap: bool },
    /// The first half of the data is compared, the second half written; both may be empty.
    CompareAndWrite { at: ByteRange },
    /// The data is a list of ranges.
    Unmap,
    /// The data is the parameter list of this service action.
    PersistentReserveOut { service_action: u8, scope_and_type: u8 },
}

impl DataOutCommand {
    /// Where a plain write puts its data, byte for byte. A buffer whose addresses are congruent to the
    /// range's offset modulo 4096 spares a copy on the way to the disk. `None` if the data is something else.
    #[must_use]
    pub const fn write_range(&self) -> Option<ByteRange> {
        match self.kind {
            DataOutKind::Write { at } => Some(at),
            _ => None,
        }
    }
}

/// Operations on the volume that carry out a command.
#[derive(Debug)]
pub struct BlockCommand {
    /// To be executed one after the other; the first that fails ends the command. Never empty, at most
    /// [`crate::limits::BLOCK_OPS_MAX`], almost always one.
    pub ops: SmallVec<[BlockOp; 1]>,
    /// Bytes of Data-In that success gives.
    pub expected_data_in: u32,
}

impl BlockCommand {
    pub(crate) fn one(op: BlockOp) -> Self {
        let expected_data_in = match &op {
            BlockOp::Read { at } => at.len,
            _ => 0,
        };
        Self { ops: SmallVec::from_buf([op]), expected_data_in }
    }
}

/// What follows from the end of a command's operations.
#[derive(Debug)]
pub enum Completion {
    /// Send this answer.
    Respond(Response),
    /// Drop the session: whether a write took effect is unknown, and every status would be a lie.
    DropSession,
    /// Send nothing: the command was aborted by its initiator.
    Nothing,
}
