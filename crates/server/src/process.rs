//! Starting and stopping the servers of one process.
//!
//! The servers are equal and separate: each has a thread, a store, a portal, a peer port, a monitor and its own view
//! of routes and load, which only messages on its own sockets fill. Nothing but the handle of the directory is shared.

use crate::ask::{ASKS_MAX, Ask, ServerHandle};
use crate::clock::wall_ms;
use crate::config::{ServeConfig, ServerConfig};
use crate::directory::EtcdDirectory;
use crate::disk::sync_folder;
use crate::error::{ServeError, error};
use crate::http::{self, Group, Guard};
use crate::membership;
use crate::names::TargetNames;
use crate::own::{self, OwnServers};
use crate::panics;
use crate::security::api_token::TokenFile;
use crate::security::identity::Identity;
use crate::server::{self, Begun, Launch};
use evenkeel_meta::{Directory, EmbeddedDirectory, Keyspace};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// How long the servers get to log their sessions out and make their stores clean.
const STOP_WITHIN: Duration = Duration::from_millis(4500);
/// How long a start waits for a directory that does not answer: both may have been switched on at the same time.
const DIRECTORY_WITHIN: Duration = Duration::from_secs(10);
/// How often leases of the embedded directory are looked at.
const LEASE_TICK: Duration = Duration::from_millis(250);

/// The servers of this process while they run.
pub struct Running {
    group: Arc<Group>,
    threads: Vec<JoinHandle<Result<(), ServeError>>>,
    api: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    ticker: Option<Ticker>,
}

/// The thread that tells the embedded directory the time, and what ends it.
type Ticker = (Arc<AtomicBool>, JoinHandle<()>);

/// Runs the servers until SIGTERM, Ctrl-C, or the end of the last of them. A panic ends the process.
///
/// # Errors
/// One line: why the servers could not start, or why one of them stopped.
pub fn serve(config: ServeConfig) -> Result<(), ServeError> {
    panics::end_the_process();
    let signals = Signals::catch()?;
    let running = start(config)?;
    let reason = signals.wait(|| running.threads.iter().all(JoinHandle::is_finished));
    tracing::info!("{reason}: stopping");
    running.stop()
}

/// The signals that end a process. One that comes during the start is not lost, and does not cut the start short.
struct Signals {
    runtime: tokio::runtime::Runtime,
    term: Signal,
    int: Signal,
}

impl Signals {
    /// From now on they are noted.
    fn catch() -> Result<Self, ServeError> {
        let runtime = small_runtime()?;
        let wrong = |e: std::io::Error| error(format!("cannot wait for signals: {e}"));
        let caught = runtime
            .block_on(async { Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)) });
        let (term, int) = caught.map_err(wrong)?;
        Ok(Self { runtime, term, int })
    }

    /// Blocks until SIGTERM, Ctrl-C, or the end of the last server; says which. One that stops because of its disk leaves
    /// the others be.
    fn wait(mut self, has_ended: impl Fn() -> bool) -> &'static str {
        self.runtime.block_on(async {
            let ended = async {
                while !has_ended() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            tokio::select! {
                _ = self.term.recv() => "SIGTERM",
                _ = self.int.recv() => "Ctrl-C",
                () = ended => "no server is left",
            }
        })
    }
}

/// Starts the servers; when this returns, their ports are open and they find each other.
///
/// # Errors
/// One line: what is wrong with the configuration, a port, the folder or a store.
pub fn start(config: ServeConfig) -> Result<Running, ServeError> {
    config.validate()?;
    make_folder(&config.data)?;
    let guard = match config.api_token_path() {
        Some(path) => Some(Guard::new(TokenFile::open(path)?)),
        None => None,
    };
    let api = listen(config.api, "api")?;
    let mut sockets = Vec::new();
    for server in &config.servers {
        let portal = listen(server.portal, &format!("portal of {}", server.name))?;
        let peer = listen(server.peer, &format!("peer port of {}", server.name))?;
        sockets.push((portal, peer));
    }
    let identities = identities(&config)?;
    let keys = Keyspace::new(&config.group).map_err(|e| error(e.to_string()))?;
    let (directory, ticker) = open_directory(&config)?;
    if ticker.is_some() {
        check_same_servers(&*directory, &keys, &config)?;
    } else {
        OwnServers::expect_group(&config.data, &membership::read(&*directory, &keys)?)?;
    }
    let group_id = membership::begin_group(&*directory, &keys, &config.group)?;
    let own = match ticker {
        Some(_) => None,
        None => Some(claim_servers(&*directory, &keys, &config, group_id)?),
    };
    for identity in identities.iter().flatten() {
        let Identity { fingerprint, server, .. } = identity;
        membership::record_certificate(&*directory, &keys, *fingerprint, server, wall_ms())?;
    }
    let names = TargetNames::new(&config.iqn_prefix, &config.group);
    let mut launched = Vec::new();
    for ((server, (portal, peer)), identity) in config.servers.iter().zip(sockets).zip(identities) {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let stopped = Arc::new(OnceLock::new());
        let launch = Launch {
            config: config.clone(),
            server: server.clone(),
            directory: Arc::clone(&directory),
            keys: keys.clone(),
            group_id,
            mark: own.as_ref().and_then(|own| own.mark(&server.name)).unwrap_or(0),
            names: names.clone(),
            portal,
            peer,
            identity,
            asked,
            stopped: Arc::clone(&stopped),
        };
        launched.push((server.name.clone(), asks, stopped, server::launch(launch)?));
    }
    // All stores are open: none of the servers does anything before it is sure that they all can.
    let mut servers = Vec::new();
    let mut threads = Vec::new();
    for (name, asks, stopped, server) in launched {
        let Begun { thread, id, incarnation } = server.begin()?;
        servers.push(ServerHandle { name, id, incarnation, asks, stopped });
        threads.push(thread);
    }
    let group = Arc::new(Group { config, keys, names, directory, servers });
    if guard.is_none() {
        tracing::info!("the admin API has no token: everybody on this machine may use it, nobody else");
    }
    let api = serve_api(api, Arc::clone(&group), guard)?;
    Ok(Running { group, threads, api: Some(api), ticker })
}

/// Opens the directory; one in the data folder comes with a thread that tells it the time.
fn open_directory(config: &ServeConfig) -> Result<(Arc<dyn Directory>, Option<Ticker>), ServeError> {
    let (path, own) = (config.data.join("directory"), own::file(&config.data));
    let Some((address, tls)) = config.etcd()? else {
        if own.exists() {
            return Err(error(format!(
                "data folder '{}': its servers belong to a group whose directory is elsewhere; name it with --directory",
                config.data.display()
            )));
        }
        let embedded = Arc::new(EmbeddedDirectory::open(&path).map_err(|e| error(e.to_string()))?);
        let ticker = tick_leases(Arc::clone(&embedded));
        return Ok((embedded, Some(ticker)));
    };
    if path.exists() {
        return Err(error(format!(
            "data folder '{}': its servers belong to a group with a directory of its own, in the same folder; name another \
             folder for servers of a group on '{address}'",
            config.data.display()
        )));
    }
    Ok((Arc::new(EtcdDirectory::open(&address, &tls, DIRECTORY_WITHIN)?), None))
}

/// Notes which servers of the group are this folder's, or makes sure that they are those.
fn claim_servers(
    directory: &dyn Directory,
    keys: &Keyspace,
    config: &ServeConfig,
    group_id: u64,
) -> Result<OwnServers, ServeError> {
    let names: Vec<&str> = config.servers.iter().map(|server| server.name.as_str()).collect();
    OwnServers::claim(&config.data, &names, &membership::read(directory, keys)?, group_id)
}

impl Running {
    /// The configuration that the servers run with.
    #[must_use]
    pub fn config(&self) -> &ServeConfig {
        &self.group.config
    }

    /// Logs all sessions out, makes the stores clean, and ends.
    ///
    /// # Errors
    /// One line if a server failed, now or earlier; of several the first.
    pub fn stop(mut self) -> Result<(), ServeError> {
        let runtime = small_runtime()?;
        runtime.block_on(async {
            let stops = self.group.servers.iter().map(|server| {
                let server = server.clone();
                tokio::task::spawn(async move { server.ask(Ask::Stop).await })
            });
            let all: Vec<_> = stops.collect();
            let _ = tokio::time::timeout(STOP_WITHIN, async {
                for stop in all {
                    let _ = stop.await;
                }
            })
            .await;
        });
        if let Some((end, thread)) = self.api.take() {
            let _ = end.send(());
            let _ = thread.join();
        }
        if let Some((end, thread)) = self.ticker.take() {
            end.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
        let mut all = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().map_err(|_| error("a server's thread panicked; its log says where"));
            all = all.and(ended.and_then(|ended| ended));
        }
        all
    }
}

fn small_runtime() -> Result<tokio::runtime::Runtime, ServeError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|e| error(format!("cannot start a runtime: {e}")))
}

pub(crate) fn make_folder(data: &Path) -> Result<(), ServeError> {
    match std::fs::create_dir(data) {
        Ok(()) => sync_folder(data.parent().unwrap_or(Path::new("/")))
            .map_err(|e| error(format!("data folder '{}': cannot make it durable: {e}", data.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && data.is_dir() => Ok(()),
        Err(e) => {
            let what_to_do = match e.kind() {
                std::io::ErrorKind::NotFound => "make its parent first",
                std::io::ErrorKind::AlreadyExists => "it is no folder, name another",
                _ => "name a folder that can be made or used",
            };
            Err(error(format!("data folder '{}': {e}; {what_to_do}", data.display())))
        }
    }
}

/// What each server shows its peers, if the group has an authority.
fn identities(config: &ServeConfig) -> Result<Vec<Option<Identity>>, ServeError> {
    let has_authority = config.has_authority();
    let identity = |server: &ServerConfig| {
        let load = || Identity::load(&config.secrets(), &config.group, &server.name);
        has_authority.then(load).transpose()
    };
    config.servers.iter().map(identity).collect()
}

fn listen(address: SocketAddr, what: &str) -> Result<TcpListener, ServeError> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
        .and_then(|socket| {
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(256)?;
            Ok(socket)
        })
        .map_err(|e| error(format!("{what} {address}: {e}; stop what uses it or choose another port")))?;
    Ok(socket.into())
}

/// The folder belongs to a group of certain servers; another number would be another group.
fn check_same_servers(
    directory: &dyn Directory,
    keys: &Keyspace,
    config: &ServeConfig,
) -> Result<(), ServeError> {
    let view = membership::read(directory, keys)?;
    let known: Vec<&str> = view.servers().map(|(_, kept)| kept.record.name.as_str()).collect();
    let mut given: Vec<&str> =
        config.servers.iter().map(|server: &ServerConfig| server.name.as_str()).collect();
    given.sort_unstable();
    let mut sorted = known.clone();
    sorted.sort_unstable();
    if known.is_empty() || sorted == given {
        return Ok(());
    }
    Err(error(format!(
        "data folder '{}' holds the servers {} ({}), asked for were {} ({}): start it with the same servers",
        config.data.display(),
        sorted.join(", "),
        sorted.len(),
        given.join(", "),
        given.len()
    )))
}

fn tick_leases(directory: Arc<EmbeddedDirectory>) -> Ticker {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            if let Err(e) = directory.advance(crate::clock::now()) {
                tracing::error!("directory: {e}");
            }
            std::thread::sleep(LEASE_TICK);
        }
    });
    (stop, thread)
}

fn serve_api(
    listener: TcpListener,
    group: Arc<Group>,
    guard: Option<Guard>,
) -> Result<(oneshot::Sender<()>, JoinHandle<()>), ServeError> {
    let runtime = small_runtime()?;
    let (end, ended) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(e) => return tracing::error!("api: {e}"),
            };
            let router = http::router(group, guard).into_make_service_with_connect_info::<SocketAddr>();
            let server = axum::serve(listener, router);
            tokio::select! {
                result = server => if let Err(e) = result { tracing::error!("api: {e}") },
                _ = ended => {}
            }
        });
    });
    Ok((end, thread))
}
