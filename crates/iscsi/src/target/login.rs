//! The login phase at the target (RFC 7143 chapter 6).
//!
//! ```text
//!            ┌──────────┐  T, NSG=1   ┌─────────────┐
//!   CSG=0 ──▶│ Security │────────────▶│ Operational │◀── CSG=1
//!            └──────────┘             └─────────────┘
//!                  │  T, NSG=3               │  T, NSG=3
//!                  ▼                         ▼
//!            session opened (perhaps after a former one of the same nexus has ended) ──▶ full feature phase
//! ```
//!
//! Each request is answered at once. Whatever is wrong is answered by a status other than success, and the connection
//! closes. An initiator that has to prove itself comes no further than the security stage before it has, and cannot leave
//! the stage out.

use super::action::{Action, CloseReason};
use super::config::{NexusName, Opening, TargetPorts};
use super::core::{Core, State};
use super::security::{Means, Security};
use super::window::Window;
use crate::negotiate::{DEFAULT_SEGMENT_BYTES, Negotiation, NegotiationError};
use crate::pdu::{LoginRequest, LoginResponse, LoginStatus, Opcode, PduHeader, Stage, flags};
use crate::receive::{Agreement, Header};
use crate::text::{TextCollector, TextWriter};
use evenkeel_scsi::UnitAttention;
use evenkeel_types::{Bytes, Time};

/// Requests of a login at most.
const LOGIN_REQUESTS_MAX: u32 = 64;
/// The only version of the protocol.
const VERSION: u8 = 0x00;

/// What is known of a login under way.
#[derive(Debug)]
pub(super) struct Login {
    /// When it must be complete.
    pub(super) deadline: Time,
    requests: u32,
    stage: Stage,
    text: TextCollector,
    pub(super) negotiation: Negotiation,
    pub(super) security: Security,
    /// The session that the first request names; zero for a new one.
    pub(super) tsih: u16,
    /// InitiatorName, SessionType and TargetName were judged.
    identified: bool,
    pub(super) discovery: bool,
    pub(super) session_type: Option<String>,
    pub(super) target_name: Option<String>,
    /// The request whose answer waits until a former session of the nexus has ended, and the answer's text.
    waiting: Option<(LoginRequest, TextWriter)>,
}

impl Login {
    pub(super) fn new(now: Time, config: &super::TargetConfig) -> Self {
        Self {
            deadline: now + config.login_timeout,
            requests: 0,
            stage: Stage::Security,
            text: TextCollector::default(),
            negotiation: Negotiation::new(config.settings.clone(), false),
            security: Security::default(),
            tsih: 0,
            identified: false,
            discovery: false,
            session_type: None,
            target_name: None,
            waiting: None,
        }
    }
}

/// A login that is refused, with a text for redirections.
pub(super) struct Refusal(LoginStatus, TextWriter);

impl Refusal {
    /// The target is elsewhere. The address goes without the tag of its portal group (RFC 7143 section 13.8).
    pub(super) fn moved(address: &str, permanent: bool) -> Self {
        let mut text = TextWriter::default();
        text.push("TargetAddress", address.split_once(',').map_or(address, |(address, _)| address));
        let status = if permanent {
            LoginStatus::TARGET_MOVED_PERMANENTLY
        } else {
            LoginStatus::TARGET_MOVED_TEMPORARILY
        };
        Self(status, text)
    }
}

impl From<LoginStatus> for Refusal {
    fn from(status: LoginStatus) -> Self {
        Self(status, TextWriter::default())
    }
}

impl From<NegotiationError> for Refusal {
    fn from(_: NegotiationError) -> Self {
        LoginStatus::INITIATOR_ERROR.into()
    }
}

impl Core {
    /// A PDU during login; anything but a Login Request is refused.
    pub(super) fn login_pdu(&mut self, now: Time, header: &Header, data: &[u8], ports: &mut dyn TargetPorts) {
        let State::Login(mut login) = std::mem::replace(&mut self.state, State::FullFeature) else { return };
        if header.bhs.kind() != Some(Opcode::LoginRequest) {
            let first = login.requests == 0;
            self.state = State::Login(login);
            if first {
                return self.close(CloseReason::NoLogin);
            }
            return self.refuse(now, &LoginRequest::empty(), LoginStatus::INVALID_DURING_LOGIN.into());
        }
        let request = *header.bhs.view::<LoginRequest>();
        match self.login_step(&mut login, &request, data, ports) {
            // Either an answer was sent and the login goes on, or the session is open.
            Ok(true) => {}
            Ok(false) => self.state = State::Login(login),
            Err(refusal) => {
                self.state = State::Login(login);
                self.refuse(now, &request, refusal);
            }
        }
    }

    fn refuse(&mut self, now: Time, request: &LoginRequest, Refusal(status, text): Refusal) {
        let mut response = self.login_response(request);
        response.flags = 0;
        response.status_class = status.class();
        response.status_detail = status.detail();
        self.send(&response, Bytes::from(text.into_bytes()).into());
        self.close_after_flush(now, CloseReason::LoginRefused(status));
    }

    /// True if the session is open.
    fn login_step(
        &mut self,
        login: &mut Login,
        request: &LoginRequest,
        data: &[u8],
        ports: &mut dyn TargetPorts,
    ) -> Result<bool, Refusal> {
        let next = self.check_request(login, request)?;
        login.text.append(data).map_err(|_| LoginStatus::INITIATOR_ERROR)?;
        if request.flags & flags::CONTINUE != 0 {
            self.answer(login, request, None, TextWriter::default());
            return Ok(false);
        }
        let text = login.text.take();
        let mut answer = TextWriter::default();
        let security = self.read_keys(login, &text, &mut answer)?;
        if !login.identified {
            self.identify(login, ports)?;
            login.identified = true;
            if !login.discovery {
                answer.push("TargetPortalGroupTag", &self.config.portal_group_tag.to_string());
            }
        }
        // Who has to prove itself cannot do so behind the security stage, and cannot leave it without having begun.
        if login.stage != Stage::Security && login.security.is_demanded() {
            return Err(LoginStatus::AUTHENTICATION_FAILURE.into());
        }
        let algorithms = &self.config.chap_algorithms;
        let mut means = Means { algorithms, random: &mut |out| ports.fill_random(out) };
        login.security.advance(&security, &mut means, &mut answer)?;
        let next = match next {
            Some(_) if !login.security.has_begun() => return Err(LoginStatus::AUTHENTICATION_FAILURE.into()),
            // The initiator is ready, the target is not: the stage goes on (RFC 7143 section 6.3).
            Some(_) if login.security.is_demanded() => None,
            next => next,
        };
        if login.stage == Stage::Operational {
            login.negotiation.declare_segment(&mut answer);
        }
        if answer.len() > DEFAULT_SEGMENT_BYTES as usize {
            return Err(LoginStatus::INITIATOR_ERROR.into());
        }
        if next != Some(Stage::FullFeature) {
            self.answer(login, request, next, answer);
            login.stage = next.unwrap_or(login.stage);
            return Ok(false);
        }
        self.open_session(login, request, answer, ports)
    }

    /// Checks the header of a request; gives the next stage if the initiator is ready for it.
    fn check_request(&mut self, login: &mut Login, request: &LoginRequest) -> Result<Option<Stage>, Refusal> {
        if request.version_min > VERSION {
            return Err(LoginStatus::UNSUPPORTED_VERSION.into());
        }
        let current = Stage::current(request.flags).filter(|stage| *stage != Stage::FullFeature);
        let current = current.ok_or(LoginStatus::INITIATOR_ERROR)?;
        login.requests += 1;
        if login.requests == 1 {
            login.stage = current;
            self.facts.isid = request.isid;
            self.facts.cid = request.cid.get();
            self.window = Window::new(request.cmd_sn.get());
            login.tsih = request.tsih.get();
        }
        let same = self.facts.isid == request.isid
            && self.facts.cid == request.cid.get()
            && login.tsih == request.tsih.get()
            && login.stage == current;
        if !same || login.requests > LOGIN_REQUESTS_MAX || login.waiting.is_some() {
            return Err(LoginStatus::INITIATOR_ERROR.into());
        }
        if request.flags & flags::TRANSIT == 0 {
            return Ok(None);
        }
        let next = Stage::next(request.flags).filter(|next| *next > current);
        if next.is_none() || request.flags & flags::CONTINUE != 0 {
            return Err(LoginStatus::INITIATOR_ERROR.into());
        }
        Ok(next)
    }

    fn open_session(
        &mut self,
        login: &mut Login,
        request: &LoginRequest,
        answer: TextWriter,
        ports: &mut dyn TargetPorts,
    ) -> Result<bool, Refusal> {
        if !login.negotiation.is_sufficient() {
            return Err(LoginStatus::INITIATOR_ERROR.into());
        }
        let nexus = NexusName {
            initiator: self.facts.initiator.clone(),
            isid: self.facts.isid,
            target: self.facts.target.clone(),
            portal_group_tag: self.config.portal_group_tag,
        };
        match ports.open_session(&nexus) {
            Opening::Full => Err(LoginStatus::OUT_OF_RESOURCES.into()),
            Opening::Wait => {
                self.registered = Some(nexus);
                login.waiting = Some((*request, answer));
                Ok(false)
            }
            Opening::Ready(tsih) => {
                self.registered = Some(nexus);
                self.complete_login(login, request, answer, tsih);
                Ok(true)
            }
        }
    }

    /// The former session of the nexus has ended.
    pub(super) fn session_ready(&mut self, tsih: u16) {
        let State::Login(login) = &mut self.state else { return };
        let Some((request, answer)) = login.waiting.take() else { return };
        let State::Login(login) = std::mem::replace(&mut self.state, State::FullFeature) else { return };
        self.complete_login(&login, &request, answer, tsih);
    }

    fn complete_login(&mut self, login: &Login, request: &LoginRequest, answer: TextWriter, tsih: u16) {
        assert_ne!(tsih, 0, "a session's handle is not zero");
        self.facts.tsih = tsih;
        self.facts.authenticated = login.security.authenticated();
        self.answer(login, request, Some(Stage::FullFeature), answer);
        self.parameters = *login.negotiation.agreed();
        let digests = self.parameters.digests;
        self.output.agree(digests);
        self.agreement = Some(Agreement { digests, max_segment: self.parameters.max_receive_segment });
        self.state = State::FullFeature;
        // The initiator learns that its view of the logical unit starts anew (SAM-5 clause 5.14.5).
        self.nexus.raise(UnitAttention::PowerOnOrReset);
        self.actions.push_back(Action::SessionOpened);
    }

    fn login_response(&mut self, request: &LoginRequest) -> LoginResponse {
        let mut response = LoginResponse::empty();
        response.version_max = VERSION;
        response.version_active = VERSION;
        response.isid = request.isid;
        response.tsih = self.facts.tsih.into();
        response.itt = request.itt;
        response.stat_sn = self.next_stat_sn();
        response.exp_cmd_sn = self.exp_cmd_sn();
        response.max_cmd_sn = self.max_cmd_sn();
        response
    }

    fn answer(&mut self, login: &Login, request: &LoginRequest, next: Option<Stage>, text: TextWriter) {
        let mut response = self.login_response(request);
        response.flags = match next {
            Some(next) => flags::TRANSIT | Stage::flags(login.stage, next),
            None => (login.stage as u8) << 2,
        };
        self.send(&response, Bytes::from(text.into_bytes()).into());
    }
}
