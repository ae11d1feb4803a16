//! A real etcd, with its data in a temporary folder: on loopback, or each member in a network of its own.

use crate::namespace::Namespace;
use crate::ports::free_ports;
use crate::process::Process;
use crate::program::{Ran, run_within};
use rustix::process::{Pid, Signal, kill_process};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time in which a member that was started must answer.
const START_WITHIN: Duration = Duration::from_secs(60);

/// Ports of a member in a network of its own: for clients, and for the other members.
const OWN_PORTS: (u16, u16) = (2379, 2380);

/// Where a member is.
struct Place {
    network: Option<Arc<Namespace>>,
    ip: Ipv4Addr,
    client_port: u16,
    peer_port: u16,
}

/// Members of one etcd. Dropping it ends them.
pub struct Etcd {
    folder: TempDir,
    places: Vec<Place>,
    members: Vec<Option<Child>>,
    flags: Vec<String>,
    /// What etcdctl needs for TLS; empty without.
    tls: Vec<String>,
}

impl Etcd {
    /// An etcd of so many members, once it answers.
    ///
    /// # Panics
    /// If it does not; etcd must be installed.
    #[must_use]
    pub fn start(members: u16) -> Self {
        Self::start_with(members, &[])
    }

    /// The same with more flags for each member.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with(members: u16, flags: &[&str]) -> Self {
        Self::start_tls(members, flags, &[])
    }

    /// The same with flags for TLS with clients: of each member, and of etcdctl.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_tls(members: u16, flags: &[&str], tls: &[String]) -> Self {
        let ports = free_ports(members * 2);
        let place = |member| Place {
            network: None,
            ip: Ipv4Addr::LOCALHOST,
            client_port: ports + member,
            peer_port: ports + members + member,
        };
        Self::start_at((0..members).map(place).collect(), flags, tls)
    }

    /// One of as many members as there are networks, each in its own, with this address there.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_in(networks: &[(Arc<Namespace>, Ipv4Addr)], flags: &[&str]) -> Self {
        let place = |(network, ip): &(Arc<Namespace>, Ipv4Addr)| Place {
            network: Some(Arc::clone(network)),
            ip: *ip,
            client_port: OWN_PORTS.0,
            peer_port: OWN_PORTS.1,
        };
        Self::start_at(networks.iter().map(place).collect(), flags, &[])
    }

    fn start_at(places: Vec<Place>, flags: &[&str], tls: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut etcd = Self { folder, places, members: Vec::new(), flags, tls: tls.to_vec() };
        etcd.members.resize_with(etcd.places.len(), || None);
        (0..etcd.count()).for_each(|member| etcd.spawn(member));
        etcd.wait();
        etcd
    }

    fn count(&self) -> u16 {
        self.members.len() as u16
    }

    /// The port of a member for clients; the first is 0.
    #[must_use]
    pub fn port(&self, member: u16) -> u16 {
        self.places[usize::from(member)].client_port
    }

    /// Where a member listens for clients.
    fn client(&self, member: u16) -> String {
        let place = &self.places[usize::from(member)];
        format!("{}:{}", place.ip, place.client_port)
    }

    /// Where a member listens for the others.
    fn peer_url(&self, member: u16) -> String {
        let place = &self.places[usize::from(member)];
        format!("http://{}:{}", place.ip, place.peer_port)
    }

    /// What `--directory` is told.
    #[must_use]
    pub fn address(&self) -> String {
        let members: Vec<String> = (0..self.count()).map(|member| self.client(member)).collect();
        format!("etcd{}://{}", if self.tls.is_empty() { "" } else { "s" }, members.join(","))
    }

    /// Starts a member that does not run; does not wait for it.
    ///
    /// # Panics
    /// If it runs or cannot be started.
    pub fn spawn(&mut self, member: u16) {
        assert!(self.members[usize::from(member)].is_none(), "member {member} runs");
        let scheme = if self.tls.is_empty() { "http" } else { "https" };
        let (client, peer) = (format!("{scheme}://{}", self.client(member)), self.peer_url(member));
        let all: Vec<String> = (0..self.count()).map(|m| format!("m{m}={}", self.peer_url(m))).collect();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("m{member}.log")))
            .expect("the log opens");
        let network = self.places[usize::from(member)].network.as_ref();
        let mut command = network.map_or_else(|| Command::new("etcd"), |network| network.command("etcd"));
        let child = command
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| !name.starts_with("ETCD")))
            .args(["--name", &format!("m{member}")])
            .args(["--data-dir", &self.folder.path().join(format!("m{member}")).display().to_string()])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let child = child.unwrap_or_else(|e| panic!("cannot run etcd: {e}; run tools/setup.sh test"));
        self.members[usize::from(member)] = Some(child);
    }

    /// Waits until the running members answer.
    ///
    /// # Panics
    /// If they do not, with their logs.
    pub fn wait(&self) {
        let began = Instant::now();
        for member in (0..self.count()).filter(|member| self.members[usize::from(*member)].is_some()) {
            while self.ctl_at(&[member], &["get", "anything"]).code != 0 {
                assert!(
                    began.elapsed() < START_WITHIN,
                    "member {member} does not answer\n{}",
                    self.log(member)
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn log(&self, member: u16) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("m{member}.log"))).unwrap_or_default()
    }

    /// Ends a member at once, as a crash does.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self, member: u16) {
        let mut child = self.members[usize::from(member)].take().expect("the member runs");
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Ends all members at once.
    ///
    /// # Panics
    /// If one does not run.
    pub fn kill_all(&mut self) {
        (0..self.count()).for_each(|member| self.kill(member));
    }

    /// Starts all members again after [`Self::kill_all`], and waits until they answer.
    ///
    /// # Panics
    /// If they do not.
    pub fn start_again(&mut self) {
        (0..self.count()).for_each(|member| self.spawn(member));
        self.wait();
    }

    /// Has all members stand still; returns once they do.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        self.members.iter().flatten().for_each(|child| Process(child.id()).wait_until_still());
    }

    /// Has all members go on after [`Self::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        for child in self.members.iter().flatten() {
            kill_process(Pid::from_child(child), signal).expect("a child takes signals");
        }
    }

    /// Runs etcdctl against the running members.
    #[must_use]
    pub fn ctl(&self, args: &[&str]) -> Ran {
        let running = (0..self.count()).filter(|member| self.members[usize::from(*member)].is_some());
        self.ctl_at(&running.collect::<Vec<_>>(), args)
    }

    fn ctl_at(&self, members: &[u16], args: &[&str]) -> Ran {
        let endpoints: Vec<String> = members.iter().map(|member| self.client(*member)).collect();
        let endpoints = format!("--endpoints={}", endpoints.join(","));
        let tls = self.tls.iter().map(String::as_str);
        let args: Vec<&str> =
            [endpoints.as_str()].into_iter().chain(tls).chain(args.iter().copied()).collect();
        run_within(Duration::from_secs(60), "etcdctl", &args)
    }

    /// Writes a backup into a file.
    ///
    /// # Panics
    /// If etcd refuses.
    pub fn back_up(&self, file: &Path) {
        let _ = self.ctl_at(&[0], &["snapshot", "save", path_text(file)]).ok();
    }

    /// Puts a stopped etcd of one member back to a backup, and starts it.
    ///
    /// # Panics
    /// If it runs, or the backup cannot be used.
    pub fn restore(&mut self, file: &Path) {
        let (data, gone) = (self.folder.path().join("m0"), self.folder.path().join("m0.gone"));
        std::fs::rename(&data, gone).expect("the data of before can be put aside");
        let peer = self.peer_url(0);
        let cluster = format!("m0={peer}");
        let args = ["snapshot", "restore", path_text(file), "--data-dir", path_text(&data)];
        let more = ["--name", "m0", "--initial-cluster", &cluster, "--initial-advertise-peer-urls", &peer];
        let args: Vec<&str> = args.into_iter().chain(more).collect();
        let _ = run_within(Duration::from_secs(60), "etcdctl", &args).ok();
        self.spawn(0);
        self.wait();
    }

    /// Has etcd forget the history up to a revision.
    ///
    /// # Panics
    /// If it refuses.
    pub fn compact(&self, revision: u64) {
        let _ = self.ctl(&["compact", &revision.to_string()]).ok();
    }

    /// The number of the member that leads.
    ///
    /// # Panics
    /// If none does.
    #[must_use]
    pub fn leader(&self) -> u16 {
        let running = (0..self.count()).filter(|member| self.members[usize::from(*member)].is_some());
        let is_leader = |member: &u16| {
            let status = self.ctl_at(&[*member], &["endpoint", "status", "-w", "json"]).ok().json();
            status[0]["Status"]["leader"] == status[0]["Status"]["header"]["member_id"]
        };
        running.into_iter().find(is_leader).expect("a member leads")
    }
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in self.members.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
