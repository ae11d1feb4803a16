//! The security stage at the target (RFC 7143 chapter 12): what an initiator has to prove, and how far it has come.
//!
//! ```text
//!   Unknown ──▶ Open                                      nothing is demanded
//!         └───▶ Demanded: Method ──▶ Algorithm ──▶ Response ──▶ Proven
//! ```
//!
//! Nobody leaves the stage before it is open or proven. Whatever is wrong with what an initiator says about itself has
//! one and the same status, so that nothing is learnt from it.

use super::config::Authentication;
use super::info::Authenticated;
use crate::chap::{self, Algorithm, Challenge, Credentials, RANDOM_BYTES};
use crate::keys::KeyId;
use crate::pdu::LoginStatus;
use crate::text::TextWriter;
use std::sync::Arc;

const FAILED: LoginStatus = LoginStatus::AUTHENTICATION_FAILURE;
const WRONG: LoginStatus = LoginStatus::INITIATOR_ERROR;

/// The keys of the security stage in one request of an initiator.
#[derive(Debug, Default)]
pub(super) struct SecurityKeys<'a> {
    method: Option<&'a str>,
    algorithms: Option<&'a str>,
    identifier: Option<&'a str>,
    challenge: Option<&'a str>,
    name: Option<&'a str>,
    response: Option<&'a str>,
}

impl<'a> SecurityKeys<'a> {
    /// Takes a key; false if it is none of this stage.
    pub(super) fn take(&mut self, key: KeyId, value: &'a str) -> bool {
        let place = match key {
            KeyId::AuthMethod => &mut self.method,
            KeyId::ChapA => &mut self.algorithms,
            KeyId::ChapI => &mut self.identifier,
            KeyId::ChapC => &mut self.challenge,
            KeyId::ChapN => &mut self.name,
            KeyId::ChapR => &mut self.response,
            _ => return false,
        };
        *place = Some(value);
        true
    }

    /// Whether there is a key of a later step than the choice of the method and the algorithm.
    const fn has_proof(&self) -> bool {
        self.identifier.is_some()
            || self.challenge.is_some()
            || self.name.is_some()
            || self.response.is_some()
    }

    const fn is_empty(&self) -> bool {
        self.method.is_none() && self.algorithms.is_none() && !self.has_proof()
    }
}

/// How far the proof has come.
#[derive(Debug)]
pub(super) enum Step {
    /// The initiator has not said yet that it uses CHAP.
    Method,
    /// It is to say which algorithms it has.
    Algorithm,
    /// It was challenged.
    Response { algorithm: Algorithm, challenge: Challenge },
}

/// The state of the stage.
#[derive(Debug, Default)]
pub(super) enum Security {
    /// Who wants in is not known yet.
    #[default]
    Unknown,
    /// Nothing has to be proven.
    Open,
    /// The initiator has to prove itself.
    Demanded { credentials: Arc<Credentials>, step: Step },
    /// It has.
    Proven(Authenticated),
}

/// What the target has for the stage.
pub(super) struct Means<'a> {
    pub(super) algorithms: &'a [Algorithm],
    pub(super) random: &'a mut dyn FnMut(&mut [u8]),
}

impl Security {
    /// What is demanded is known.
    pub(super) fn demand(&mut self, authentication: Authentication) {
        *self = match authentication {
            Authentication::None => Self::Open,
            Authentication::Chap(credentials) => Self::Demanded { credentials, step: Step::Method },
        };
    }

    /// Whether a proof is demanded and not given.
    pub(super) const fn is_demanded(&self) -> bool {
        matches!(self, Self::Unknown | Self::Demanded { .. })
    }

    /// Whether the initiator has begun to prove itself.
    pub(super) const fn has_begun(&self) -> bool {
        !matches!(self, Self::Unknown | Self::Demanded { step: Step::Method, .. })
    }

    /// Who is proven.
    pub(super) const fn authenticated(&self) -> Authenticated {
        match self {
            Self::Proven(who) => *who,
            _ => Authenticated::Nobody,
        }
    }

    /// Takes what a request says, and answers it.
    pub(super) fn advance(
        &mut self,
        keys: &SecurityKeys<'_>,
        means: &mut Means<'_>,
        answer: &mut TextWriter,
    ) -> Result<(), LoginStatus> {
        match self {
            Self::Unknown | Self::Proven(_) if keys.is_empty() => Ok(()),
            Self::Unknown | Self::Proven(_) => Err(WRONG),
            Self::Open if keys.algorithms.is_some() || keys.has_proof() => Err(WRONG),
            Self::Open => match keys.method {
                Some(offered) if !names(offered, "None") => Err(FAILED),
                Some(_) => {
                    answer.push("AuthMethod", "None");
                    Ok(())
                }
                None => Ok(()),
            },
            Self::Demanded { credentials, step } => {
                if matches!(step, Step::Method) {
                    choose_method(keys, step, answer)?;
                }
                if matches!(step, Step::Algorithm) {
                    return challenge(keys, step, means, answer);
                }
                let Step::Response { algorithm, challenge } = &*step else { return Ok(()) };
                let judged = judge(keys, credentials, *algorithm, challenge, answer)?;
                if let Some(who) = judged {
                    *self = Self::Proven(who);
                }
                Ok(())
            }
        }
    }
}

fn names(list: &str, method: &str) -> bool {
    list.split(',').any(|offered| offered == method)
}

fn choose_method(
    keys: &SecurityKeys<'_>,
    step: &mut Step,
    answer: &mut TextWriter,
) -> Result<(), LoginStatus> {
    match keys.method {
        Some(offered) if !names(offered, "CHAP") => Err(FAILED),
        Some(_) => {
            answer.push("AuthMethod", "CHAP");
            *step = Step::Algorithm;
            Ok(())
        }
        None if keys.algorithms.is_some() || keys.has_proof() => Err(WRONG),
        None => Ok(()),
    }
}

fn challenge(
    keys: &SecurityKeys<'_>,
    step: &mut Step,
    means: &mut Means<'_>,
    answer: &mut TextWriter,
) -> Result<(), LoginStatus> {
    if keys.has_proof() {
        return Err(WRONG);
    }
    let Some(offered) = keys.algorithms else { return Ok(()) };
    let algorithm = Algorithm::choose(offered, means.algorithms).ok_or(FAILED)?;
    let mut random = [0; RANDOM_BYTES];
    (means.random)(&mut random);
    let challenge = Challenge::new(random);
    answer.push("CHAP_A", &algorithm.number().to_string());
    answer.push("CHAP_I", &challenge.identifier().to_string());
    answer.push("CHAP_C", &chap::encode(challenge.bytes()));
    *step = Step::Response { algorithm, challenge };
    Ok(())
}

/// Judges the response of the initiator, and answers its challenge if it has one: only after it has proven itself, and
/// never with our own challenge, to which any other connection could give it the response (RFC 7143 section 9.2.1).
fn judge(
    keys: &SecurityKeys<'_>,
    credentials: &Credentials,
    algorithm: Algorithm,
    challenge: &Challenge,
    answer: &mut TextWriter,
) -> Result<Option<Authenticated>, LoginStatus> {
    if keys.is_empty() {
        return Ok(None);
    }
    let (Some(name), Some(response), None) = (keys.name, keys.response, keys.algorithms) else {
        return Err(WRONG);
    };
    let response = chap::decode(response).ok_or(WRONG)?;
    let account = credentials.initiator();
    // Both are judged whatever comes of the other.
    let named = chap::is_expected(account.name().as_bytes(), name.as_bytes());
    if !(challenge.is_answered(algorithm, account, &response) & named) {
        return Err(FAILED);
    }
    let (identifier, theirs) = match (keys.identifier, keys.challenge) {
        (None, None) => return Ok(Some(Authenticated::Initiator)),
        (Some(identifier), Some(challenge)) => (identifier, challenge),
        _ => return Err(WRONG),
    };
    let identifier = chap::identifier(identifier).ok_or(WRONG)?;
    let theirs = chap::decode(theirs).ok_or(WRONG)?;
    let ours = credentials.target().ok_or(FAILED)?;
    if theirs == challenge.bytes() {
        return Err(FAILED);
    }
    answer.push("CHAP_N", ours.name());
    answer.push("CHAP_R", &chap::encode(&chap::respond(algorithm, identifier, ours, &theirs)));
    Ok(Some(Authenticated::Both))
}
