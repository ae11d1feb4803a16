//! One server of a process.

use super::STORE_BYTES_MIN;
use crate::error::{ServeError, error};
use evenkeel_api::{parse_size, show_size};
use evenkeel_store::{JOURNAL_BYTES_MAX, JOURNAL_BYTES_MIN};
use evenkeel_types::geometry::REGION_BYTES;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// One server: one store, one portal, one load monitor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Its name, for example `s1`: 1 to 31 of `a-z 0-9 -`.
    pub name: String,
    /// Where initiators connect.
    pub portal: SocketAddr,
    /// Where the server listens for the other servers.
    pub peer: SocketAddr,
    /// Where the other servers connect, if that is another address than `peer`: behind address translation, or when
    /// `peer` is a wildcard address.
    #[serde(default)]
    pub advertise_peer: Option<SocketAddr>,
    /// A file or a block device; absent: `store` in the server's folder.
    #[serde(default)]
    pub store: Option<PathBuf>,
    /// Size of the store when it is made, for example `64GiB`; absent: the device's, or the server's part of 90 % of
    /// the free space.
    #[serde(default)]
    pub size: Option<String>,
    /// Size of the journal when the store is made; absent: 1/32 of the store, 64 MiB to 1 GiB.
    #[serde(default)]
    pub journal: Option<String>,
    /// Failure domain; absent: this machine's name.
    #[serde(default)]
    pub domain: Option<String>,
    /// What the server can do; absent: measured at the start.
    #[serde(default)]
    pub capacity: Option<CapacityConfig>,
}

/// What a server can do in a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapacityConfig {
    /// 4 KiB random reads.
    pub disk_read_iops: f64,
    /// 4 KiB random writes, durable.
    pub disk_write_iops: f64,
    /// Network, each way, MiB.
    pub net_mib_s: f64,
    /// CPU, in cores.
    pub cpu_cores: f64,
    /// Whether the disk is held to these figures, for demonstrations: requests above them queue.
    #[serde(default)]
    pub enforce: bool,
}

impl ServerConfig {
    /// Sizes are what a store and a journal can have.
    pub(super) fn check_sizes(&self) -> Result<(), ServeError> {
        let bytes_of = |what: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => {
                let bytes = parse_size(text).map_err(|e| error(format!("{what} of {}: {e}", self.name)))?;
                Ok(Some((bytes, text.clone())))
            }
        };
        if let Some((bytes, text)) = bytes_of("size", &self.size)?
            && bytes < STORE_BYTES_MIN
        {
            let least = show_size(STORE_BYTES_MIN);
            return Err(error(format!("size of {} '{text}': a store has at least {least}", self.name)));
        }
        if let Some((bytes, text)) = bytes_of("journal", &self.journal)? {
            let grain = u64::from(REGION_BYTES);
            if !(JOURNAL_BYTES_MIN..=JOURNAL_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(grain) {
                return Err(error(format!(
                    "journal of {} '{text}': must be {} to {} in steps of {}",
                    self.name,
                    show_size(JOURNAL_BYTES_MIN),
                    show_size(JOURNAL_BYTES_MAX),
                    show_size(grain)
                )));
            }
        }
        Ok(())
    }

    /// Where the other servers connect: what the directory tells them.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.advertise_peer.unwrap_or(self.peer)
    }

    pub(super) fn check_advertised(&self, others: &[Self]) -> Result<(), ServeError> {
        let Some(address) = self.advertise_peer else { return Ok(()) };
        let wrong = |why: String| Err(error(format!("advertise_peer of {} '{address}': {why}", self.name)));
        if address.ip().is_unspecified() || address.port() == 0 {
            return wrong("name an address and a port that other servers can connect to".to_owned());
        }
        match others.iter().find(|other| other.peer_address() == address) {
            Some(other) => wrong(format!("already the address of {}", other.name)),
            None => Ok(()),
        }
    }
}
