//! Engines, stores, a directory and a network, all moved by hand.

mod access;
mod asks;

use super::store::MemStore;
use crate::config::{REBUILD_AFTER, ScrubConfig};
use crate::{Arrival, DirectoryEvent, Engine, EngineConfig, EngineEvent, Event, Output, TxnTicket};
use evenkeel_meta::change::{
    Actor, NewVolume, begin_group, create_volume, delete_volume, publish_place, register_server,
    set_draining, start_server, swap_place,
};
use evenkeel_meta::records::{AccessRecord, FORMAT_VERSION, FormatRecord, ServerCapacity, ServerRecord};
use evenkeel_meta::{
    Batch, Directory, DirectoryError, KeyRange, Keyspace, MemberState, MemoryDirectory, Place, PlacedServer,
    Revision, Txn, View, Watch,
};
use evenkeel_peer::Message;
use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::{BlockOutcome, ExtentId, Incarnation, ServerId, Time, Version, VolumeId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What becomes of the next transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TxnFate {
    /// It happens, and the answer is lost.
    HappensUnanswered,
    /// It does not happen yet, and the answer is lost: it stays under way.
    StaysUnderWay,
    /// It certainly does not happen.
    Unavailable,
}

pub(super) struct Server {
    pub(super) engine: Option<Engine>,
    pub(super) incarnation: u64,
    pub(super) store: MemStore,
    watch: Option<Box<dyn Watch>>,
    batches: VecDeque<Batch>,
    pub(super) done: BTreeMap<u64, BlockOutcome>,
    /// Barriers that are done, and whether they passed.
    pub(super) barriers: BTreeMap<u64, bool>,
    /// Changes of access that front ends have not judged their requests by.
    to_admit: VecDeque<(VolumeId, Revision)>,
    pub(super) events: Vec<EngineEvent>,
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) directory: MemoryDirectory,
    keys: Keyspace,
    pub(super) servers: BTreeMap<u32, Server>,
    links: BTreeMap<(u32, u32), VecDeque<Message>>,
    connected: BTreeSet<(u32, u32)>,
    pub(super) txns: VecDeque<(u32, TxnTicket, Txn)>,
    pub(super) under_way: VecDeque<Txn>,
    pub(super) fates: VecDeque<TxnFate>,
    /// Transactions whose fate is decided are those that this accepts; all without it.
    pub(super) fate_for: Option<fn(&Txn) -> bool>,
    pub(super) hold_views: BTreeSet<u32>,
    pub(super) hold_stores: BTreeSet<u32>,
    pub(super) hold_links: BTreeSet<(u32, u32)>,
    pub(super) hold_txns: bool,
    /// Servers whose front ends do not judge their requests anew.
    pub(super) hold_admissions: BTreeSet<u32>,
    /// Servers that do not hear of the ends of their connections, and get no new ones.
    pub(super) deaf: BTreeSet<u32>,
    /// A test itself made two contents of one version.
    pub(super) has_clashes: bool,
    pub(super) prove: bool,
    /// Whether requests say that their front end computes digests.
    pub(super) digest: bool,
    /// Load that was told, with the server that told it.
    pub(super) arrivals: Vec<(u32, Arrival)>,
    pub(super) volume: VolumeId,
    next_request: u64,
    turn: u64,
    random: Option<u64>,
    trace: bool,
    pub(super) sent: BTreeMap<u16, u64>,
    contents: BTreeMap<(ExtentId, usize, Version), u32>,
    /// Servers that found themselves down, and are to start anew.
    found_down: BTreeSet<u32>,
    replicas: u8,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Store(u32),
    Link(u32, u32),
    Batch(u32),
    Txn,
    Restart(u32),
}

pub(super) const VOLUME_BYTES: u64 = 64 * EXTENT_BYTES as u64;

impl World {
    /// A group of servers 1 to `count`; server 1 owns all extents of the volume, as long as none is moved.
    pub(super) fn new(count: u32) -> Self {
        Self::with_replicas(count, 1)
    }

    /// The same with that many replicas of each extent of the volume's first run: at servers 1, 2 and so on, in this order.
    pub(super) fn with_replicas(count: u32, replicas: u8) -> Self {
        let directory = MemoryDirectory::with_history(1 << 20);
        let keys = Keyspace::new("g").unwrap();
        let mut world = Self {
            now: Time(1_000_000_000),
            directory,
            keys,
            servers: BTreeMap::new(),
            links: BTreeMap::new(),
            connected: BTreeSet::new(),
            txns: VecDeque::new(),
            under_way: VecDeque::new(),
            fates: VecDeque::new(),
            fate_for: None,
            hold_views: BTreeSet::new(),
            hold_stores: BTreeSet::new(),
            hold_links: BTreeSet::new(),
            hold_txns: false,
            hold_admissions: BTreeSet::new(),
            deaf: BTreeSet::new(),
            has_clashes: false,
            prove: true,
            digest: false,
            arrivals: Vec::new(),
            volume: VolumeId(0),
            next_request: 0,
            turn: 0,
            random: None,
            trace: std::env::var_os("TRACE").is_some(),
            sent: BTreeMap::new(),
            contents: BTreeMap::new(),
            found_down: BTreeSet::new(),
            replicas,
        };
        let format = FormatRecord { version: FORMAT_VERSION, group: "g".into(), group_id: 1, generation: 0 };
        world.commit(&begin_group(&world.view(), &format));
        for n in 1..=count {
            let record = ServerRecord {
                name: format!("s{n}"),
                portals: vec![],
                peer: format!("127.0.0.1:{}", 7260 + n),
                api: None,
                domain: format!("m{n}"),
                capacity: ServerCapacity { bytes: 1 << 40, ..ServerCapacity::default() },
                store_id: u64::from(n),
            };
            let (id, txn) = register_server(&world.view(), &record).unwrap();
            assert_eq!(id, ServerId(n));
            world.commit(&txn);
            world.servers.insert(
                n,
                Server {
                    engine: None,
                    incarnation: 0,
                    store: MemStore::default(),
                    watch: None,
                    batches: VecDeque::new(),
                    done: BTreeMap::new(),
                    barriers: BTreeMap::new(),
                    to_admit: VecDeque::new(),
                    events: Vec::new(),
                },
            );
        }
        for n in 1..=count {
            world.start(n);
        }
        world.volume = world.create_volume("v");
        world.settle();
        world
    }

    /// From now on the order of what happens is drawn from this seed.
    pub(super) fn randomise(&mut self, seed: u64) {
        self.random = Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    }

    pub(super) fn draw(&mut self, below: u64) -> u64 {
        let state = self.random.get_or_insert(1);
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 11) % below
    }

    pub(super) fn view(&self) -> View {
        let snapshot = self.directory.range(&KeyRange::prefix(self.keys.prefix()), None).unwrap();
        View::from_snapshot(self.keys.clone(), &snapshot).unwrap()
    }

    pub(super) fn commit(&self, txn: &Txn) {
        assert!(self.directory.transact(txn).unwrap().succeeded, "the world's own transactions succeed");
    }

    pub(super) fn create_volume(&mut self, name: &str) -> VolumeId {
        let replicas = u32::from(self.replicas);
        let placed = (1..=replicas).map(|n| PlacedServer { server: ServerId(n), weight: 1, domain: n });
        let place = Place::new(placed.collect()).unwrap();
        let in_order = |seed: &u64| {
            let located = place.locate(*seed, 0, self.replicas);
            located.iter().map(|server| server.0).eq(1..=replicas)
        };
        let new = NewVolume {
            name: name.into(),
            size_bytes: VOLUME_BYTES,
            logical_block_bytes: 512,
            replicas: self.replicas,
            seed: (7..).find(in_order).unwrap(),
            place,
            access: AccessRecord { any: true, ..AccessRecord::default() },
            created_unix_ms: 1,
        };
        let actor = Actor { server: ServerId(1), incarnation: Incarnation(self.servers[&1].incarnation) };
        let (id, txn) = create_volume(&self.view(), actor, &new).unwrap();
        self.commit(&txn);
        id
    }

    /// A place by which the volume's only run is at these servers, in this order.
    pub(super) fn place(&self, order: &[u32]) -> Place {
        let weights = order.iter().enumerate().map(|(n, server)| PlacedServer {
            server: ServerId(*server),
            weight: 1 << (30 - 14 * n),
            domain: *server,
        });
        let place = Place::new(weights.collect()).unwrap();
        let view = self.view();
        let record = &view.volume(self.volume).unwrap().record;
        let located = place.locate(record.seed, 0, record.replicas);
        assert!(located.iter().zip(order).all(|(at, wanted)| at.0 == *wanted), "{located:?}, not {order:?}");
        place
    }

    /// A server that the directory lets act, if there is one.
    pub(super) fn actor(&self) -> Option<Actor> {
        let view = self.view();
        let mut members = view.members().filter(|(_, kept)| kept.record.state != MemberState::Down);
        members.next().map(|(server, kept)| Actor { server, incarnation: kept.record.incarnation })
    }

    /// Publishes another place for the volume: the run at these servers, in this order.
    pub(super) fn publish(&mut self, order: &[u32]) {
        let (view, place) = (self.view(), self.place(order));
        let txn = publish_place(&view, self.actor().unwrap(), self.volume, &place).unwrap();
        self.commit(&txn);
    }

    /// Swaps the published place in, if all have confirmed it; whether they had.
    pub(super) fn swap(&mut self) -> bool {
        let Some(actor) = self.actor() else { return false };
        match swap_place(&self.view(), actor, self.volume) {
            Ok(txn) => {
                self.commit(&txn);
                true
            }
            Err(_) => false,
        }
    }

    /// Begins to empty a server.
    pub(super) fn drain(&mut self, n: u32) {
        self.commit(&set_draining(&self.view(), ServerId(n), true).unwrap());
    }

    pub(super) fn delete_volume(&mut self) {
        let actor = Actor { server: ServerId(1), incarnation: Incarnation(self.servers[&1].incarnation) };
        self.commit(&delete_volume(&self.view(), actor, self.volume, 2).unwrap());
    }

    pub(super) fn extent(&self, index: u32) -> ExtentId {
        ExtentId { volume: self.volume, index }
    }

    /// Starts a server: a new incarnation in the directory, a view read after that, connections to all others.
    pub(super) fn start(&mut self, n: u32) {
        let server = self.servers.get_mut(&n).unwrap();
        assert!(server.engine.is_none());
        server.incarnation += 1;
        let incarnation = Incarnation(server.incarnation);
        self.commit(&start_server(&self.view(), ServerId(n), incarnation).unwrap());
        let view = self.view();
        let watch = self.directory.watch(self.keys.prefix(), view.revision().next()).unwrap();
        let config = EngineConfig {
            me: ServerId(n),
            incarnation,
            started_unix_ms: 1,
            started: self.now,
            rebuild_after: REBUILD_AFTER,
            scrub: ScrubConfig::OFF,
        };
        let server = self.servers.get_mut(&n).unwrap();
        server.engine = Some(Engine::new(config));
        server.watch = Some(watch);
        server.batches.clear();
        self.event(n, Event::Directory(DirectoryEvent::Snapshot(Box::new(view))));
        let others: Vec<u32> = self.servers.keys().copied().filter(|other| *other != n).collect();
        for other in others {
            self.connect(n, other);
        }
    }

    /// Ends a server at once; what its store had not carried out is lost.
    pub(super) fn crash(&mut self, n: u32) {
        let others: Vec<u32> = self.servers.keys().copied().filter(|other| *other != n).collect();
        for other in others {
            self.disconnect(n, other);
        }
        let server = self.servers.get_mut(&n).unwrap();
        server.engine = None;
        server.store.queue.clear();
        server.to_admit.clear();
        self.found_down.remove(&n);
        let (lost, kept) = self.txns.drain(..).partition::<VecDeque<_>, _>(|(server, ..)| *server == n);
        self.txns = kept;
        // What was given away may still happen.
        self.under_way.extend(lost.into_iter().map(|(_, _, txn)| txn));
    }

    pub(super) fn connect(&mut self, a: u32, b: u32) {
        let running = |n: u32| self.servers[&n].engine.is_some();
        let is_heard = !self.deaf.contains(&a) && !self.deaf.contains(&b);
        if running(a) && running(b) && is_heard && self.connected.insert((a.min(b), a.max(b))) {
            for (to, from) in [(a, b), (b, a)] {
                let incarnation = Incarnation(self.servers[&from].incarnation);
                self.event(to, Event::PeerUp { server: ServerId(from), incarnation });
            }
        }
    }

    pub(super) fn disconnect(&mut self, a: u32, b: u32) {
        if self.connected.remove(&(a.min(b), a.max(b))) {
            self.links.remove(&(a, b));
            self.links.remove(&(b, a));
            for (to, from) in [(a, b), (b, a)] {
                if !self.deaf.contains(&to) {
                    self.event(to, Event::PeerDown { server: ServerId(from) });
                }
            }
        }
    }

    /// Gives an event to a server, and takes what comes out.
    pub(super) fn event(&mut self, n: u32, event: Event) {
        let now = self.now;
        let Some(engine) = self.servers.get_mut(&n).unwrap().engine.as_mut() else {
            return;
        };
        engine.handle(now, event);
        let mut outputs = Vec::new();
        while let Some(output) = engine.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            self.output(n, output);
        }
    }

    fn output(&mut self, n: u32, output: Output) {
        match output {
            Output::Complete { id, outcome } => {
                let earlier = self.servers.get_mut(&n).unwrap().done.insert(id.0, outcome);
                assert!(earlier.is_none(), "request {id:?} was completed twice");
            }
            Output::Send { to, message } => {
                if self.connected.contains(&(n.min(to.0), n.max(to.0))) {
                    *self.sent.entry(message.kind()).or_default() += 1;
                    self.links.entry((n, to.0)).or_default().push_back(message);
                }
            }
            Output::Store { ticket, op } => {
                self.servers.get_mut(&n).unwrap().store.queue.push_back((ticket, op));
            }
            Output::Transact { ticket, txn } => self.txns.push_back((n, ticket, txn)),
            Output::Admit { volume, revision } => {
                self.servers.get_mut(&n).unwrap().to_admit.push_back((volume, revision));
                self.admit(n);
            }
            Output::BarrierDone { id, passed } => {
                let earlier = self.servers.get_mut(&n).unwrap().barriers.insert(id.0, passed);
                assert!(earlier.is_none(), "barrier {id:?} was done twice");
            }
            Output::Prove { id } if self.prove => self.event(n, Event::Proof { id, at: self.now }),
            Output::Disconnect { server } => self.disconnect(n, server.0),
            Output::Event(event) => {
                if event == EngineEvent::FoundDown {
                    self.found_down.insert(n);
                }
                self.servers.get_mut(&n).unwrap().events.push(event);
            }
            Output::Arrived(arrival) => self.arrivals.push((n, arrival)),
            Output::Prove { .. } | Output::LoadReport { .. } | Output::InventoryPage { .. } => {}
        }
    }

    /// The front ends of a server judge their requests anew, unless they are held.
    pub(super) fn admit(&mut self, n: u32) {
        while !self.hold_admissions.contains(&n)
            && let Some((volume, revision)) = self.servers.get_mut(&n).unwrap().to_admit.pop_front()
        {
            self.event(n, Event::Admitted { volume, revision });
        }
    }

    fn fetch_batches(&mut self) {
        for server in self.servers.values_mut().filter(|server| server.engine.is_some()) {
            while let Ok(Some(batch)) = server.watch.as_mut().unwrap().next(Duration::ZERO) {
                server.batches.push_back(batch);
            }
        }
    }

    fn actions(&mut self) -> Vec<Action> {
        self.fetch_batches();
        let mut actions = Vec::new();
        for (n, server) in &self.servers {
            if !server.store.queue.is_empty() && !self.hold_stores.contains(n) {
                actions.push(Action::Store(*n));
            }
            if !server.batches.is_empty() && server.engine.is_some() && !self.hold_views.contains(n) {
                actions.push(Action::Batch(*n));
            }
        }
        for (link, messages) in &self.links {
            if !messages.is_empty() && !self.hold_links.contains(link) {
                actions.push(Action::Link(link.0, link.1));
            }
        }
        if !self.txns.is_empty() && !self.hold_txns {
            actions.push(Action::Txn);
        }
        // A store that hangs does not open.
        let opens = self.found_down.iter().filter(|n| !self.hold_stores.contains(n));
        actions.extend(opens.map(|n| Action::Restart(*n)));
        actions
    }

    /// Tells what happens, if the environment asks for it with `TRACE`: how a failing seed is understood.
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{} {}", self.now, what());
        }
    }

    fn describe(&self, action: Action) -> String {
        match action {
            Action::Store(n) => format!("store {n}: {:?}", self.servers[&n].store.queue.front()),
            Action::Link(from, to) => format!("{from} to {to}: {:?}", self.links[&(from, to)].front()),
            Action::Batch(n) => {
                format!("view {n}: {:?}", self.servers[&n].batches.front().map(|batch| batch.revision))
            }
            Action::Txn => format!("directory: {:?}", self.txns.front()),
            Action::Restart(n) => format!("server {n} found itself down, and starts anew"),
        }
    }

    /// Lets one thing happen; false if there is nothing.
    pub(super) fn step(&mut self) -> bool {
        let actions = self.actions();
        if actions.is_empty() {
            return false;
        }
        let count = actions.len() as u64;
        self.turn += 1;
        let pick = if self.random.is_some() { self.draw(count) } else { self.turn % count };
        let action = actions[pick as usize];
        self.note(|| self.describe(action));
        match action {
            Action::Store(n) => self.step_store(n),
            Action::Link(from, to) => {
                let message = self.links.get_mut(&(from, to)).unwrap().pop_front().unwrap();
                self.event(to, Event::Message { from: ServerId(from), message });
            }
            Action::Batch(n) => {
                let batch = self.servers.get_mut(&n).unwrap().batches.pop_front().unwrap();
                self.event(n, Event::Directory(DirectoryEvent::Batch(batch)));
            }
            Action::Txn => self.step_txn(),
            Action::Restart(n) => {
                self.crash(n);
                self.start(n);
            }
        }
        true
    }

    pub(super) fn step_store(&mut self, n: u32) {
        let server = self.servers.get_mut(&n).unwrap();
        if let Some((ticket, outcome)) = server.store.step() {
            self.check_contents(n);
            self.event(n, Event::Store { ticket, outcome });
        }
    }

    /// Answers the images that a slow store has read by now.
    pub(super) fn answer_images(&mut self, n: u32) {
        let images = std::mem::take(&mut self.servers.get_mut(&n).unwrap().store.images);
        for (ticket, outcome) in images {
            self.event(n, Event::Store { ticket, outcome });
        }
    }

    fn step_txn(&mut self) {
        let (n, ticket, txn) = self.txns.pop_front().unwrap();
        let decided = self.fate_for.is_none_or(|accepts| accepts(&txn));
        let fate = if decided { self.fates.pop_front() } else { None };
        let unknown = || Err(DirectoryError::OutcomeUnknown { reason: "lost".into() });
        let outcome = match fate {
            None => self.directory.transact(&txn),
            Some(TxnFate::HappensUnanswered) => {
                let _ = self.directory.transact(&txn);
                unknown()
            }
            Some(TxnFate::StaysUnderWay) => {
                self.under_way.push_back(txn);
                unknown()
            }
            Some(TxnFate::Unavailable) => Err(DirectoryError::Unavailable { reason: "away".into() }),
        };
        self.event(n, Event::Directory(DirectoryEvent::TxnDone { ticket, outcome }));
    }

    /// Carries out what was under way; whether it succeeded.
    pub(super) fn late_txn(&mut self) -> bool {
        let txn = self.under_way.pop_front().expect("a transaction is under way");
        self.directory.transact(&txn).unwrap().succeeded
    }

    /// Copies with equal versions have equal content, at all servers and for ever.
    fn check_contents(&mut self, n: u32) {
        for (extent, record) in &self.servers[&n].store.records {
            for (region, version) in record.versions.iter().enumerate() {
                if *version == Version::NONE {
                    continue;
                }
                let first = region as u16 * 16;
                let bad = &self.servers[&n].store.bad;
                if self.has_clashes || bad.range((*extent, first)..(*extent, first + 16)).next().is_some() {
                    continue;
                }
                let mut crc = evenkeel_types::checksum::Crc32c::default();
                for (block, data) in record.blocks.range(first..first + 16) {
                    crc.update(&block.to_le_bytes());
                    crc.update(data);
                }
                let known = *self.contents.entry((*extent, region, *version)).or_insert(crc.value());
                assert_eq!(
                    known,
                    crc.value(),
                    "{extent} region {region}: version {version} has two contents"
                );
            }
        }
    }

    /// Lets happen what can, without time passing.
    pub(super) fn settle(&mut self) {
        for _ in 0..2_000_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Lets time pass, and everything happen that falls due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let engines = self.servers.iter().filter_map(|(n, server)| Some((*n, server.engine.as_ref()?)));
            let next = engines.filter_map(|(n, engine)| Some((engine.poll_timeout()?, n))).min();
            match next {
                Some((time, n)) if time <= end => {
                    self.now = self.now.max(time);
                    self.event(n, Event::Timer);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }
}
