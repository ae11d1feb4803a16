//! One seed from its first event to its verdict: the group, its clients, what happens next, and when it is enough.
//!
//! ```text
//!   Faults ── operations, moves and crashes reached ──▶ Healing ── nothing open, no intent ──▶ Verifying ──▶ at rest
//! ```
//! While faults last, servers crash, connections break and the directory stalls, and clients go on. Then nothing goes
//! wrong any more, and everything has to end and be in its place; every sector that was ever touched is read again
//! through another gateway than before, and at last the stores themselves are looked through.

use crate::barriers::Barriers;
use crate::checkers::Violation;
use crate::checkers::marks::Marks;
use crate::checkers::register::Registers;
use crate::checkers::routing::Routing;
use crate::checkers::versions::Versions;
use crate::client::gateway::Client;
use crate::client::workload::{SimVolume, Workload};
use crate::clock::Clock;
use crate::coverage::{Coverage, Row};
use crate::damage::Damage;
use crate::directory::SimDirectory;
use crate::faults::Fault;
use crate::hosts::Submission;
use crate::log::{About, Log};
use crate::moves::Motion;
use crate::net::{Net, Weather, Wire};
use crate::rng::Rng;
use crate::rules::Rules;
use crate::scenario::{FAULTS_MAX, HEAL_MAX, Scenario};
use crate::server::SimServer;
use crate::upkeep::FIRST_PLACED_AFTER;
use evenkeel_engine::{RequestId, TxnTicket};
use evenkeel_meta::{DirectoryError, LeaseId, Txn, TxnOutcome, Watch};
use evenkeel_peer::{Decoder, Message};
use evenkeel_store::IoId;
use evenkeel_types::{BlockOutcome, ExtentId, Region, ServerId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often the phase is looked at.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);

/// A life of a server: what was planned for an earlier one does not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life {
    pub(crate) server: ServerId,
    pub(crate) number: u64,
}

/// Something that will happen.
pub(crate) enum Happening {
    Deliver { wire: Wire, from: ServerId, to: ServerId, message: Box<Message> },
    Dial { pair: (ServerId, ServerId) },
    SideUp { wire: Wire, server: ServerId },
    SideDown { wire: Wire, server: ServerId },
    DiskDone { life: Life, io: IoId },
    StoreIdle { life: Life },
    EngineTimer { life: Life },
    TxnCarriedOut { life: Life, ticket: TxnTicket, txn: Box<Txn>, answer: Option<Duration> },
    TxnAnswered { life: Life, ticket: TxnTicket, outcome: Result<TxnOutcome, DirectoryError> },
    News { life: Life },
    Start { server: ServerId },
    Register { life: Life },
    Serve { life: Life },
    ClientNext { client: usize },
    Answered { life: Life, client: usize, id: RequestId, outcome: BlockOutcome },
    Submitted { life: Life, submission: Submission },
    Woke { life: Life },
    PathSilent { life: Life, client: usize, since: Time },
    Proof { life: Life, id: RequestId, asked_at: Time },
    Cancel { life: Life, client: usize, id: RequestId },
    MonitorTick { life: Life },
    Presence { life: Life },
    LeasesBeginAnew { lease: LeaseId },
    Plan,
    Place,
    RandomMove,
    HotSpot,
    Fault(Fault),
    Progress,
}

/// How far the run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Faults,
    Healing { since: Time, quiet_since: Option<Time> },
    Verifying { since: Time },
    Over,
}

/// What is counted to know when it is enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Operations of clients that were answered.
    pub operations: u64,
    /// Moves carried out.
    pub moves: u64,
    /// Crashes of servers.
    pub crashes: u64,
}

/// See the module's head.
pub(crate) struct World<'a> {
    pub(crate) scenario: Scenario,
    pub(crate) clock: Clock<Happening>,
    pub(crate) log: &'a mut Log,
    pub(crate) rng: Rng,
    pub(crate) phase: Phase,
    pub(crate) tally: Tally,
    pub(crate) coverage: &'a mut Coverage,
    pub(crate) servers: BTreeMap<ServerId, SimServer>,
    pub(crate) net: Net,
    pub(crate) decoder: Decoder,
    pub(crate) directory: SimDirectory,
    pub(crate) truth_watch: Box<dyn Watch>,
    pub(crate) volumes: Vec<SimVolume>,
    pub(crate) workload: Workload,
    pub(crate) clients: Vec<Client>,
    pub(crate) next_request: u64,
    pub(crate) next_op: u32,
    pub(crate) to_verify: Vec<(usize, evenkeel_types::ByteRange)>,
    pub(crate) registers: Registers,
    pub(crate) routing: Routing,
    pub(crate) versions: Versions,
    pub(crate) damage: Damage,
    /// Regions of which a store refused a write for want of space.
    pub(crate) without_room: BTreeSet<(ExtentId, Region)>,
    pub(crate) motion: Motion,
    pub(crate) rules: Rules,
    /// Extents of the first volume that are to be written to before anything else.
    pub(crate) to_fill: Vec<u32>,
    pub(crate) marks: Marks,
    pub(crate) barriers: Barriers,
    /// Hosts are to delete most of what they have, once all gateways run.
    room_wanted: bool,
    #[cfg(test)]
    pub(crate) script: crate::timelines::Script,
}

impl<'a> World<'a> {
    /// A group that is about to start.
    pub(crate) fn new(seed: u64, log: &'a mut Log, coverage: &'a mut Coverage) -> Result<Self, Violation> {
        let scenario = Scenario::draw(&mut Rng::new(seed).split("scenario", 0));
        Self::of(scenario, seed, log, coverage)
    }

    /// A group of a given scenario.
    pub(crate) fn of(
        scenario: Scenario,
        seed: u64,
        log: &'a mut Log,
        coverage: &'a mut Coverage,
    ) -> Result<Self, Violation> {
        let rng = Rng::new(seed);
        let mut directory = SimDirectory::new(rng.split("directory", 0), scenario.history);
        let (servers, volumes) = crate::server::found(&scenario, &mut directory, &rng);
        let ids: Vec<ServerId> = servers.keys().copied().collect();
        let net = Net::new(&ids, rng.split("net", 0));
        let truth = directory.view();
        let truth_watch = directory.watch(truth.revision());
        let clients = crate::client::gateway::clients(&ids, &scenario, &mut rng.split("clients", 0));
        let mut world = Self {
            clock: Clock::default(),
            phase: Phase::Faults,
            tally: Tally::default(),
            workload: Workload::new(rng.split("workload", 0)),
            rng: rng.split("world", 0),
            routing: Routing::new(truth)?,
            registers: Registers::default(),
            versions: Versions::default(),
            damage: Damage::default(),
            without_room: BTreeSet::new(),
            motion: Motion::default(),
            rules: Rules::default(),
            to_fill: Vec::new(),
            barriers: Barriers::default(),
            marks: Marks::default(),
            room_wanted: false,
            #[cfg(test)]
            script: crate::timelines::Script::default(),
            decoder: Decoder::new(None),
            next_request: 0,
            next_op: 0,
            to_verify: Vec::new(),
            scenario,
            log,
            coverage,
            servers,
            net,
            directory,
            truth_watch,
            volumes,
            clients,
        };
        world.begin(seed);
        Ok(world)
    }

    fn begin(&mut self, seed: u64) {
        let scenario = format!("{:?}", self.scenario);
        self.note(About::Group, format_args!("seed {seed} {scenario}"));
        self.net.weather = self.scenario.weather;
        self.coverage.add(Row::Cramped, self.scenario.cramped.is_some().into());
        self.coverage.add(Row::ClocksApart, self.clocks_apart());
        let ids: Vec<ServerId> = self.servers.keys().copied().collect();
        for server in ids {
            let delay = self.rng.millis(0, 20);
            self.clock.after(delay, Happening::Start { server });
        }
        if self.scenario.is_scripted {
            self.clock.after(PROGRESS_EVERY, Happening::Progress);
            self.net
                .pairs()
                .into_iter()
                .for_each(|pair| self.clock.after(PROGRESS_EVERY, Happening::Dial { pair }));
            return;
        }
        for client in 0..self.clients.len() {
            self.clock.after(Duration::from_millis(30), Happening::ClientNext { client });
        }
        for pair in self.net.pairs() {
            self.clock.after(Duration::from_millis(5), Happening::Dial { pair });
        }
        let first = [Happening::Plan, Happening::RandomMove, Happening::HotSpot, Happening::Progress];
        first.into_iter().for_each(|what| self.clock.after(Duration::from_millis(500), what));
        self.clock.after(FIRST_PLACED_AFTER, Happening::Place);
        if self.scenario.is_filled {
            self.to_fill = (0..self.volumes[0].extents()).collect();
        }
        self.plan_faults();
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        // The directory has trouble only once the group stands.
        self.directory.haze = self.scenario.haze;
        while self.phase != Phase::Over {
            self.step()?;
        }
        Ok(())
    }

    /// The next thing happens.
    pub(crate) fn step(&mut self) -> Result<(), Violation> {
        let happening = self.clock.next().expect("progress is always looked at again");
        if let Some(server) = happening.server()
            && let Some(until) = self.servers[&server].asleep_until(self.clock.now())
        {
            // A server that stands still takes it up when it goes on.
            self.clock.at(until, happening);
            return Ok(());
        }
        self.happen(happening)
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(crate) fn note(&mut self, about: About, what: std::fmt::Arguments<'_>) {
        self.log.event(self.clock.now(), about, what);
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Deliver { wire, from, to, message } => self.deliver(wire, from, to, *message),
            Happening::Dial { pair } => {
                self.dial(pair);
                Ok(())
            }
            Happening::SideUp { wire, server } => self.side_up(wire, server),
            Happening::SideDown { wire, server } => self.side_down(wire, server),
            Happening::DiskDone { life, io } => self.disk_done(life, io),
            Happening::StoreIdle { life } => self.store_idle(life),
            Happening::EngineTimer { life } => self.engine_timer(life),
            Happening::TxnCarriedOut { life, ticket, txn, answer } => {
                self.carry_out(life, ticket, &txn, answer)
            }
            Happening::TxnAnswered { life, ticket, outcome } => self.txn_answered(life, ticket, outcome),
            Happening::News { life } => self.news(life),
            Happening::Start { server } => self.start(server),
            Happening::Register { life } => self.register(life),
            Happening::Serve { life } => self.serve(life),
            Happening::ClientNext { client } => self.client_next(client),
            Happening::Answered { life, client, id, outcome } => self.answered(life, client, id, outcome),
            Happening::Submitted { life, submission } => self.submitted(life, submission),
            Happening::Woke { life } => self.woke(life),
            Happening::PathSilent { life, client, since } => self.path_silent(life, client, since),
            Happening::Proof { life, id, asked_at } => self.proof(life, id, asked_at),
            Happening::Cancel { life, client, id } => self.cancel(life, client, id),
            Happening::MonitorTick { life } => self.monitor_tick(life),
            Happening::Presence { life } => self.renew_presence(life),
            Happening::LeasesBeginAnew { lease } => {
                self.leases_begin_anew(lease);
                Ok(())
            }
            Happening::Plan => self.plan_moves(),
            Happening::Place => self.place_volumes(),
            Happening::RandomMove => self.random_move(),
            Happening::HotSpot => {
                self.shift_hot_spot();
                Ok(())
            }
            Happening::Fault(fault) => self.fault(fault),
            Happening::Progress => self.progress(),
        }
    }

    fn progress(&mut self) -> Result<(), Violation> {
        let now = self.now();
        self.registers.expire(now)?;
        self.directory.advance(now);
        self.clock.after(PROGRESS_EVERY, Happening::Progress);
        match self.phase {
            Phase::Faults => {
                self.tally.moves = self.routing.moves();
                let (tally, scenario) = (self.tally, &self.scenario);
                if tally.operations >= scenario.operations
                    && tally.moves >= scenario.moves
                    && tally.crashes >= scenario.crashes
                {
                    return self.heal();
                } else if now.since(Time::ZERO) > FAULTS_MAX {
                    let what = format!("after {now} s there were only {tally:?}");
                    return Err(Violation::new("liveness", None, what));
                }
            }
            Phase::Healing { since, quiet_since } => self.healing(since, quiet_since)?,
            Phase::Verifying { since } => {
                if now.since(since) > HEAL_MAX {
                    return Err(Violation::new(
                        "liveness",
                        None,
                        "reading everything again does not end".into(),
                    ));
                }
                self.verify_more()?;
            }
            Phase::Over => {}
        }
        Ok(())
    }

    pub(crate) fn heal(&mut self) -> Result<(), Violation> {
        self.note(About::Group, format_args!("faults end"));
        self.phase = Phase::Healing { since: self.now(), quiet_since: None };
        self.net.weather = Weather::FAIR;
        self.net.mend_all();
        self.directory.haze = crate::directory::Haze::default();
        let ids: Vec<ServerId> = self.servers.keys().copied().collect();
        for id in ids {
            let server = self.servers.get_mut(&id).expect("listed");
            server.end_trouble();
            if server.is_down() {
                self.clock.after(Duration::from_millis(1), Happening::Start { server: id });
            }
            self.set_draining(id, false)?;
        }
        self.room_wanted = self.scenario.may_want_space();
        Ok(())
    }

    fn healing(&mut self, since: Time, quiet_since: Option<Time>) -> Result<(), Violation> {
        let now = self.now();
        if self.room_wanted && self.servers.values().all(|server| server.running.is_some()) {
            self.room_wanted = false;
            self.make_room()?;
        }
        let restless = self.restless();
        if let Some((extent, what)) = &restless
            && now.since(since) > HEAL_MAX
        {
            let what = format!("{HEAL_MAX:?} after the last fault {what}");
            return Err(Violation::new("liveness", *extent, what));
        }
        let quiet_since = if restless.is_none() { Some(quiet_since.unwrap_or(now)) } else { None };
        self.phase = Phase::Healing { since, quiet_since };
        if quiet_since.is_some_and(|quiet| now.since(quiet) > crate::server::SETTLE) {
            self.begin_verifying();
        }
        Ok(())
    }

    /// What is still under way, if anything.
    fn restless(&self) -> Option<(Option<ExtentId>, String)> {
        if let Some((id, _)) = self.servers.iter().find(|(_, server)| server.running.is_none()) {
            return Some((None, format!("server {id} does not run")));
        }
        if let Some((id, state)) = self.routing.not_up() {
            return Some((None, format!("server {id} is {state:?}")));
        }
        if let Some(id) = self.without_live_key() {
            return Some((None, format!("server {id} runs and has no live key")));
        }
        if !self.routing.has_planner() {
            return Some((None, "no server is the planner".into()));
        }
        let open = self.clients.iter().flat_map(|client| client.open.values()).next();
        if let Some(op) = open {
            let extent = crate::client::sector::place_of(op.sectors().next()?).extent();
            return Some((
                Some(extent),
                format!("operation {} has no answer: {:?} of {:?}", op.number, op.wish, op.at),
            ));
        }
        let moving = self
            .routing
            .extents()
            .into_iter()
            .find(|extent| self.routing.route(*extent).is_some_and(|route| route.intent.is_some()));
        if let Some(extent) = moving {
            return Some((Some(extent), "an intent stays in the directory".into()));
        }
        let unplaced = if self.scenario.is_scripted { None } else { self.routing.not_placed() };
        unplaced
            .map(|volume| (None, format!("volume {volume} is not placed over the servers that are to stay")))
    }
}

impl Happening {
    /// The server that takes it up, if it is one's own work: it waits while the server stands still.
    fn server(&self) -> Option<ServerId> {
        match self {
            Self::Deliver { to, .. } => Some(*to),
            Self::SideUp { server, .. } | Self::SideDown { server, .. } => Some(*server),
            Self::StoreIdle { life }
            | Self::DiskDone { life, .. }
            | Self::EngineTimer { life }
            | Self::TxnAnswered { life, .. }
            | Self::News { life }
            | Self::Register { life }
            | Self::Serve { life }
            | Self::Submitted { life, .. }
            | Self::Woke { life }
            | Self::Proof { life, .. }
            | Self::Cancel { life, .. }
            | Self::MonitorTick { life }
            | Self::Presence { life } => Some(life.server),
            _ => None,
        }
    }
}
