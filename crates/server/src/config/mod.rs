//! What a process is told: one TOML file, each key also a flag of `evenkeel serve`. Unknown keys are refused.

mod check;
mod parts;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use check::{check_group_name, check_server_name};
pub use parts::{BalanceConfig, DirectoryTls, DiskConfig, DiskEngine, PeerConfig, PeerData, ScrubConfig};
pub use server::{CapacityConfig, ServerConfig};

use crate::directory::{EtcdAddress, EtcdTls};
use crate::error::{ServeError, error};
use crate::security::{authority, files};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Servers that one process may run.
pub const SERVERS_PER_PROCESS_MAX: usize = 16;
/// The directory in the data folder.
const EMBEDDED: &str = "embedded";
/// Smallest store, in bytes.
pub const STORE_BYTES_MIN: u64 = 256 << 20;

/// Characters of a server's name at most.
pub const SERVER_NAME_CHARS_MAX: usize = 31;
/// Characters of a group's name at most.
pub const GROUP_NAME_CHARS_MAX: usize = 40;

/// Configuration of one process: one or more servers of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// Name of the group: part of every target name. 1 to 40 of `a-z 0-9 -`.
    #[serde(default = "default_group")]
    pub group: String,
    /// What target names begin with.
    #[serde(default = "default_iqn_prefix")]
    pub iqn_prefix: String,
    /// The folder of the directory and, unless told otherwise, of the stores: `DIR/s1/store` and so on.
    pub data: PathBuf,
    /// Where the group's directory is: `embedded` in the data folder, for a group of one process, or
    /// `etcd://HOST:PORT,...`, `etcds://` for TLS, for a group of several.
    #[serde(default = "default_directory")]
    pub directory: String,
    /// TLS with an etcd.
    #[serde(default)]
    pub directory_tls: DirectoryTls,
    /// Address of the admin API. Without a token it is on loopback only.
    #[serde(default = "default_api")]
    pub api: SocketAddr,
    /// Where the other processes of the group reach the API, if that is another address than `api`.
    #[serde(default)]
    pub advertise_api: Option<SocketAddr>,
    /// The file with the tokens of the admin API; absent: `DIR/tls/api-token` if it exists, which `evenkeel group init`
    /// makes.
    #[serde(default)]
    pub api_token: Option<PathBuf>,
    /// Connections between servers.
    #[serde(default)]
    pub peer: PeerConfig,
    /// How disks are driven.
    #[serde(default)]
    pub disk: DiskConfig,
    /// Balancing.
    #[serde(default)]
    pub balance: BalanceConfig,
    /// The scrub.
    #[serde(default)]
    pub scrub: ScrubConfig,
    /// The servers, one `[[server]]` each.
    #[serde(rename = "server")]
    pub servers: Vec<ServerConfig>,
}

fn default_group() -> String {
    "evenkeel".to_owned()
}

fn default_directory() -> String {
    EMBEDDED.to_owned()
}

fn default_iqn_prefix() -> String {
    "iqn.2026-01.io.evenkeel".to_owned()
}

fn default_api() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8260))
}

impl ServeConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// One line with the file, the place and the offending key or value.
    pub fn load(path: &Path) -> Result<Self, ServeError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| error(format!("configuration '{}': {e}; name an existing file", path.display())))?;
        let config: Self = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            error(format!(
                "configuration '{}' line {line}: {}",
                path.display(),
                e.message().replace('\n', " ")
            ))
        })?;
        config.validate()?;
        Ok(config)
    }

    /// `count` equal servers `s1`, `s2` ... in `data`, with portals and peer ports on successive ports.
    #[must_use]
    pub fn equal_servers(
        data: &Path,
        count: u16,
        portal: SocketAddr,
        peer: SocketAddr,
        api: SocketAddr,
    ) -> Self {
        let at = |base: SocketAddr, n: u16| SocketAddr::new(base.ip(), base.port().saturating_add(n));
        let servers = (0..count).map(|n| ServerConfig {
            name: format!("s{}", n + 1),
            portal: at(portal, n),
            peer: at(peer, n),
            advertise_peer: None,
            store: None,
            size: None,
            journal: None,
            domain: None,
            capacity: None,
        });
        Self {
            group: default_group(),
            iqn_prefix: default_iqn_prefix(),
            data: data.to_owned(),
            directory: default_directory(),
            directory_tls: DirectoryTls::default(),
            api,
            advertise_api: None,
            api_token: None,
            peer: PeerConfig::default(),
            disk: DiskConfig::default(),
            balance: BalanceConfig::default(),
            scrub: ScrubConfig::default(),
            servers: servers.collect(),
        }
    }

    /// The same servers under the names `s` with successive numbers from `first` on: where several processes are one
    /// group, each has names of its own.
    #[must_use]
    pub fn numbered_from(mut self, first: u16) -> Self {
        for (number, server) in (u32::from(first)..).zip(&mut self.servers) {
            server.name = format!("s{number}");
        }
        self
    }

    /// The folder of the process's secrets.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        files::folder(&self.data)
    }

    /// Whether the servers show each other certificates.
    #[must_use]
    pub fn has_authority(&self) -> bool {
        authority::certificate_path(&self.secrets()).exists()
    }

    /// The file with the tokens of the admin API, if it has any.
    #[must_use]
    pub fn api_token_path(&self) -> Option<PathBuf> {
        let made = || Some(files::api_token(&self.data)).filter(|path| path.exists());
        self.api_token.clone().or_else(made)
    }

    /// Where the other processes find the API: as advertised, else where it listens, and if that is everywhere, where the
    /// first server's peers connect. It is the same for all servers of the process, which is one by it.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        let mut api = self.advertise_api.unwrap_or(self.api);
        if let Some(first) = self.servers.first()
            && api.ip().is_unspecified()
        {
            api.set_ip(first.peer_address().ip());
        }
        api
    }

    /// The etcd that holds the directory, if one does, and what TLS with it takes.
    ///
    /// # Errors
    /// One line with the offending key and value.
    pub fn etcd(&self) -> Result<Option<(EtcdAddress, EtcdTls)>, ServeError> {
        let DirectoryTls { ca, cert, key } = &self.directory_tls;
        if self.directory == EMBEDDED {
            return match ca.as_ref().or(cert.as_ref()).or(key.as_ref()) {
                None => Ok(None),
                Some(file) => Err(error(format!(
                    "directory_tls '{}': the embedded directory takes no files; leave them out, or name an etcd",
                    file.display()
                ))),
            };
        }
        let address = EtcdAddress::parse(&self.directory)?;
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => {
                return Err(error(format!("directory_tls '{}': name cert and key, or none", one.display())));
            }
        };
        if !address.is_tls() && (ca.is_some() || identity.is_some()) {
            return Err(error(format!(
                "directory '{address}': is without TLS; with directory_tls write etcds://"
            )));
        }
        if address.is_tls() && ca.is_none() {
            return Err(error(format!(
                "directory '{address}': name the certificate of the authority that signed etcd's, directory_tls.ca"
            )));
        }
        Ok(Some((address, EtcdTls { ca: ca.clone(), identity })))
    }

    /// The folder of a server.
    #[must_use]
    pub fn folder(&self, server: &ServerConfig) -> PathBuf {
        self.data.join(&server.name)
    }

    /// The file or device of a server's store.
    #[must_use]
    pub fn store_path(&self, server: &ServerConfig) -> PathBuf {
        server.store.clone().unwrap_or_else(|| self.folder(server).join("store"))
    }
}
