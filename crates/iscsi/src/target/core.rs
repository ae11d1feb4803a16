//! The state of a connection and its session, and what all parts of the protocol need: sequence numbers, answers,
//! rejects, and the end.

use super::action::{Action, CloseReason};
use super::config::{DATA_OUT_BYTES_MAX, FLUSH_TIMEOUT, NexusName, TargetConfig};
use super::liveness::Liveness;
use super::login::Login;
use super::management::PendingManagement;
use super::task::Tasks;
use super::text::TextExchange;
use super::window::{HeldPdu, Window};
use super::{TaskId, info::SessionFacts};
use crate::negotiate::Parameters;
use crate::pdu::{Bhs, PduHeader, RESERVED_TAG, Reject, RejectReason, flags};
use crate::receive::{Agreement, Header};
use crate::transmit::Transmitter;
use evenkeel_scsi::{LogicalUnit, NexusState};
use evenkeel_types::{Bytes, Payload, Time, VolumeId};
use std::collections::VecDeque;
use std::sync::Arc;
use zerocopy::IntoBytes;
use zerocopy::big_endian::U32;

/// ```text
///   Login ──▶ FullFeature ──▶ Flushing ──▶ Closed
///     └──────────────────────────┘ ▲
///              (any) ──────────────┘
/// ```
#[derive(Debug)]
pub(super) enum State {
    /// The login is under way.
    Login(Box<Login>),
    /// The session works.
    FullFeature,
    /// Nothing more is received; the last answers are on their way out.
    Flushing { reason: CloseReason, deadline: Time },
    /// Nothing more is sent.
    Closed,
}

/// What the data segment that is arriving belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Current {
    /// A PDU that is dealt with when its segment is here.
    Request,
    /// Immediate data or Data-Out of this task.
    Task(TaskId),
    /// Data that is received straight into the buffer of this task.
    Lent(TaskId),
    /// A PDU held back under this CmdSN.
    Held(u32),
}

/// Bytes set aside for large Data-Out buffers.
#[derive(Debug, Default)]
pub(super) struct OutRoom(usize);

impl OutRoom {
    /// Sets bytes aside if there is room. A command alone has room whatever its size.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let has_room = self.0 == 0 || self.0 + bytes <= DATA_OUT_BYTES_MAX;
        if has_room {
            self.0 += bytes;
        }
        has_room
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        assert!(bytes <= self.0, "only what was taken is given back");
        self.0 -= bytes;
    }

    pub(super) const fn used(&self) -> usize {
        self.0
    }
}

/// Everything but the receiving half.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<TargetConfig>,
    pub(super) state: State,
    pub(super) output: Transmitter,
    pub(super) actions: VecDeque<Action>,
    pub(super) stat_sn: u32,
    pub(super) window: Window,
    pub(super) tasks: Tasks,
    /// Tasks that wait for room for their Data-Out, in order.
    pub(super) waiting_for_out: VecDeque<TaskId>,
    /// Tasks that wait for room for what they read, in order.
    pub(super) waiting_for_in: VecDeque<TaskId>,
    pub(super) out_room: OutRoom,
    /// Bytes set aside for data that is being read.
    pub(super) in_room: usize,
    pub(super) management: Vec<PendingManagement>,
    pub(super) managements_sent: u64,
    /// Commands with a CmdSN before this one that have not come yet are aborted when they do.
    pub(super) fence: Option<u32>,
    pub(super) facts: SessionFacts,
    pub(super) parameters: Parameters,
    /// Whether the session is in the registry; then `SessionEnded` has to follow.
    pub(super) registered: Option<NexusName>,
    /// The target of a normal session.
    pub(super) target: Option<(Arc<LogicalUnit>, VolumeId)>,
    pub(super) nexus: NexusState,
    pub(super) text: TextExchange,
    pub(super) current: Current,
    pub(super) agreement: Option<Agreement>,
    pub(super) liveness: Liveness,
}

impl Core {
    /// Uses up a StatSN.
    pub(super) fn next_stat_sn(&mut self) -> U32 {
        let stat_sn = self.stat_sn;
        self.stat_sn = stat_sn.wrapping_add(1);
        stat_sn.into()
    }

    pub(super) fn exp_cmd_sn(&self) -> U32 {
        self.window.exp_cmd_sn().into()
    }

    pub(super) fn max_cmd_sn(&self) -> U32 {
        self.window.max_cmd_sn().into()
    }

    pub(super) fn send(&mut self, header: &impl PduHeader, payload: Payload) {
        self.output.push(header.bhs(), payload);
    }

    /// Answers a PDU with Reject (RFC 7143 section 11.17).
    pub(super) fn reject(&mut self, rejected: &Bhs, reason: RejectReason) {
        let mut reject = Reject::empty();
        reject.flags = flags::FINAL;
        reject.reason = reason as u8;
        reject.itt = RESERVED_TAG.into();
        reject.stat_sn = self.next_stat_sn();
        reject.exp_cmd_sn = self.exp_cmd_sn();
        reject.max_cmd_sn = self.max_cmd_sn();
        self.facts.rejects += 1;
        self.send(&reject, Bytes::copy_from_slice(rejected.as_bytes()).into());
    }

    /// The initiator broke the protocol so that the connection cannot go on: it is told, then the connection ends.
    pub(super) fn fail(&mut self, now: Time, header: &Header, what: &'static str) {
        self.reject(&header.bhs, RejectReason::ProtocolError);
        self.close_after_flush(now, CloseReason::Protocol(what));
    }

    /// Stops receiving, lets the answers out, then closes.
    pub(super) fn close_after_flush(&mut self, now: Time, reason: CloseReason) {
        if matches!(self.state, State::Flushing { .. } | State::Closed) {
            return;
        }
        if self.output.is_empty() {
            self.close(reason);
        } else {
            self.abort_all();
            self.state = State::Flushing { reason, deadline: now + FLUSH_TIMEOUT };
        }
    }

    /// Ends the connection at once. Operations under way are cancelled.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.abort_all();
        self.state = State::Closed;
        self.actions.push_back(Action::Close { reason });
        self.settle_management(Time::ZERO);
        self.end_session_if_idle();
    }

    /// The session is over when its connection is closed and nothing of it is open.
    pub(super) fn end_session_if_idle(&mut self) {
        if matches!(self.state, State::Closed) && self.tasks.len() == 0 && self.registered.take().is_some() {
            self.actions.push_back(Action::SessionEnded);
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Login(_) | State::FullFeature)
    }

    /// Keeps a PDU until it is its turn.
    pub(super) fn hold(&mut self, now: Time, cmd_sn: u32, header: &Header, data: &[u8], intact: bool) {
        let pdu = HeldPdu { header: *header, data: data.to_vec(), intact };
        if self.window.hold(cmd_sn, pdu).is_err() {
            self.fail(now, header, "too much data before its turn");
        }
    }
}
