//! `evenkeel serve`: runs servers until SIGTERM or Ctrl-C.
//!
//! What a file says, a flag overrides. Without a file the flags make equal servers `s1`, `s2` ... on successive
//! ports.

use crate::failure::{Exit, Failure};
use evenkeel_api::parse_size;
use evenkeel_server::ServeConfig;
use evenkeel_server::config::{CapacityConfig, DiskEngine, PeerData};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Port of the first server's portal (RFC 7143 section 4.2.7: the well-known iSCSI port).
const PORTAL_PORT: u16 = 3260;
/// Port of the first server for its peers.
const PEER_PORT: u16 = 7260;
/// Port of the API.
const API_PORT: u16 = 8260;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// Configuration file (TOML) that lists the servers.
    #[arg(long, env = "EVENKEEL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the directory and of the servers' stores.
    #[arg(long, env = "EVENKEEL_DATA", value_name = "DIR", required_unless_present = "config")]
    data: Option<PathBuf>,
    /// Number of servers, without a file [default: 1].
    #[arg(long, env = "EVENKEEL_SERVERS", value_name = "N", conflicts_with = "config")]
    servers: Option<u16>,
    /// Number of the first server, without a file: with 4 they are s4, s5 ... Where several processes are one group, each
    /// has names of its own [default: 1].
    #[arg(long, env = "EVENKEEL_FIRST_SERVER", value_name = "N", conflicts_with = "config")]
    first_server: Option<u16>,
    /// Where the group's directory is: embedded (in the data folder, for a group of one process), or
    /// etcd://HOST:PORT with more members after commas, etcds:// for TLS [default: embedded].
    #[arg(long, env = "EVENKEEL_DIRECTORY", value_name = "ADDRESS")]
    directory: Option<String>,
    /// Certificate (PEM) of the authority that signed etcd's.
    #[arg(long, env = "EVENKEEL_DIRECTORY_CA", value_name = "FILE")]
    directory_ca: Option<PathBuf>,
    /// This process's certificate (PEM) for etcd, where it asks for one.
    #[arg(long, env = "EVENKEEL_DIRECTORY_CERT", value_name = "FILE")]
    directory_cert: Option<PathBuf>,
    /// The key (PEM) that belongs to it.
    #[arg(long, env = "EVENKEEL_DIRECTORY_KEY", value_name = "FILE")]
    directory_key: Option<PathBuf>,
    /// Where initiators connect to the first server; the others follow on successive ports
    /// [default: 127.0.0.1:3260].
    #[arg(long, env = "EVENKEEL_PORTAL", value_name = "IP:PORT")]
    portal: Option<SocketAddr>,
    /// Where servers connect to the first server, on this machine; the others follow on successive ports
    /// [default: 7260].
    #[arg(long, env = "EVENKEEL_PEER_PORT", value_name = "PORT")]
    peer_port: Option<u16>,
    /// Where the other servers connect to the first server if that is not where it listens, as behind address
    /// translation; the others follow on successive ports.
    #[arg(long, env = "EVENKEEL_ADVERTISE_PEER", value_name = "IP:PORT")]
    advertise_peer: Option<SocketAddr>,
    /// Where the admin API is; without a token on loopback only [default: 127.0.0.1:8260].
    #[arg(long, env = "EVENKEEL_API_LISTEN", value_name = "IP:PORT")]
    api: Option<SocketAddr>,
    /// Where the other processes of the group reach the admin API, if that is not where it listens.
    #[arg(long, env = "EVENKEEL_ADVERTISE_API", value_name = "IP:PORT")]
    advertise_api: Option<SocketAddr>,
    /// File with the tokens of the admin API [default: tls/api-token in the data folder, if it exists].
    #[arg(long, env = "EVENKEEL_API_TOKEN_FILE", value_name = "FILE")]
    api_token: Option<PathBuf>,
    /// How what servers say to each other travels where they show certificates: encrypted or plain [default: encrypted].
    #[arg(long, env = "EVENKEEL_PEER_DATA", value_name = "MODE", value_parser = peer_data)]
    peer_data: Option<PeerData>,
    /// Name of the group: part of every target name [default: evenkeel].
    #[arg(long, env = "EVENKEEL_GROUP", value_name = "NAME")]
    group: Option<String>,
    /// What target names begin with [default: iqn.2026-01.io.evenkeel].
    #[arg(long, env = "EVENKEEL_IQN_PREFIX", value_name = "PREFIX")]
    iqn_prefix: Option<String>,
    /// Failure domain of the servers [default: this machine's name].
    #[arg(long, env = "EVENKEEL_DOMAIN", value_name = "NAME")]
    domain: Option<String>,
    /// Size of each store when it is made, for example 64GiB.
    #[arg(long, env = "EVENKEEL_STORE_SIZE", value_name = "SIZE", value_parser = size_text)]
    store_size: Option<String>,
    /// Size of each store's journal when it is made, for example 256MiB.
    #[arg(long, env = "EVENKEEL_JOURNAL_SIZE", value_name = "SIZE", value_parser = size_text)]
    journal_size: Option<String>,
    /// How disks are driven: auto, uring, threads or inline.
    #[arg(long, env = "EVENKEEL_DISK_ENGINE", value_name = "ENGINE", value_parser = disk_engine)]
    disk_engine: Option<DiskEngine>,
    /// Whether to go around the page cache [default: where the file system can].
    #[arg(long, env = "EVENKEEL_DIRECT", value_name = "true|false")]
    direct: Option<bool>,
    /// Whether a store that is made in a file takes all its space at once [default: false].
    #[arg(long, env = "EVENKEEL_PREALLOCATE", value_name = "true|false")]
    preallocate: Option<bool>,
    /// Memory of each server for blocks that were read lately; 0 for none [default: 32MiB].
    #[arg(long, env = "EVENKEEL_READ_CACHE", value_name = "SIZE", value_parser = size_text)]
    read_cache: Option<String>,
    /// Whether servers move extents by themselves [default: true].
    #[arg(long, env = "EVENKEEL_BALANCE", value_name = "true|false")]
    balance: Option<bool>,
    /// How long a server may be away before its copies are made anew at others, in seconds [default: 600].
    #[arg(long, env = "EVENKEEL_REBUILD_AFTER_S", value_name = "SECONDS")]
    rebuild_after_s: Option<u64>,
    /// Bytes of its own copies that each server reads in a second to find bad blocks; 0 for none [default: 4MiB].
    #[arg(long, env = "EVENKEEL_SCRUB_RATE", value_name = "SIZE", value_parser = size_text)]
    scrub_rate: Option<String>,
    /// Hours between two such passes over everything [default: 168].
    #[arg(long, env = "EVENKEEL_SCRUB_EVERY_H", value_name = "HOURS")]
    scrub_every_h: Option<u32>,
    /// Weight of the storage load in the combined measure; 0 ignores it [default: 1].
    #[arg(long, env = "EVENKEEL_STORAGE_WEIGHT", value_name = "WEIGHT")]
    storage_weight: Option<f64>,
    /// Weight of the CPU and network load in the combined measure; 0 ignores it [default: 1].
    #[arg(long, env = "EVENKEEL_SERVER_WEIGHT", value_name = "WEIGHT")]
    server_weight: Option<f64>,
    /// What each server can do, as keys of [server.capacity]: disk_read_iops=N,disk_write_iops=N,net_mib_s=N,cpu_cores=N
    /// [default: measured at the start].
    #[arg(long, env = "EVENKEEL_CAPACITY", value_name = "KEY=VALUE,...", value_parser = capacity)]
    capacity: Option<CapacityConfig>,
    /// What to log on stderr: error, warn, info, debug, trace, or a list such as info,evenkeel_store=debug.
    #[arg(long, env = "EVENKEEL_LOG", value_name = "LEVEL", default_value = "info", value_parser = log_filter)]
    log: String,
}

pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let config = configuration(flags)?;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&flags.log))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    evenkeel_server::serve(config).map_err(Failure::failed)
}

/// The file, if there is one, with the flags over it.
fn configuration(flags: &Flags) -> Result<ServeConfig, Failure> {
    let wrong = |error| Failure::new(Exit::Usage, error);
    for (flag, port) in [
        ("--portal", flags.portal.map(|portal| portal.port())),
        ("--peer-port", flags.peer_port),
        ("--advertise-peer", flags.advertise_peer.map(|peer| peer.port())),
        ("--api", flags.api.map(|api| api.port())),
    ] {
        if port == Some(0) {
            return Err(Failure::new(
                Exit::Usage,
                format_args!("{flag} with port 0: name the port to listen on"),
            ));
        }
    }
    let mut config = match &flags.config {
        Some(file) => ServeConfig::load(file).map_err(wrong)?,
        None => ServeConfig::equal_servers(
            flags.data.as_deref().expect("the parser requires --data where there is no --config"),
            flags.servers.unwrap_or(1),
            SocketAddr::new(LOOPBACK, PORTAL_PORT),
            SocketAddr::new(LOOPBACK, PEER_PORT),
            SocketAddr::new(LOOPBACK, API_PORT),
        )
        .numbered_from(flags.first_server.unwrap_or(1)),
    };
    override_group(&mut config, flags);
    override_servers(&mut config, flags)?;
    config.validate().map_err(wrong)?;
    Ok(config)
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn override_group(config: &mut ServeConfig, flags: &Flags) {
    set(&mut config.data, &flags.data);
    set(&mut config.advertise_api, &flags.advertise_api.map(Some));
    set(&mut config.directory, &flags.directory);
    set(&mut config.directory_tls.ca, &flags.directory_ca.clone().map(Some));
    set(&mut config.directory_tls.cert, &flags.directory_cert.clone().map(Some));
    set(&mut config.directory_tls.key, &flags.directory_key.clone().map(Some));
    set(&mut config.api, &flags.api);
    set(&mut config.api_token, &flags.api_token.clone().map(Some));
    set(&mut config.peer.data, &flags.peer_data);
    set(&mut config.group, &flags.group);
    set(&mut config.iqn_prefix, &flags.iqn_prefix);
    set(&mut config.disk.engine, &flags.disk_engine);
    set(&mut config.disk.direct, &flags.direct.map(Some));
    set(&mut config.disk.preallocate, &flags.preallocate);
    set(&mut config.disk.read_cache, &flags.read_cache.clone().map(Some));
    set(&mut config.balance.enabled, &flags.balance);
    set(&mut config.balance.rebuild_after_s, &flags.rebuild_after_s);
    set(&mut config.scrub.rate, &flags.scrub_rate);
    set(&mut config.scrub.every_h, &flags.scrub_every_h);
    set(&mut config.balance.storage_weight, &flags.storage_weight);
    set(&mut config.balance.server_weight, &flags.server_weight);
}

fn override_servers(config: &mut ServeConfig, flags: &Flags) -> Result<(), Failure> {
    for (n, server) in config.servers.iter_mut().enumerate() {
        let successive = |first: u16| {
            let port = u16::try_from(n).ok().and_then(|n| first.checked_add(n));
            port.ok_or_else(|| {
                let line =
                    format!("port {first}: the ports of server {} and later are above 65535", server.name);
                Failure::new(Exit::Usage, line)
            })
        };
        if let Some(portal) = flags.portal {
            server.portal = SocketAddr::new(portal.ip(), successive(portal.port())?);
        }
        if let Some(first) = flags.peer_port {
            server.peer.set_port(successive(first)?);
        }
        if let Some(peer) = flags.advertise_peer {
            server.advertise_peer = Some(SocketAddr::new(peer.ip(), successive(peer.port())?));
        }
        set(&mut server.size, &flags.store_size.clone().map(Some));
        set(&mut server.journal, &flags.journal_size.clone().map(Some));
        set(&mut server.domain, &flags.domain.clone().map(Some));
        set(&mut server.capacity, &flags.capacity.map(Some));
    }
    Ok(())
}

fn set<T: Clone>(key: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        key.clone_from(value);
    }
}

fn size_text(text: &str) -> Result<String, String> {
    parse_size(text).map(|_| text.to_owned())
}

fn capacity(text: &str) -> Result<CapacityConfig, String> {
    toml::from_str(&text.replace(',', "\n")).map_err(|error| error.message().replace('\n', " "))
}

fn disk_engine(text: &str) -> Result<DiskEngine, String> {
    serde_json::from_value(text.into()).map_err(|_| "use auto, uring, threads or inline".to_owned())
}

fn peer_data(text: &str) -> Result<PeerData, String> {
    serde_json::from_value(text.into()).map_err(|_| "use encrypted or plain".to_owned())
}

fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
