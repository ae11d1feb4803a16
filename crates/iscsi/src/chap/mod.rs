//! CHAP and mutual CHAP as iSCSI uses them (RFC 7143 section 12.1.3, RFC 1994): accounts, algorithms, challenges and
//! responses. The order in which the two sides exchange them is in `target` and in `initiator`.
//!
//! ```text
//!   initiator                                   target
//!   AuthMethod=CHAP           ────────────────▶
//!                             ◀──────────────── AuthMethod=CHAP
//!   CHAP_A=7,8,6,5            ────────────────▶ the first that it may use
//!                             ◀──────────────── CHAP_A=7  CHAP_I=9  CHAP_C=0x...
//!   CHAP_N=user  CHAP_R=0x... ────────────────▶ proves the initiator
//!  (CHAP_I=3     CHAP_C=0x...)◀────────────────(CHAP_N=name  CHAP_R=0x...)  proves the target, if that was asked
//! ```
//!
//! What RFC 7143 section 9.2.1 forbids cannot be configured or is refused: secrets that are too short, one secret for
//! both directions, a challenge that comes back. A challenge is made for one login only, so a response that was
//! overheard is of no use in another.

mod algorithm;
mod binary;
mod challenge;
mod secret;

pub use algorithm::Algorithm;
pub use challenge::{CHALLENGE_BYTES, Challenge, RANDOM_BYTES};
pub use secret::Secret;

pub(crate) use binary::{decode, encode};
pub(crate) use challenge::{identifier, is_expected, respond};

use snafu::{Snafu, ensure};

/// Bytes of a secret at least: 96 bits, below which IPsec would be needed (RFC 7143 section 9.2.1).
pub const SECRET_BYTES_MIN: usize = 12;
/// Bytes of a secret at most.
pub const SECRET_BYTES_MAX: usize = 255;
/// Bytes of a name at most: those of a text value.
pub const NAME_BYTES_MAX: usize = crate::keys::VALUE_BYTES_MAX;

/// Accounts that cannot be used. No message ever has a part of a secret in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Snafu)]
pub enum ChapError {
    /// The secret is too short to be safe.
    #[snafu(display("a CHAP secret of {len} bytes; it needs {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}"))]
    SecretLength {
        /// Its length in bytes.
        len: usize,
    },
    /// The name is empty, too long, or has a zero byte in it.
    #[snafu(display("a CHAP name needs 1 to {NAME_BYTES_MAX} bytes, none of them zero"))]
    BadName,
    /// Both directions would have one secret, and whoever knows how to ask could have its own question answered.
    #[snafu(display("the CHAP secrets of initiator and target must differ"))]
    SameSecret,
}

/// A name (CHAP_N) and the secret that proves it.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    secret: Secret,
}

impl Account {
    /// An account.
    ///
    /// # Errors
    /// If the name cannot be sent.
    pub fn new(name: &str, secret: Secret) -> Result<Self, ChapError> {
        ensure!((1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains('\0'), BadNameSnafu);
        Ok(Self { name: name.to_owned(), secret })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn secret(&self) -> &Secret {
        &self.secret
    }
}

/// What a login between an initiator and a target is proven by.
#[derive(Clone, Debug)]
pub struct Credentials {
    initiator: Account,
    target: Option<Account>,
}

impl Credentials {
    /// The account of the initiator, and that of the target if it can prove itself too (mutual CHAP).
    ///
    /// # Errors
    /// If both have the same secret (RFC 7143 section 9.2.1).
    pub fn new(initiator: Account, target: Option<Account>) -> Result<Self, ChapError> {
        let same = target.as_ref().is_some_and(|target| target.secret.is_same(&initiator.secret));
        ensure!(!same, SameSecretSnafu);
        Ok(Self { initiator, target })
    }

    /// The account of the initiator.
    #[must_use]
    pub const fn initiator(&self) -> &Account {
        &self.initiator
    }

    /// The account of the target, for mutual CHAP.
    #[must_use]
    pub const fn target(&self) -> Option<&Account> {
        self.target.as_ref()
    }
}

#[cfg(test)]
mod tests;
