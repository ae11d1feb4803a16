//! The demo's group: three equal servers in this process, their data in a folder that goes away with them.

use super::scenario::{CAPACITY, SERVERS, VOLUME, VOLUME_BYTES};
use crate::client::Client;
use crate::failure::Failure;
use evenkeel_api::{Balancing, CreateVolume, Health, Volume, show_size};
use evenkeel_server::{Running, ServeConfig};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// First of the usual ports of portals, of peers, and the port of the API.
const USUAL_PORTS: (u16, u16, u16) = (3260, 7260, 8260);
/// Size of each store: thin, so that it only takes what is written.
const STORE_SIZE: &str = "6GiB";
/// Size of each journal.
const JOURNAL_SIZE: &str = "128MiB";
/// Space that must be free: the volume, the journals, and what moves and checkpoints take for a while.
const SPACE_BYTES_MIN: u64 = VOLUME_BYTES + (3 << 29);
/// Time for the group to serve.
const SERVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The servers while they run. What it is made of goes away in this order: first the servers, then their data.
pub(super) struct Group {
    running: Running,
    client: Client,
    api: SocketAddr,
    portals: Vec<SocketAddr>,
    names: Vec<String>,
    folder: TempDir,
}

impl Group {
    /// Starts the servers, not balancing yet, and waits until they serve.
    pub(super) fn start() -> Result<Self, Failure> {
        let parent = parent_folder();
        let parent = parent.as_path();
        let wrong = |e: std::io::Error| {
            Failure::failed(format_args!("folder '{}': {e}; set TMPDIR", parent.display()))
        };
        check_space(parent)?;
        let folder = tempfile::Builder::new().prefix("evenkeel-demo-").tempdir_in(parent).map_err(wrong)?;
        let config = config(folder.path())?;
        let portals = config.servers.iter().map(|server| server.portal).collect();
        let names = config.servers.iter().map(|server| server.name.clone()).collect();
        let api = config.api;
        let running = evenkeel_server::start(config).map_err(Failure::failed)?;
        let client = Client::new(&format!("http://{api}"), None)?;
        let group = Self { running, client, api, portals, names, folder };
        match group.wait_until_serving() {
            Ok(()) => Ok(group),
            Err(failure) => {
                let _ = group.stop();
                Err(failure)
            }
        }
    }

    fn wait_until_serving(&self) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            let health: Health = self.client.get("/v1/health")?;
            if health.serving {
                return Ok(());
            }
            if start.elapsed() > SERVE_TIMEOUT {
                let what = health.waiting_for.unwrap_or_default();
                return Err(Failure::failed(format_args!("the servers do not begin to serve: {what}")));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Makes the volume.
    pub(super) fn create_volume(&self) -> Result<Volume, Failure> {
        let new = CreateVolume {
            name: VOLUME.to_owned(),
            size_bytes: VOLUME_BYTES,
            allow: vec!["any".to_owned()],
            replicas: Some(1),
            same_host: false,
        };
        self.client.post("/v1/volumes", &new)
    }

    /// Lets the servers move extents.
    pub(super) fn enable_balancing(&self) -> Result<(), Failure> {
        self.client.put::<_, Balancing>("/v1/balancing", &Balancing { enabled: true }).map(drop)
    }

    /// The client of its API.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Where its API is.
    pub(super) const fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where initiators connect, server by server.
    pub(super) fn portals(&self) -> &[SocketAddr] {
        &self.portals
    }

    /// The names of the servers.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Where the data is.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the servers and removes their data.
    pub(super) fn stop(self) -> Result<(), Failure> {
        let stopped = self.running.stop().map_err(Failure::failed);
        let path = self.folder.path().to_owned();
        let removed = self.folder.close().map_err(|e| {
            Failure::failed(format_args!("folder '{}': {e}; remove it yourself", path.display()))
        });
        stopped.and(removed)
    }
}

/// `TMPDIR`, or the folder for large temporary files: `/tmp` is often in memory.
fn parent_folder() -> PathBuf {
    let large = Path::new("/var/tmp");
    match std::env::var_os("TMPDIR") {
        None if large.is_dir() => large.to_owned(),
        _ => std::env::temp_dir(),
    }
}

fn check_space(folder: &Path) -> Result<(), Failure> {
    let wrong = |e: rustix::io::Errno| {
        Failure::failed(format_args!("folder '{}': {e}; set TMPDIR", folder.display()))
    };
    let stat = rustix::fs::statvfs(folder).map_err(wrong)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < SPACE_BYTES_MIN {
        return Err(Failure::failed(format_args!(
            "folder '{}': {} are free, the demo takes {}; set TMPDIR to a folder with more",
            folder.display(),
            show_size(free),
            show_size(SPACE_BYTES_MIN)
        )));
    }
    Ok(())
}

fn config(folder: &Path) -> Result<ServeConfig, Failure> {
    let (portal, peer, api) = USUAL_PORTS;
    let mut config =
        ServeConfig::equal_servers(folder, SERVERS as u16, loopback(portal), loopback(peer), loopback(api));
    // The disks are to be what runs short: what memory serves takes nothing of their capacity.
    config.disk.read_cache = Some("0".to_owned());
    config.group = "demo".to_owned();
    config.balance.enabled = false;
    for server in &mut config.servers {
        server.size = Some(STORE_SIZE.to_owned());
        server.journal = Some(JOURNAL_SIZE.to_owned());
        server.capacity = Some(CAPACITY);
    }
    use_free_ports(&mut config)
        .map_err(|e| Failure::failed(format_args!("no free ports on {}: {e}", Ipv4Addr::LOCALHOST)))?;
    Ok(config)
}

/// Keeps the usual ports if they are all free, and takes others for all if one is not.
fn use_free_ports(config: &mut ServeConfig) -> std::io::Result<()> {
    let mut addresses: Vec<&mut SocketAddr> = Vec::new();
    for server in &mut config.servers {
        addresses.extend([&mut server.portal, &mut server.peer]);
    }
    addresses.push(&mut config.api);
    if addresses.iter().all(|address| TcpListener::bind(**address).is_ok()) {
        return Ok(());
    }
    // All are held at once, so that none is given twice.
    let free = addresses.iter().map(|_| TcpListener::bind(loopback(0))).collect::<Result<Vec<_>, _>>()?;
    for (address, listener) in addresses.into_iter().zip(free) {
        *address = listener.local_addr()?;
    }
    Ok(())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
