//! Timers of a connection: the login's deadline, signs of life, and the deadline of a logout.

use super::action::CloseReason;
use super::config::TargetConfig;
use super::core::{Core, State};
use crate::pdu::{NopIn, PduHeader, RESERVED_TAG, flags};
use evenkeel_types::{Payload, Time};

/// Upper half of the tags of our NOP-In PDUs; tags of R2Ts have a slot number there, which is never this.
const PROBE_TAG_BASE: u32 = 0x7fff_0000;

/// When something was heard, and what is waited for.
#[derive(Debug)]
pub(super) struct Liveness {
    pub(super) last_received: Time,
    /// Our NOP-In that is not answered: when it was sent, and its tag.
    pub(super) probe: Option<(Time, u32)>,
    /// When the latest NOP-In was sent that was answered.
    pub(super) proven_at: Option<Time>,
    probes_sent: u32,
    /// When a connection that was asked to log out is closed.
    pub(super) logout_deadline: Option<Time>,
}

impl Liveness {
    pub(super) const fn new(now: Time) -> Self {
        Self { last_received: now, probe: None, proven_at: None, probes_sent: 0, logout_deadline: None }
    }

    fn next_probe_tag(&mut self) -> u32 {
        self.probes_sent = self.probes_sent.wrapping_add(1);
        PROBE_TAG_BASE | self.probes_sent & 0xffff
    }

    /// When the initiator is asked for a sign of life, or is given up.
    fn deadline(&self, config: &TargetConfig) -> Time {
        match self.probe {
            // An answer may stand in line behind much data, which is a sign of life itself.
            Some((sent, _)) => sent.max(self.last_received) + config.nop_timeout,
            None => self.last_received + config.nop_interval,
        }
    }
}

impl Core {
    /// When [`Core::on_timeout`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        match &self.state {
            State::Login(login) => Some(login.deadline),
            State::FullFeature => {
                let silence = self.liveness.deadline(&self.config);
                let others = [self.liveness.logout_deadline, self.management_deadline()];
                Some(others.into_iter().flatten().fold(silence, Time::min))
            }
            State::Flushing { deadline, .. } => Some(*deadline),
            State::Closed => None,
        }
    }

    pub(super) fn on_timeout(&mut self, now: Time) {
        match &self.state {
            State::Login(login) if now >= login.deadline => self.close(CloseReason::LoginTimeout),
            State::Flushing { reason, deadline } if now >= *deadline => {
                let reason = *reason;
                self.close(reason);
            }
            State::FullFeature if self.liveness.logout_deadline.is_some_and(|deadline| now >= deadline) => {
                self.drop_connection(now, CloseReason::LogoutTimeout);
            }
            State::FullFeature if self.management_deadline().is_some_and(|deadline| now >= deadline) => {
                self.settle_management(now);
            }
            State::FullFeature if now >= self.liveness.deadline(&self.config) => match self.liveness.probe {
                Some(_) => self.close(CloseReason::PeerSilent),
                None => self.probe(now),
            },
            _ => {}
        }
    }

    /// Bytes came: any of them is a sign of life.
    pub(super) fn heard(&mut self, now: Time) {
        self.liveness.last_received = now;
    }

    /// Asks the initiator for a sign of life, unless it is being asked already.
    pub(super) fn probe(&mut self, now: Time) {
        if !matches!(self.state, State::FullFeature) || self.liveness.probe.is_some() {
            return;
        }
        let tag = self.liveness.next_probe_tag();
        self.liveness.probe = Some((now, tag));
        let mut nop = NopIn::empty();
        nop.flags = flags::FINAL;
        nop.itt = RESERVED_TAG.into();
        nop.ttt = tag.into();
        // A NOP-In that asks does not use up the StatSN it carries (RFC 7143 section 11.19.2).
        nop.stat_sn = self.stat_sn.into();
        nop.exp_cmd_sn = self.exp_cmd_sn();
        nop.max_cmd_sn = self.max_cmd_sn();
        self.send(&nop, Payload::default());
    }

    /// The initiator answered a NOP-In.
    pub(super) fn probe_answered(&mut self, tag: u32) {
        if let Some((sent, _)) = self.liveness.probe.take_if(|(_, asked)| *asked == tag) {
            self.liveness.proven_at = Some(sent);
        }
    }
}
