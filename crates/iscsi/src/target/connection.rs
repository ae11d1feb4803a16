//! A connection of the target as its driver sees it.

use super::action::{Action, CloseReason, ManagementId, ManagementScope, TaskId};
use super::config::{OUTPUT_PDUS_MAX, TargetConfig, TargetPorts};
use super::core::{Core, Current, OutRoom, State};
use super::full_feature::Intake;
use super::info::{MemoryUsage, SessionFacts, SessionInfo};
use super::liveness::Liveness;
use super::login::Login;
use super::task::Tasks;
use super::text::TextExchange;
use super::window::Window;
use crate::negotiate::{DEFAULT_SEGMENT_BYTES, Parameters};
use crate::receive::Receiver;
use crate::transmit::Transmitter;
use evenkeel_scsi::{NexusState, Sense, UnitAttention};
use evenkeel_types::{BlockOutcome, Time, VolumeId};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// First StatSN of a connection.
const STAT_SN_FIRST: u32 = 1;

/// One TCP connection of an initiator, and the session on it (MaxConnections is 1).
///
/// The driver puts received bytes into [`Self::receive_space`], tells of them, of completions and of time by the
/// `handle_*` methods, and after each of these carries out what [`Self::poll_action`] gives, sends what
/// [`Self::transmit`] gives, and sets a timer to [`Self::poll_timeout`]. After [`Action::Close`] it closes the socket;
/// completions of submitted operations are still to be told until [`Self::is_finished`].
#[derive(Debug)]
pub struct Connection {
    receiver: Receiver,
    core: Core,
}

impl Connection {
    /// A connection that was just accepted from `peer` (a text for people).
    #[must_use]
    pub fn new(config: Arc<TargetConfig>, peer: String, now: Time) -> Self {
        let login = Login::new(now, &config);
        let core = Core {
            config,
            state: State::Login(Box::new(login)),
            output: Transmitter::default(),
            actions: VecDeque::new(),
            stat_sn: STAT_SN_FIRST,
            window: Window::new(0),
            tasks: Tasks::default(),
            waiting_for_out: VecDeque::new(),
            waiting_for_in: VecDeque::new(),
            out_room: OutRoom::default(),
            in_room: 0,
            management: Vec::new(),
            fence: None,
            managements_sent: 0,
            facts: SessionFacts { peer, ..SessionFacts::default() },
            parameters: Parameters::default(),
            registered: None,
            target: None,
            nexus: NexusState::default(),
            text: TextExchange::default(),
            current: Current::Request,
            agreement: None,
            liveness: Liveness::new(now),
        };
        Self { receiver: Receiver::new(DEFAULT_SEGMENT_BYTES), core }
    }

    /// Where the next received bytes go. `None` if no more is wanted now: too much output waits to be sent, or the
    /// connection is ending.
    pub fn receive_space(&mut self) -> Option<&mut [u8]> {
        (self.core.is_open() && self.core.output.pdus() < OUTPUT_PDUS_MAX).then(|| self.receiver.space())
    }

    /// `n` bytes were put into the space that [`Self::receive_space`] gave.
    pub fn handle_received(&mut self, now: Time, n: usize, ports: &mut dyn TargetPorts) {
        if !self.core.is_open() {
            return;
        }
        self.receiver.filled(n);
        self.core.heard(now);
        let mut intake = Intake { core: &mut self.core, now, ports };
        if let Err(reason) = self.receiver.pump(&mut intake) {
            self.core.close_after_flush(now, reason);
        }
    }

    /// A submitted operation has ended.
    pub fn handle_completion(&mut self, now: Time, task: TaskId, outcome: BlockOutcome) {
        self.core.complete(now, task, outcome);
    }

    /// The time of [`Self::poll_timeout`] has come; harmless at other times.
    pub fn handle_timeout(&mut self, now: Time) {
        self.core.on_timeout(now);
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.core.next_timeout()
    }

    /// Whether data digests were agreed (RFC 7143 section 13.1).
    #[must_use]
    pub const fn has_data_digest(&self) -> bool {
        self.core.parameters.digests.data
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.core.actions.pop_front()
    }

    /// Fills in slices of what is to be sent, as many as there are and fit, and says how many.
    pub fn transmit<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        if matches!(self.core.state, State::Closed) { 0 } else { self.core.output.gather(out) }
    }

    /// Whether there is something to send.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        !matches!(self.core.state, State::Closed) && !self.core.output.is_empty()
    }

    /// `n` bytes of what [`Self::transmit`] gave were sent.
    pub fn transmitted(&mut self, now: Time, n: usize) {
        self.core.output.advance(n);
        match self.core.state {
            State::Flushing { reason, .. } if self.core.output.is_empty() => self.core.close(reason),
            State::FullFeature => self.core.serve_waiting(now),
            _ => {}
        }
    }

    /// A former session of the same nexus has ended: the login that waited for it goes on with this handle.
    pub fn handle_session_ready(&mut self, tsih: u16) {
        self.core.session_ready(tsih);
    }

    /// A task management function that came to another session of the volume is to be carried out here too.
    /// [`Action::Managed`] with the token follows, whatever state the connection is in.
    pub fn handle_management(&mut self, now: Time, scope: ManagementScope, token: u64) {
        self.core.manage(now, scope, token);
    }

    /// All other sessions of the volume have carried out what [`Action::ManageOthers`] asked for.
    pub fn handle_others_managed(&mut self, now: Time, id: ManagementId) {
        self.core.others_managed(now, id);
    }

    /// What [`Action::ManageOthers`] asked for was not done, or not everywhere: the initiator is told that its function was
    /// rejected.
    pub fn handle_others_not_managed(&mut self, now: Time, id: ManagementId) {
        self.core.others_not_managed(now, id);
    }

    /// Something happened to the logical unit that the initiator is to be told of.
    pub fn raise(&mut self, attention: UnitAttention) {
        self.core.nexus.raise(attention);
    }

    /// The logical unit was replaced by one with another size or name; commands from now on see it.
    pub fn replace_unit(&mut self, unit: Arc<evenkeel_scsi::LogicalUnit>) {
        if let Some((current, _)) = &mut self.core.target {
            *current = unit;
        }
    }

    /// Asks the initiator to log out (RFC 7143 section 11.9); it is dropped if it does not within the configured time.
    /// A connection that has not logged in is closed at once.
    pub fn begin_logout(&mut self, now: Time) {
        match self.core.state {
            State::Login(_) => self.core.close(CloseReason::Dropped),
            _ => self.core.ask_for_logout(now),
        }
    }

    /// Tells the initiator that its session ends (RFC 7143 section 11.9, event 3) and ends the connection as soon as that
    /// was sent, or after [`crate::target::config::FLUSH_TIMEOUT`]. Operations under way are cancelled.
    pub fn drop_session(&mut self, now: Time, reason: CloseReason) {
        self.core.drop_session(now, reason);
    }

    /// Reports an event of the logical unit that no command asked for (RFC 7143 section 11.9, event 0). SAM-3 and later
    /// know no such reports, and most initiators wait for a unit attention instead ([`Self::raise`]).
    pub fn report(&mut self, sense: &Sense) {
        self.core.report(sense);
    }

    /// Ends the connection at once. Operations under way are cancelled.
    pub fn close(&mut self, reason: CloseReason) {
        self.core.close(reason);
    }

    /// Asks the initiator for a sign of life, unless that was asked already: [`Self::proven_at`] then grows, or the
    /// connection is dropped.
    pub fn probe(&mut self, now: Time) {
        self.core.probe(now);
    }

    /// When the latest NOP-In was sent that the initiator answered. It lived then, whatever else lies in the queues of
    /// the sockets and may have lain there for long.
    #[must_use]
    pub fn proven_at(&self) -> Option<Time> {
        self.core.liveness.proven_at
    }

    /// When something was last received.
    #[must_use]
    pub fn last_received(&self) -> Time {
        self.core.liveness.last_received
    }

    /// Whether the connection is closed and no operation is open: it can be dropped when its actions are carried out.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.core.state, State::Closed) && self.core.tasks.len() == 0
    }

    /// Operations that were submitted and have not ended.
    #[must_use]
    pub fn open_operations(&self) -> usize {
        self.core.tasks.executing()
    }

    /// What the connection holds now.
    #[must_use]
    pub fn memory(&self) -> MemoryUsage {
        MemoryUsage {
            tasks: self.core.tasks.len(),
            held_bytes: self.core.window.held_bytes(),
            data_out_bytes: self.core.out_room.used(),
            data_in_bytes: self.core.in_room + self.core.output.payload_bytes(),
            output_pdus: self.core.output.pdus(),
        }
    }

    /// The volume behind the target of the session, as soon as the initiator has named it.
    #[must_use]
    pub fn volume(&self) -> Option<VolumeId> {
        self.core.target.as_ref().map(|(_, volume)| *volume)
    }

    /// Who the session is between, what was agreed, and how much went over it.
    #[must_use]
    pub fn info(&self) -> SessionInfo {
        SessionInfo {
            facts: self.core.facts.clone(),
            parameters: self.core.parameters,
            full_feature: matches!(self.core.state, State::FullFeature),
            open_commands: self.core.tasks.len(),
            bytes_sent: self.core.output.bytes_sent(),
        }
    }
}
