//! The servers of the group.

use serde::{Deserialize, Serialize};

/// State of a server as the directory has it, unless it is known to have stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// Its copies count.
    Up,
    /// Returned; its copies are brought up to date.
    Syncing,
    /// Its copies do not count.
    Down,
    /// It stopped by itself, because of its disk or another fault; the other servers of its process go on.
    Stopped,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRow {
    /// Its name, for example `s1`.
    pub server: String,
    /// Its state.
    pub state: ServerState,
    /// It is being emptied: its copies move to others, and it takes none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// Extents that are routed to it, written to or not, while it is being emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed: Option<u64>,
    /// It has been emptied: nothing is routed to it, nothing comes to it, and its store holds no copy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// Grows with each start.
    pub incarnation: u64,
    /// Address and port for initiators.
    pub portal: String,
    /// Address and port for the other servers.
    pub peer: String,
    /// Bytes of its store in use.
    pub allocated_bytes: u64,
    /// Bytes of its store.
    pub total_bytes: u64,
    /// Sessions on its portal.
    pub sessions: u32,
    /// Servers that it has a peer connection with.
    pub connected: Vec<String>,
    /// How its store is driven: `uring`, `threads` or `inline`, and whether with direct I/O.
    pub disk: String,
    /// Why it stopped, if it did.
    pub reason: Option<String>,
    /// For whom it waits before its copies count again: servers that have what was written while it was away, and are away
    /// themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// What it did since its last start; absent if its process does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<ServerCounters>,
}

/// What a server did since its last start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCounters {
    /// Regions of its extents that it compared with copies at servers that came back.
    pub regions_compared: u64,
    /// Regions that it sent to copies of its extents because they differed; those of moves are not among them.
    pub regions_sent: u64,
    /// Bytes of them.
    pub bytes_sent: u64,
    /// Regions that it received for copies here, by moves too.
    pub regions_received: u64,
    /// Regions of its copies that had a bad block and were mended from another copy.
    pub regions_mended: u64,
    /// Extents that it took over from another owner.
    pub takeovers: u64,
    /// Servers that it marked down.
    pub marked_down: u64,
    /// Pieces of requests that it tried again, as the gateway of their hosts.
    pub retried: u64,
    /// Of the pieces that gateways tried again, those that it found applied or under way, as the owner.
    pub found_applied: u64,
}

/// `PUT /v1/servers/NAME/draining`, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Whether the server is being emptied.
    pub draining: bool,
}

/// `POST /v1/servers/NAME/forget`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forget {
    /// Also if something has its last good copy there.
    #[serde(default)]
    pub accept_loss: bool,
}

/// The answer to that, and to `POST /v1/servers/NAME/remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Its name, which is free again.
    pub server: String,
    /// What had its last good copy there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostOfVolume>,
}

/// Extents of one volume that had their last good copy at a server. Of those that follow their volume's placement nobody
/// knows whether they were ever written to: they are counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostOfVolume {
    /// Its name.
    pub volume: String,
    /// Extents without any other copy: they answer with a medium error for as long as the volume lasts.
    pub extents: u64,
    /// Extents with an older copy elsewhere, which takes its place.
    pub older: u64,
}

/// `GET /v1/servers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServersTable {
    /// The group's name.
    pub group: String,
    /// Its servers.
    pub servers: Vec<ServerRow>,
}

/// `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// True when every server of the process serves and reaches all others.
    pub serving: bool,
    /// What is waited for, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}
