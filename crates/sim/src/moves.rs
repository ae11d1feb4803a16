//! Moves: those that the load monitors ask for, those that the simulator asks for at random, and how far each is.

use crate::checkers::Violation;
use crate::coverage::Row;
use crate::log::About;
use crate::world::{Happening, Life, Phase, World};
use evenkeel_balance::{
    Access, Capacity, Charge, Direction, HalfLives, Limits, Membership, Monitor, MonitorOptions, MoveHistory,
    MoveOutcome, Report, Thresholds, decide,
};
use evenkeel_engine::{Arrival, EngineEvent, Event, MoveOrder, MoveStage};
use evenkeel_types::{Bytes, ExtentId, Incarnation, Region, ServerId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often each load monitor closes an interval and reports.
pub(crate) const MONITOR_EVERY: Duration = Duration::from_millis(500);
/// How often the planner decides.
const PLAN_EVERY: Duration = Duration::from_millis(700);
/// Moves at random for each one that was decided: at most this many, so that decided ones keep their share.
const RANDOM_PER_DECIDED: u64 = 2;
/// After this time the simulator moves on by itself even where nothing is decided.
const RANDOM_ANYWAY_AFTER: Duration = Duration::from_secs(30);

/// The load monitor of a server, and what it remembers of moves.
pub(crate) struct Planner {
    pub(crate) monitor: Monitor,
    history: MoveHistory,
}

/// The source or the target of a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Source,
    Target,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    source: ServerId,
    target: ServerId,
    stage: MoveStage,
}

/// All moves, as their owners report them.
#[derive(Debug, Default)]
pub(crate) struct Motion {
    under_way: BTreeMap<ExtentId, UnderWay>,
    decided: BTreeSet<ExtentId>,
    asked_at_random: u64,
    carried_out_as_decided: u64,
    unanswered: BTreeSet<ExtentId>,
}

impl Motion {
    /// Extents that are being moved.
    pub(crate) fn extents(&self) -> impl Iterator<Item = ExtentId> {
        self.under_way.keys().copied()
    }

    /// A Propose gets no answer.
    pub(crate) fn propose_unanswered(&mut self, extent: ExtentId) {
        self.unanswered.insert(extent);
    }
}

impl Planner {
    pub(crate) fn new(
        now: Time,
        me: ServerId,
        incarnation: Incarnation,
        members: impl Iterator<Item = ServerId>,
    ) -> Self {
        let capacity = Capacity {
            disk_read_iops: 120.0,
            disk_write_iops: 80.0,
            disk_mib_s: None,
            net_mib_s: 100.0,
            cpu_cores: 0.5,
        };
        // Everything as in the daemon, ten times as fast: a run lasts less than a minute.
        let options = MonitorOptions {
            thresholds: Thresholds {
                floor: 0.05,
                sustained: Duration::from_secs(1),
                urgent_sustained: Duration::from_millis(500),
                swing_crossings: 100,
                ..Thresholds::default()
            },
            half_lives: HalfLives { fast: Duration::from_millis(500), slow: Duration::from_millis(1500) },
            warm_up: Duration::from_secs(1),
            ..MonitorOptions::default()
        };
        let mut monitor = Monitor::new(now, me, incarnation, capacity, options);
        monitor.set_members(members.map(|server| (server, Membership::Up)));
        Self { monitor, history: MoveHistory::new() }
    }

    pub(crate) fn charge(&mut self, arrival: &Arrival) {
        let charge = match *arrival {
            Arrival::FrontEnd { write, bytes, digest, forwarded } => {
                let (read_bytes, write_bytes) = if write { (0, bytes) } else { (bytes, 0) };
                Charge::FrontEnd { read_bytes, write_bytes, digest, forwarded }
            }
            Arrival::Owner { extent, write, at, remote } => {
                let access = if write { Access::Write } else { Access::Read };
                let offset = u32::try_from(at.offset).expect("within an extent");
                Charge::Extent { extent, access, offset, bytes: at.len, remote }
            }
            Arrival::Copy { bytes, received, .. } => {
                Charge::Copy { direction: if received { Direction::In } else { Direction::Out }, bytes }
            }
        };
        self.monitor.charge(&charge);
    }
}

impl World<'_> {
    pub(crate) fn monitor_tick(&mut self, life: Life) -> Result<(), Violation> {
        let id = life.server;
        if self.servers[&id].life() != life {
            return Ok(());
        }
        let now = self.now();
        let used = self.used();
        let server = self.server(id);
        let local = server.local(now);
        let Some(running) = &mut server.running else { return Ok(()) };
        let stats = running.store.stats();
        let unit = u64::from(evenkeel_types::geometry::REGION_BYTES);
        running.planner.monitor.set_space(stats.units_used * unit, stats.units * unit);
        running.engine.set_used(used);
        let report = running.planner.monitor.tick(local);
        let bytes = postcard::to_allocvec(&report).expect("reports hold nothing that postcard cannot encode");
        running.engine.send_load(&Bytes::from(bytes));
        self.clock.after(MONITOR_EVERY, Happening::MonitorTick { life });
        self.pump(id)
    }

    pub(crate) fn load_report(&mut self, id: ServerId, from: ServerId, report: &Bytes) {
        let now = self.now();
        let server = self.server(id);
        let local = server.local(now);
        let Some(running) = &mut server.running else { return };
        if let Ok(report) = postcard::from_bytes::<Report>(report) {
            running.planner.monitor.handle_report(local, from, report);
        }
    }

    /// The server that was elected to it orders moves from their owners.
    pub(crate) fn plan_moves(&mut self) -> Result<(), Violation> {
        if self.phase != Phase::Faults {
            return Ok(());
        }
        self.clock.after(PLAN_EVERY, Happening::Plan);
        let now = self.now();
        let awake = |server: &&mut crate::server::SimServer| {
            server.running.as_ref().is_some_and(|running| running.presence.is_elected)
                && server.asleep_until(now).is_none()
        };
        let Some(server) = self.servers.values_mut().find(awake) else { return Ok(()) };
        let (id, local) = (server.id, server.local(now));
        let planner = &mut server.running.as_mut().expect("it runs").planner;
        let view = planner.monitor.view(local);
        let limits = Limits {
            decisions_max: 3,
            relief_min: 0.0,
            ticks_in_use_min: 1,
            cooldown: Duration::from_secs(3),
            cooldown_urgent: Duration::from_secs(2),
            failed_backoff: Duration::from_secs(2),
            ..Limits::default()
        };
        let decisions = decide(local, &view, &limits, &planner.history);
        for decision in &decisions {
            planner.history.decided(local, decision);
        }
        for decision in decisions {
            let reason = serde_json::to_value(&decision.reason).expect("a reason is plain data");
            let what =
                format!("{id} decides to move {} from {} to {}", decision.extent, decision.from, decision.to);
            self.note(About::Extent(decision.extent), format_args!("{what}"));
            self.motion.decided.insert(decision.extent);
            let rate = self.draw_rate();
            let first = self.draw_regions();
            let order =
                MoveOrder { extent: decision.extent, to: decision.to, replaces: None, rate, reason, first };
            self.tell(decision.from, Event::StartMove(order))?;
        }
        Ok(())
    }

    fn draw_rate(&mut self) -> Option<u64> {
        self.rng.chance(600).then(|| self.rng.between(64 << 10, 8 << 20))
    }

    fn draw_regions(&mut self) -> Vec<Region> {
        let count = self.rng.below(6);
        (0..count).filter_map(|_| Region::new(self.rng.below(64) as u8)).collect()
    }

    /// Moves an extent somewhere, gives a move up, or changes its speed; sometimes asks the wrong server.
    pub(crate) fn random_move(&mut self) -> Result<(), Violation> {
        if self.phase != Phase::Faults {
            return Ok(());
        }
        let every = u64::try_from(self.scenario.random_move_every.as_micros()).expect("a short time");
        let delay = self.rng.micros(every / 4, every * 7 / 4);
        self.clock.after(delay, Happening::RandomMove);
        let moving: Vec<ExtentId> = self.motion.extents().collect();
        if !moving.is_empty() && self.rng.chance(150) {
            let extent = *self.rng.pick(&moving);
            let owner = self.routing.route(extent).and_then(|route| route.owner());
            let Some(owner) = owner.filter(|owner| self.servers[owner].asleep_until(self.now()).is_none())
            else {
                return Ok(());
            };
            let event = if self.rng.chance(400) {
                Event::AbortMove { extent }
            } else {
                Event::SetMoveRate { extent, rate: self.draw_rate() }
            };
            self.note(About::Extent(extent), format_args!("{owner} is told {event:?}"));
            return self.tell(owner, event);
        }
        let motion = &self.motion;
        let decided = motion.carried_out_as_decided.max(motion.decided.len() as u64 / 2);
        let anyway = self.now().since(Time::ZERO) > RANDOM_ANYWAY_AFTER;
        if motion.asked_at_random > RANDOM_PER_DECIDED * decided + 2 && !anyway {
            return Ok(());
        }
        let extents = self.routing.extents();
        let extent = *self.rng.pick(&extents);
        let ids: Vec<ServerId> = self.servers.keys().copied().collect();
        let to = *self.rng.pick(&ids);
        let Some(route) = self.routing.route(extent) else { return Ok(()) };
        let (owner, replicas) = (route.owner(), route.replicas);
        // Often the copy of another replica, be it there or not: then a lost copy is rebuilt.
        let replaces = self.rng.chance(600).then(|| *self.rng.pick(&replicas));
        let by = if self.rng.chance(50) { Some(*self.rng.pick(&ids)) } else { owner };
        let Some(by) = by.filter(|by| self.servers[by].asleep_until(self.now()).is_none()) else {
            return Ok(());
        };
        self.motion.asked_at_random += 1;
        let (rate, first) = (self.draw_rate(), self.draw_regions());
        let reason = serde_json::Value::String("random".into());
        self.note(About::Extent(extent), format_args!("{by} is told to move {extent} to {to} at {rate:?}"));
        self.tell(by, Event::StartMove(MoveOrder { extent, to, replaces, rate, reason, first }))
    }

    pub(crate) fn shift_hot_spot(&mut self) {
        if self.phase == Phase::Faults {
            self.workload.hot_spot = self.rng.below(64) as u32;
            self.workload.is_purging = self.scenario.is_full && self.rng.chance(600);
            let delay = self.rng.millis(2000, 6000);
            self.clock.after(delay, Happening::HotSpot);
        }
    }

    /// An owner reports something.
    pub(crate) fn engine_event(&mut self, id: ServerId, event: EngineEvent) -> Result<(), Violation> {
        match event {
            EngineEvent::TookOver { extent, epoch, promised } => {
                let row = if promised { Row::TakeoverPromised } else { Row::TakeoverWaited };
                self.coverage.count(row);
                self.note(
                    About::Extent(extent),
                    format_args!("{id} took {extent} over in epoch {epoch}, promised {promised}"),
                );
            }
            EngineEvent::Move(step) => {
                let extent = step.extent;
                self.note(
                    About::Extent(extent),
                    format_args!(
                        "{id} moves {extent} to {}: {:?} {}",
                        step.to,
                        step.stage,
                        step.why.unwrap_or_default()
                    ),
                );
                match step.stage {
                    MoveStage::Released | MoveStage::Aborted => {
                        self.motion.under_way.remove(&extent);
                        let outcome = match step.stage {
                            MoveStage::Released => MoveOutcome::Completed,
                            _ => MoveOutcome::Failed,
                        };
                        self.end_in_histories(extent, outcome);
                    }
                    stage => {
                        self.motion.under_way.insert(extent, UnderWay { source: id, target: step.to, stage });
                    }
                }
                self.maybe_cut(extent, step.stage, id, step.to);
            }
            EngineEvent::MoveRefused { extent, to, why } => {
                self.note(About::Extent(extent), format_args!("{id} does not move {extent} to {to}: {why}"));
                self.end_in_histories(extent, MoveOutcome::Failed);
            }
            EngineEvent::StopsServing { server, extents, lease_ended } => {
                let what = format_args!(
                    "{id} stops serving {extents} extents, the lease of {server} ended at {lease_ended:?}"
                );
                self.note(About::Routine, what);
            }
            EngineEvent::MarkedDown { server, silence } => {
                self.note(About::Routine, format_args!("{id} marks {server} down, silent for {silence:?}"));
            }
            EngineEvent::FoundDown => {
                self.note(About::Routine, format_args!("{id} found itself down"));
                return self.found_down(id);
            }
            EngineEvent::CannotKeepUp { extent } => {
                self.note(About::Extent(extent), format_args!("{id} has no room for a write to {extent}"));
                return self.found_down(id);
            }
            EngineEvent::Rejoined => {
                self.coverage.count(Row::Rejoined);
                self.rules.rejoined(id);
                self.note(About::Routine, format_args!("{id} is up again"));
            }
            EngineEvent::Mended { extent, region, from } => {
                self.coverage.count(Row::MendedByCopy);
                let what = format_args!("{id} mended region {region} of {extent} from {from}");
                self.note(About::Extent(extent), what);
            }
            EngineEvent::Compared { server, regions, differing } => {
                self.coverage.count(Row::Compared);
                let what =
                    format_args!("{id} compared {regions} regions with {server}, {differing} may differ");
                self.note(About::Routine, what);
            }
            EngineEvent::CopyMended { extent, region, at, had_diverged: false } => {
                self.coverage.count(Row::MendedByScrub);
                let what = format_args!("{id} mended region {region} of {extent} at {at}");
                self.note(About::Extent(extent), what);
            }
            EngineEvent::CopyMended { extent, region, at, had_diverged: true } => {
                let what =
                    format!("region {region} had other content in the same version at {at} than at {id}");
                return Err(Violation::new("versions", extent, what));
            }
            EngineEvent::Unreadable { extent, region, blocks } => {
                let what =
                    format_args!("{id}: blocks {blocks:#x} of region {region} of {extent} are good nowhere");
                self.note(About::Extent(extent), what);
            }
            EngineEvent::Scrubbed { regions, mended, unreadable } => {
                self.coverage.add(Row::Scrubbed, regions);
                let what =
                    format_args!("{id} read {regions} regions, {mended} mended, {unreadable} unreadable");
                self.note(About::Routine, what);
            }
            EngineEvent::Freed { extent } => {
                self.note(About::Extent(extent), format_args!("{id} has freed {extent}"));
            }
            EngineEvent::CopyMissing { extent } => {
                let what = format!("{id} misses the copy of an extent that it owns");
                return Err(Violation::new("engine", extent, what));
            }
            EngineEvent::ViewGap { why } => {
                return Err(Violation::new(
                    "directory",
                    None,
                    format!("{id} sees a gap in the directory's history: {why}"),
                ));
            }
        }
        Ok(())
    }

    fn end_in_histories(&mut self, extent: ExtentId, outcome: MoveOutcome) {
        let now = self.now();
        for server in self.servers.values_mut() {
            let local = server.local(now);
            if let Some(running) = &mut server.running {
                running.planner.history.ended(local, extent, outcome);
            }
        }
    }

    /// The directory has given an extent to another server.
    pub(crate) fn moved(&mut self, extent: ExtentId) {
        self.coverage.count(Row::MovesDone);
        if self.motion.decided.remove(&extent) {
            self.motion.carried_out_as_decided += 1;
            self.coverage.count(Row::MovesByBalance);
        }
        if self.motion.unanswered.remove(&extent) {
            self.coverage.count(Row::ProposeUnknown);
        }
        self.end_in_histories(extent, MoveOutcome::Completed);
    }

    /// A server has crashed: which moves did that cut, and where?
    pub(crate) fn motion_cut(&mut self, server: ServerId) {
        for under_way in self.motion.under_way.clone().into_values() {
            let side = match server {
                id if id == under_way.source => Side::Source,
                id if id == under_way.target => Side::Target,
                _ => continue,
            };
            let row = match (under_way.stage, side) {
                (MoveStage::Preparing, Side::Source) => Row::CutPreparingSource,
                (MoveStage::Preparing, Side::Target) => Row::CutPreparingTarget,
                (MoveStage::Copying, Side::Source) => Row::CutCopyingSource,
                (MoveStage::Copying, Side::Target) => Row::CutCopyingTarget,
                (MoveStage::Proposing, Side::Source) => Row::CutProposingSource,
                (MoveStage::Proposing, Side::Target) => Row::CutProposingTarget,
                (MoveStage::HandingOver, Side::Source) => Row::CutHandoverSource,
                (MoveStage::HandingOver, Side::Target) => Row::CutHandoverTarget,
                (MoveStage::Released | MoveStage::Aborted, _) => continue,
            };
            self.coverage.count(row);
        }
    }

    /// A server's life is over, and nothing is moved by it any more.
    pub(crate) fn motion_ends(&mut self, server: ServerId) {
        self.motion.under_way.retain(|_, under_way| under_way.source != server);
    }
}
