//! The daemon: sockets, disk rings, timers, configuration and the admin API. The only crate with tokio; everything that
//! decides anything is in the crates below, which know neither clock nor socket.
//!
//! * [`config`]: what a process is told.
//! * [`process`]: starting and stopping the servers of a process; the admin API beside them (`http`).
//! * `server`: one server, on a thread of its own: `server::core` connects engine, store, disk, peers and directory;
//!   `server::portal` takes initiators, `server::peers` the other servers, `server::balancer` measures and decides.
//! * `security`: who may talk to this process, and how it shows who it is.
//! * [`directory`]: the directory on etcd; `doctor`: what is to be done after it was restored from a backup.
//! * `disk`: how reads and writes reach a file or block device.
//! * `verify`: the stores against the directory.

mod ask;
mod clock;
pub mod config;
pub mod directory;
mod disk;
mod doctor;
mod entropy;
mod error;
mod http;
mod membership;
mod names;
mod offline;
mod own;
mod panics;
mod probe;
pub mod process;
mod security;
mod server;
mod verify;

pub use clock::wall_ms;
pub use config::ServeConfig;
pub use doctor::{Adopt, Rebuild, extents, rebuild_routes};
pub use error::ServeError;
pub use offline::check;
pub use process::{Running, serve, start};
pub use security::found::{Founded, found, read_api_token};
pub use security::join::{Joined, join};

/// The versions of everything that can disagree.
#[must_use]
pub fn version() -> evenkeel_api::VersionInfo {
    evenkeel_api::VersionInfo {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        store: evenkeel_store::FORMAT_VERSION,
        peer: u32::from(evenkeel_peer::WIRE_VERSION),
        api: evenkeel_api::API_VERSION,
    }
}
