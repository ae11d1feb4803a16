//! The way of a received PDU at the initiator.

use super::connection::{Core, Current, OUTPUT_PDUS_MAX, State};
use super::event::{Done, Event, Failure};
use super::request::{Kind, REQUESTS_MAX};
use crate::keys::{self, KeyId};
use crate::pdu::{
    AsyncEvent, AsyncMessage, DataIn, LogoutResponse, NopIn, NopOut, Opcode, PduHeader, R2t, RESERVED_TAG,
    Reject, ScsiResponse, TaskFunction, TaskManagementResponse, TaskResponse, TextResponse, flags,
};
use crate::receive::{Agreement, COLLECT_BYTES_MAX, Header, Placement, Sink};
use crate::text::{TextWriter, pairs};
use evenkeel_scsi::{Sense, Status};
use evenkeel_types::{AlignedBuf, Bytes, Payload};

/// Bytes of an answer to a text request at most.
const TEXT_ANSWER_BYTES_MAX: usize = 4 << 20;

const UNKNOWN_TAG: Failure = Failure::Protocol("an answer to nothing that was asked");

/// A connection that takes in PDUs.
pub(super) struct Intake<'a> {
    pub(super) core: &'a mut Core,
}

impl Sink for Intake<'_> {
    type Error = Failure;

    fn header(&mut self, header: &Header) -> Result<Placement, Failure> {
        let core = &mut *self.core;
        core.current = Current::Response;
        if !matches!(core.state, State::FullFeature) || header.bhs.kind() != Some(Opcode::DataIn) {
            return Ok(Placement::Whole);
        }
        let pdu = *header.bhs.view::<DataIn>();
        let itt = pdu.itt.get();
        // Data of a command that we aborted ourselves may still be on its way.
        let Some(request) = core.requests.by_tag(itt) else { return Ok(Placement::Whole) };
        let Kind::Command(command) = &mut request.kind else { return Err(UNKNOWN_TAG) };
        let len = pdu.data_segment_len.get();
        if !command.admits(pdu.buffer_offset.get(), len) {
            return Err(Failure::Protocol("data that was not expected"));
        }
        if pdu.data_sn.get() != command.next_data_sn {
            return Err(Failure::Protocol("a DataSN is missing"));
        }
        command.next_data_sn += 1;
        if len as usize > COLLECT_BYTES_MAX {
            core.current = Current::Lent(itt);
            let (buf, at) = command.lend();
            return Ok(Placement::Into { buf, at });
        }
        Ok(Placement::Whole)
    }

    fn segment(&mut self, header: &Header, data: &[u8], intact: bool) -> Result<(), Failure> {
        if !intact {
            return Err(Failure::Protocol("a data digest is wrong"));
        }
        if matches!(self.core.state, State::Login(_)) {
            return self.core.login_response(header, data);
        }
        if header.bhs.kind() == Some(Opcode::DataIn)
            && let Some(request) = self.core.requests.by_tag(header.bhs.itt.get())
            && let Kind::Command(command) = &mut request.kind
        {
            command.place(data);
        }
        self.core.response(header, data)
    }

    fn arrived(&mut self, header: &Header, buf: AlignedBuf, at: usize, intact: bool) -> Result<(), Failure> {
        let Current::Lent(itt) = self.core.current else {
            return self.segment(header, &buf[at..at + header.data_len()], intact);
        };
        if !intact {
            return Err(Failure::Protocol("a data digest is wrong"));
        }
        if let Some(request) = self.core.requests.by_tag(itt)
            && let Kind::Command(command) = &mut request.kind
        {
            command.give_back(buf, header.data_len() as u32);
        }
        self.core.response(header, &[])
    }

    fn is_closed(&self) -> bool {
        matches!(self.core.state, State::Closed)
    }

    fn take_agreement(&mut self) -> Option<Agreement> {
        self.core.agreement.take()
    }
}

/// Sense data with its length before it (RFC 7143 section 11.4.7).
fn sense_in(data: &[u8]) -> Option<Sense> {
    let (len, rest) = data.split_first_chunk::<2>()?;
    Sense::parse(rest.get(..usize::from(u16::from_be_bytes(*len)))?).ok()
}

impl Core {
    fn response(&mut self, header: &Header, data: &[u8]) -> Result<(), Failure> {
        if self.output.pdus() > OUTPUT_PDUS_MAX {
            return Err(Failure::Protocol("more is asked for than is received"));
        }
        match header.bhs.kind() {
            Some(Opcode::DataIn) => self.data_in(header),
            Some(Opcode::ScsiResponse) => self.scsi_response(header, data),
            Some(Opcode::R2t) => self.r2t(header),
            Some(Opcode::NopIn) => self.nop_in(header, data),
            Some(Opcode::TaskManagementResponse) => self.managed(header),
            Some(Opcode::TextResponse) => self.text_response(header, data),
            Some(Opcode::LogoutResponse) => self.logged_out(header),
            Some(Opcode::AsyncMessage) => self.async_message(header, data),
            Some(Opcode::Reject) => {
                let pdu = *header.bhs.view::<Reject>();
                self.take_window(pdu.exp_cmd_sn.get(), pdu.max_cmd_sn.get());
                self.take_stat_sn(pdu.stat_sn.get())?;
                self.events.push_back(Event::Rejected { reason: pdu.reason });
                Ok(())
            }
            _ => Err(Failure::Protocol("a PDU that targets do not send")),
        }
    }

    fn async_message(&mut self, header: &Header, data: &[u8]) -> Result<(), Failure> {
        let pdu = *header.bhs.view::<AsyncMessage>();
        self.take_window(pdu.exp_cmd_sn.get(), pdu.max_cmd_sn.get());
        self.take_stat_sn(pdu.stat_sn.get())?;
        let event = AsyncEvent::from_byte(pdu.event);
        let sense = if event == AsyncEvent::Scsi { sense_in(data) } else { None };
        self.events.push_back(Event::Async { event, seconds: pdu.parameter_3.get(), sense });
        if event == AsyncEvent::NegotiationRequested && self.requests.len() < REQUESTS_MAX {
            // The target is to be asked for something; what may be said anew is all that there is to say.
            let mut text = TextWriter::default();
            let segment = self.parameters.max_receive_segment;
            text.push(keys::by_id(KeyId::MaxRecvDataSegmentLength).name, &segment.to_string());
            let (_, itt) = self.requests.insert(Kind::Text { answer: Vec::new() });
            self.text_request(itt, RESERVED_TAG, Bytes::from(text.into_bytes()).into());
        }
        Ok(())
    }

    fn data_in(&mut self, header: &Header) -> Result<(), Failure> {
        let pdu = *header.bhs.view::<DataIn>();
        self.take_window(pdu.exp_cmd_sn.get(), pdu.max_cmd_sn.get());
        if pdu.flags & flags::STATUS == 0 {
            return Ok(());
        }
        self.take_stat_sn(pdu.stat_sn.get())?;
        self.end_command(pdu.itt.get(), pdu.status, None, pdu.flags, pdu.residual_count.get())
    }

    fn scsi_response(&mut self, header: &Header, data: &[u8]) -> Result<(), Failure> {
        let pdu = *header.bhs.view::<ScsiResponse>();
        self.take_window(pdu.exp_cmd_sn.get(), pdu.max_cmd_sn.get());
        self.take_stat_sn(pdu.stat_sn.get())?;
        if pdu.response != ScsiResponse::COMPLETED {
            return Err(Failure::Protocol("the target failed to carry out a command"));
        }
        let sense = sense_in(data);
        self.end_command(pdu.itt.get(), pdu.status, sense, pdu.flags, pdu.residual_count.get())
    }

    fn end_command(
        &mut self,
        itt: u32,
        status: u8,
        sense: Option<Sense>,
        flags: u8,
        residual: u32,
    ) -> Result<(), Failure> {
        let Some(request) = self.requests.remove(itt) else { return Ok(()) };
        let Kind::Command(mut command) = request.kind else { return Err(UNKNOWN_TAG) };
        let counted = |flag: u8| if flags & flag != 0 { residual } else { 0 };
        let done = Done {
            status: Status::from_code(status),
            sense,
            data: command.take(),
            overflow: counted(flags::OVERFLOW),
            underflow: counted(flags::UNDERFLOW),
        };
        self.events.push_back(Event::Done(request.id, done));
        Ok(())
    }

    fn r2t(&mut self, header: &Header) -> Result<(), Failure> {
        let pdu = *header.bhs.view::<R2t>();
        self.take_window(pdu.exp_cmd_sn.get(), pdu.max_cmd_sn.get());
        let itt = pdu.itt.get();
        let Some(request) = self.requests.by_tag(itt) else { return Ok(()) };
        let Kind::Command(command) = &mut request.kind else { return Err(UNKNOWN_TAG) };
        if pdu.r2t_sn.get() != command.next_r2t_sn {
            return Err(Failure::Protocol("an R2TSN is missing"));
        }
        command.next_r2t_sn += 1;
        let (start, len) = (pdu.buffer_offset.get(), pdu.desired_data_len.get());
        let end = start.checked_add(len).filter(|end| *end as usize <= command.out.len());
        let (Some(end), true) = (end, len > 0 && len <= self.parameters.max_burst) else {
            return Err(Failure::Protocol("an R2T for data that there is not"));
        };
        let (out, lun) = (command.out.clone(), command.lun);
        self.send_data_out(itt, lun, pdu.ttt.get(), &out, start..end);
        Ok(())
    }

    fn nop_in(&mut self, header: &Header, data: &[u8]) -> Result<(), Failure> {
        let pdu = *header.bhs.view::<NopIn>();
        self.take_window(pdu.exp_cmd_sn.get(), pdu.max_cmd_sn.get());
        if pdu.itt.get() != RESERVED_TAG {
            self.take_stat_sn(pdu.stat_sn.get())?;
            let request = self.requests.remove(pdu.itt.get()).ok_or(UNKNOWN_TAG)?;
            self.events.push_back(Event::Pong(request.id, Bytes::copy_from_slice(data)));
            return Ok(());
        }
        if pdu.ttt.get() == RESERVED_TAG {
            return Ok(());
        }
        let mut answer = NopOut::empty();
        answer.opcode |= flags::IMMEDIATE;
        answer.flags = flags::FINAL;
        answer.lun = pdu.lun;
        answer.itt = RESERVED_TAG.into();
        answer.ttt = pdu.ttt;
        answer.cmd_sn = self.cmd_sn.into();
        answer.exp_stat_sn = self.exp_stat_sn.into();
        self.send(&answer, Payload::default());
        Ok(())
    }

    fn managed(&mut self, header: &Header) -> Result<(), Failure> {
        let pdu = *header.bhs.view::<TaskManagementResponse>();
        self.take_window(pdu.exp_cmd_sn.get(), pdu.max_cmd_sn.get());
        self.take_stat_sn(pdu.stat_sn.get())?;
        let request = self.requests.remove(pdu.itt.get()).ok_or(UNKNOWN_TAG)?;
        let Kind::Management { function, about, cmd_sn } = request.kind else { return Err(UNKNOWN_TAG) };
        let response = TaskResponse::from_byte(pdu.response);
        if response == TaskResponse::FunctionComplete {
            let aborted = match function {
                TaskFunction::AbortTask => about.map(|id| id.0 as u32).into_iter().collect(),
                TaskFunction::ClearAca | TaskFunction::TaskReassign => Vec::new(),
                _ => self.requests.commands_before(cmd_sn),
            };
            for itt in aborted {
                if let Some(command) = self.requests.remove(itt) {
                    self.events.push_back(Event::Aborted(command.id));
                }
            }
        }
        self.events.push_back(Event::Managed(request.id, function, response));
        Ok(())
    }

    fn text_response(&mut self, header: &Header, data: &[u8]) -> Result<(), Failure> {
        let pdu = *header.bhs.view::<TextResponse>();
        self.take_window(pdu.exp_cmd_sn.get(), pdu.max_cmd_sn.get());
        self.take_stat_sn(pdu.stat_sn.get())?;
        let itt = pdu.itt.get();
        let request = self.requests.by_tag(itt).ok_or(UNKNOWN_TAG)?;
        let Kind::Text { answer } = &mut request.kind else { return Err(UNKNOWN_TAG) };
        if answer.len() + data.len() > TEXT_ANSWER_BYTES_MAX {
            return Err(Failure::Protocol("a text that does not end"));
        }
        answer.extend_from_slice(data);
        if pdu.flags & flags::FINAL == 0 {
            self.text_request(itt, pdu.ttt.get(), Payload::default());
            return Ok(());
        }
        let found = pairs(answer)
            .map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Failure::Protocol("an ill-formed text"))?;
        let id = request.id;
        self.requests.remove(itt);
        self.events.push_back(Event::Text(id, found));
        Ok(())
    }

    fn logged_out(&mut self, header: &Header) -> Result<(), Failure> {
        let pdu = *header.bhs.view::<LogoutResponse>();
        self.take_stat_sn(pdu.stat_sn.get())?;
        self.requests.remove(pdu.itt.get()).ok_or(UNKNOWN_TAG)?;
        if pdu.response != LogoutResponse::CLOSED {
            return Err(Failure::Protocol("the target refused the logout"));
        }
        self.state = State::Closed;
        self.events.push_back(Event::LoggedOut);
        Ok(())
    }
}
