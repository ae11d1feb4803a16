//! What a process is told: one TOML file, each key also a flag of `evenkeel serve`. Unknown keys are refused.

use crate::directory::{EtcdAddress, EtcdTls};
use crate::error::{ServeError, error};
use crate::security::{authority, files};
use evenkeel_api::{parse_size, show_size};
use evenkeel_store::{JOURNAL_BYTES_MAX, JOURNAL_BYTES_MIN};
use evenkeel_types::geometry::REGION_BYTES;
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

/// Whether a group can have this name.
pub(crate) fn check_group_name(name: &str) -> Result<(), ServeError> {
    check_word("group", name, GROUP_NAME_CHARS_MAX)
}

/// Whether a server can have this name.
pub(crate) fn check_server_name(name: &str) -> Result<(), ServeError> {
    check_word("server name", name, SERVER_NAME_CHARS_MAX)
}

fn check_word(what: &str, value: &str, max: usize) -> Result<(), ServeError> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if value.is_empty() || value.len() > max || !value.chars().all(ok) {
        return Err(error(format!("{what} '{value}': use 1 to {max} of a-z, 0-9 and -")));
    }
    Ok(())
}

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

/// Connections between servers. Where the group has an authority (`evenkeel group init`), both ends always show
/// certificates, and nothing is carried out that was changed on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// How what they say travels.
    #[serde(default)]
    pub data: PeerData,
}

/// How what servers say to each other travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerData {
    /// Encrypted, if one of the two ends wants it so.
    #[default]
    Encrypted,
    /// Not encrypted, for a network of the storage's own, but protected against changes.
    Plain,
}

/// What TLS with an etcd takes: files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryTls {
    /// Certificate of the authority that signed etcd's certificates.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// This process's certificate, where etcd asks for one.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// The key that belongs to it.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// How disks are driven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskConfig {
    /// Which engine; `auto` takes the best that works here.
    #[serde(default)]
    pub engine: DiskEngine,
    /// Whether to go around the page cache; absent: where the file system can.
    #[serde(default)]
    pub direct: Option<bool>,
    /// Whether a store that is made in a file takes all its space at once; else it is sparse, and a full file system
    /// refuses writes or stops the server.
    #[serde(default)]
    pub preallocate: bool,
    /// Memory of each server for blocks that were read lately, for example `256MiB`; absent: 32 MiB. Where the disk is
    /// read through the page cache, or is memory, there is none.
    #[serde(default)]
    pub read_cache: Option<String>,
}

/// How reads and writes reach a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskEngine {
    /// `inline` on memory file systems, else a ring with threads for durable writes where the kernel allows it, else
    /// `threads`.
    #[default]
    Auto,
    /// An io_uring of the server's own.
    Uring,
    /// A pool of threads with pread and pwrite.
    Threads,
    /// pread and pwrite at once: only right where they never block.
    Inline,
}

/// Balancing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceConfig {
    /// Whether servers move extents by themselves.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Weight of the storage load (disk) in the combined measure; 0 ignores it.
    #[serde(default = "one")]
    pub storage_weight: f64,
    /// Weight of the server load (CPU, network) in the combined measure; 0 ignores it.
    #[serde(default = "one")]
    pub server_weight: f64,
    /// How long a server may be away, in seconds, before its copies are made anew at others.
    #[serde(default = "rebuild_after")]
    pub rebuild_after_s: u64,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self { enabled: true, storage_weight: 1.0, server_weight: 1.0, rebuild_after_s: rebuild_after() }
    }
}

/// How everything is read and compared before somebody needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrubConfig {
    /// Bytes of its own copies that each server reads in a second, for example `4MiB`; the copies at others are read as
    /// fast. `0` for no scrub.
    #[serde(default = "scrub_rate")]
    pub rate: String,
    /// Hours between two passes over everything.
    #[serde(default = "scrub_every")]
    pub every_h: u32,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { rate: scrub_rate(), every_h: scrub_every() }
    }
}

impl ScrubConfig {
    /// Bytes per second.
    ///
    /// # Errors
    /// The rate is no size.
    pub fn rate_bytes(&self) -> Result<u64, ServeError> {
        parse_size(&self.rate).map_err(|e| error(format!("scrub rate: {e}")))
    }
}

fn scrub_rate() -> String {
    "4MiB".to_owned()
}

const fn scrub_every() -> u32 {
    168
}

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
    fn check_sizes(&self) -> Result<(), ServeError> {
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

const fn rebuild_after() -> u64 {
    evenkeel_engine::config::REBUILD_AFTER.as_secs()
}

const fn yes() -> bool {
    true
}

const fn one() -> f64 {
    1.0
}

impl ServerConfig {
    /// Where the other servers connect: what the directory tells them.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.advertise_peer.unwrap_or(self.peer)
    }

    fn check_advertised(&self, others: &[Self]) -> Result<(), ServeError> {
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

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One line with the offending key and value.
    pub fn validate(&self) -> Result<(), ServeError> {
        check_group_name(&self.group)?;
        self.scrub.rate_bytes()?;
        if !self.iqn_prefix.starts_with("iqn.")
            || self.iqn_prefix.len() > 96
            || self.iqn_prefix.contains(char::is_whitespace)
        {
            return Err(error(format!(
                "iqn_prefix '{}': must begin with iqn. and have at most 96 characters",
                self.iqn_prefix
            )));
        }
        self.etcd()?;
        self.check_api_address()?;
        if !self.api.ip().is_loopback() && self.api_token_path().is_none() {
            return Err(error(format!(
                "api '{}': must be a loopback address such as 127.0.0.1:8260, there is no token; 'evenkeel group init' \
                 makes one, api_token names another file",
                self.api
            )));
        }
        if self.api.port() == 0 {
            return Err(error(format!("api '{}': port 0 is none, name the port to listen on", self.api)));
        }
        for (what, weight) in
            [("storage_weight", self.balance.storage_weight), ("server_weight", self.balance.server_weight)]
        {
            if !weight.is_finite() || weight < 0.0 {
                return Err(error(format!("balance.{what} {weight}: must be a number from 0 on")));
            }
        }
        if self.servers.is_empty() || self.servers.len() > SERVERS_PER_PROCESS_MAX {
            return Err(error(format!(
                "{} servers: one process runs 1 to {SERVERS_PER_PROCESS_MAX}",
                self.servers.len()
            )));
        }
        if let Some(text) = &self.disk.read_cache {
            parse_size(text).map_err(|e| error(format!("disk.read_cache: {e}")))?;
        }
        let mut taken = vec![(self.api, "api".to_owned())];
        for (n, server) in self.servers.iter().enumerate() {
            check_server_name(&server.name)?;
            if self.servers[..n].iter().any(|other| other.name == server.name) {
                return Err(error(format!("server name '{}': given twice", server.name)));
            }
            if !server.peer.ip().is_loopback() && !self.has_authority() {
                return Err(error(format!(
                    "peer of {} '{}': other machines reach it, and there are no certificates in '{}'; make the group's \
                     with 'evenkeel group init', or join it, or name an address of loopback",
                    server.name,
                    server.peer,
                    self.secrets().display()
                )));
            }
            for (address, what) in [(server.portal, "portal"), (server.peer, "peer")] {
                if address.port() == 0 {
                    return Err(error(format!(
                        "{what} of {} '{address}': port 0 is none, name the port to listen on",
                        server.name
                    )));
                }
                if let Some((_, other)) = taken.iter().find(|(a, _)| *a == address) {
                    return Err(error(format!(
                        "{what} of {} '{address}': already the address of {other}",
                        server.name
                    )));
                }
                taken.push((address, format!("{what} of {}", server.name)));
            }
            server.check_sizes()?;
            server.check_advertised(&self.servers[..n])?;
            if server.domain.as_ref().is_some_and(String::is_empty) {
                return Err(error(format!("domain of {} '': give it a name or leave it out", server.name)));
            }
            if let Some(capacity) = &server.capacity {
                let figures = [
                    capacity.disk_read_iops,
                    capacity.disk_write_iops,
                    capacity.net_mib_s,
                    capacity.cpu_cores,
                ];
                if figures.iter().any(|figure| !figure.is_finite() || *figure <= 0.0) {
                    return Err(error(format!(
                        "capacity of {} {figures:?}: every figure must be above zero",
                        server.name
                    )));
                }
            }
        }
        Ok(())
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

    fn check_api_address(&self) -> Result<(), ServeError> {
        match self.advertise_api {
            Some(address) if address.ip().is_unspecified() || address.port() == 0 => Err(error(format!(
                "advertise_api '{address}': name an address and a port that other processes can connect to"
            ))),
            _ => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        data = "/srv/evenkeel"
        [[server]]
        name = "s1"
        portal = "127.0.0.1:3260"
        peer = "127.0.0.1:7260"
        [server.capacity]
        disk_read_iops = 1000
        disk_write_iops = 500
        net_mib_s = 100
        cpu_cores = 0.5
    "#;

    fn load(text: &str) -> Result<ServeConfig, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ServeConfig::load(file.path()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_with_one_server_gets_the_defaults() {
        let config = load(FILE).unwrap();
        assert_eq!(config.api.port(), 8260);
        assert_eq!(config.store_path(&config.servers[0]), Path::new("/srv/evenkeel/s1/store"));
        assert_eq!(config.servers[0].capacity.unwrap().cpu_cores, 0.5);
    }

    #[test]
    fn peers_are_told_the_advertised_address_and_else_the_one_listened_on() {
        let plain = load(FILE).unwrap();
        assert_eq!(plain.servers[0].peer_address(), plain.servers[0].peer);
        let translated = "advertise_peer = \"203.0.113.7:17260\"\n[server.capacity]";
        let config = load(&FILE.replace("[server.capacity]", translated)).unwrap();
        assert_eq!(config.servers[0].peer_address().to_string(), "203.0.113.7:17260");
        let second = "[[server]]\nname = \"s2\"\nportal = \"127.0.0.1:3261\"\npeer = \"127.0.0.1:7261\"\nadvertise_peer = \"127.0.0.1:7260\"";
        let error = load(&format!("{FILE}\n{second}")).unwrap_err();
        assert!(error.contains("already the address of s1"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_name_and_line() {
        let error = load(&format!("colour = 1\n{FILE}")).unwrap_err();
        assert!(error.contains("colour") && error.contains("line 1:"), "{error}");
        let error = load(&FILE.replace("[server.capacity]", "shade = 1\n[server.capacity]")).unwrap_err();
        assert!(error.contains("shade") && error.contains("line 7:"), "{error}");
    }

    #[test]
    fn with_a_token_the_api_and_with_an_authority_the_peer_ports_may_be_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().display().to_string();
        let text = FILE.replace("/srv/evenkeel", &data).replace("127.0.0.1:7260", "10.0.0.11:7260");
        let text = format!("api = \"0.0.0.0:8260\"\n{text}");
        assert!(load(&text).unwrap_err().contains("there is no token"));
        let named = format!("api_token = \"/etc/token\"\n{text}");
        assert!(load(&named).unwrap_err().contains("there are no certificates"));
        let _ = crate::found(folder.path(), "lab").unwrap();
        let config = load(&text).unwrap();
        assert_eq!(config.api_token_path(), Some(folder.path().join("tls/api-token")));
        assert_eq!(load(&named).unwrap().api_token_path(), Some("/etc/token".into()));
        assert_eq!(config.peer.data, PeerData::Encrypted);
        let plain = load(&format!("peer.data = \"plain\"\n{text}")).unwrap();
        assert_eq!(plain.peer.data, PeerData::Plain);
    }

    #[test]
    fn wrong_values_are_named() {
        for (from, to, word) in [
            ("\"s1\"", "\"S 1\"", "'S 1'"),
            ("127.0.0.1:7260", "127.0.0.1:3260", "already the address"),
            ("= 1000", "= -1", "above zero"),
            ("127.0.0.1:7260", "127.0.0.1:0", "port 0"),
            ("[server.capacity]", "size = \"many\"\n[server.capacity]", "'many'"),
            ("data =", "disk.read_cache = \"much\"\ndata =", "'much'"),
            ("[server.capacity]", "size = \"1MiB\"\n[server.capacity]", "'1MiB'"),
            ("[server.capacity]", "journal = \"1GiB1\"\n[server.capacity]", "'1GiB1'"),
            ("[server.capacity]", "journal = \"17GiB\"\n[server.capacity]", "'17GiB'"),
            ("[server.capacity]", "journal = \"1025KiB\"\n[server.capacity]", "'1025KiB'"),
            ("[server.capacity]", "domain = \"\"\n[server.capacity]", "domain of s1"),
            ("data =", "balance = { storage_weight = -1.0 }\ndata =", "storage_weight -1"),
            ("data =", "balance = { server_weight = nan }\ndata =", "server_weight NaN"),
            ("[server.capacity]", "advertise_peer = \"0.0.0.0:7260\"\n[server.capacity]", "'0.0.0.0:7260'"),
            ("data =", "api = \"0.0.0.0:8260\"\ndata =", "loopback"),
            ("127.0.0.1:7260", "10.0.0.11:7260", "evenkeel group init"),
            ("data =", "peer.data = \"rot13\"\ndata =", "rot13"),
            ("data =", "directory = \"etcd://\"\ndata =", "'etcd://'"),
            ("data =", "directory = \"etcd://a\"\nadvertise_api = \"0.0.0.0:8260\"\ndata =", "advertise_api"),
            ("data =", "directory = \"zookeeper\"\ndata =", "'zookeeper'"),
            ("data =", "directory = \"etcds://a\"\ndata =", "directory_tls.ca"),
            ("data =", "directory = \"etcd://a\"\ndirectory_tls.ca = \"f\"\ndata =", "write etcds://"),
            ("data =", "directory = \"etcds://a\"\ndirectory_tls.cert = \"f\"\ndata =", "cert and key"),
            ("data =", "directory_tls.ca = \"f\"\ndata =", "embedded"),
        ] {
            let error = load(&FILE.replace(from, to)).unwrap_err();
            assert!(error.contains(word) && !error.contains('\n'), "{error}");
        }
    }
}
