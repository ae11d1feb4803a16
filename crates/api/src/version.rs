//! Versions of everything that can disagree.

use serde::{Deserialize, Serialize};

/// The version of this API; the path of every request begins with `/v1`.
pub const API_VERSION: u32 = 1;

/// `GET /v1/version`, and `evenkeel version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// The program.
    pub program: String,
    /// The format of stores.
    pub store: u32,
    /// The protocol between servers.
    pub peer: u32,
    /// This API.
    pub api: u32,
}
