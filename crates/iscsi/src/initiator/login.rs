//! The login phase at the initiator: who we are and what we want first, then the operational parameters.

use super::connection::{Core, State};
use super::event::{Event, Failure};
use crate::keys::{self, KeyId};
use crate::negotiate::Negotiation;
use crate::pdu::{LoginRequest, LoginResponse, LoginStatus, Opcode, PduHeader, Stage, flags};
use crate::receive::{Agreement, Header};
use crate::text::{TextCollector, TextWriter, pairs};
use evenkeel_types::{Bytes, Payload};

/// Answers of the target at most.
const LOGIN_RESPONSES_MAX: u32 = 64;

/// A login under way.
#[derive(Debug)]
pub(super) struct Login {
    stage: Stage,
    negotiation: Negotiation,
    text: TextCollector,
    responses: u32,
    offered: bool,
}

impl Core {
    /// Sends the first request: names, kind of session, and that no authentication is offered.
    pub(super) fn begin_login(&mut self) {
        let mut text = TextWriter::default();
        text.push("InitiatorName", &self.config.initiator_name);
        match &self.config.target_name {
            Some(target) => {
                text.push("SessionType", "Normal");
                text.push("TargetName", target);
            }
            None => text.push("SessionType", "Discovery"),
        }
        text.push("AuthMethod", "None");
        let discovery = self.config.target_name.is_none();
        let login = Login {
            stage: Stage::Security,
            negotiation: Negotiation::new(self.config.settings.clone(), discovery),
            text: TextCollector::default(),
            responses: 0,
            offered: false,
        };
        self.login_request(&login, Some(Stage::Operational), text);
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
        let text = login.text.take();
        read_answers(&mut login.negotiation, &text)?;
        self.go_on(login, &response)
    }

    fn go_on(&mut self, mut login: Box<Login>, response: &LoginResponse) -> Result<(), Failure> {
        let transits = response.flags & flags::TRANSIT != 0;
        if transits {
            let next = Stage::next(response.flags).filter(|next| *next > login.stage);
            login.stage = next.ok_or(Failure::Protocol("a transition to no later stage"))?;
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
        let mut text = TextWriter::default();
        if login.stage == Stage::Operational && !login.offered {
            login.offered = true;
            login.negotiation.offer(&mut text);
        }
        let next = if login.stage == Stage::Security { Stage::Operational } else { Stage::FullFeature };
        self.login_request(&login, Some(next), text);
        self.state = State::Login(login);
        Ok(())
    }
}

fn read_answers(negotiation: &mut Negotiation, text: &[u8]) -> Result<(), Failure> {
    for pair in pairs(text) {
        let (name, value) = pair.map_err(|error| Failure::Negotiation(error.to_string()))?;
        let Some(key) = keys::find(name) else { continue };
        let failed = |error: crate::negotiate::NegotiationError| Failure::Negotiation(error.to_string());
        if key.id != KeyId::AuthMethod {
            negotiation.note(key).map_err(failed)?;
        }
        negotiation.accept(key, value).map_err(failed)?;
    }
    Ok(())
}
