//! The load monitor of one server: it measures its own server, hears from the others, and judges all of them.

use crate::capacity::Capacity;
use crate::charge::Charge;
use crate::cost::{CostModel, CpuCosts};
use crate::filter::{Filtered, HalfLives, remaining};
use crate::heat::{Heat, HeatTable};
use crate::history::MoveOutcome;
use crate::judge::{Judge, Judgement, Sample, Thresholds};
use crate::measure::Weights;
use crate::pattern::Pattern;
use crate::report::{HOT_EXTENTS_MAX, HotExtent, Parts, Report};
use crate::resource::Load;
use crate::view::{GroupView, Membership, ServerLoad, ServerView};
use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::{ExtentId, Incarnation, ServerId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Servers of which a monitor keeps reports.
pub const SERVERS_MAX: usize = 1024;
/// Ticks closer together than this are one: rates over nothing mean nothing.
const TICK_MIN: Duration = Duration::from_millis(50);

/// How a monitor measures and judges. All servers of a group use the same.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MonitorOptions {
    /// When a server counts as disproportionately loaded.
    pub thresholds: Thresholds,
    /// How much storage load and server load count.
    pub weights: Weights,
    /// How fast the filters forget.
    pub half_lives: HalfLives,
    /// A report older than this counts as none.
    pub stale_after: Duration,
    /// A server whose monitor is younger than this takes no extents yet.
    pub warm_up: Duration,
    /// What work costs the processor.
    pub cpu: CpuCosts,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        Self {
            thresholds: Thresholds::default(),
            weights: Weights::default(),
            half_lives: HalfLives::default(),
            stale_after: Duration::from_secs(3),
            warm_up: Duration::from_secs(5),
            cpu: CpuCosts::default(),
        }
    }
}

/// What became of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportVerdict {
    /// It is the newest of its server now.
    Taken,
    /// A newer one, or the same one, came before; harmless.
    Old,
    /// It is not of the server that sent it, or that server is no member.
    Foreign,
    /// Its numbers cannot be reckoned with; the sender is broken.
    Senseless,
}

#[derive(Debug)]
struct Received {
    report: Report,
    at: Time,
}

/// The load monitor of one server.
#[derive(Debug)]
pub struct Monitor {
    me: ServerId,
    incarnation: Incarnation,
    capacity: Capacity,
    model: CostModel,
    options: MonitorOptions,
    started: Time,
    ticked: Time,
    sequence: u64,
    /// Charged since the last tick, in utilisation-seconds.
    charged: Parts,
    counted: Pattern,
    utilisation: Filtered<Parts>,
    pattern: Pattern,
    heat: HeatTable,
    /// By how much estimates of heat lag behind the server's fast filter; see [`HeatTable::trend`].
    trend: Load,
    members: BTreeMap<ServerId, Membership>,
    reports: BTreeMap<ServerId, Received>,
    judge: Judge,
    moves_out: BTreeSet<ExtentId>,
    moves_in: BTreeSet<ExtentId>,
    allocated_bytes: u64,
    total_bytes: u64,
}

impl Monitor {
    /// A monitor that begins to measure `now`. The capacity must pass [`Capacity::check`].
    #[must_use]
    pub fn new(
        now: Time,
        me: ServerId,
        incarnation: Incarnation,
        capacity: Capacity,
        options: MonitorOptions,
    ) -> Self {
        assert!(capacity.check().is_ok(), "a capacity is checked before a monitor starts: {capacity:?}");
        Self {
            me,
            incarnation,
            capacity,
            model: CostModel::with_cpu(&capacity, options.cpu),
            started: now,
            ticked: now,
            sequence: 0,
            charged: Parts::default(),
            counted: Pattern::default(),
            utilisation: Filtered::default(),
            pattern: Pattern::default(),
            heat: HeatTable::default(),
            trend: Load::ZERO,
            members: BTreeMap::from([(me, Membership::Up)]),
            reports: BTreeMap::new(),
            judge: Judge::new(options.thresholds, options.weights),
            moves_out: BTreeSet::new(),
            moves_in: BTreeSet::new(),
            allocated_bytes: 0,
            total_bytes: 0,
            options,
        }
    }

    /// What work costs on this server.
    #[must_use]
    pub const fn cost_model(&self) -> &CostModel {
        &self.model
    }

    /// Charges a piece of work that has just arrived.
    pub fn charge(&mut self, charge: &Charge) {
        match *charge {
            Charge::FrontEnd { read_bytes, write_bytes, digest, forwarded } => {
                self.charged.front_end += self.model.front_end(read_bytes, write_bytes, digest, forwarded);
            }
            Charge::Extent { extent, access, offset, bytes, remote } => {
                let model = &self.model;
                let cost = |order| model.owner(access, order, bytes, remote);
                let (load, order) = self.heat.charge(extent, access, (offset, bytes), cost);
                self.charged.owner += load;
                self.counted.count(access, order);
            }
            Charge::Copy { direction, bytes } => self.charged.copy += self.model.copy(direction, bytes),
        }
    }

    /// How full the store is, in bytes; goes into the next report.
    pub const fn set_space(&mut self, allocated_bytes: u64, total_bytes: u64) {
        self.allocated_bytes = allocated_bytes;
        self.total_bytes = total_bytes;
    }

    /// Who belongs to the group, as the directory says. Reports of others are dropped. At most [`SERVERS_MAX`] servers
    /// are looked at; this one always belongs.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = (ServerId, Membership)>) {
        let own = self.members.get(&self.me).copied().unwrap_or(Membership::Up);
        self.members = BTreeMap::from([(self.me, own)]);
        for (server, membership) in members {
            if self.members.len() < SERVERS_MAX || self.members.contains_key(&server) {
                self.members.insert(server, membership);
            }
        }
        self.reports.retain(|server, _| self.members.contains_key(server));
    }

    /// A move of an extent from this server began.
    pub fn move_out_began(&mut self, extent: ExtentId) {
        self.moves_out.insert(extent);
    }

    /// A move of an extent from this server ended; if it is gone, its heat goes too.
    pub fn move_out_ended(&mut self, extent: ExtentId, outcome: MoveOutcome) {
        self.moves_out.remove(&extent);
        if outcome == MoveOutcome::Completed {
            self.heat.forget(extent);
        }
    }

    /// A move of an extent to this server began.
    pub fn move_in_began(&mut self, extent: ExtentId) {
        self.moves_in.insert(extent);
    }

    /// A move of an extent to this server ended.
    pub fn move_in_ended(&mut self, extent: ExtentId) {
        self.moves_in.remove(&extent);
    }

    /// Closes an interval: filters what was charged, judges the group, and makes the report for the peers. To be called
    /// every second.
    pub fn tick(&mut self, now: Time) -> Report {
        self.tick_with(now, |_| EXTENT_BYTES)
    }

    /// As [`Monitor::tick`], where it is known how many bytes a move of an extent would copy; asked for the hottest
    /// only.
    pub fn tick_with(&mut self, now: Time, bytes_of: impl Fn(ExtentId) -> u32) -> Report {
        let elapsed = now.since(self.ticked);
        if elapsed >= TICK_MIN {
            self.ticked = now;
            self.filter(elapsed);
        }
        self.sequence += 1;
        let report = self.make_report(bytes_of);
        self.reports.insert(self.me, Received { report: report.clone(), at: now });
        self.judge_group(now);
        report
    }

    /// Takes the report that `from` sent over its own authenticated connection.
    pub fn handle_report(&mut self, now: Time, from: ServerId, report: Report) -> ReportVerdict {
        if from != report.server || from == self.me || !self.members.contains_key(&from) {
            return ReportVerdict::Foreign;
        }
        if !report.is_sane() {
            return ReportVerdict::Senseless;
        }
        if self.reports.get(&from).is_some_and(|held| !report.is_newer_than(&held.report)) {
            return ReportVerdict::Old;
        }
        self.reports.insert(from, Received { report, at: now });
        ReportVerdict::Taken
    }

    /// The group as this server sees it: what [`crate::decide`] needs.
    #[must_use]
    pub fn view(&self, now: Time) -> GroupView {
        let mut view = GroupView {
            servers: Vec::new(),
            half_lives: self.options.half_lives,
            weights: self.options.weights,
            stale_after: self.options.stale_after,
            warm_up: self.options.warm_up,
            busy: self.moves_out.clone(),
            barred: BTreeMap::new(),
        };
        for (server, membership) in &self.members {
            let received = self.reports.get(server);
            let mut of = ServerView {
                server: *server,
                membership: *membership,
                report: received.map(|received| received.report.clone()),
                age: received.map_or(Duration::MAX, |received| now.since(received.at)),
                judgement: Judgement::UNKNOWN,
            };
            if view.fresh_report(&of).is_some() {
                of.judgement = self.judge.judgement(*server);
            }
            view.servers.push(of);
        }
        view
    }

    /// The table of the group's load, one line for each member.
    #[must_use]
    pub fn table(&self, now: Time) -> Vec<ServerLoad> {
        let view = self.view(now);
        view.servers.iter().map(|of| ServerLoad::new(&view, of)).collect()
    }

    /// What is thought of each member.
    #[must_use]
    pub fn judge(&self, now: Time) -> Vec<(ServerId, Judgement)> {
        self.view(now).servers.iter().map(|of| (of.server, of.judgement)).collect()
    }

    /// Heat of one extent: the utilisation that it causes here; zero if it is cold.
    #[must_use]
    pub fn heat_of(&self, extent: ExtentId) -> Load {
        self.heat.get(extent).map_or(Load::ZERO, |heat| self.reckoned(heat, self.bias()))
    }

    /// The heat of an extent as a part of the server's fast utilisation: what leaves that with the extent. If the
    /// estimates did not add up to it, a rising load would be moved away by too much, and the extents, which then rest,
    /// would not come back for minutes.
    fn reckoned(&self, heat: &Heat, bias: Filtered<f64>) -> Load {
        heat.estimate(bias).zip(self.trend, |estimated, trend| estimated * trend)
    }

    /// How many extents have heat at present.
    #[must_use]
    pub const fn extents_tracked(&self) -> usize {
        self.heat.len()
    }

    fn filter(&mut self, elapsed: Duration) {
        let step = self.options.half_lives.step(elapsed);
        let seconds = elapsed.as_secs_f64();
        let mix = |keep: f64| move |old: f64, charged: f64| keep * old + (1.0 - keep) * charged / seconds;
        self.utilisation.fast = self.utilisation.fast.zip(self.charged, mix(step.keep_fast));
        self.utilisation.slow = self.utilisation.slow.zip(self.charged, mix(step.keep_slow));
        self.pattern.decay_into(self.counted, step.keep_fast as f32, seconds as f32);
        self.charged = Parts::default();
        self.counted = Pattern::default();
        self.heat.tick(step, seconds);
        self.trend = self.heat.trend(self.bias());
    }

    /// Filters begin at zero; a young monitor makes up for the time that it has not seen. The totals and the heat of
    /// extents get the same factor, so that they go on adding up.
    fn bias(&self) -> Filtered<f64> {
        let uptime = self.ticked.since(self.started).max(TICK_MIN);
        let factor = |half_life| 1.0 / (1.0 - remaining(uptime, half_life)).max(1e-6);
        Filtered { fast: factor(self.options.half_lives.fast), slow: factor(self.options.half_lives.slow) }
    }

    fn make_report(&self, bytes_of: impl Fn(ExtentId) -> u32) -> Report {
        let bias = self.bias();
        let scale = |parts: Parts, by: f64| parts.zip(parts, |value, _| value * by);
        let leaving = self.moves_out.iter().filter_map(|extent| self.heat.get(*extent));
        let leaving = leaving.fold(Load::ZERO, |sum, heat| sum + self.reckoned(heat, bias));
        let uptime = self.ticked.since(self.started);
        Report {
            server: self.me,
            incarnation: self.incarnation,
            sequence: self.sequence,
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            capacity: self.capacity,
            utilisation: Filtered {
                fast: scale(self.utilisation.fast, bias.fast),
                slow: scale(self.utilisation.slow, bias.slow),
            },
            pattern: self.pattern,
            allocated_bytes: self.allocated_bytes,
            total_bytes: self.total_bytes,
            moves_out: u16::try_from(self.moves_out.len()).unwrap_or(u16::MAX),
            moves_in: u16::try_from(self.moves_in.len()).unwrap_or(u16::MAX),
            leaving,
            hot: self.hottest(bias, bytes_of),
        }
    }

    fn hottest(&self, bias: Filtered<f64>, bytes_of: impl Fn(ExtentId) -> u32) -> Vec<HotExtent> {
        let mut ranked: Vec<(f64, Load, &Heat)> = self
            .heat
            .iter()
            .map(|heat| (heat, self.reckoned(heat, bias)))
            .map(|(heat, load)| (self.options.weights.combined(&load), load, heat))
            .filter(|(size, ..)| *size > 0.0)
            .collect();
        // Equal heat is ordered by extent, so that the list does not depend on the order of arrival.
        let hotter = |a: &(f64, Load, &Heat), b: &(f64, Load, &Heat)| {
            b.0.total_cmp(&a.0).then(a.2.extent.cmp(&b.2.extent))
        };
        if ranked.len() > HOT_EXTENTS_MAX {
            ranked.select_nth_unstable_by(HOT_EXTENTS_MAX, hotter);
            ranked.truncate(HOT_EXTENTS_MAX);
        }
        ranked.sort_by(hotter);
        let ranked = ranked.into_iter();
        ranked
            .map(|(_, load, heat)| HotExtent {
                extent: heat.extent,
                heat: load,
                pattern: heat.pattern,
                bytes: bytes_of(heat.extent).min(EXTENT_BYTES),
                ticks_in_use: heat.ticks_in_use(),
            })
            .collect()
    }

    fn judge_group(&mut self, now: Time) {
        let view = self.view(now);
        let samples: Vec<_> = view
            .servers
            .iter()
            .filter_map(|of| view.fresh_report(of))
            .map(|report| Sample {
                server: report.server,
                capacity: report.capacity,
                utilisation: report.utilisation,
            })
            .collect();
        self.judge.step(now, &samples);
    }
}

#[cfg(test)]
mod tests;
