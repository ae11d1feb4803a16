//! A group on machines of its own: each server and each etcd member in a network namespace, all joined by a bridge on
//! which the scenario's hosts are. What goes between any two of them can be dropped, lost in part, or delayed.
//!
//! The scenario itself runs in a network of its own ([`crate::in_own_network`]), so nothing here has a name or an address
//! that others could meet, and nothing is left behind.

use crate::delay::Delay;
use crate::etcd::Etcd;
use crate::group::{Group, GroupOptions};
use crate::namespace::{Namespace, succeeds};
use crate::processes::all_are_up;
use crate::program::run_within;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Time for a machine to join.
const JOIN_WITHIN: Duration = Duration::from_secs(60);

/// A place on the bridge; servers and members from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The machine of a server: s1 is 0.
    Server(usize),
    /// The machine of an etcd member.
    Etcd(usize),
    /// Where the scenario's hosts are, and people with admin commands.
    Hosts,
}

impl Place {
    /// Its address on the bridge.
    #[must_use]
    pub const fn ip(self) -> Ipv4Addr {
        let last = match self {
            Self::Server(n) => 1 + n as u8,
            Self::Etcd(n) => 101 + n as u8,
            Self::Hosts => 254,
        };
        Ipv4Addr::new(10, 77, 0, last)
    }
}

/// The machines, and what runs on them. Dropping it ends everything.
pub struct Stage {
    /// The directory.
    pub etcd: Etcd,
    /// The servers: the first runs s1, the second s2, ...
    pub servers: Vec<Group>,
    flags: String,
    machines: Vec<Arc<Namespace>>,
    members: Vec<Arc<Namespace>>,
}

impl Stage {
    /// So many servers that know each other by certificates, and an etcd of three members; `flags` are given to each
    /// server. Only within [`crate::in_own_network`].
    ///
    /// # Panics
    /// If anything of it cannot be had.
    #[must_use]
    pub fn start(servers: usize, flags: &str) -> Self {
        here("ip link add bridge type bridge");
        here(&format!("ip address add {}/24 dev bridge", Place::Hosts.ip()));
        here("ip link set bridge up");
        filter(None);
        let members: Vec<Arc<Namespace>> = (0..3).map(|n| machine(Place::Etcd(n))).collect();
        let at = |(n, network): (usize, &Arc<Namespace>)| (Arc::clone(network), Place::Etcd(n).ip());
        let etcd = Etcd::start_in(&members.iter().enumerate().map(at).collect::<Vec<_>>(), &[]);
        let mut stage =
            Self { etcd, servers: Vec::new(), flags: flags.to_owned(), machines: Vec::new(), members };
        (0..servers).for_each(|_| stage.add_server());
        stage
    }

    /// Lets another server in, and waits until all know it.
    ///
    /// # Panics
    /// If anything of it cannot be had.
    pub fn add_server(&mut self) {
        let n = self.servers.len();
        let network = machine(Place::Server(n));
        let options = GroupOptions::servers(1).store_size("1GiB").from_server(n as u16 + 1);
        let options = options.in_network(&network, Place::Server(n).ip());
        let options = options.flag(&format!("--directory {} --domain m{}", self.etcd.address(), n + 1));
        let options = options.flag(&self.flags);
        self.servers.push(Group::prepare(if n == 0 { options.secured() } else { options.with_secrets() }));
        self.machines.push(network);
        if n > 0 {
            self.join(n);
        }
        self.servers[n].spawn();
        self.servers[n].wait();
        // Whoever was there before did not know the new one yet.
        self.all_are_up();
    }

    /// Lets a server's machine in.
    fn join(&self, n: usize) {
        let token =
            self.servers[0].evenkeel(&["group", "token", &format!("s{}", n + 1), "-o", "json"]).ok().json();
        let token = token["token"].as_str().expect("a token");
        let data = self.servers[n].data();
        let from = format!("{}:{}", Place::Server(0).ip(), self.servers[0].peer_port(1));
        let args = ["server", "join", "--data", data.to_str().expect("a readable path"), "--from", &from];
        let args = [&args[..], &["--token", token]].concat();
        let _ = run_within(JOIN_WITHIN, Group::program().to_str().expect("a readable path"), &args).ok();
    }

    /// Makes a volume with so many copies that everybody may use; gives its target name.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn create_volume(&self, name: &str, size: &str, replicas: u8) -> String {
        let replicas = replicas.to_string();
        let args = ["volume", "create", name, "--size", size, "--replicas", &replicas, "--allow", "any"];
        let made = self.servers[0].evenkeel(&[&args[..], &["-o", "json"]].concat()).ok();
        made.json()["iqn"].as_str().expect("an iqn").to_owned()
    }

    /// Waits until every server serves and sees all servers up.
    ///
    /// # Panics
    /// If that does not come true within 60 s.
    pub fn all_are_up(&self) {
        all_are_up(self.servers.iter(), self.servers.len());
    }

    /// The portals of all servers.
    #[must_use]
    pub fn portals(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.portal(1)).collect()
    }

    /// Everything on the bridge beside one place.
    #[must_use]
    pub fn all_but(&self, place: Place) -> Vec<Place> {
        let servers = (0..self.servers.len()).map(Place::Server);
        let members = (0..self.members.len()).map(Place::Etcd);
        servers.chain(members).chain([Place::Hosts]).filter(|other| *other != place).collect()
    }

    /// From now on nothing passes between a place and others, in either direction.
    pub fn cut(&self, place: Place, others: &[Place]) {
        // What leaves the place is held back there too, so that the cut is one moment for all of them.
        let addresses: Vec<String> = others.iter().map(|other| other.ip().to_string()).collect();
        let addresses = addresses.join(",");
        self.nft(
            place,
            &format!(
                "add rule inet stage in ip saddr {{{addresses}}} drop; add rule inet stage out ip daddr {{{addresses}}} drop"
            ),
        );
    }

    /// From now on nothing that `from` sends reaches `to`; the other direction is as it was.
    pub fn cut_one_way(&self, from: Place, to: Place) {
        self.nft(to, &format!("add rule inet stage in ip saddr {} drop", from.ip()));
    }

    /// From now on so many of a hundred packets between two places are lost, in each direction.
    pub fn lose(&self, one: Place, other: Place, percent: u8) {
        let lost = format!("numgen random mod 100 < {percent} drop");
        let (to, from) = (other.ip(), other.ip());
        self.nft(
            one,
            &format!(
                "add rule inet stage in ip saddr {from} {lost}; add rule inet stage out ip daddr {to} {lost}"
            ),
        );
    }

    /// Everything passes again, at once between all places.
    pub fn heal(&self) {
        for place in self.all_but(Place::Hosts) {
            self.nft(
                place,
                "flush chain inet stage in; flush chain inet stage out; flush chain inet stage nat",
            );
        }
        self.nft(Place::Hosts, "flush chain inet stage in; flush chain inet stage out");
    }

    /// From now on connections from one server to another one's peer port go through a relay that delays every byte, in both
    /// directions: the one that stands is reset. [`Self::heal`] lets those after it go straight.
    #[must_use]
    pub fn delay(&self, from: usize, to: usize, by: Duration) -> Delay {
        let target = format!("{}:{}", Place::Server(to).ip(), self.servers[to].peer_port(1));
        let relay = Delay::start(Place::Hosts.ip(), &target, by);
        let there =
            format!("ip daddr {} tcp dport {}", Place::Server(to).ip(), self.servers[to].peer_port(1));
        let rules = format!(
            "add rule inet stage nat {there} dnat ip to {}; add rule inet stage out {there} reject with tcp reset",
            relay.address()
        );
        self.nft(Place::Server(from), &rules);
        relay
    }

    fn nft(&self, place: Place, rules: &str) {
        match place {
            Place::Server(n) => nft(Some(&self.machines[n]), rules),
            Place::Etcd(n) => nft(Some(&self.members[n]), rules),
            Place::Hosts => nft(None, rules),
        }
    }

    /// What the servers logged at WARN or ERROR beside lines with one of these in them.
    #[must_use]
    pub fn warnings_but(&self, expected: &[&str]) -> Vec<String> {
        let is_bad = |line: &&str| {
            (line.contains(" WARN ") || line.contains(" ERROR "))
                && !expected.iter().any(|part| line.contains(part))
        };
        let of = |server: &Group| server.log().lines().filter(is_bad).map(str::to_owned).collect::<Vec<_>>();
        self.servers.iter().flat_map(of).collect()
    }
}

/// A machine on the bridge.
fn machine(place: Place) -> Arc<Namespace> {
    let network = Namespace::new();
    let port = match place {
        Place::Server(n) => format!("server{n}"),
        Place::Etcd(n) => format!("member{n}"),
        Place::Hosts => unreachable!("the hosts are where the scenario is"),
    };
    here(&format!("ip link add {port} type veth peer name eth0 netns {}", network.process()));
    here(&format!("ip link set {port} master bridge up"));
    network.run(&format!("ip address add {}/24 dev eth0", place.ip()));
    network.run("ip link set eth0 up");
    filter(Some(&network));
    Arc::new(network)
}

/// Makes the chains that rules go into.
fn filter(network: Option<&Namespace>) {
    nft(
        network,
        "add table inet stage; \
         add chain inet stage in { type filter hook input priority 0 ; }; \
         add chain inet stage out { type filter hook output priority 0 ; }; \
         add chain inet stage nat { type nat hook output priority -100 ; }",
    );
}

/// Runs rules in one step: all of them at once, or none.
fn nft(network: Option<&Namespace>, rules: &str) {
    let mut command = network.map_or_else(|| Command::new("nft"), |network| network.command("nft"));
    succeeds(command.arg(rules), rules);
}

/// Runs a program where the scenario is.
fn here(line: &str) {
    let (program, args) = line.split_once(' ').expect("a program and its arguments");
    succeeds(Command::new(program).args(args.split_whitespace()), line);
}
