//! The decision which extents to move: one pure function, used by the elected planner for the whole group and by each
//! server for its own urgent moves.
//!
//! The worst source comes first. Of its hottest extents the one is taken whose move lowers the group's potential most
//! for each byte copied; the potential of a server is the square of what it carries above the mean (and a quarter of
//! the square of what it lacks), so relieving the worst counts most and filling the emptiest a little. Each decision is
//! booked at once: the next one is made as if it had been carried out, and so is every later call until reports show it.

use crate::filter::Filtered;
use crate::history::{MoveHistory, MoveOutcome};
use crate::judge::{Standing, load_of_extents, mean_parts};
use crate::measure::{carried_over, server_load, storage_load};
use crate::reason::{CANDIDATES_NAMED_MAX, Candidate, Decision, MoveReason, Relief, Verdict};
use crate::report::{HotExtent, Parts, Report};
use crate::resource::Load;
use crate::view::{GroupView, ServerView};
use evenkeel_types::geometry::REGION_BYTES;
use evenkeel_types::{ExtentId, ServerId, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Targets that are weighed for an extent: the coolest.
const TARGETS_CONSIDERED_MAX: usize = 16;
/// What a server lacks to the mean counts so much less than what it has above.
const LACK_WEIGHT: f64 = 0.25;

/// Who decides, and so what may be decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Scope {
    /// The planner: moves from any disproportionate server.
    Group,
    /// A server for itself: moves from it, and only when it is urgent.
    OwnUrgent(ServerId),
}

/// What decisions keep to.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Who decides.
    pub scope: Scope,
    /// Moves under way from one server.
    pub moves_out_max: usize,
    /// Moves under way to one server.
    pub moves_in_max: usize,
    /// Moves under way in the group.
    pub moves_max: usize,
    /// Decisions of one call.
    pub decisions_max: usize,
    /// The factor over the mean that makes a server disproportionate; only named in reasons, the judge applies it.
    pub threshold: f64,
    /// A source is relieved down to this factor over the mean.
    pub source_goal: f64,
    /// A target is filled up to this factor over the mean.
    pub target_cap: f64,
    /// An extent is expected to weigh so much more at its target than it did at its source.
    pub arrival_margin: f64,
    /// What a move must relieve its source by, as a share of the mean load, for each extent's worth of bytes.
    pub relief_min: f64,
    /// Seconds of the last eight that an extent must have been in use.
    pub ticks_in_use_min: u8,
    /// A target's store may be filled to this share.
    pub space_max: f64,
    /// How long an extent rests after a move.
    pub cooldown: Duration,
    /// How long it rests if its server is urgent.
    pub cooldown_urgent: Duration,
    /// How long it rests after a move that failed.
    pub failed_backoff: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            scope: Scope::Group,
            moves_out_max: 8,
            moves_in_max: 8,
            moves_max: 64,
            decisions_max: 16,
            threshold: 1.10,
            source_goal: 1.04,
            target_cap: 1.05,
            arrival_margin: 1.05,
            relief_min: 0.002,
            ticks_in_use_min: 4,
            space_max: 0.925,
            cooldown: Duration::from_secs(600),
            cooldown_urgent: Duration::from_secs(300),
            failed_backoff: Duration::from_secs(60),
        }
    }
}

/// Which extents should move where, best first. Carry all of them out, and tell the history of each; call again every
/// second or two.
#[must_use]
pub fn decide(now: Time, view: &GroupView, limits: &Limits, history: &MoveHistory) -> Vec<Decision> {
    let mut plan = Plan::new(now, view, limits, history);
    let mut decisions = Vec::new();
    while decisions.len() < limits.decisions_max && plan.moves < limits.moves_max {
        let Some(decision) = plan.next() else { break };
        decisions.push(decision);
    }
    decisions
}

/// A server as it will be when all that is decided was carried out.
struct Planned<'a> {
    of: &'a ServerView,
    report: &'a Report,
    utilisation: Filtered<Parts>,
    moves_out: usize,
    moves_in: usize,
    allocated: u64,
    /// Nothing more can be done for it in this call.
    is_exhausted: bool,
}

struct Plan<'a> {
    now: Time,
    view: &'a GroupView,
    limits: &'a Limits,
    history: &'a MoveHistory,
    servers: Vec<Planned<'a>>,
    mean: Parts,
    /// Combined load of the mean, above zero if anything is asked for at all.
    mean_load: f64,
    moves: usize,
    chosen: BTreeSet<ExtentId>,
}

/// How much a target may carry.
#[derive(Clone, Copy)]
enum Room {
    /// At most its share and a little more.
    UnderCap,
    /// Less than the source will still carry: for an extent that is too hot for the cap of any server, on a source that
    /// nothing else can relieve. Such a move lowers the peak; and a server that has nothing but its hottest extent
    /// never gives it away, for then the target would carry more. So a hot spot is never chased around.
    BelowSource,
}

/// A move that could be made.
#[derive(Clone, Copy)]
struct Fit {
    target: usize,
    gain: f64,
    relief: Relief,
}

impl<'a> Plan<'a> {
    fn new(now: Time, view: &'a GroupView, limits: &'a Limits, history: &'a MoveHistory) -> Self {
        let mut servers: Vec<_> = view
            .servers
            .iter()
            .filter_map(|of| Some((of, view.fresh_report(of)?)))
            .map(|(of, report)| Planned {
                of,
                report,
                utilisation: report.utilisation,
                moves_out: 0,
                moves_in: 0,
                allocated: report.allocated_bytes,
                is_exhausted: false,
            })
            .collect();
        book_history(now, view, history, &mut servers);
        let mean =
            mean_parts(servers.iter().map(|server| (&server.report.capacity, server.utilisation.fast)));
        let moves = servers.iter().map(|server| server.moves_out).sum();
        let mean_load = view.weights.combined(&mean.offered());
        Self { now, view, limits, history, servers, mean, mean_load, moves, chosen: BTreeSet::new() }
    }

    /// The next best move, booked.
    fn next(&mut self) -> Option<Decision> {
        while let Some(source) = self.worst_source() {
            let best =
                self.best_move(source, Room::UnderCap).or_else(|| self.best_move(source, Room::BelowSource));
            if let Some((hot, option, candidates)) = best {
                let decision = self.decision(source, hot, option, candidates);
                self.book(source, hot, option.target);
                return Some(decision);
            }
            self.servers[source].is_exhausted = true;
        }
        None
    }

    fn worst_source(&self) -> Option<usize> {
        let gives = |server: &Planned<'_>| {
            let standing = server.of.judgement.standing;
            match self.limits.scope {
                Scope::Group => standing.gives(),
                Scope::OwnUrgent(me) => server.of.server == me && standing == Standing::Urgent,
            }
        };
        let open = self.servers.iter().enumerate().filter(|(_, server)| {
            !server.is_exhausted && server.moves_out < self.limits.moves_out_max && gives(server)
        });
        open.map(|(index, _)| (index, self.source_ratio(index, Load::ZERO)))
            .filter(|(_, ratio)| *ratio > self.limits.source_goal)
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(index, _)| index)
    }

    /// The load of a source over the mean without `leaving`, as far as its extents are to blame.
    fn source_ratio(&self, source: usize, leaving: Load) -> f64 {
        let load = load_of_extents(&self.servers[source].utilisation.fast, &self.mean).minus(leaving);
        self.ratio(&load)
    }

    /// The load of a target over the mean with `coming`. The larger of both filters counts: a target that was busy a
    /// moment ago, or has just become so, is no place for more.
    fn target_ratio(&self, target: usize, coming: Load) -> f64 {
        let offered = self.servers[target].utilisation.map(Parts::offered);
        self.ratio(&(offered.fast.max(offered.slow) + coming))
    }

    fn ratio(&self, load: &Load) -> f64 {
        if self.mean_load > 0.0 { self.view.weights.combined(load) / self.mean_load } else { 1.0 }
    }

    fn best_move(&self, source: usize, room: Room) -> Option<(&'a HotExtent, Fit, Vec<Candidate>)> {
        let mut candidates = Vec::new();
        let mut best: Option<(usize, &HotExtent, Fit)> = None;
        let targets = self.targets(source);
        for hot in &self.servers[source].report.hot {
            let option = self.weigh(source, &targets, hot, room);
            let per_byte = |hot: &HotExtent, gain: f64| gain / f64::from(hot.bytes.max(REGION_BYTES));
            if let Ok(option) = option
                && best.is_none_or(|(_, was, than)| per_byte(hot, option.gain) > per_byte(was, than.gain))
            {
                best = Some((candidates.len(), hot, option));
            }
            let relief = self.source_ratio(source, Load::ZERO) - self.source_ratio(source, hot.heat);
            let target = option.ok().map(|option| self.servers[option.target].of.server);
            let verdict = option.err().unwrap_or(Verdict::LessGain);
            candidates.push(Candidate { extent: hot.extent, relief, target, verdict });
        }
        let (at, hot, option) = best?;
        candidates[at].verdict = Verdict::Chosen;
        let chosen = candidates[at].clone();
        candidates.truncate(CANDIDATES_NAMED_MAX);
        if at >= CANDIDATES_NAMED_MAX {
            candidates[CANDIDATES_NAMED_MAX - 1] = chosen;
        }
        Some((hot, option, candidates))
    }

    /// The coolest servers that may take something.
    fn targets(&self, source: usize) -> Vec<usize> {
        let may_take = |server: &Planned<'_>| {
            server.of.judgement.standing.takes()
                && server.moves_in < self.limits.moves_in_max
                && Duration::from_millis(server.report.uptime_ms) >= self.view.warm_up
        };
        let mut targets: Vec<_> = (0..self.servers.len())
            .filter(|index| *index != source && may_take(&self.servers[*index]))
            .map(|index| (self.target_ratio(index, Load::ZERO), index))
            .collect();
        targets.sort_by(|a, b| a.0.total_cmp(&b.0));
        targets.into_iter().take(TARGETS_CONSIDERED_MAX).map(|(_, index)| index).collect()
    }

    /// The best target for an extent, or why it stays.
    fn weigh(&self, source: usize, targets: &[usize], hot: &HotExtent, room: Room) -> Result<Fit, Verdict> {
        if self.chosen.contains(&hot.extent) || self.view.busy.contains(&hot.extent) {
            return Err(Verdict::Busy);
        }
        self.check_rest(source, hot.extent)?;
        if hot.ticks_in_use < self.limits.ticks_in_use_min {
            return Err(Verdict::TooFresh);
        }
        let source_before = self.source_ratio(source, Load::ZERO);
        let source_after = self.source_ratio(source, hot.heat);
        let worth = f64::from(hot.bytes) / f64::from(evenkeel_types::geometry::EXTENT_BYTES);
        if source_before - source_after < self.limits.relief_min * worth.max(0.1) {
            return Err(Verdict::TooLittle);
        }
        let barred = self.view.barred.get(&hot.extent).map_or(&[][..], Vec::as_slice);
        let fitting = targets.iter().filter_map(|target| {
            let server = &self.servers[*target];
            if barred.contains(&server.of.server) {
                return None;
            }
            let coming =
                carried_over(hot.heat, &self.servers[source].report.capacity, &server.report.capacity)
                    .scaled(self.limits.arrival_margin);
            let relief = Relief {
                source_before,
                source_after,
                target_before: self.target_ratio(*target, Load::ZERO),
                target_after: self.target_ratio(*target, coming),
            };
            let space = self.limits.space_max * server.report.total_bytes as f64;
            let has_room = match room {
                Room::UnderCap => relief.target_after <= self.limits.target_cap,
                Room::BelowSource => relief.target_after < relief.source_after,
            };
            let fits = has_room && (server.allocated + u64::from(hot.bytes)) as f64 <= space;
            fits.then(|| Fit { target: *target, gain: relief.gain(), relief })
        });
        fitting
            .max_by(|a, b| a.gain.total_cmp(&b.gain))
            .filter(|option| option.gain > 0.0)
            .ok_or(Verdict::FitsNowhere)
    }

    /// Whether an extent may move again.
    fn check_rest(&self, source: usize, extent: ExtentId) -> Result<(), Verdict> {
        let Some(past) = self.history.last(extent) else { return Ok(()) };
        let is_urgent = self.servers[source].of.judgement.standing == Standing::Urgent;
        let cooldown = if is_urgent { self.limits.cooldown_urgent } else { self.limits.cooldown };
        match past.ended {
            None if past.is_pending(self.now) => Err(Verdict::Busy),
            Some((at, MoveOutcome::Failed)) if self.now.since(at) >= self.limits.failed_backoff => Ok(()),
            Some((at, MoveOutcome::Completed)) if self.now.since(at) >= cooldown => Ok(()),
            None if self.now.since(past.decided) >= cooldown => Ok(()),
            _ => Err(Verdict::Cooling),
        }
    }

    fn decision(&self, source: usize, hot: &HotExtent, option: Fit, candidates: Vec<Candidate>) -> Decision {
        let from = &self.servers[source];
        let to = self.servers[option.target].of.server;
        let judged = &from.of.judgement;
        let offered = from.report.utilisation.fast.offered();
        let combined = self.view.weights.combined(&offered);
        let without = self.view.weights.combined(&offered.minus(hot.heat));
        Decision {
            extent: hot.extent,
            from: from.of.server,
            to,
            heat: hot.heat,
            bytes: hot.bytes,
            reason: MoveReason {
                standing: judged.standing,
                source: from.of.server,
                target: to,
                load: judged.load,
                mean: judged.mean,
                target_load: self.servers[option.target].of.judgement.load,
                threshold: self.limits.threshold,
                over_s: judged.over_s,
                storage_load: storage_load(&offered),
                server_load: server_load(&offered),
                busiest: judged.busiest,
                busiest_utilisation: judged.busiest_utilisation,
                heat: hot.heat,
                extent_share: if combined > 0.0 { (combined - without) / combined } else { 0.0 },
                pattern: hot.pattern,
                cost_bytes: hot.bytes,
                predicted: option.relief,
                measured: None,
                candidates,
            },
        }
    }

    fn book(&mut self, source: usize, hot: &HotExtent, target: usize) {
        let whole = Filtered { fast: 1.0, slow: 1.0 };
        let coming = carried_over(
            hot.heat,
            &self.servers[source].report.capacity,
            &self.servers[target].report.capacity,
        );
        self.servers[source].leave(hot.heat, whole);
        self.servers[source].moves_out += 1;
        self.servers[target].arrive(coming.scaled(self.limits.arrival_margin), whole);
        self.servers[target].moves_in += 1;
        self.servers[target].allocated += u64::from(hot.bytes);
        self.chosen.insert(hot.extent);
        self.moves += 1;
    }
}

impl Planned<'_> {
    fn leave(&mut self, heat: Load, share: Filtered<f64>) {
        self.utilisation.fast.owner = self.utilisation.fast.owner.minus(heat.scaled(share.fast));
        self.utilisation.slow.owner = self.utilisation.slow.owner.minus(heat.scaled(share.slow));
    }

    fn arrive(&mut self, heat: Load, share: Filtered<f64>) {
        self.utilisation.fast.owner += heat.scaled(share.fast);
        self.utilisation.slow.owner += heat.scaled(share.slow);
    }
}

impl Relief {
    fn gain(&self) -> f64 {
        let potential = |ratio: f64| {
            let above = ratio - 1.0;
            if above > 0.0 { above * above } else { LACK_WEIGHT * above * above }
        };
        potential(self.source_before) + potential(self.target_before)
            - potential(self.source_after)
            - potential(self.target_after)
    }
}

/// What the history knows of the moves that a server's report counts.
#[derive(Clone, Copy, Default)]
struct Known {
    pending_out: usize,
    pending_in: usize,
    /// Ended after the report was made, which still counts them.
    ended_out: usize,
    ended_in: usize,
    leaving: Load,
}

/// Books what was decided earlier and does not show in the reports yet, and the moves that others are making.
fn book_history(now: Time, view: &GroupView, history: &MoveHistory, servers: &mut [Planned<'_>]) {
    let position = |servers: &[Planned<'_>], id| servers.iter().position(|server| server.of.server == id);
    let reported: Vec<_> = servers.iter().map(|server| now - server.of.age).collect();
    let mut known = vec![Known::default(); servers.len()];
    for (_, past) in history.iter() {
        let (source, target) = (position(servers, past.from), position(servers, past.to));
        let is_pending = past.is_pending(now);
        let ended_since = |at: usize| past.ended.is_some_and(|(ended, _)| ended >= reported[at]);
        if let Some(source) = source {
            let (share, ended) =
                (past.unreported(now, reported[source], &view.half_lives), ended_since(source));
            known[source].pending_out += usize::from(is_pending);
            known[source].ended_out += usize::from(ended);
            if is_pending || ended {
                known[source].leaving += past.heat;
            }
            servers[source].leave(past.heat, share);
        }
        if let (Some(source), Some(target)) = (source, target) {
            let (share, ended) =
                (past.unreported(now, reported[target], &view.half_lives), ended_since(target));
            known[target].pending_in += usize::from(is_pending);
            known[target].ended_in += usize::from(ended);
            let coming =
                carried_over(past.heat, &servers[source].report.capacity, &servers[target].report.capacity);
            servers[target].arrive(coming, share);
            if is_pending || ended {
                servers[target].allocated += u64::from(past.bytes);
            }
        }
    }
    for (server, known) in servers.iter_mut().zip(known) {
        let unknown = server.report.leaving.minus(known.leaving);
        server.leave(unknown, Filtered { fast: 1.0, slow: 1.0 });
        let reported = |moves: u16, ended: usize| usize::from(moves).saturating_sub(ended);
        server.moves_out = known.pending_out.max(reported(server.report.moves_out, known.ended_out));
        server.moves_in = known.pending_in.max(reported(server.report.moves_in, known.ended_in));
    }
}

#[cfg(test)]
mod tests;
