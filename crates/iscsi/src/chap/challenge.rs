//! Challenges, and what is answered to them.

use super::{Account, Algorithm};
use std::fmt;
use subtle::ConstantTimeEq;

/// Bytes of a challenge of ours: no shorter than any response.
pub const CHALLENGE_BYTES: usize = 32;
/// Random bytes that a challenge is made of: its own and its identifier.
pub const RANDOM_BYTES: usize = CHALLENGE_BYTES + 1;

/// A challenge of ours (`CHAP_I` and `CHAP_C`), for one login.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    identifier: u8,
    bytes: [u8; CHALLENGE_BYTES],
}

impl Challenge {
    /// A challenge of random bytes from a source that nobody can foresee. Bytes that were used before would let in who
    /// has overheard the response to them.
    #[must_use]
    pub fn new(random: [u8; RANDOM_BYTES]) -> Self {
        let [identifier, bytes @ ..] = random;
        Self { identifier, bytes }
    }

    pub(crate) const fn identifier(&self) -> u8 {
        self.identifier
    }

    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the response to this challenge is that of an account.
    pub(crate) fn is_answered(&self, algorithm: Algorithm, account: &Account, response: &[u8]) -> bool {
        is_expected(&respond(algorithm, self.identifier, account, &self.bytes), response)
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge({})", self.identifier)
    }
}

/// The response of an account to a challenge: the hash of identifier, secret and challenge (RFC 1994 section 4.1).
pub(crate) fn respond(algorithm: Algorithm, identifier: u8, account: &Account, challenge: &[u8]) -> Vec<u8> {
    algorithm.hash([&[identifier], account.secret().bytes(), challenge])
}

/// Whether both are the same, in a time that does not tell where they differ.
pub(crate) fn is_expected(expected: &[u8], given: &[u8]) -> bool {
    expected.ct_eq(given).into()
}

/// The identifier in `CHAP_I`.
pub(crate) fn identifier(value: &str) -> Option<u8> {
    crate::keys::parse_number(value).and_then(|number| u8::try_from(number).ok())
}
