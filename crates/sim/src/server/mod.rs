//! A server: an engine and a store over a disk, and the glue between them, the network and the directory; what the daemon
//! does with sockets and files, in virtual time.

mod directory_side;
mod founding;
mod presence;
mod rest;
mod skew;
mod store_side;

use crate::barriers::Taken;
use crate::checkers::Violation;
use crate::coverage::Row;
use crate::directory::TxnFate;
use crate::disk::DiskBay;
use crate::log::About;
use crate::moves::Planner;
use crate::world::{Happening, Life, Phase, World};
use evenkeel_engine::config::ScrubConfig;
use evenkeel_engine::{DirectoryEvent, Engine, EngineConfig, Event, Output, RequestId};
use evenkeel_meta::{Watch, change};
use evenkeel_store::{OpenOptions, Store};
use evenkeel_types::store_op::StoreTicket;
use evenkeel_types::{ServerId, Time};
use presence::Presence;
use skew::SkewedClock;
use std::collections::BTreeMap;
use std::time::Duration;
use store_side::OpNote;

pub(crate) use founding::found;

/// The wall clock at the beginning of every run.
const UNIX_MS_AT_START: u64 = 1_800_000_000_000;
/// How long everything is left alone once nothing is under way: leases run out and copies are freed.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);
/// Memory of a store for extent records: a few of them, so that they come and go.
const CACHE_BYTES: u64 = 256 << 10;
/// Blocks that were read lately, in bytes: a few, so that reads come from memory and from the device.
const READ_CACHE_BYTES: u64 = 64 << 10;
/// Memory of a store for journaled blocks.
const OVERLAY_BYTES: u64 = 512 << 10;
const GROUP: &str = "sim";
/// Everything is read and compared several times in a run.
const SCRUB: ScrubConfig =
    ScrubConfig { rate: 64 << 20, every: Duration::from_secs(5), first_after: Duration::from_secs(2) };

/// A server and its disk, whether it runs or not.
pub(crate) struct SimServer {
    pub(crate) id: ServerId,
    pub(crate) bay: DiskBay,
    life: u64,
    /// Opened and not yet known to the directory.
    starting: Option<Store>,
    pub(crate) running: Option<Running>,
    asleep_from: Time,
    asleep_until: Time,
    /// Until then nothing that it asks the directory gets there, or no answer gets back.
    pub(crate) dark_until: Time,
    /// Until then it does not get to renewing its live key.
    pub(crate) mute_until: Time,
    /// It crashes after so many more outputs of its engine.
    pub(crate) fuse: Option<u32>,
    /// Until then nothing new of the directory gets here.
    pub(crate) deaf_until: Time,
    /// It crashes while one of its next disk writes is under way, after so many others.
    pub(crate) trap: Option<u32>,
    clock: SkewedClock,
}

/// What lives only as long as the process.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    watch: Box<dyn Watch>,
    timer_at: Option<Time>,
    notes: BTreeMap<StoreTicket, OpNote>,
    pub(crate) planner: Planner,
    pub(crate) presence: Presence,
    store_idles_at: Time,
    /// Requests of hosts that it has taken and not answered.
    pub(crate) taken: BTreeMap<RequestId, Taken>,
}

pub(crate) fn options(server: ServerId) -> OpenOptions {
    OpenOptions {
        cache_bytes: CACHE_BYTES,
        read_cache_bytes: READ_CACHE_BYTES,
        overlay_bytes_max: OVERLAY_BYTES,
        ..OpenOptions::new(GROUP, server)
    }
}

impl SimServer {
    pub(crate) const fn life(&self) -> Life {
        Life { server: self.id, number: self.life }
    }

    pub(crate) fn life_running(&self) -> Option<Life> {
        self.running.as_ref().map(|_| self.life())
    }

    /// Whether it has neither started nor begun to.
    pub(crate) const fn is_down(&self) -> bool {
        self.running.is_none() && self.starting.is_none()
    }

    pub(crate) fn asleep_until(&self, now: Time) -> Option<Time> {
        (self.asleep_until > now).then_some(self.asleep_until)
    }

    /// Until when it stood still last.
    pub(crate) const fn last_slept(&self) -> Time {
        self.asleep_until
    }

    /// Since when it stands still, or stood still last.
    pub(crate) const fn slept_from(&self) -> Time {
        self.asleep_from
    }

    pub(crate) fn sleep(&mut self, from: Time, until: Time) {
        if self.asleep_until <= from {
            self.asleep_from = from;
        }
        self.asleep_until = self.asleep_until.max(until);
    }

    pub(crate) fn is_dark(&self, now: Time) -> bool {
        self.dark_until > now
    }

    pub(crate) fn end_trouble(&mut self) {
        self.fuse = None;
        self.trap = None;
        self.deaf_until = Time::ZERO;
        self.dark_until = Time::ZERO;
        self.mute_until = Time::ZERO;
        self.bay.slow_until = Time::ZERO;
    }

    pub(crate) fn local(&self, now: Time) -> Time {
        self.clock.local(now)
    }
}

impl World<'_> {
    pub(crate) fn server(&mut self, id: ServerId) -> &mut SimServer {
        self.servers.get_mut(&id).expect("servers neither come nor go")
    }

    /// Pairs of servers whose clocks run 1 % apart or more.
    pub(crate) fn clocks_apart(&self) -> u64 {
        let drifts: Vec<i64> = self.servers.values().map(|server| server.clock.drift_ppm()).collect();
        let apart = |(n, one): (usize, &i64)| {
            drifts[n + 1..].iter().filter(|other| one.abs_diff(**other) >= 10_000).count() as u64
        };
        drifts.iter().enumerate().map(apart).sum()
    }

    fn is_over(&self, life: Life) -> bool {
        self.servers[&life.server].life != life.number
    }

    /// Opens the store; now and then the machine fails again while it does.
    pub(crate) fn start(&mut self, id: ServerId) -> Result<(), Violation> {
        if !self.servers[&id].is_down() {
            return Ok(());
        }
        if self.directory.is_lost() {
            // Without a directory nobody gets far, and with one of which the stores know more nobody may.
            let delay = self.rng.millis(100, 1000);
            self.clock.after(delay, Happening::Start { server: id });
            return Ok(());
        }
        if self.phase == Phase::Faults && !self.scenario.is_scripted && self.rng.chance(150) {
            let writes = self.rng.between(1, 12);
            let server = self.server(id);
            if server.bay.open_and_fail(writes, &options(id)) {
                self.coverage.count(Row::CrashInOpen);
                self.note(About::Group, format_args!("{id} fails again while it opens its store"));
            }
        }
        let opened = Store::open(&mut self.server(id).bay.disk, &options(id));
        let (store, report) = opened.map_err(|fault| {
            Violation::new("store", None, format!("the store of {id} does not open after a crash: {fault}"))
        })?;
        self.note(About::Group, format_args!("{id} opens {report:?}"));
        self.coverage.add(Row::RecordsReplayed, report.records_replayed);
        self.coverage.add(Row::JournalTorn, report.torn_tail.into());
        self.coverage.add(Row::CleanStart, u64::from(report.clean && report.mount > 1));
        let server = self.server(id);
        server.life += 1;
        server.starting = Some(store);
        let life = server.life();
        if self.rng.chance(400) {
            self.look_through(id)?;
        }
        let delay = self.rng.millis(1, 20);
        self.clock.after(delay, Happening::Register { life });
        Ok(())
    }

    /// Tells the directory of the start, until it is certain that the directory knows.
    pub(crate) fn register(&mut self, life: Life) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        let retry = self.rng.millis(5, 200);
        if self.directory.is_lost() {
            self.clock.after(retry, Happening::Register { life });
            return Ok(());
        }
        let incarnation = self.servers[&life.server].starting.as_ref().map(Store::incarnation);
        let incarnation = incarnation.expect("it registers after it opened its store");
        let view = self.directory.view();
        let done = view.member(life.server).is_some_and(|kept| kept.record.incarnation == incarnation);
        let fate = match self.servers[&life.server].is_dark(self.now()) {
            true => self.directory.fate_in_the_dark(),
            false => self.directory.fate(),
        };
        let txn = change::start_server(&view, life.server, incarnation);
        let stays_up = view.member(life.server).is_some_and(|kept| kept.record.is_up());
        let certain = match (done, fate) {
            (true, _) => true,
            (false, TxnFate::Unavailable { .. } | TxnFate::Unknown { at: None, .. }) => false,
            (false, fate) => {
                let txn = txn.map_err(|error| Violation::new("directory", None, error.to_string()))?;
                let outcome = self.directory.carry_out(&txn);
                self.follow_directory()?;
                self.coverage.add(Row::StayedUp, stays_up.into());
                outcome.is_ok_and(|outcome| outcome.succeeded) && matches!(fate, TxnFate::Answered { .. })
            }
        };
        let next = if certain { Happening::Serve { life } } else { Happening::Register { life } };
        self.clock.after(retry, next);
        Ok(())
    }

    /// The server begins to serve.
    pub(crate) fn serve(&mut self, life: Life) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        if self.directory.is_lost() {
            self.clock.after(Duration::from_millis(100), Happening::Serve { life });
            return Ok(());
        }
        let id = life.server;
        let view = self.directory.view();
        let now = self.now();
        let server = self.servers.get_mut(&id).expect("servers neither come nor go");
        let store = server.starting.take().expect("it serves after it opened its store");
        let local = server.clock.local(now);
        let config = EngineConfig {
            me: id,
            incarnation: store.incarnation(),
            started_unix_ms: UNIX_MS_AT_START + now.0 / 1_000_000,
            started: local,
            rebuild_after: self.scenario.rebuild_after,
            scrub: SCRUB,
        };
        let mut engine = Engine::new(config);
        let watch = self.directory.watch(view.revision());
        engine.handle(local, Event::Directory(DirectoryEvent::Snapshot(Box::new(view))));
        let planner = Planner::new(local, id, store.incarnation(), self.servers.keys().copied());
        let server = self.servers.get_mut(&id).expect("servers neither come nor go");
        server.running = Some(Running {
            engine,
            store,
            watch,
            timer_at: None,
            notes: BTreeMap::new(),
            planner,
            presence: Presence::default(),
            store_idles_at: Time::ZERO,
            taken: BTreeMap::new(),
        });
        self.note(About::Group, format_args!("{id} serves"));
        self.clock.after(Duration::from_millis(1), Happening::News { life });
        self.clock.after(crate::moves::MONITOR_EVERY, Happening::MonitorTick { life });
        self.clock.after(Duration::from_millis(2), Happening::Presence { life });
        self.after_start(id);
        self.pump(id)
    }

    /// Hands an event to a server's engine, and carries out what follows.
    pub(crate) fn tell(&mut self, id: ServerId, event: Event) -> Result<(), Violation> {
        let now = self.now();
        let server = self.server(id);
        let local = server.clock.local(now);
        let Some(running) = &mut server.running else { return Ok(()) };
        running.engine.handle(local, event);
        self.pump(id)
    }

    /// Carries out everything that engine and store of a server want done.
    pub(crate) fn pump(&mut self, id: ServerId) -> Result<(), Violation> {
        loop {
            let server = self.servers.get_mut(&id).expect("servers neither come nor go");
            let Some(running) = &mut server.running else { return Ok(()) };
            if let Some(output) = running.engine.poll_output() {
                if let Some(fuse) = &mut server.fuse {
                    if *fuse == 0 {
                        self.coverage.count(Row::CrashWithinStep);
                        return self.crash(id);
                    }
                    *fuse -= 1;
                }
                self.output(id, output)?;
            } else if let Some(io) = running.store.poll_io() {
                self.issue_io(id, io);
            } else if let Some((ticket, outcome)) = running.store.poll_done() {
                self.store_done(id, ticket, outcome)?;
            } else {
                break;
            }
        }
        self.plan_timers(id);
        Ok(())
    }

    fn plan_timers(&mut self, id: ServerId) {
        let now = self.now();
        let server = self.servers.get_mut(&id).expect("servers neither come nor go");
        let (clock, life) = (server.clock, server.life());
        let Some(running) = &mut server.running else { return };
        let wanted = running.engine.poll_timeout().map(|local| clock.global(local).max(now));
        if let Some(at) = wanted
            && running.timer_at.is_none_or(|planned| at < planned)
        {
            running.timer_at = Some(at);
            self.clock.at(at, Happening::EngineTimer { life });
        }
        // An idle store makes its changes final after a while.
        if running.store_idles_at <= now {
            let delay = self.rng.millis(200, 3000);
            running.store_idles_at = now + delay;
            self.clock.after(delay, Happening::StoreIdle { life });
        }
    }

    fn output(&mut self, id: ServerId, output: Output) -> Result<(), Violation> {
        match output {
            Output::Complete { id: request, outcome } => {
                if let Some(running) = &mut self.server(id).running {
                    running.taken.remove(&request);
                }
                self.completed(id, request, outcome);
                Ok(())
            }
            Output::Prove { id: request } => {
                self.prove(id, request);
                Ok(())
            }
            Output::Admit { volume, revision } => self.judge_admitted(id, volume, revision),
            Output::BarrierDone { id: barrier, passed } => self.barrier_done(barrier, passed),
            Output::Send { to, message } => self.send(id, to, message),
            Output::Disconnect { server } => {
                self.disconnect(id, server);
                Ok(())
            }
            Output::Store { ticket, op } => self.store_op(id, ticket, op),
            Output::Transact { ticket, txn } => self.transact(id, ticket, txn),
            Output::Arrived(arrival) => {
                self.server(id).running.as_mut().expect("it just spoke").planner.charge(&arrival);
                Ok(())
            }
            Output::LoadReport { from, report } => {
                self.load_report(id, from, &report);
                Ok(())
            }
            Output::InventoryPage { .. } => Ok(()),
            Output::Event(event) => self.engine_event(id, event),
        }
    }

    pub(crate) fn engine_timer(&mut self, life: Life) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        if let Some(running) = &mut self.server(life.server).running {
            running.timer_at = None;
        }
        self.tell(life.server, Event::Timer)
    }

    /// The process dies: what it had in memory is gone, what the disk did not yet have may be.
    pub(crate) fn crash(&mut self, id: ServerId) -> Result<(), Violation> {
        if self.servers[&id].is_down() {
            return Ok(());
        }
        self.tally.crashes += 1;
        self.coverage.count(Row::Crash);
        let lost = self.server(id).bay.crash();
        self.coverage.add(Row::WriteCaught, lost.torn + lost.lost);
        self.note(About::Group, format_args!("{id} crashes: {lost:?}"));
        self.motion_cut(id);
        self.presence_outlives(id);
        self.plan_return(id);
        self.end_life(id)
    }

    /// Everything that a server had in memory is gone.
    fn end_life(&mut self, id: ServerId) -> Result<(), Violation> {
        let server = self.server(id);
        server.life += 1;
        server.fuse = None;
        server.trap = None;
        server.asleep_until = Time::ZERO;
        server.starting = None;
        if let Some(running) = server.running.take() {
            self.count_life(&running);
        }
        self.motion_ends(id);
        self.rules.life_ends(id);
        self.marks.life_ends(id);
        self.versions.crashed(id);
        self.connections_die(id);
        self.clients_lose(id)
    }

    /// A server is stopped: what it had begun on its disk ends, and its store is left clean.
    pub(crate) fn stop_in_order(&mut self, id: ServerId) -> Result<(), Violation> {
        self.end_presence(id)?;
        self.drain_disk(id);
        let server = self.server(id);
        if let Some(running) = &mut server.running {
            running.store.shutdown();
            evenkeel_store::run_io(&mut running.store, &mut server.bay.disk);
        }
        self.end_life(id)
    }

    /// The group went on without a server: its life ends at once, and another one begins a moment later over the same
    /// store. What the disk has under way is carried out: the machine goes on.
    pub(crate) fn found_down(&mut self, id: ServerId) -> Result<(), Violation> {
        self.coverage.count(Row::FoundDown);
        let delay = self.rng.millis(1, 300);
        self.end_presence(id)?;
        self.end_life(id)?;
        self.server(id).bay.finish();
        self.clock.after(delay, Happening::Start { server: id });
        Ok(())
    }

    pub(crate) fn count_life(&mut self, running: &Running) {
        let counters = running.engine.counters();
        let moves = counters.moves;
        for (row, count) in [
            (Row::MovesAborted, counters.moves_aborted),
            (Row::MovesResumed, counters.moves_resumed),
            (Row::RegionsSent, moves.regions_sent),
            (Row::RegionsEqual, moves.regions_equal),
            (Row::RegionsReceived, counters.regions_received),
            (Row::WritesMirrored, moves.writes_mirrored),
            (Row::WritesWaited, moves.writes_waited),
            (Row::WritesNotYetCopied, moves.writes_not_yet_copied),
            (Row::CompletedAfterCutOver, moves.completed_after_cut_over),
            (Row::AnsweredMoved, moves.answered_moved),
            (Row::Freed, counters.freed),
            (Row::ReadsWaitedForLease, counters.reads_waited_for_lease),
            (Row::StaleRefusals, counters.stale_refusals),
            (Row::Duplicates, counters.duplicates),
            (Row::Forwarded, counters.forwarded),
            (Row::Retried, counters.retried),
            (Row::Checkpoints, running.store.stats().checkpoints),
        ] {
            self.coverage.add(row, count);
        }
    }
}
