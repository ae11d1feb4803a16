//! A group of servers in a process of its own.

use crate::api::Api;
use crate::namespace::Namespace;
use crate::ports::free_ports;
use crate::process::Process;
use crate::program::{Ran, run_within};
use crate::relay::PeerRelays;
use crate::tamper::Tamper;
use rustix::process::{Pid, Signal};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How a group is started.
pub struct GroupOptions {
    /// Servers in the process.
    pub servers: u16,
    /// Number of the first, where several processes are one group.
    pub first_server: u16,
    /// More flags for `evenkeel serve`.
    pub flags: Vec<String>,
    /// Where the data lies; absent: a temporary folder.
    pub data: Option<PathBuf>,
    /// Files or block devices of the stores, one for each server; empty: in the data folder.
    pub stores: Vec<PathBuf>,
    /// Whether the servers reach each other through relays that count what passes.
    pub relays: bool,
    /// Whether the servers reach each other through relays that flip bits when they are told to.
    pub tampered: bool,
    /// Whether the group has an authority and a token of its API.
    pub secrets: Secrets,
    /// What each server can do, as lines of `[server.capacity]`; absent: measured.
    pub capacity: Option<String>,
    /// The network in which the process runs, and its address there; absent: loopback of the scenario's network.
    pub network: Option<(Arc<Namespace>, Ipv4Addr)>,
}

/// Where a group's secrets come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secrets {
    /// It has none.
    None,
    /// `evenkeel group init` makes them.
    Made,
    /// They are in its data folder already.
    There,
}

impl GroupOptions {
    /// This many servers, small stores, everything else by default.
    #[must_use]
    pub fn servers(servers: u16) -> Self {
        Self {
            servers,
            first_server: 1,
            flags: vec!["--store-size".into(), "4GiB".into()],
            data: None,
            stores: Vec::new(),
            relays: false,
            tampered: false,
            secrets: Secrets::None,
            capacity: None,
            network: None,
        }
    }

    /// The same in a network of the process's own, with this address there, on the ports that are the default.
    #[must_use]
    pub fn in_network(mut self, network: &Arc<Namespace>, ip: Ipv4Addr) -> Self {
        self.network = Some((Arc::clone(network), ip));
        self
    }

    /// The same with names of their own for the servers of this process: from this number on.
    #[must_use]
    pub const fn from_server(mut self, first: u16) -> Self {
        self.first_server = first;
        self
    }

    /// The same with stores of another size.
    #[must_use]
    pub fn store_size(mut self, size: &str) -> Self {
        size.clone_into(&mut self.flags[1]);
        self
    }

    /// The same with stores elsewhere, one for each server: they stand in a configuration file.
    #[must_use]
    pub fn stores(mut self, stores: &[PathBuf]) -> Self {
        self.stores = stores.to_vec();
        self
    }

    /// The same with servers that can do this much, as lines of `[server.capacity]`; they stand in a configuration file.
    #[must_use]
    pub fn capacity(mut self, lines: &str) -> Self {
        self.capacity = Some(lines.to_owned());
        self
    }

    /// The same with relays between the servers; see [`PeerRelays`].
    #[must_use]
    pub fn relayed(mut self) -> Self {
        self.relays = true;
        self
    }

    /// The same with relays that flip bits; see [`Tamper`].
    #[must_use]
    pub const fn tampered(mut self) -> Self {
        self.tampered = true;
        self
    }

    /// The same with an authority and a token of the API.
    #[must_use]
    pub const fn secured(mut self) -> Self {
        self.secrets = Secrets::Made;
        self
    }

    /// The same with what is in the data folder already.
    #[must_use]
    pub const fn with_secrets(mut self) -> Self {
        self.secrets = Secrets::There;
        self
    }

    /// The same with another flag.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.extend(flag.split_whitespace().map(str::to_owned));
        self
    }
}

/// Ports of a process in a network of its own: what the program has by default.
const PORTAL_PORT: u16 = 3260;
const PEER_PORT: u16 = 7260;
const API_PORT: u16 = 8260;

/// A running group. Dropping it ends the process.
pub struct Group {
    options: GroupOptions,
    folder: TempDir,
    portal: u16,
    peer: u16,
    api: u16,
    child: Option<Child>,
    relays: Option<PeerRelays>,
    tamper: Option<Tamper>,
    /// Bytes of the log that earlier starts wrote.
    logged_before: usize,
}

impl Group {
    /// Starts a group and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn start(options: GroupOptions) -> Self {
        let mut group = Self::prepare(options);
        group.spawn();
        group.wait();
        group
    }

    /// A group that does not run yet.
    ///
    /// # Panics
    /// If there is no place for it.
    #[must_use]
    pub fn prepare(options: GroupOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let servers = options.servers;
        let (portal, peer, api) = if options.network.is_some() {
            (PORTAL_PORT, PEER_PORT, API_PORT)
        } else {
            let relays = if options.relays || options.tampered { servers } else { 0 };
            let first = free_ports(servers * 2 + 1 + relays);
            (first, first + servers, first + 2 * servers)
        };
        let group = Self {
            portal,
            peer,
            api,
            relays: options.relays.then(|| PeerRelays::start(api + 1, peer, servers)),
            tamper: options.tampered.then(|| Tamper::start(api + 1, peer, servers)),
            options,
            folder,
            child: None,
            logged_before: 0,
        };
        if group.options.secrets == Secrets::Made {
            let data = group.data();
            let args = ["group", "init", "--data", data.to_str().expect("a readable path")];
            let _ = run_within(
                Duration::from_secs(60),
                Self::program().to_str().expect("a readable path"),
                &args,
            )
            .ok();
        }
        group
    }

    /// The program under test.
    ///
    /// # Panics
    /// If it was not built.
    #[must_use]
    pub fn program() -> PathBuf {
        let own = std::env::current_exe().expect("the test's own path");
        // Tests lie in target/PROFILE/deps, programs in target/PROFILE.
        let found =
            own.ancestors().skip(1).take(2).map(|folder| folder.join("evenkeel")).find(|path| path.exists());
        found.unwrap_or_else(|| panic!("no evenkeel beside {}: run cargo build first", own.display()))
    }

    /// Starts the process; does not wait for it.
    ///
    /// # Panics
    /// If it runs already, or cannot be started.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the group runs already");
        self.logged_before = self.log().len();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the log opens");
        let data = self.data();
        std::fs::create_dir_all(&data).expect("the data folder");
        let program = Self::program();
        let mut command = match &self.options.network {
            Some((network, _)) => network.command(program.to_str().expect("a readable path")),
            None => Command::new(program),
        };
        let child =
            command.args(self.serve_args()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.expect("evenkeel serve starts"));
    }

    /// Writes a configuration file with what flags cannot say of each server; gives the arguments that name it.
    fn configured_args(&self) -> Vec<String> {
        let ip = self.ip();
        let mut file = format!("data = \"{}\"\napi = \"{ip}:{}\"\n", self.data().display(), self.api);
        for n in 0..self.options.servers {
            let (portal, peer) = (self.portal + n, self.peer + n);
            file += &format!(
                "[[server]]\nname = \"s{}\"\nportal = \"{ip}:{portal}\"\n",
                self.options.first_server + n
            );
            file += &format!("peer = \"{ip}:{peer}\"\n");
            if let Some(store) = self.options.stores.get(usize::from(n)) {
                file += &format!("store = \"{}\"\n", store.display());
            }
            if let Some(capacity) = &self.options.capacity {
                file += &format!("[server.capacity]\n{capacity}\n");
            }
        }
        let path = self.folder.path().join("evenkeel.toml");
        std::fs::write(&path, file).expect("the configuration can be written");
        let path = path.to_str().expect("a readable path").to_owned();
        ["serve".to_owned(), "--config".to_owned(), path].into_iter().chain(self.more_flags()).collect()
    }

    fn serve_args(&self) -> Vec<String> {
        let options = &self.options;
        if !options.stores.is_empty() || options.capacity.is_some() || options.network.is_some() {
            return self.configured_args();
        }
        let data = self.data();
        let mut args: Vec<String> = ["serve", "--data", data.to_str().expect("a readable path")]
            .into_iter()
            .map(str::to_owned)
            .collect();
        for (flag, value) in [
            ("--servers", self.options.servers.to_string()),
            ("--first-server", self.options.first_server.to_string()),
            ("--portal", format!("127.0.0.1:{}", self.portal)),
            ("--peer-port", self.peer.to_string()),
            ("--api", format!("127.0.0.1:{}", self.api)),
        ] {
            args.extend([flag.to_owned(), value]);
        }
        args.extend(self.more_flags());
        args
    }

    fn more_flags(&self) -> impl Iterator<Item = String> {
        let relays = self.relays.iter().flat_map(|relays| ["--advertise-peer".to_owned(), relays.first()]);
        let tamper = self.tamper.iter().flat_map(|tamper| ["--advertise-peer".to_owned(), tamper.first()]);
        relays.chain(tamper).chain(self.options.flags.iter().cloned())
    }

    /// A client of the group's API.
    #[must_use]
    pub fn api(&self) -> Api {
        let token = self.token_file().map(|path| std::fs::read_to_string(path).expect("the token"));
        Api::new(&format!("{}:{}", self.ip(), self.api), token.as_deref().map(str::trim))
    }

    /// The file with the token of the API, if it has one.
    #[must_use]
    pub fn token_file(&self) -> Option<PathBuf> {
        (self.options.secrets != Secrets::None).then(|| self.data().join("tls/api-token"))
    }

    /// The relays that flip bits.
    ///
    /// # Panics
    /// If the group was started without them.
    #[must_use]
    pub fn tamper(&self) -> &Tamper {
        self.tamper.as_ref().expect("the group was started with relays")
    }

    /// What passes between the servers.
    ///
    /// # Panics
    /// If the group was started without relays.
    #[must_use]
    pub fn relays(&self) -> &PeerRelays {
        self.relays.as_ref().expect("the group was started with relays")
    }

    /// Starts the process of a stopped group, which is expected to end by itself; gives how.
    ///
    /// # Panics
    /// If it does not end.
    #[must_use]
    pub fn start_in_vain(&self) -> Ran {
        assert!(self.child.is_none(), "the group runs already");
        let (program, args) = (Self::program(), self.serve_args());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run_within(Duration::from_secs(60), program.to_str().expect("a readable path"), &args)
    }

    /// The store of the n-th server, from 1.
    #[must_use]
    pub fn store(&self, server: u16) -> PathBuf {
        self.data().join(format!("s{server}/store"))
    }

    /// Waits until the group serves.
    ///
    /// # Panics
    /// If it does not within 30 s, with its log.
    pub fn wait(&self) {
        let ran = self.evenkeel(&["wait", "--timeout", "30s"]);
        assert_eq!(ran.code, 0, "{}\nlog:\n{}", ran.stderr, self.log());
    }

    /// Runs an admin command against the group, with the token of its API if it has one.
    #[must_use]
    pub fn evenkeel(&self, args: &[&str]) -> Ran {
        let Some(file) = self.token_file() else { return self.evenkeel_with(args) };
        let file = file.to_str().expect("a readable path").to_owned();
        let args: Vec<&str> = ["--token-file", &file].into_iter().chain(args.iter().copied()).collect();
        self.evenkeel_with(&args)
    }

    /// Runs an admin command against the group, with nothing but these arguments.
    #[must_use]
    pub fn evenkeel_with(&self, args: &[&str]) -> Ran {
        let api = format!("http://{}:{}", self.ip(), self.api);
        let program = Self::program();
        let args: Vec<&str> = ["--api", &api].into_iter().chain(args.iter().copied()).collect();
        run_within(Duration::from_secs(90), program.to_str().expect("a readable path"), &args)
    }

    /// Makes a volume that everybody may use; gives its target name.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn create_volume(&self, name: &str, size: &str) -> String {
        let made =
            self.evenkeel(&["volume", "create", name, "--size", size, "--allow", "any", "-o", "json"]).ok();
        made.json()["iqn"].as_str().expect("an iqn").to_owned()
    }

    /// Creates a volume with so many copies at servers that may all be on this machine; gives its target name.
    pub fn create_replicated(&self, name: &str, size: &str, replicas: u8) -> String {
        let replicas = replicas.to_string();
        let how = ["--replicas", &replicas, "--same-host", "--allow", "any", "-o", "json"];
        let made = self.evenkeel(&[&["volume", "create", name, "--size", size][..], &how].concat()).ok();
        made.json()["iqn"].as_str().expect("an iqn").to_owned()
    }

    /// How many servers it has.
    #[must_use]
    pub fn servers(&self) -> usize {
        usize::from(self.options.servers)
    }

    /// The address of the n-th server's portal, from 1.
    #[must_use]
    pub fn portal(&self, server: u16) -> String {
        format!("{}:{}", self.ip(), self.portal + server - 1)
    }

    /// The address of everything that listens.
    fn ip(&self) -> Ipv4Addr {
        self.options.network.as_ref().map_or(Ipv4Addr::LOCALHOST, |(_, ip)| *ip)
    }

    /// The port of the n-th server for other servers, from 1.
    #[must_use]
    pub fn peer_port(&self, server: u16) -> u16 {
        self.peer + server - 1
    }

    /// The port of the API.
    #[must_use]
    pub const fn api_port(&self) -> u16 {
        self.api
    }

    /// The URL of a volume at the n-th server's portal, as libiscsi and QEMU write it.
    #[must_use]
    pub fn url(&self, server: u16, iqn: &str) -> String {
        format!("iscsi://{}/{iqn}/0", self.portal(server))
    }

    /// The folder of the group's data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// A folder for the scenario's own files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What the process logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What the process logged since its last start.
    #[must_use]
    pub fn log_since_start(&self) -> String {
        self.log().split_off(self.logged_before)
    }

    /// Journal records that the servers replayed at the last start, all together.
    ///
    /// # Panics
    /// If not every server has said.
    #[must_use]
    pub fn records_replayed(&self) -> u64 {
        let log = self.log_since_start();
        let told = log.lines().filter_map(|line| {
            let before =
                line.split(" records of the journal replayed").next().filter(|part| *part != line)?;
            before.rsplit(' ').next()?.parse::<u64>().ok()
        });
        let told: Vec<u64> = told.collect();
        assert_eq!(told.len(), usize::from(self.options.servers), "{log}");
        told.iter().sum()
    }

    /// Whether the process runs, as far as the scenario has not ended it.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// The process number.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the group runs").id()
    }

    /// Has the process stand still; returns once all its threads do.
    ///
    /// # Panics
    /// If they do not within 20 s.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        Process(self.pid()).wait_until_still();
    }

    /// Has the process go on after [`Self::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends the process at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends the process by SIGTERM; gives its exit code and how long it took.
    ///
    /// # Panics
    /// If it does not end within 20 s.
    pub fn stop(&mut self) -> (i32, Duration) {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Sends the process a signal.
    ///
    /// # Panics
    /// If it does not run.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the group runs");
        rustix::process::kill_process(Pid::from_child(child), signal).expect("a child takes signals");
    }

    /// Waits for the end of a process that was told to end; gives its exit code and how long it took from now on.
    ///
    /// # Panics
    /// If it does not end within 20 s.
    pub fn ended(&mut self) -> (i32, Duration) {
        let mut child = self.child.take().expect("the group runs");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            match child.try_wait() {
                Ok(Some(status)) => return (status.code().unwrap_or(-1), began.elapsed()),
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Err(_) => break,
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("the group did not stop within 20 s\n{}", self.log());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("log of the group:\n{}", self.log());
        }
    }
}
