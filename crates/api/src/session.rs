//! iSCSI sessions.

use serde::{Deserialize, Serialize};

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// The server whose portal it is on.
    pub server: String,
    /// The initiator's name.
    pub initiator: String,
    /// The initiator's address and port.
    pub address: String,
    /// The volume; absent in a discovery session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Target session identifying handle.
    pub tsih: u16,
    /// Commands taken so far.
    pub commands: u64,
    /// Bytes read so far.
    pub read_bytes: u64,
    /// Bytes written so far.
    pub written_bytes: u64,
    /// `none`, `header`, `data` or `header+data`.
    pub digests: String,
}

/// `GET /v1/sessions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsTable {
    /// The sessions, by server.
    pub sessions: Vec<SessionRow>,
}
