//! What an initiator asks of a connection, and what it is told.

use crate::pdu::{AsyncEvent, LoginStatus, RejectReason, TaskFunction, TaskResponse};
use crate::receive::FrameError;
use evenkeel_scsi::{Sense, Status};
use evenkeel_types::{Bytes, Payload};
use std::fmt;

/// Names a request from its submission to its end. Not reused within a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// The data of a command.
#[derive(Clone, Debug)]
pub enum Transfer {
    /// There is none.
    None,
    /// Up to this many bytes are read.
    In(u32),
    /// These bytes are written.
    Out(Payload),
}

/// A SCSI command.
#[derive(Clone, Debug)]
pub struct Command {
    /// The LUN field, all eight bytes.
    pub lun: u64,
    /// The CDB, zeros behind its end.
    pub cdb: [u8; 16],
    /// Its data.
    pub transfer: Transfer,
}

impl From<evenkeel_scsi::initiator::Request> for Command {
    /// A command to logical unit 0.
    fn from(request: evenkeel_scsi::initiator::Request) -> Self {
        let transfer = if request.data_out.is_empty() {
            match request.data_in_len {
                0 => Transfer::None,
                len => Transfer::In(len),
            }
        } else {
            Transfer::Out(request.data_out.into())
        };
        Self { lun: evenkeel_scsi::logical_unit::LUN, cdb: request.cdb, transfer }
    }
}

/// The end of a command.
#[derive(Clone, Debug)]
pub struct Done {
    /// How it ended; none if the target gave a status that does not exist.
    pub status: Option<Status>,
    /// Why it failed.
    pub sense: Option<Sense>,
    /// What was read, without gaps from the start.
    pub data: Bytes,
    /// Bytes that the target could not transfer although the CDB asked for them (residual overflow).
    pub overflow: u32,
    /// Bytes that were expected and not transferred (residual underflow).
    pub underflow: u32,
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// The login is complete.
    LoggedIn,
    /// The target refused the login; the connection is closed.
    LoginRefused {
        /// Why.
        status: LoginStatus,
        /// Where the target is, if it moved (`TargetAddress`).
        address: Option<String>,
    },
    /// A command ended.
    Done(RequestId, Done),
    /// A NOP-Out was answered.
    Pong(RequestId, Bytes),
    /// A task management function was answered. Commands that it aborted end as [`Event::Aborted`] before this.
    Managed(RequestId, TaskFunction, TaskResponse),
    /// A command was aborted by one of our own task management functions.
    Aborted(RequestId),
    /// The pairs of a text response.
    Text(RequestId, Vec<(String, String)>),
    /// The target has something to say.
    Async {
        /// What.
        event: AsyncEvent,
        /// Seconds, with a request to log out.
        seconds: u16,
        /// What a SCSI event is about.
        sense: Option<Sense>,
    },
    /// The target rejected a PDU.
    Rejected {
        /// The code; see [`RejectReason`].
        reason: u8,
    },
    /// The logout is complete; the connection is closed.
    LoggedOut,
    /// The connection failed; requests that have not ended never will.
    Closed(Failure),
}

impl Event {
    /// Whether this is a reject for the given reason.
    #[must_use]
    pub const fn is_reject(&self, wanted: RejectReason) -> bool {
        matches!(self, Self::Rejected { reason } if *reason == wanted as u8)
    }
}

/// Why a connection failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The stream is damaged.
    Frame(FrameError),
    /// The target broke the protocol.
    Protocol(&'static str),
    /// The negotiation failed.
    Negotiation(String),
    /// The target has not proven to be who it is taken for, or cannot be proven to.
    Authentication(&'static str),
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Protocol(what) => write!(f, "the target broke the protocol: {what}"),
            Self::Negotiation(what) => write!(f, "the negotiation failed: {what}"),
            Self::Authentication(what) => write!(f, "the authentication failed: {what}"),
        }
    }
}
