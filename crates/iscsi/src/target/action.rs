//! What a connection wants done.

use crate::pdu::LoginStatus;
use crate::receive::FrameError;
use evenkeel_types::{BlockOp, Time, VolumeId};
use std::fmt;

/// Names a command from its submission to its completion. Not reused within a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(pub u64);

/// What a task management function does to the other sessions of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ManagementScope {
    /// CLEAR TASK SET: their commands are aborted.
    ClearTaskSet,
    /// LOGICAL UNIT RESET and TARGET WARM RESET: their commands are aborted and they are told of the reset.
    Reset,
    /// TARGET COLD RESET: their connections are closed.
    ColdReset,
}

/// Names a task management function while other sessions carry it out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ManagementId(pub u64);

/// What the driver of a connection is to do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Carry out an operation; its end goes to [`crate::target::Connection::handle_completion`], always.
    Submit {
        /// Names it.
        task: TaskId,
        /// The volume to work on.
        volume: VolumeId,
        /// What to do.
        op: BlockOp,
        /// When the last PDU was received that its command needed. All operations of a command have the same.
        arrived: Time,
    },
    /// The outcome of an operation is wanted no longer: end it soon. It is still to be completed.
    Cancel {
        /// Which.
        task: TaskId,
    },
    /// The login is complete; [`crate::target::Connection::info`] describes the session.
    SessionOpened,
    /// The session is over and none of its operations is open: its handle is free. Only after `SessionOpened`.
    SessionEnded,
    /// Do this to all other sessions of the volume ([`crate::target::Connection::handle_management`]), and call
    /// [`crate::target::Connection::handle_others_managed`] here when they have all answered `Managed`.
    ManageOthers {
        /// Names it.
        id: ManagementId,
        /// Whose sessions.
        volume: VolumeId,
        /// What to do.
        scope: ManagementScope,
    },
    /// What `handle_management` asked for is done, and no affected operation is open.
    Managed {
        /// The token that was given.
        token: u64,
    },
    /// Close the connection. Nothing is left to send.
    Close {
        /// Why.
        reason: CloseReason,
    },
}

/// Why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The initiator logged out.
    LoggedOut,
    /// The login was refused.
    LoginRefused(LoginStatus),
    /// The login took too long.
    LoginTimeout,
    /// The first PDU was no login request.
    NoLogin,
    /// The stream is damaged.
    Frame(FrameError),
    /// The initiator broke the protocol.
    Protocol(&'static str),
    /// The initiator gave no sign of life.
    PeerSilent,
    /// The initiator did not log out when asked to.
    LogoutTimeout,
    /// A new session took the place of this one.
    Reinstated,
    /// Whether a write took effect is unknown, so no answer can be given.
    OutcomeUnknown,
    /// The target was reset cold.
    ColdReset,
    /// The initiator may use the volume no longer.
    AccessRevoked,
    /// The target is gone.
    TargetRemoved,
    /// The driver ended it.
    Dropped,
}

impl From<FrameError> for CloseReason {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoggedOut => write!(f, "logged out"),
            Self::LoginRefused(status) => write!(f, "login refused: {status}"),
            Self::LoginTimeout => write!(f, "login took too long"),
            Self::NoLogin => write!(f, "the first PDU is no login request"),
            Self::Frame(error) => error.fmt(f),
            Self::Protocol(what) => write!(f, "protocol error: {what}"),
            Self::PeerSilent => write!(f, "the initiator gave no sign of life"),
            Self::LogoutTimeout => write!(f, "the initiator did not log out when asked to"),
            Self::Reinstated => write!(f, "replaced by a new session"),
            Self::OutcomeUnknown => write!(f, "the outcome of a write is unknown"),
            Self::ColdReset => write!(f, "target reset"),
            Self::AccessRevoked => write!(f, "the initiator may use the volume no longer"),
            Self::TargetRemoved => write!(f, "the target is gone"),
            Self::Dropped => write!(f, "dropped"),
        }
    }
}
