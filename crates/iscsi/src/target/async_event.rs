//! Asynchronous Messages: what the target says unasked (RFC 7143 section 11.9).

use super::action::CloseReason;
use super::core::{Core, State};
use crate::pdu::{AsyncEvent, AsyncMessage, PduHeader, RESERVED_TAG, flags};
use evenkeel_scsi::{Sense, logical_unit};
use evenkeel_types::{Bytes, Payload, Time};

/// The three parameters of a message; what they mean depends on the event.
type Parameters = [u16; 3];

fn seconds(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

impl Core {
    fn say(&mut self, event: AsyncEvent, parameters: Parameters, payload: Payload) {
        let mut message = AsyncMessage::empty();
        message.flags = flags::FINAL;
        message.itt = RESERVED_TAG.into();
        message.stat_sn = self.next_stat_sn();
        message.exp_cmd_sn = self.exp_cmd_sn();
        message.max_cmd_sn = self.max_cmd_sn();
        message.event = event.code();
        let [first, second, third] = parameters;
        message.parameter_1 = first.into();
        message.parameter_2 = second.into();
        message.parameter_3 = third.into();
        if event == AsyncEvent::Scsi {
            message.lun = logical_unit::LUN.into();
        }
        self.send(&message, payload);
    }

    /// Asks the initiator to log out within the configured time (event 1).
    pub(super) fn ask_for_logout(&mut self, now: Time) {
        if !matches!(self.state, State::FullFeature) || self.liveness.logout_deadline.is_some() {
            return;
        }
        let timeout = self.config.logout_timeout;
        self.liveness.logout_deadline = Some(now + timeout);
        let timeout = u16::try_from(timeout.as_secs()).unwrap_or(u16::MAX);
        self.say(AsyncEvent::LogoutRequested, [0, 0, timeout], Payload::default());
    }

    /// Says that the connection is dropped, and when a new one may be tried (event 2), and drops it.
    pub(super) fn drop_connection(&mut self, now: Time, reason: CloseReason) {
        let (wait, retain) = (seconds(self.parameters.time2wait), seconds(self.parameters.time2retain));
        let parameters = [self.facts.cid, wait, retain];
        self.say_and_close(now, AsyncEvent::ConnectionDrop, parameters, reason);
    }

    /// Says that the session is dropped, and when a new one may be tried (event 3), and drops it.
    pub(super) fn drop_session(&mut self, now: Time, reason: CloseReason) {
        let (wait, retain) = (seconds(self.parameters.time2wait), seconds(self.parameters.time2retain));
        self.say_and_close(now, AsyncEvent::SessionDrop, [0, wait, retain], reason);
    }

    fn say_and_close(&mut self, now: Time, event: AsyncEvent, parameters: Parameters, reason: CloseReason) {
        match self.state {
            State::FullFeature => {
                self.say(event, parameters, Payload::default());
                self.close_after_flush(now, reason);
            }
            State::Login(_) => self.close(reason),
            State::Flushing { .. } | State::Closed => {}
        }
    }

    /// Reports an event of the logical unit by its sense data (event 0).
    pub(super) fn report(&mut self, sense: &Sense) {
        if !matches!(self.state, State::FullFeature) || self.target.is_none() {
            return;
        }
        // The length of the sense data goes before it, as in a SCSI Response (section 11.9.4).
        let sense = sense.to_fixed();
        let mut bytes = Vec::with_capacity(2 + sense.len());
        bytes.extend_from_slice(&(sense.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&sense);
        self.say(AsyncEvent::Scsi, [0; 3], Bytes::from(bytes).into());
    }
}
