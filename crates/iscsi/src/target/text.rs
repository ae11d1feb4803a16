//! Text requests of the full feature phase: SendTargets, and keys that may be declared again (RFC 7143 sections 11.10,
//! 11.11 and 13.3, appendix C).

use super::action::CloseReason;
use super::config::{OUTPUT_TEXT_BYTES_MAX, TargetPorts};
use super::core::Core;
use crate::keys::{self, KeyId, LENGTH_MAX, LENGTH_MIN};
use crate::pdu::{PduHeader, RESERVED_TAG, RejectReason, TextRequest, TextResponse, flags};
use crate::receive::Header;
use crate::text::{TextCollector, TextWriter, pairs};
use evenkeel_types::{Bytes, Time};
use std::collections::BTreeSet;

/// Bytes of an answer to a text request at most.
const ANSWER_BYTES_MAX: usize = OUTPUT_TEXT_BYTES_MAX;

/// A tag of text exchanges; R2Ts have a slot number in the upper half of theirs that is never this.
const TEXT_TAG_BASE: u32 = 0x7ffe_0000;

/// A text exchange under way; one at a time.
#[derive(Debug, Default)]
pub(super) struct TextExchange {
    request: TextCollector,
    /// The tag under which the exchange goes on.
    ttt: Option<u32>,
    exchanges: u32,
    /// The rest of an answer that did not fit in one PDU.
    rest: Bytes,
}

impl TextExchange {
    fn begin(&mut self) {
        *self = Self { exchanges: self.exchanges.wrapping_add(1), ..Self::default() };
    }

    fn tag(&self) -> u32 {
        TEXT_TAG_BASE | self.exchanges & 0xffff
    }
}

impl Core {
    /// A Text Request.
    pub(super) fn text_request(
        &mut self,
        now: Time,
        header: &Header,
        data: &[u8],
        ports: &mut dyn TargetPorts,
    ) {
        let request = *header.bhs.view::<TextRequest>();
        let (ttt, more) = (request.ttt.get(), request.flags & flags::CONTINUE != 0);
        if self.output.payload_bytes() > OUTPUT_TEXT_BYTES_MAX {
            return self.reject(&header.bhs, RejectReason::LongOperationReject);
        }
        if ttt == RESERVED_TAG {
            // A new exchange ends one that was not finished.
            self.text.begin();
        } else if self.text.ttt != Some(ttt) {
            return self.reject(&header.bhs, RejectReason::InvalidPduField);
        }
        if more && request.flags & flags::FINAL != 0 {
            return self.reject(&header.bhs, RejectReason::ProtocolError);
        }
        if self.text.request.append(data).is_err() {
            self.text.begin();
            return self.reject(&header.bhs, RejectReason::LongOperationReject);
        }
        if more {
            self.text.ttt = Some(self.text.tag());
            return self.text_response(&request, Bytes::new(), false);
        }
        if self.text.rest.is_empty() {
            let text = self.text.request.take();
            match self.answer_text(&text, ports) {
                Some(answer) => self.text.rest = answer.into_bytes().into(),
                None => {
                    self.text.begin();
                    self.reject(&header.bhs, RejectReason::ProtocolError);
                    return self.close_after_flush(now, CloseReason::Protocol("ill-formed text"));
                }
            }
        }
        self.continue_answer(&request);
    }

    /// Sends as much of the answer as fits in a PDU.
    fn continue_answer(&mut self, request: &TextRequest) {
        let fits = self.text.rest.len().min(self.parameters.max_send_segment as usize);
        let part = self.text.rest.split_to(fits);
        let last = self.text.rest.is_empty();
        self.text.ttt = (!last).then(|| self.text.tag());
        self.text_response(request, part, last);
    }

    fn text_response(&mut self, request: &TextRequest, part: Bytes, last: bool) {
        let mut response = TextResponse::empty();
        response.flags = match (last, part.is_empty()) {
            (true, _) => flags::FINAL,
            (false, true) => 0,
            (false, false) => flags::CONTINUE,
        };
        response.itt = request.itt;
        response.lun = request.lun;
        response.ttt = if last { RESERVED_TAG } else { self.text.tag() }.into();
        response.stat_sn = self.next_stat_sn();
        response.exp_cmd_sn = self.exp_cmd_sn();
        response.max_cmd_sn = self.max_cmd_sn();
        self.send(&response, part.into());
    }

    fn answer_text(&mut self, text: &[u8], ports: &mut dyn TargetPorts) -> Option<TextWriter> {
        let mut answer = TextWriter::default();
        let mut seen = BTreeSet::new();
        for pair in pairs(text) {
            let (name, value) = pair.ok()?;
            // No key is negotiated twice in an exchange (RFC 7143 section 6.4).
            if !seen.insert(name) {
                return None;
            }
            match keys::find(name).map(|key| key.id) {
                None => answer.push(name, "NotUnderstood"),
                Some(KeyId::SendTargets) => self.send_targets(value, &mut answer, ports),
                Some(KeyId::MaxRecvDataSegmentLength) => {
                    match keys::parse_number(value).filter(|len| (LENGTH_MIN..=LENGTH_MAX).contains(len)) {
                        Some(len) => self.parameters.max_send_segment = len,
                        None => answer.push(name, "Reject"),
                    }
                }
                Some(KeyId::InitiatorAlias) => value.clone_into(&mut self.facts.initiator_alias),
                // All others belong to the login.
                Some(_) => answer.push(name, "Reject"),
            }
            if answer.len() > ANSWER_BYTES_MAX {
                return None;
            }
        }
        Some(answer)
    }

    /// SendTargets (RFC 7143 appendix C). In a normal session `All` is answered like an empty value: by the target of
    /// the session, which is all that it is good for; some initiators ask so.
    fn send_targets(&mut self, value: &str, answer: &mut TextWriter, ports: &mut dyn TargetPorts) {
        let own = self.facts.target.clone();
        let wanted = match (value, &own) {
            ("All", None) => None,
            ("All" | "", Some(own)) => Some(own.as_str()),
            ("", None) => return answer.push("SendTargets", "Reject"),
            (name, _) if !is_target_name(name) => return answer.push("SendTargets", "Reject"),
            (name, Some(own)) if name != own => return answer.push("SendTargets", "Reject"),
            (name, _) => Some(name),
        };
        for target in ports.discover(&self.facts.initiator) {
            if wanted.is_some_and(|wanted| wanted != target.name) {
                continue;
            }
            // Rather an incomplete list than one that no initiator could take.
            if answer.len() > ANSWER_BYTES_MAX / 2 {
                break;
            }
            answer.push("TargetName", &target.name);
            for address in &target.addresses {
                answer.push("TargetAddress", address);
            }
        }
    }
}

fn is_target_name(name: &str) -> bool {
    ["iqn.", "eui.", "naa."].iter().any(|prefix| name.starts_with(prefix))
}
