//! Who may be a server of the group.

use serde::{Deserialize, Serialize};

/// `POST /v1/join-tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateJoinToken {
    /// Names of the servers that it makes.
    pub servers: Vec<String>,
    /// For how long, in seconds.
    pub expires_s: u64,
}

/// A join token: good once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// What the new machine shows.
    pub token: String,
    /// Names of the servers that it makes.
    pub servers: Vec<String>,
    /// Until when.
    pub expires_ms: u64,
}

/// `GET /v1/certificates`, and those that `POST /v1/certificates/revoke` revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatesTable {
    /// The certificates, by server and age.
    pub certificates: Vec<CertificateRow>,
}

/// A certificate of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRow {
    /// SHA-256 of it, in hexadecimal.
    pub certificate: String,
    /// Whose it is; empty where that is not on record.
    pub server: String,
    /// Since when it is on record.
    pub since_ms: u64,
    /// Since when nobody believes it, if it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_ms: Option<u64>,
}

/// `POST /v1/certificates/revoke`: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeCertificates {
    /// This certificate, be it on record or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// All certificates of this server that are on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}
