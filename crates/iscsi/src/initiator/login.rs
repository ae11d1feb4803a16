//! The login phase at the initiator: who we are and what we want first, then the operational parameters.

use super::connection::{Core, State};
use super::event::{Event, Failure};
use super::security::{Security, SecurityAnswers};
use crate::keys::{self, VALUE_BYTES_MAX};
use crate::negotiate::{NO_VALUES, Negotiation};
use crate::pdu::{LoginRequest, LoginResponse, LoginStatus, Opcode, PduHeader, Stage, flags};
use crate::receive::{Agreement, Header};
use crate::text::{TextCollector, TextWriter, pairs};
use evenkeel_types::{Bytes, Payload};

/// Answers of the target at most.
const LOGIN_RESPONSES_MAX: u32 = 64;
/// Bytes of what is said about unknown keys of the target at most.
const UNKNOWN_BYTES_MAX: usize = 8 * VALUE_BYTES_MAX;

/// A login under way.
#[derive(Debug)]
pub(super) struct Login {
    stage: Stage,
    security: Security,
    negotiation: Negotiation,
    text: TextCollector,
    responses: u32,
    offered: bool,
}

impl Core {
    /// Sends the first request: names, kind of session, and how this side can prove itself.
    pub(super) fn begin_login(&mut self, security: Security) {
        let mut text = TextWriter::default();
        text.push("InitiatorName", &self.config.initiator_name);
        match &self.config.target_name {
            Some(target) => {
                text.push("SessionType", "Normal");
                text.push("TargetName", target);
            }
            None => text.push("SessionType", "Discovery"),
        }
        text.push("AuthMethod", security.offer());
        let discovery = self.config.target_name.is_none();
        let login = Login {
            stage: Stage::Security,
            security,
            negotiation: Negotiation::new(self.config.settings.clone(), discovery),
            text: TextCollector::default(),
            responses: 0,
            offered: false,
        };
        // Who may have to prove itself is not ready for the next stage yet.
        let next = login.security.is_ready().then_some(Stage::Operational);
        self.login_request(&login, next, text);
        self.state = State::Login(Box::new(login));
    }

    fn login_request(&mut self, login: &Login, next: Option<Stage>, text: TextWriter) {
        let mut request = LoginRequest::empty();
        request.opcode |= flags::IMMEDIATE;
        request.flags = match next {
            Some(next) => flags::TRANSIT | Stage::flags(login.stage, next),
            None => (login.stage as u8) << 2,
        };
        request.isid = self.config.isid;
        request.cmd_sn = self.cmd_sn.into();
        request.exp_stat_sn = self.exp_stat_sn.into();
        let payload: Payload = Bytes::from(text.into_bytes()).into();
        self.send(&request, payload);
    }

    /// An answer to a login request.
    pub(super) fn login_response(&mut self, header: &Header, data: &[u8]) -> Result<(), Failure> {
        let State::Login(mut login) = std::mem::replace(&mut self.state, State::Closed) else {
            return Ok(());
        };
        if header.bhs.kind() != Some(Opcode::LoginResponse) {
            return Err(Failure::Protocol("a PDU that is no login response during login"));
        }
        let response = *header.bhs.view::<LoginResponse>();
        login.responses += 1;
        if login.responses > LOGIN_RESPONSES_MAX {
            return Err(Failure::Protocol("the login does not end"));
        }
        let status = LoginStatus::new(response.status_class, response.status_detail);
        if status != LoginStatus::SUCCESS {
            let moved = |(name, value): (&str, &str)| (name == "TargetAddress").then(|| value.to_owned());
            let address = pairs(data).flatten().find_map(moved);
            self.events.push_back(Event::LoginRefused { status, address });
            return Ok(());
        }
        if login.responses == 1 {
            self.exp_stat_sn = response.stat_sn.get();
        }
        self.take_stat_sn(response.stat_sn.get())?;
        self.take_window(response.exp_cmd_sn.get(), response.max_cmd_sn.get());
        login.text.append(data).map_err(|error| Failure::Negotiation(error.to_string()))?;
        if response.flags & flags::CONTINUE != 0 {
            self.login_request(&login, None, TextWriter::default());
            self.state = State::Login(login);
            return Ok(());
        }
        let answers = login.text.take();
        let mut text = TextWriter::default();
        let security = read_answers(&mut login.negotiation, &answers, &mut text)?;
        if login.stage == Stage::Security {
            login.security.advance(&security, &mut text)?;
        }
        self.go_on(login, &response, text)
    }

    fn go_on(
        &mut self,
        mut login: Box<Login>,
        response: &LoginResponse,
        mut text: TextWriter,
    ) -> Result<(), Failure> {
        let transits = response.flags & flags::TRANSIT != 0;
        if transits {
            let next = Stage::next(response.flags).filter(|next| *next > login.stage);
            login.stage = next.ok_or(Failure::Protocol("a transition to no later stage"))?;
            if !login.security.is_settled() {
                return Err(Failure::Authentication("the target ends the stage before it is settled"));
            }
        }
        if login.stage == Stage::FullFeature {
            if !login.negotiation.is_sufficient() {
                return Err(Failure::Negotiation("a digest that is required was not agreed".to_owned()));
            }
            self.tsih = response.tsih.get();
            self.parameters = *login.negotiation.agreed();
            let digests = self.parameters.digests;
            self.output.agree(digests);
            self.agreement = Some(Agreement { digests, max_segment: self.parameters.max_receive_segment });
            self.state = State::FullFeature;
            self.events.push_back(Event::LoggedIn);
            return Ok(());
        }
        if login.stage == Stage::Operational && !login.offered {
            login.offered = true;
            login.negotiation.offer(&mut text);
        }
        let next = match login.stage {
            Stage::Security => login.security.is_ready().then_some(Stage::Operational),
            _ => Some(Stage::FullFeature),
        };
        self.login_request(&login, next, text);
        self.state = State::Login(login);
        Ok(())
    }
}

/// Takes what the target says. Keys that this side does not know are named as such in `text` (RFC 7143 section 6.2).
fn read_answers<'a>(
    negotiation: &mut Negotiation,
    answers: &'a [u8],
    text: &mut TextWriter,
) -> Result<SecurityAnswers<'a>, Failure> {
    let mut security = SecurityAnswers::default();
    for pair in pairs(answers) {
        let (name, value) = pair.map_err(|error| Failure::Negotiation(error.to_string()))?;
        let Some(key) = keys::find(name) else {
            if !NO_VALUES.contains(&value) && text.len() < UNKNOWN_BYTES_MAX {
                text.push(name, "NotUnderstood");
            }
            continue;
        };
        let failed = |error: crate::negotiate::NegotiationError| Failure::Negotiation(error.to_string());
        negotiation.note(key).map_err(failed)?;
        if !security.take(key.id, value) {
            negotiation.accept(key, value).map_err(failed)?;
        }
    }
    Ok(security)
}
