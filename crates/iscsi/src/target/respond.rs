//! Answers to SCSI commands: Data-In, status, sense data and residual counts (RFC 7143 sections 11.4 and 11.7).

use super::core::Core;
use super::task::Task;
use crate::pdu::{DataIn, PduHeader, RESERVED_TAG, ScsiResponse, flags};
use evenkeel_scsi::sense::FIXED_SENSE_BYTES;
use evenkeel_scsi::{Response, Status};
use evenkeel_types::{Bytes, Payload};

/// By how much less (U) or more (O) was transferred, or to be transferred, than the initiator expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Residual {
    flag: u8,
    count: u32,
}

impl Residual {
    /// `asked` by the CDB, `expected` by the initiator.
    pub(super) const fn new(asked: u32, expected: u32) -> Self {
        if asked > expected {
            Self { flag: flags::OVERFLOW, count: asked - expected }
        } else if asked < expected {
            Self { flag: flags::UNDERFLOW, count: expected - asked }
        } else {
            Self { flag: 0, count: 0 }
        }
    }
}

impl Core {
    /// Answers a command that is no task any more.
    pub(super) fn respond(&mut self, task: &Task, response: &Response) {
        let available = u32::try_from(response.data_in.len()).unwrap_or(u32::MAX);
        let residual = if task.expected_out > 0 || task.wanted_out > 0 {
            Residual::new(task.wanted_out, task.expected_out)
        } else {
            Residual::new(available, task.expected_in)
        };
        let sends = available.min(task.expected_in);
        let with_data = sends > 0 && response.status == Status::Good && response.sense.is_none();
        let pdus = if sends > 0 {
            self.send_data_in(task, &response.data_in, sends, with_data.then_some(residual))
        } else {
            task.out.r2ts_sent()
        };
        self.facts.bytes_read += u64::from(sends);
        if !with_data {
            self.send_status(task, response, residual, pdus);
        }
    }

    /// Sends data in PDUs of up to MaxRecvDataSegmentLength, in sequences of up to MaxBurstLength; the last PDU carries
    /// the status GOOD if a residual is given. Says how many PDUs they are.
    fn send_data_in(&mut self, task: &Task, data: &Payload, len: u32, status: Option<Residual>) -> u32 {
        let (segment, burst) = (self.parameters.max_send_segment, self.parameters.max_burst);
        let (mut at, mut data_sn) = (0, 0);
        while at < len {
            let burst_end = len.min((at / burst + 1) * burst);
            let end = burst_end.min(at.saturating_add(segment));
            let mut pdu = DataIn::empty();
            pdu.flags = if end == burst_end { flags::FINAL } else { 0 };
            pdu.itt = task.itt.into();
            pdu.ttt = RESERVED_TAG.into();
            pdu.data_sn = data_sn.into();
            pdu.buffer_offset = at.into();
            pdu.exp_cmd_sn = self.exp_cmd_sn();
            pdu.max_cmd_sn = self.max_cmd_sn();
            if let (Some(residual), true) = (status, end == len) {
                pdu.flags |= flags::STATUS | residual.flag;
                pdu.status = Status::Good.code();
                pdu.residual_count = residual.count.into();
                pdu.stat_sn = self.next_stat_sn();
            }
            let piece = if (at, end as usize) == (0, data.len()) {
                data.clone()
            } else {
                data.slice(at as usize, (end - at) as usize)
            };
            self.send(&pdu, piece);
            at = end;
            data_sn += 1;
        }
        data_sn
    }

    fn send_status(&mut self, task: &Task, response: &Response, residual: Residual, exp_data_sn: u32) {
        let mut pdu = ScsiResponse::empty();
        pdu.flags = flags::FINAL | residual.flag;
        pdu.response = ScsiResponse::COMPLETED;
        pdu.status = response.status.code();
        pdu.itt = task.itt.into();
        pdu.exp_data_sn = exp_data_sn.into();
        pdu.residual_count = residual.count.into();
        pdu.stat_sn = self.next_stat_sn();
        pdu.exp_cmd_sn = self.exp_cmd_sn();
        pdu.max_cmd_sn = self.max_cmd_sn();
        let payload = response.sense.map(|sense| {
            // The data segment begins with the length of the sense data (RFC 7143 section 11.4.7).
            let mut bytes = Vec::with_capacity(2 + FIXED_SENSE_BYTES);
            bytes.extend_from_slice(&(FIXED_SENSE_BYTES as u16).to_be_bytes());
            bytes.extend_from_slice(&sense.to_fixed());
            Payload::from(Bytes::from(bytes))
        });
        self.send(&pdu, payload.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residuals_say_what_is_over_and_what_is_under() {
        assert_eq!(Residual::new(512, 0), Residual { flag: flags::OVERFLOW, count: 512 });
        assert_eq!(Residual::new(512, 10_000), Residual { flag: flags::UNDERFLOW, count: 9488 });
        assert_eq!(Residual::new(512, 512), Residual::default());
    }
}
