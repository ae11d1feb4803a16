//! `certificate/<fingerprint>` and `token/<hash>`: who may be a server of the group.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Servers that a join token lets in at most.
pub const JOIN_SERVERS_MAX: usize = 64;

/// SHA-256 of a certificate, or of a join token: a name for it that says nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Fingerprint {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let lower = |c: &u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 64 || !digits.iter().all(lower) {
            return None;
        }
        let mut bytes = [0; 32];
        for (n, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// A certificate by which a server shows its peers who it is. One without a record is good, too: the record is there so
/// that the certificate can be found by its server's name, and revoked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// The name of the server.
    pub server: String,
    /// When the record was made, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// Since when nobody believes it any more; never again from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_unix_ms: Option<u64>,
}

/// A token that lets a machine join, once. The directory knows its hash only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JoinTokenRecord {
    /// The names of the servers that it makes.
    pub servers: Vec<String>,
    /// Until when, in milliseconds since the Unix epoch.
    pub expires_unix_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_and_has_one_spelling() {
        let fingerprint = Fingerprint(std::array::from_fn(|n| n as u8 * 7));
        let text = fingerprint.to_string();
        assert_eq!(Fingerprint::parse(&text), Some(fingerprint));
        for other in [&text[1..], &text.to_uppercase(), &format!("{text}0"), &text.replace('0', "+"), "", "é"]
        {
            assert_eq!(Fingerprint::parse(other), None, "{other}");
        }
    }
}
