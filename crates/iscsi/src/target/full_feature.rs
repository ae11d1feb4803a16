//! The way of a received PDU: by phase, turn (CmdSN) and kind to where it is dealt with.

use super::action::CloseReason;
use super::config::{OUTPUT_TEXT_BYTES_MAX, TargetPorts};
use super::core::{Core, Current, State};
use super::window::Turn;
use crate::pdu::{DataOut, NopIn, NopOut, Opcode, PduHeader, RESERVED_TAG, RejectReason, flags};
use crate::receive::{Agreement, Header, Placement, Sink};
use evenkeel_types::{AlignedBuf, Bytes, Payload, Time};

/// A connection that takes in PDUs at a point in time.
pub(super) struct Intake<'a> {
    pub(super) core: &'a mut Core,
    pub(super) now: Time,
    pub(super) ports: &'a mut dyn TargetPorts,
}

impl Sink for Intake<'_> {
    type Error = CloseReason;

    fn header(&mut self, header: &Header) -> Result<Placement, CloseReason> {
        if matches!(self.core.state, State::Login(_)) {
            self.core.current = Current::Request;
            return Ok(Placement::Whole);
        }
        let placement = self.full_feature_header(header);
        if matches!(placement, Placement::Discard) {
            self.deliver_held();
        }
        Ok(placement)
    }

    fn segment(&mut self, header: &Header, data: &[u8], intact: bool) -> Result<(), CloseReason> {
        self.segment_of(header, data, intact);
        self.deliver_held();
        Ok(())
    }

    fn arrived(
        &mut self,
        header: &Header,
        buf: AlignedBuf,
        at: usize,
        intact: bool,
    ) -> Result<(), CloseReason> {
        self.buffer_of(header, buf, at, intact);
        self.deliver_held();
        Ok(())
    }

    fn is_closed(&self) -> bool {
        !self.core.is_open()
    }

    fn take_agreement(&mut self) -> Option<Agreement> {
        self.core.agreement.take()
    }
}

impl Intake<'_> {
    fn full_feature_header(&mut self, header: &Header) -> Placement {
        let core = &mut *self.core;
        core.current = Current::Request;
        let kind = match header.bhs.kind() {
            Some(Opcode::DataOut) => {
                if header.bhs.has(flags::FINAL) && !core.management.is_empty() {
                    core.transfer_ended(self.now, header.bhs.view::<DataOut>().ttt.get());
                }
                return core.data_out_header(header);
            }
            Some(Opcode::SnackRequest) => {
                // There is nothing to retransmit at error recovery level 0.
                core.reject(&header.bhs, RejectReason::ProtocolError);
                return Placement::Discard;
            }
            Some(Opcode::LoginRequest) => {
                core.fail(self.now, header, "a login request after the login");
                return Placement::Discard;
            }
            Some(
                kind @ (Opcode::ScsiCommand
                | Opcode::TaskManagementRequest
                | Opcode::TextRequest
                | Opcode::LogoutRequest
                | Opcode::NopOut),
            ) => kind,
            Some(_) => {
                core.fail(self.now, header, "a PDU that only targets send");
                return Placement::Discard;
            }
            None => {
                core.reject(&header.bhs, RejectReason::CommandNotSupported);
                return Placement::Discard;
            }
        };
        // A NOP-Out that wants no answer has no turn (RFC 7143 section 11.18.1).
        let unnumbered =
            header.bhs.is_immediate() || kind == Opcode::NopOut && header.bhs.itt.get() == RESERVED_TAG;
        if !unnumbered {
            let cmd_sn = cmd_sn_of(header);
            match core.window.turn(cmd_sn) {
                Turn::Outside => {
                    core.facts.ignored += 1;
                    return Placement::Discard;
                }
                Turn::Early => {
                    core.current = Current::Held(cmd_sn);
                    return Placement::Whole;
                }
                Turn::Now => core.window.advance(),
            }
        }
        if kind == Opcode::ScsiCommand {
            if !unnumbered && core.is_aborted_in_advance(cmd_sn_of(header)) {
                core.facts.ignored += 1;
                return Placement::Discard;
            }
            if !header.bhs.has(flags::FINAL) && !header.bhs.has(flags::WRITE) {
                // More data would follow of a command that writes none (RFC 7143 section 11.3.1).
                core.reject(&header.bhs, RejectReason::InvalidPduField);
                return Placement::Discard;
            }
            return core.command_header(header, !unnumbered);
        }
        Placement::Whole
    }

    fn segment_of(&mut self, header: &Header, data: &[u8], intact: bool) {
        if matches!(self.core.state, State::Login(_)) {
            return self.core.login_pdu(self.now, header, data, self.ports);
        }
        match self.core.current {
            Current::Task(id) | Current::Lent(id) => {
                self.core.task_data(self.now, id, header, data, intact);
            }
            Current::Held(cmd_sn) => self.core.hold(self.now, cmd_sn, header, data, intact),
            Current::Request if !intact => self.core.reject(&header.bhs, RejectReason::DataDigestError),
            Current::Request => self.request(header, data),
        }
    }

    fn buffer_of(&mut self, header: &Header, buf: AlignedBuf, at: usize, intact: bool) {
        match self.core.current {
            Current::Lent(id) => self.core.task_data_arrived(self.now, id, header, buf, intact),
            _ => self.segment_of(header, &buf[at..at + header.data_len()], intact),
        }
    }

    fn request(&mut self, header: &Header, data: &[u8]) {
        match header.bhs.kind() {
            Some(Opcode::NopOut) => self.core.nop_out(header, data),
            Some(Opcode::TextRequest) => self.core.text_request(self.now, header, data, self.ports),
            Some(Opcode::TaskManagementRequest) => self.core.task_management(self.now, header),
            Some(Opcode::LogoutRequest) => self.core.logout(self.now, header),
            _ => {}
        }
    }

    /// Deals with PDUs that were held back and whose turn it is now, and with what waited for them to come.
    fn deliver_held(&mut self) {
        self.deliver_in_turn();
        if !self.core.management.is_empty() {
            self.core.settle_management(self.now);
        }
    }

    fn deliver_in_turn(&mut self) {
        while matches!(self.core.state, State::FullFeature) {
            let Some(pdus) = self.core.window.take_next() else { return };
            if pdus.is_empty() {
                self.core.window.advance();
            }
            for pdu in pdus {
                match self.full_feature_header(&pdu.header) {
                    Placement::Whole => self.segment_of(&pdu.header, &pdu.data, pdu.intact),
                    Placement::Into { mut buf, at } => {
                        buf[at..at + pdu.data.len()].copy_from_slice(&pdu.data);
                        self.buffer_of(&pdu.header, buf, at, pdu.intact);
                    }
                    Placement::Discard => {}
                }
            }
        }
    }
}

/// The CmdSN of a request; all kinds that have one have it in the same place.
fn cmd_sn_of(header: &Header) -> u32 {
    header.bhs.view::<NopOut>().cmd_sn.get()
}

impl Core {
    /// A NOP-Out: a question, or the answer to one of ours (RFC 7143 section 11.18).
    fn nop_out(&mut self, header: &Header, data: &[u8]) {
        let request = *header.bhs.view::<NopOut>();
        if request.ttt.get() != RESERVED_TAG {
            self.probe_answered(request.ttt.get());
        }
        if request.itt.get() == RESERVED_TAG {
            return;
        }
        if self.output.payload_bytes() > OUTPUT_TEXT_BYTES_MAX && !data.is_empty() {
            return self.reject(&header.bhs, RejectReason::LongOperationReject);
        }
        let mut answer = NopIn::empty();
        answer.flags = flags::FINAL;
        answer.lun = request.lun;
        answer.itt = request.itt;
        answer.ttt = RESERVED_TAG.into();
        answer.stat_sn = self.next_stat_sn();
        answer.exp_cmd_sn = self.exp_cmd_sn();
        answer.max_cmd_sn = self.max_cmd_sn();
        let echoed = data.len().min(self.parameters.max_send_segment as usize);
        let payload =
            if echoed == 0 { Payload::default() } else { Bytes::copy_from_slice(&data[..echoed]).into() };
        self.send(&answer, payload);
    }
}
