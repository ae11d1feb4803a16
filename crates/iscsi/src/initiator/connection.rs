//! A connection of the initiator as its driver sees it.

use super::event::{Command, Event, Failure, RequestId, Transfer};
use super::intake::Intake;
use super::login::Login;
use super::request::{CommandState, Kind, REQUESTS_MAX, Requests};
use super::security::{Chap, Security};
use crate::negotiate::{DEFAULT_SEGMENT_BYTES, Parameters, Settings};
use crate::pdu::{
    DataOut, Isid, LogoutReason, LogoutRequest, NopOut, PduHeader, RESERVED_TAG, ScsiCommand, TaskFunction,
    TaskManagementRequest, TextRequest, U24, flags,
};
use crate::receive::{Agreement, Receiver};
use crate::text::TextWriter;
use crate::transmit::Transmitter;
use evenkeel_types::{Bytes, Payload};
use snafu::{Snafu, ensure};
use std::collections::VecDeque;
use std::io::IoSlice;

/// PDUs that wait to be sent, at most, when another PDU of the target is taken: far above what a target that reads what
/// it asks for lets pile up. What one R2T asks for comes on top.
pub const OUTPUT_PDUS_MAX: usize = 64 << 10;

/// Who the initiator is, and what it wants.
#[derive(Clone, Debug)]
pub struct InitiatorConfig {
    /// Its name.
    pub initiator_name: String,
    /// Its part of the session's identity; two sessions of an initiator with a target need different ones.
    pub isid: Isid,
    /// The target to log in to; none for a discovery session.
    pub target_name: Option<String>,
    /// What is offered in the login.
    pub settings: Settings,
}

/// Why a request was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Snafu)]
pub enum SubmitError {
    /// The login is not complete, or the connection is closed.
    #[snafu(display("the session is not open"))]
    NotOpen,
    /// The target's CmdSN window is closed, or too many requests are open: wait for one to end.
    #[snafu(display("the target takes no more commands now"))]
    WindowClosed,
}

#[derive(Debug)]
pub(super) enum State {
    Login(Box<Login>),
    FullFeature,
    Closed,
}

/// What the data segment that is arriving belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Current {
    Response,
    Lent(u32),
}

/// Everything but the receiving half.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: InitiatorConfig,
    pub(super) state: State,
    pub(super) output: Transmitter,
    pub(super) events: VecDeque<Event>,
    pub(super) requests: Requests,
    pub(super) parameters: Parameters,
    pub(super) agreement: Option<Agreement>,
    pub(super) tsih: u16,
    pub(super) cmd_sn: u32,
    pub(super) max_cmd_sn: u32,
    pub(super) exp_stat_sn: u32,
    pub(super) current: Current,
}

impl Core {
    pub(super) fn send(&mut self, header: &impl PduHeader, payload: Payload) {
        self.output.push(header.bhs(), payload);
    }

    /// The target used up a StatSN; at error recovery level 0 none may be missing.
    pub(super) fn take_stat_sn(&mut self, stat_sn: u32) -> Result<(), Failure> {
        if stat_sn != self.exp_stat_sn {
            return Err(Failure::Protocol("a StatSN is missing"));
        }
        self.exp_stat_sn = stat_sn.wrapping_add(1);
        Ok(())
    }

    /// The target told its window (RFC 7143 section 4.2.2.1).
    pub(super) fn take_window(&mut self, exp_cmd_sn: u32, max_cmd_sn: u32) {
        let is_not_below = |a: u32, b: u32| a.wrapping_sub(b) < 1 << 31;
        if is_not_below(max_cmd_sn.wrapping_add(1), exp_cmd_sn) && is_not_below(max_cmd_sn, self.max_cmd_sn) {
            self.max_cmd_sn = max_cmd_sn;
        }
    }

    fn window_is_open(&self) -> bool {
        self.max_cmd_sn.wrapping_sub(self.cmd_sn) < 1 << 31 && self.requests.len() < REQUESTS_MAX
    }

    fn check(&self, numbered: bool) -> Result<(), SubmitError> {
        ensure!(matches!(self.state, State::FullFeature), NotOpenSnafu);
        ensure!(self.requests.len() < REQUESTS_MAX, WindowClosedSnafu);
        ensure!(!numbered || self.window_is_open(), WindowClosedSnafu);
        Ok(())
    }

    pub(super) fn close(&mut self, failure: Failure) {
        if !matches!(self.state, State::Closed) {
            self.state = State::Closed;
        }
        self.events.push_back(Event::Closed(failure));
    }

    fn submit(&mut self, command: Command) -> RequestId {
        let cmd_sn = self.cmd_sn;
        self.cmd_sn = cmd_sn.wrapping_add(1);
        let (out, expected_in, direction) = match command.transfer {
            Transfer::None => (Payload::default(), 0, 0),
            Transfer::In(len) => (Payload::default(), len, flags::READ),
            Transfer::Out(payload) => (payload, 0, flags::WRITE),
        };
        let expected_out = u32::try_from(out.len()).expect("a transfer is shorter than 4 GiB");
        let state = CommandState::new(command.lun, cmd_sn, out.clone(), expected_in);
        let (id, itt) = self.requests.insert(Kind::Command(state));
        let unsolicited = expected_out.min(self.parameters.first_burst);
        let immediate = if self.parameters.immediate_data {
            unsolicited.min(self.parameters.max_send_segment)
        } else {
            0
        };
        let more = !self.parameters.initial_r2t && immediate < unsolicited;
        let mut pdu = ScsiCommand::empty();
        pdu.flags = direction | ScsiCommand::ATTRIBUTE_SIMPLE | if more { 0 } else { flags::FINAL };
        pdu.lun = command.lun.into();
        pdu.itt = itt.into();
        pdu.expected_data_len = expected_in.max(expected_out).into();
        pdu.cmd_sn = cmd_sn.into();
        pdu.exp_stat_sn = self.exp_stat_sn.into();
        pdu.cdb = command.cdb;
        self.send(&pdu, out.slice(0, immediate as usize));
        if more {
            self.send_data_out(itt, command.lun, RESERVED_TAG, &out, immediate..unsolicited);
        }
        id
    }

    /// Sends a sequence of Data-Out PDUs.
    pub(super) fn send_data_out(
        &mut self,
        itt: u32,
        lun: u64,
        ttt: u32,
        out: &Payload,
        range: std::ops::Range<u32>,
    ) {
        let (mut at, mut data_sn) = (range.start, 0u32);
        while at < range.end {
            let len = (range.end - at).min(self.parameters.max_send_segment).min(U24::MAX);
            let mut pdu = DataOut::empty();
            pdu.flags = if at + len == range.end { flags::FINAL } else { 0 };
            pdu.lun = lun.into();
            pdu.itt = itt.into();
            pdu.ttt = ttt.into();
            pdu.exp_stat_sn = self.exp_stat_sn.into();
            pdu.data_sn = data_sn.into();
            pdu.buffer_offset = at.into();
            self.send(&pdu, out.slice(at as usize, len as usize));
            at += len;
            data_sn += 1;
        }
    }
}

/// A session with a target, on one TCP connection.
///
/// The driver puts received bytes into [`Self::receive_space`], tells of them by [`Self::handle_received`], sends what
/// [`Self::transmit`] gives, and takes events from [`Self::poll_event`].
#[derive(Debug)]
pub struct Connection {
    receiver: Receiver,
    pub(super) core: Core,
}

impl Connection {
    /// A connection that was just established; the login begins, without a proof of anything.
    #[must_use]
    pub fn new(config: InitiatorConfig) -> Self {
        Self::begin(config, Security::Nothing)
    }

    /// The same, with a proof if the target asks for one, and with one of the target if there is an account for it.
    #[must_use]
    pub fn with_chap(config: InitiatorConfig, chap: Chap) -> Self {
        Self::begin(config, Security::Offered(Box::new(chap)))
    }

    fn begin(config: InitiatorConfig, security: Security) -> Self {
        let mut core = Core {
            config,
            state: State::Closed,
            output: Transmitter::default(),
            events: VecDeque::new(),
            requests: Requests::default(),
            parameters: Parameters::default(),
            agreement: None,
            tsih: 0,
            cmd_sn: 1,
            max_cmd_sn: 0,
            exp_stat_sn: 0,
            current: Current::Response,
        };
        core.begin_login(security);
        Self { receiver: Receiver::new(DEFAULT_SEGMENT_BYTES), core }
    }

    /// Where the next received bytes go; `None` when the connection is closed.
    pub fn receive_space(&mut self) -> Option<&mut [u8]> {
        (!self.is_closed()).then(|| self.receiver.space())
    }

    /// `n` bytes were put into the space that [`Self::receive_space`] gave.
    pub fn handle_received(&mut self, n: usize) {
        if self.is_closed() {
            return;
        }
        self.receiver.filled(n);
        let mut intake = Intake { core: &mut self.core };
        if let Err(failure) = self.receiver.pump(&mut intake) {
            self.core.close(failure);
        }
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// Fills in slices of what is to be sent, as many as there are and fit, and says how many.
    pub fn transmit<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        self.core.output.gather(out)
    }

    /// Whether there is something to send.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        !self.core.output.is_empty()
    }

    /// PDUs that wait to be sent.
    #[must_use]
    pub fn output_pdus(&self) -> usize {
        self.core.output.pdus()
    }

    /// `n` bytes of what [`Self::transmit`] gave were sent.
    pub fn transmitted(&mut self, n: usize) {
        self.core.output.advance(n);
    }

    /// Whether the connection is closed: logged out, refused or failed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.core.state, State::Closed)
    }

    /// Whether a command would be taken now.
    #[must_use]
    pub fn can_submit(&self) -> bool {
        self.core.check(true).is_ok()
    }

    /// Sends a command.
    ///
    /// # Errors
    /// If the session is not open or takes no more commands now.
    pub fn submit(&mut self, command: Command) -> Result<RequestId, SubmitError> {
        self.core.check(true)?;
        Ok(self.core.submit(command))
    }

    /// Sends a NOP-Out, which the target answers with the same data.
    ///
    /// # Errors
    /// If the session is not open or has too many requests.
    pub fn ping(&mut self, data: Bytes) -> Result<RequestId, SubmitError> {
        self.core.check(false)?;
        let (id, itt) = self.core.requests.insert(Kind::Ping);
        let mut pdu = NopOut::empty();
        pdu.opcode |= flags::IMMEDIATE;
        pdu.flags = flags::FINAL;
        pdu.itt = itt.into();
        pdu.ttt = RESERVED_TAG.into();
        pdu.cmd_sn = self.core.cmd_sn.into();
        pdu.exp_stat_sn = self.core.exp_stat_sn.into();
        self.core.send(&pdu, data.into());
        Ok(id)
    }

    /// Sends a task management function; `about` is the command of an ABORT TASK.
    ///
    /// # Errors
    /// If the session is not open or has too many requests.
    pub fn manage(
        &mut self,
        function: TaskFunction,
        lun: u64,
        about: Option<RequestId>,
    ) -> Result<RequestId, SubmitError> {
        self.core.check(false)?;
        let mut pdu = TaskManagementRequest::empty();
        pdu.referenced_task_tag = RESERVED_TAG.into();
        if let Some(request) = about.and_then(|id| self.core.requests.by_id(id))
            && let Kind::Command(command) = &request.kind
        {
            pdu.referenced_task_tag = request.itt.into();
            pdu.ref_cmd_sn = command.cmd_sn.into();
        }
        let cmd_sn = self.core.cmd_sn;
        let (id, itt) = self.core.requests.insert(Kind::Management { function, about, cmd_sn });
        pdu.opcode |= flags::IMMEDIATE;
        pdu.flags = flags::FINAL | function as u8;
        pdu.lun = lun.into();
        pdu.itt = itt.into();
        pdu.cmd_sn = self.core.cmd_sn.into();
        pdu.exp_stat_sn = self.core.exp_stat_sn.into();
        self.core.send(&pdu, Payload::default());
        Ok(id)
    }

    /// Asks for targets: `All` in a discovery session, nothing in a normal one.
    ///
    /// # Errors
    /// If the session is not open or has too many requests.
    pub fn send_targets(&mut self, which: &str) -> Result<RequestId, SubmitError> {
        self.core.check(false)?;
        let mut text = TextWriter::default();
        text.push("SendTargets", which);
        let (id, itt) = self.core.requests.insert(Kind::Text { answer: Vec::new() });
        self.core.text_request(itt, RESERVED_TAG, Bytes::from(text.into_bytes()).into());
        Ok(id)
    }

    /// Logs out; [`Event::LoggedOut`] follows.
    ///
    /// # Errors
    /// If the session is not open or has too many requests.
    pub fn logout(&mut self) -> Result<RequestId, SubmitError> {
        self.core.check(false)?;
        let (id, itt) = self.core.requests.insert(Kind::Logout);
        let mut pdu = LogoutRequest::empty();
        pdu.opcode |= flags::IMMEDIATE;
        pdu.flags = flags::FINAL | LogoutReason::CloseSession as u8;
        pdu.itt = itt.into();
        pdu.cmd_sn = self.core.cmd_sn.into();
        pdu.exp_stat_sn = self.core.exp_stat_sn.into();
        self.core.send(&pdu, Payload::default());
        Ok(id)
    }

    /// Requests that have not ended.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.core.requests.len()
    }

    /// What was agreed in the login.
    #[must_use]
    pub const fn parameters(&self) -> &Parameters {
        &self.core.parameters
    }

    /// The target's handle of the session.
    #[must_use]
    pub const fn tsih(&self) -> u16 {
        self.core.tsih
    }
}

impl Core {
    /// Sends a text request, or asks for the rest of an answer.
    pub(super) fn text_request(&mut self, itt: u32, ttt: u32, payload: Payload) {
        let mut pdu = TextRequest::empty();
        pdu.opcode |= flags::IMMEDIATE;
        pdu.flags = flags::FINAL;
        pdu.itt = itt.into();
        pdu.ttt = ttt.into();
        pdu.cmd_sn = self.cmd_sn.into();
        pdu.exp_stat_sn = self.exp_stat_sn.into();
        self.send(&pdu, payload);
    }
}
