//! The security stage at the initiator (RFC 7143 chapter 12): it proves itself, and lets the target do so if it is told
//! what the target knows.
//!
//! ```text
//!   Nothing            Offered ──▶ Listed ──▶ Responded ──▶ Settled
//!                         └ the target asks for nothing ───────┘
//! ```

use super::event::Failure;
use crate::chap::{self, Algorithm, Challenge, Credentials};
use crate::keys::KeyId;
use crate::text::TextWriter;
use std::sync::Arc;

/// How an initiator proves itself in one login.
#[derive(Clone, Debug)]
pub struct Chap {
    /// Its account. If there is one of the target too, the target has to prove itself, and a login without is given up.
    pub credentials: Arc<Credentials>,
    /// What may be hashed with, in order of preference.
    pub algorithms: Vec<Algorithm>,
    /// What the target is asked in mutual CHAP: made for this login alone.
    pub challenge: Challenge,
}

impl Chap {
    /// With all algorithms, the strongest first.
    #[must_use]
    pub fn new(credentials: Arc<Credentials>, challenge: Challenge) -> Self {
        Self { credentials, algorithms: Algorithm::ALL.to_vec(), challenge }
    }

    fn is_mutual(&self) -> bool {
        self.credentials.target().is_some()
    }
}

/// The keys of the security stage in an answer of the target.
#[derive(Debug, Default)]
pub(super) struct SecurityAnswers<'a> {
    method: Option<&'a str>,
    algorithm: Option<&'a str>,
    identifier: Option<&'a str>,
    challenge: Option<&'a str>,
    name: Option<&'a str>,
    response: Option<&'a str>,
}

impl<'a> SecurityAnswers<'a> {
    /// Takes a key; false if it is none of this stage.
    pub(super) fn take(&mut self, key: KeyId, value: &'a str) -> bool {
        let place = match key {
            KeyId::AuthMethod => &mut self.method,
            KeyId::ChapA => &mut self.algorithm,
            KeyId::ChapI => &mut self.identifier,
            KeyId::ChapC => &mut self.challenge,
            KeyId::ChapN => &mut self.name,
            KeyId::ChapR => &mut self.response,
            _ => return false,
        };
        *place = Some(value);
        true
    }
}

/// How far the stage has come.
#[derive(Debug)]
pub(super) enum Security {
    /// There is nothing to prove anything with.
    Nothing,
    /// CHAP was offered.
    Offered(Box<Chap>),
    /// The algorithms were listed.
    Listed(Box<Chap>),
    /// The target was answered, and has to answer us.
    Responded(Box<Chap>, Algorithm),
    /// It is done.
    Settled,
}

const fn failed<T>(what: &'static str) -> Result<T, Failure> {
    Err(Failure::Authentication(what))
}

impl Security {
    /// What is offered (`AuthMethod`).
    pub(super) fn offer(&self) -> &'static str {
        match self {
            Self::Offered(chap) if chap.is_mutual() => "CHAP",
            Self::Offered(_) => "CHAP,None",
            _ => "None",
        }
    }

    /// Whether this side has said all that it has to say in this stage.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self, Self::Nothing | Self::Responded(..) | Self::Settled)
    }

    /// Whether the stage may be left.
    pub(super) const fn is_settled(&self) -> bool {
        matches!(self, Self::Nothing | Self::Settled)
    }

    /// Takes an answer of the target; what is said next goes into `text`.
    pub(super) fn advance(
        &mut self,
        answers: &SecurityAnswers<'_>,
        text: &mut TextWriter,
    ) -> Result<(), Failure> {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Offered(chap) => match answers.method {
                Some("CHAP") => {
                    text.push("CHAP_A", &Algorithm::list(&chap.algorithms));
                    Self::Listed(chap)
                }
                Some("None") | None if !chap.is_mutual() => Self::Settled,
                _ => return failed("the target does not prove itself"),
            },
            Self::Listed(chap) => {
                let algorithm = respond(&chap, answers, text)?;
                if chap.is_mutual() { Self::Responded(chap, algorithm) } else { Self::Settled }
            }
            Self::Responded(chap, algorithm) => {
                judge(&chap, algorithm, answers)?;
                Self::Settled
            }
            state => {
                let nothing_new = matches!(answers.method, None | Some("None"))
                    && answers.algorithm.is_none()
                    && answers.response.is_none();
                if !nothing_new {
                    return failed("the target wants a proof that was not offered");
                }
                state
            }
        };
        Ok(())
    }
}

/// Answers the challenge of the target.
fn respond(chap: &Chap, answers: &SecurityAnswers<'_>, text: &mut TextWriter) -> Result<Algorithm, Failure> {
    let (Some(algorithm), Some(identifier), Some(challenge)) =
        (answers.algorithm, answers.identifier, answers.challenge)
    else {
        return failed("the target gives no challenge");
    };
    let Some(algorithm) = Algorithm::choose(algorithm, &chap.algorithms) else {
        return failed("the target chose an algorithm that was not offered");
    };
    let (Some(identifier), Some(challenge)) = (chap::identifier(identifier), chap::decode(challenge)) else {
        return failed("the target gives an ill-formed challenge");
    };
    if chap.is_mutual() && challenge == chap.challenge.bytes() {
        return failed("the target asks what it is to be asked");
    }
    let account = chap.credentials.initiator();
    text.push("CHAP_N", account.name());
    text.push("CHAP_R", &chap::encode(&chap::respond(algorithm, identifier, account, &challenge)));
    if chap.is_mutual() {
        text.push("CHAP_I", &chap.challenge.identifier().to_string());
        text.push("CHAP_C", &chap::encode(chap.challenge.bytes()));
    }
    Ok(algorithm)
}

/// Whether the target is the one that it is taken for.
fn judge(chap: &Chap, algorithm: Algorithm, answers: &SecurityAnswers<'_>) -> Result<(), Failure> {
    let (Some(account), Some(name), Some(response)) =
        (chap.credentials.target(), answers.name, answers.response)
    else {
        return failed("the target does not prove itself");
    };
    let Some(response) = chap::decode(response) else {
        return failed("the target gives an ill-formed proof");
    };
    let named = chap::is_expected(account.name().as_bytes(), name.as_bytes());
    if !(chap.challenge.is_answered(algorithm, account, &response) & named) {
        return failed("the target gives a wrong proof");
    }
    Ok(())
}
