//! The server's load monitor and its part in balancing: it charges what arrives, tells the peers every second, and, if
//! it is the elected planner, decides for the group. Any server decides for itself when it is urgent.

use super::move_records::{Clocks, MoveRecords};
use crate::config::{BalanceConfig, CapacityConfig};
use evenkeel_balance::{
    Access, Capacity, Charge, Decision, Direction, GroupView, Limits, Monitor, MonitorOptions, MoveHistory,
    MoveOutcome, Report, ReportVerdict, Scope, ServerLoad, Weights, decide,
};
use evenkeel_engine::{Arrival, EngineEvent, MoveStage};
use evenkeel_meta::change::Actor;
use evenkeel_meta::records::MemberState;
use evenkeel_meta::{Entry, Keyspace, Txn, View};
use evenkeel_types::{Bytes, ExtentId, ServerId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often load is measured, told and judged.
pub(crate) const TICK_EVERY: Duration = Duration::from_secs(1);

/// Monitor, history of decisions, and whether anything is decided at all.
pub(crate) struct Balancer {
    me: Actor,
    monitor: Monitor,
    history: MoveHistory,
    records: MoveRecords,
    /// Extents on their way here.
    coming: BTreeSet<ExtentId>,
    enabled: bool,
}

/// What a tick asks the server to do.
pub(crate) struct Tick {
    /// The report for the peers, encoded.
    pub(crate) report: Bytes,
    /// The extents here with most heat, hottest first.
    pub(crate) hot: Vec<ExtentId>,
    /// Moves to be made, of this server's extents and, if it plans, of others'.
    pub(crate) decisions: Vec<Decision>,
    /// What is to be written into the records of moves.
    pub(crate) records: Vec<Txn>,
}

impl Balancer {
    pub(crate) fn new(now: Time, me: Actor, capacity: &CapacityConfig, config: &BalanceConfig) -> Self {
        let capacity = Capacity {
            disk_read_iops: capacity.disk_read_iops,
            disk_write_iops: capacity.disk_write_iops,
            disk_mib_s: None,
            net_mib_s: capacity.net_mib_s,
            cpu_cores: capacity.cpu_cores,
        };
        let weights = Weights { storage: config.storage_weight, server: config.server_weight };
        let options = MonitorOptions { weights, ..MonitorOptions::default() };
        let monitor = Monitor::new(now, me.server, me.incarnation, capacity, options);
        Self {
            me,
            monitor,
            history: MoveHistory::new(),
            records: MoveRecords::default(),
            coming: BTreeSet::new(),
            enabled: config.enabled,
        }
    }

    /// Charges load that has arrived.
    pub(crate) fn charge(&mut self, arrival: &Arrival) {
        self.monitor.charge(&match *arrival {
            Arrival::FrontEnd { write, bytes, digest, forwarded } => Charge::FrontEnd {
                read_bytes: if write { 0 } else { bytes },
                write_bytes: if write { bytes } else { 0 },
                digest,
                forwarded,
            },
            Arrival::Owner { extent, write, at, remote } => Charge::Extent {
                extent,
                access: if write { Access::Write } else { Access::Read },
                offset: u32::try_from(at.offset).unwrap_or(u32::MAX),
                bytes: at.len,
                remote,
            },
            Arrival::Copy { bytes, received, .. } => {
                Charge::Copy { direction: if received { Direction::In } else { Direction::Out }, bytes }
            }
        });
    }

    /// Takes a peer's report.
    pub(crate) fn heard(&mut self, now: Time, from: ServerId, report: &[u8]) {
        let verdict = match postcard::from_bytes::<Report>(report) {
            Ok(report) => self.monitor.handle_report(now, from, report),
            Err(_) => ReportVerdict::Senseless,
        };
        if verdict == ReportVerdict::Senseless {
            tracing::warn!("the load report of {from} makes no sense and is ignored");
        }
    }

    /// Reads what the directory records of moves, among new entries of it.
    pub(crate) fn read<'a>(
        &mut self,
        now: Time,
        unix_ms: u64,
        keys: &Keyspace,
        entries: impl Iterator<Item = &'a Entry>,
    ) {
        self.records.read(Clocks { now, unix_ms }, self.me, keys, entries, &mut self.history);
    }

    /// Takes note of how moves go on.
    pub(crate) fn note(&mut self, now: Time, event: &EngineEvent) {
        let EngineEvent::Move(step) = event else { return };
        let outcome = match step.stage {
            MoveStage::Preparing | MoveStage::Copying | MoveStage::Proposing | MoveStage::HandingOver => {
                self.monitor.move_out_began(step.extent);
                return;
            }
            MoveStage::Released => MoveOutcome::Completed,
            MoveStage::Aborted => MoveOutcome::Failed,
        };
        self.monitor.move_out_ended(step.extent, outcome);
        self.history.ended(now, step.extent, outcome);
    }

    /// Turns deciding on or off.
    pub(crate) const fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// Measures, judges and decides; to be called every [`TICK_EVERY`].
    pub(crate) fn tick(&mut self, now: Time, view: &View, is_planner: bool, space: (u64, u64)) -> Tick {
        self.monitor.set_members(view.members().map(|(server, kept)| (server, membership(&kept.record))));
        self.monitor.set_space(space.0, space.1);
        self.settle_history(now, view);
        self.note_coming(view);
        let report = self.monitor.tick(now);
        let hot = report.hot.iter().map(|hot| hot.extent).collect();
        let report =
            Bytes::from(postcard::to_allocvec(&report).expect("a report has a bounded, plain shape"));
        let mut group = self.monitor.view(now);
        let records = self.records.measure(now, self.me, &group, view);
        let mut decisions = Vec::new();
        if self.enabled {
            let scope = if is_planner { Scope::Group } else { Scope::OwnUrgent(self.me.server) };
            let limits = Limits { scope, ..Limits::default() };
            group.busy.extend(view.moves_under_way().map(|(_, record)| record.extent));
            group.barred = barred(view, &group);
            decisions = decide(now, &group, &limits, &self.history);
            decisions.iter().for_each(|decision| self.history.decided(now, decision));
        }
        Tick { report, hot, decisions, records }
    }

    /// Moves to this server are led by others; the directory says which there are.
    fn note_coming(&mut self, view: &View) {
        let to_me = view.moves_under_way().filter(|(_, record)| record.to == self.me.server);
        let coming: BTreeSet<ExtentId> = to_me.map(|(_, record)| record.extent).collect();
        coming.difference(&self.coming).for_each(|extent| self.monitor.move_in_began(*extent));
        self.coming.difference(&coming).for_each(|extent| self.monitor.move_in_ended(*extent));
        self.coming = coming;
    }

    /// Moves that were decided here and led elsewhere have ended when the directory says so.
    fn settle_history(&mut self, now: Time, view: &View) {
        let under_way: Vec<ExtentId> = view.moves_under_way().map(|(_, record)| record.extent).collect();
        let ended: Vec<(ExtentId, MoveOutcome)> = self
            .history
            .pending(now)
            .filter(|(extent, past)| !under_way.contains(extent) && now.since(past.decided) > 2 * TICK_EVERY)
            .map(|(extent, past)| {
                let moved = view.route(extent).and_then(|route| route.owner()) == Some(past.to);
                (extent, if moved { MoveOutcome::Completed } else { MoveOutcome::Failed })
            })
            .collect();
        for (extent, outcome) in ended {
            self.history.ended(now, extent, outcome);
        }
    }

    /// Shares of their stores that servers use, by their last reports.
    pub(crate) fn used(&self, now: Time) -> Vec<(ServerId, f64)> {
        let view = self.monitor.view(now);
        let share = |report: &Report| report.allocated_bytes as f64 / (report.total_bytes as f64).max(1.0);
        let used = view.servers.iter().filter_map(|one| Some((one.server, share(one.report.as_ref()?))));
        used.collect()
    }

    /// The load of the group as this server sees it.
    pub(crate) fn table(&self, now: Time) -> Vec<ServerLoad> {
        self.monitor.table(now)
    }
}

/// Where the hot extents of the reports must not go, because another copy of them is there or near.
fn barred(view: &View, group: &GroupView) -> BTreeMap<ExtentId, Vec<ServerId>> {
    let hot = group.servers.iter().filter_map(|server| server.report.as_ref()).flat_map(|report| &report.hot);
    let mut barred = BTreeMap::new();
    for extent in hot.map(|hot| hot.extent) {
        let Some(route) = view.route(extent).filter(|route| route.replicas.len() > 1) else { continue };
        let Some(owner) = route.owner() else { continue };
        let servers = view.members().map(|(server, _)| server);
        let servers = servers.filter(|to| view.is_barred(extent.volume, &route, owner, *to));
        barred.insert(extent, servers.collect());
    }
    barred
}

const fn membership(record: &evenkeel_meta::records::MemberRecord) -> evenkeel_balance::Membership {
    use evenkeel_balance::Membership;
    match record.state {
        MemberState::Up if record.draining => Membership::Draining,
        MemberState::Up => Membership::Up,
        MemberState::Syncing => Membership::Syncing,
        MemberState::Down => Membership::Down,
    }
}

#[cfg(test)]
mod tests;
