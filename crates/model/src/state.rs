//! A state of everything that the model has, and what makes two states one.

use crate::bound::Bound;
use crate::directory::{Directory, Member, MemberState};
use crate::history::{History, WRITES_MAX, Writes};
use crate::message::{Message, Network};
use crate::rule::{Rule, Rules};
use crate::server::{InFlight, REGIONS, RegionCopy, Reign, Server, Version};
use crate::set::{SERVERS_MAX, ServerId, Servers};
use std::hash::{Hash, Hasher};

/// The replica that is down at the start, where the bound has one.
pub(crate) const DOWN_AT_START: ServerId = ServerId(1);

/// What clients have been told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Clients {
    /// Acknowledged writes, by region.
    pub(crate) acknowledged: [Writes; REGIONS],
    /// What the last read of each region saw.
    pub(crate) seen: [History; REGIONS],
    pub(crate) begun: u8,
    /// The region of each write that was begun.
    pub(crate) region_of: [u8; WRITES_MAX as usize + 1],
    pub(crate) retried: Writes,
}

/// How much of the bound is used up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Spent {
    pub(crate) crashes: u8,
    pub(crate) marks: u8,
    pub(crate) expiries: u8,
    pub(crate) moves: u8,
    pub(crate) switches: u8,
}

/// What a step by itself has shown to be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Flaw {
    /// A read showed too little.
    Read,
    /// Equal content was found under different versions.
    Version,
}

/// See the module's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) directory: Directory,
    pub(crate) servers: [Server; SERVERS_MAX],
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) spent: Spent,
    pub(crate) flaw: Option<Flaw>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { directory, servers, network, clients, spent, flaw } = self;
        directory.hash(state);
        for server in servers {
            if server.view == *directory {
                state.write_u8(1);
            } else {
                server.view.hash(state);
            }
            server.hash(state);
        }
        (network, clients, spent, flaw).hash(state);
    }
}

impl State {
    /// The first server owns and serves; the other replicas are attached, equal, and gave it leases. One that is down
    /// has not seen it yet.
    pub(crate) fn first(bound: &Bound) -> Self {
        let founded = Directory::founded(bound.replicas);
        let mut directory = founded;
        let mut servers = [Server::new(founded); SERVERS_MAX];
        let replicas = directory.replica_set();
        let owner = ServerId(0);
        for replica in replicas.iter() {
            let server = &mut servers[replica.index()];
            server.accepted = 1;
            server.copies = [RegionCopy::NEW; REGIONS];
            if replica != owner {
                server.guards = Servers::one(owner);
            }
        }
        if bound.warm {
            for server in &mut servers[usize::from(bound.replicas)..usize::from(bound.servers)] {
                server.copies = [RegionCopy::NEW; REGIONS];
            }
        }
        let mut others = replicas.without(owner);
        if bound.one_down {
            let down = DOWN_AT_START;
            let revision = directory.next_revision();
            *directory.member_mut(down) =
                Member { state: MemberState::Down, incarnation: 1, revision, left: revision };
            others = others.without(down);
            servers[down.index()].alive = !bound.one_gone;
            for (n, server) in servers.iter_mut().enumerate().filter(|(n, _)| *n != down.index()) {
                server.view = directory;
                if n < usize::from(bound.replicas) {
                    server.accepted = revision;
                }
            }
        }
        servers[0].reign = Some(Reign {
            phase: crate::server::Phase::Serving,
            attached: others,
            current: [others; REGIONS],
            leases: others,
            ..Reign::new(directory.revision)
        });
        Self {
            directory,
            servers,
            network: Network::default(),
            clients: Clients::default(),
            spent: Spent::default(),
            flaw: None,
        }
    }

    pub(crate) fn server(&self, server: ServerId) -> &Server {
        &self.servers[server.index()]
    }

    pub(crate) fn server_mut(&mut self, server: ServerId) -> &mut Server {
        &mut self.servers[server.index()]
    }

    /// Whether the server runs, in the life that the directory knows.
    pub(crate) fn is_present(&self, server: ServerId) -> bool {
        let known = self.directory.member(server).incarnation;
        self.server(server).alive && self.server(server).incarnation == known
    }

    /// A server's view becomes what the directory says, and what follows from that at once.
    pub(crate) fn follow(&mut self, server: ServerId, rules: Rules) {
        let directory = self.directory;
        let this = self.server_mut(server);
        this.view = directory;
        if this.reign.is_none() {
            return;
        }
        let epoch = directory.epoch(rules);
        if !this.owns(server, rules) {
            this.reign = None;
        } else if !rules.have(Rule::BeginsAgain)
            && let Some(reign) = &mut this.reign
        {
            // It goes on serving, and attaches again meanwhile.
            if reign.epoch != epoch {
                let others = directory.in_sync(rules).without(server);
                let writes = reign.writes.map(|write| Some(InFlight { waits_for: others, ..write? }));
                *reign = Reign { phase: reign.phase, leases: reign.leases, writes, ..Reign::new(epoch) };
            }
            this.accepted = this.accepted.max(epoch);
        }
    }

    /// Makes states equal that differ only in what can no longer matter.
    pub(crate) fn reduce(&mut self, bound: &Bound, rules: Rules) {
        let servers = &self.servers;
        // Below the accepted epoch, and from a fenced incarnation, nothing is applied any more: neither ever falls, unless
        // accepted epochs are forgotten.
        if rules.have(Rule::AcceptedFences) && !bound.forgets {
            self.network.retain(|message| match message {
                Message::Write { route, .. } | Message::Copy { route, .. } => {
                    let to = &servers[route.to.index()];
                    let fenced = to.alive && route.incarnation < to.view.member(route.from).incarnation;
                    route.epoch >= to.accepted && !fenced
                }
                _ => true,
            });
        }
        // A transaction on another entry, or another epoch, is refused for ever; nobody hears of it after its reign.
        if rules.have(Rule::AnswerNamesPropose) {
            let (entry, epoch) = (self.directory.entry.revision, self.directory.epoch(rules));
            self.network.retain(|message| match message {
                Message::Propose { proposal, .. } | Message::Switch { proposal, .. } => {
                    let by = &servers[proposal.by.index()];
                    let hears = by.incarnation == proposal.incarnation
                        && by.reign.is_some_and(|reign| reign.epoch == proposal.epoch);
                    let compares = match message {
                        Message::Propose { .. } => {
                            !rules.have(Rule::ProposeComparesAll) || epoch == proposal.epoch
                        }
                        _ => true,
                    };
                    let refused = entry != proposal.entry || !compares;
                    hears || !refused || !rules.have(Rule::SwitchComparesEntry)
                }
                _ => true,
            });
        }
        // A server without a part in the extent follows the directory at once: its view serves for compares only.
        let directory = self.directory;
        for (n, server) in self.servers.iter_mut().enumerate() {
            let me = ServerId(n as u8);
            let apart = !directory.names(me) && !server.view.names(me) && server.reign.is_none();
            if server.alive && apart {
                server.view = directory;
            }
        }
    }

    /// Tells states apart. Two states with one fingerprint are taken for one: among a hundred million states, the chance
    /// that there are such two is below one in three thousand.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = Fingerprint::default();
        self.hash(&mut hasher);
        // Zero marks a free place in the table of the states seen.
        hasher.finish().max(1)
    }

    pub(crate) fn version_of(&self, server: ServerId, region: usize) -> Version {
        self.server(server).copies[region].version
    }
}

/// A hash over the bytes of a state. All its arrays have fixed lengths, so that lengths tell nothing, and all its
/// integers and discriminants fit into a byte.
#[derive(Default)]
struct Fingerprint {
    hash: u64,
    word: u64,
    bytes: u32,
}

impl Fingerprint {
    fn mix(&mut self) {
        let product = u128::from(self.hash ^ self.word ^ 0xA076_1D64_78BD_642F) * 0xE703_7ED1_A0B4_28DB_u128;
        self.hash = (product as u64) ^ ((product >> 64) as u64) ^ self.word.rotate_left(29);
        self.word = 0;
        self.bytes = 0;
    }
}

impl Hasher for Fingerprint {
    fn write_u8(&mut self, byte: u8) {
        self.word |= u64::from(byte) << (8 * self.bytes);
        self.bytes += 1;
        if self.bytes == 8 {
            self.mix();
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn write_isize(&mut self, discriminant: isize) {
        self.write_u8(discriminant as u8);
    }

    fn finish(&self) -> u64 {
        let mut last = Self { ..*self };
        last.mix();
        last.word = 0x1234_5678;
        last.mix();
        last.hash
    }
}
