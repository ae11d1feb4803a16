//! A group of monitors under virtual time: a load by address, moves that take their time, reports that may get lost.
//! The imbalance is counted by the load itself, from which owner served what.

use evenkeel_balance::{
    Access, Capacity, Charge, Decision, Direction, Limits, Monitor, MonitorOptions, MoveHistory, MoveOutcome,
    Report, decide, imbalance,
};
use evenkeel_types::geometry::{EXTENT_BYTES, EXTENTS_PER_RUN};
use evenkeel_types::{ExtentId, Incarnation, ServerId, Time, VolumeId};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A server that reaches its limit at 1,000 random operations per second.
pub(crate) const DISK_OF_1000: Capacity = Capacity {
    disk_read_iops: 1000.0,
    disk_write_iops: 1000.0,
    disk_mib_s: Some(200.0),
    net_mib_s: 1000.0,
    cpu_cores: 4.0,
};

pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What a group is made of and what it is asked to do.
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) capacities: Vec<Capacity>,
    pub(crate) extents: u32,
    pub(crate) theta: f64,
    /// Operations of 4 KiB per second, over all servers.
    pub(crate) ops_per_second: u32,
    pub(crate) balances: bool,
    pub(crate) options: MonitorOptions,
    /// How long a move takes.
    pub(crate) move_time: Duration,
    /// Share of reports that get lost; as many are repeated, and as many come a second late.
    pub(crate) report_loss: f64,
}

impl Scenario {
    pub(crate) fn new(seed: u64, servers: usize) -> Self {
        Self {
            seed,
            capacities: vec![DISK_OF_1000; servers],
            extents: 1024,
            theta: 1.0,
            ops_per_second: 450 * servers as u32,
            balances: true,
            options: MonitorOptions::default(),
            move_time: SECOND * 2,
            report_loss: 0.0,
        }
    }
}

pub(crate) struct Group {
    scenario: Scenario,
    rng: Rng,
    pub(crate) now: Time,
    pub(crate) monitors: Vec<Monitor>,
    pub(crate) owner: Vec<usize>,
    hot_spot: u32,
    /// Cumulative share of the operations by distance from the hot spot.
    shares: Vec<f64>,
    history: MoveHistory,
    in_flight: Vec<(Time, Decision)>,
    late: Vec<(usize, Report)>,
    pub(crate) moves: Vec<Decision>,
    /// Seconds of disk time that each owner was asked for, in each second so far.
    served: Vec<Vec<f64>>,
}

pub(crate) fn extent(index: u32) -> ExtentId {
    ExtentId { volume: VolumeId(1), index }
}

fn id(server: usize) -> ServerId {
    ServerId(server as u32 + 1)
}

impl Group {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let mut rng = Rng(scenario.seed);
        let count = scenario.capacities.len();
        let runs: Vec<_> =
            (0..scenario.extents.div_ceil(EXTENTS_PER_RUN)).map(|_| rng.below(count as u64)).collect();
        let owner = (0..scenario.extents).map(|n| runs[(n / EXTENTS_PER_RUN) as usize] as usize).collect();
        let hot_spot = rng.below(u64::from(scenario.extents)) as u32;
        let mut sum = 0.0;
        let mut shares: Vec<f64> = (1..=scenario.extents)
            .map(|rank| {
                sum += f64::from(rank).powf(-scenario.theta);
                sum
            })
            .collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        let mut monitors: Vec<_> = (0..count)
            .map(|n| {
                Monitor::new(Time::ZERO, id(n), Incarnation(1), scenario.capacities[n], scenario.options)
            })
            .collect();
        for monitor in &mut monitors {
            monitor.set_members((0..count).map(|n| (id(n), evenkeel_balance::Membership::Up)));
            monitor.set_space(1 << 30, 64 << 30);
        }
        Self {
            scenario,
            rng,
            now: Time::ZERO,
            monitors,
            owner,
            hot_spot,
            shares,
            history: MoveHistory::new(),
            in_flight: Vec::new(),
            late: Vec::new(),
            moves: Vec::new(),
            served: Vec::new(),
        }
    }

    /// Moves the hot spot to where the default placement puts all of its neighbourhood on one server again.
    pub(crate) fn shift_hot_spot(&mut self) {
        let extents = self.scenario.extents;
        self.hot_spot =
            (self.hot_spot + extents / 2 + self.rng.below(u64::from(extents / 8)) as u32) % extents;
    }

    pub(crate) fn set_hot_spot(&mut self, index: u32) {
        self.hot_spot = index;
    }

    pub(crate) const fn set_ops_per_second(&mut self, ops: u32) {
        self.scenario.ops_per_second = ops;
    }

    pub(crate) fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    fn second(&mut self) {
        let mut served = vec![0.0; self.monitors.len()];
        for op in 0..self.scenario.ops_per_second {
            self.operation(op as usize, &mut served);
        }
        self.served.push(served);
        self.now = self.now + SECOND;
        self.exchange_reports();
        self.end_moves();
        if self.scenario.balances {
            self.decide();
        }
    }

    fn operation(&mut self, op: usize, served: &mut [f64]) {
        let rank = {
            let point = self.rng.unit();
            self.shares.partition_point(|share| *share <= point).min(self.shares.len() - 1) as i64
        };
        let distance = if rank % 2 == 0 { rank / 2 } else { -(rank + 1) / 2 };
        let index = (i64::from(self.hot_spot) + distance).rem_euclid(i64::from(self.scenario.extents)) as u32;
        let access = if self.rng.below(10) < 7 { Access::Read } else { Access::Write };
        let (gateway, owner) = (op % self.monitors.len(), self.owner[index as usize]);
        let (read_bytes, write_bytes) = if access == Access::Read { (4096, 0) } else { (0, 4096) };
        self.monitors[gateway].charge(&Charge::FrontEnd {
            read_bytes,
            write_bytes,
            digest: false,
            forwarded: gateway != owner,
        });
        let offset = self.rng.below(u64::from(EXTENT_BYTES / 4096)) as u32 * 4096;
        let charge =
            Charge::Extent { extent: extent(index), access, offset, bytes: 4096, remote: gateway != owner };
        self.monitors[owner].charge(&charge);
        served[owner] += 1.0 / self.scenario.capacities[owner].disk_read_iops;
    }

    fn exchange_reports(&mut self) {
        let now = self.now;
        let late = std::mem::take(&mut self.late);
        let reports: Vec<_> = self.monitors.iter_mut().map(|monitor| monitor.tick(now)).collect();
        for report in reports {
            for to in 0..self.monitors.len() {
                if id(to) == report.server || self.rng.unit() < self.scenario.report_loss {
                    continue;
                }
                if self.rng.unit() < self.scenario.report_loss {
                    self.late.push((to, report.clone()));
                    continue;
                }
                self.monitors[to].handle_report(now, report.server, report.clone());
                if self.rng.unit() < self.scenario.report_loss {
                    self.monitors[to].handle_report(now, report.server, report.clone());
                }
            }
        }
        for (to, report) in late {
            self.monitors[to].handle_report(now, report.server, report);
        }
    }

    fn end_moves(&mut self) {
        let now = self.now;
        let (ended, on): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.in_flight).into_iter().partition(|m| m.0 <= now);
        self.in_flight = on;
        for (_, decision) in ended {
            let (from, to) = (decision.from.0 as usize - 1, decision.to.0 as usize - 1);
            self.owner[decision.extent.index as usize] = to;
            self.monitors[from].move_out_ended(decision.extent, MoveOutcome::Completed);
            self.monitors[to].move_in_ended(decision.extent);
            self.history.ended(now, decision.extent, MoveOutcome::Completed);
        }
    }

    fn decide(&mut self) {
        let view = self.monitors[0].view(self.now);
        for decision in decide(self.now, &view, &Limits::default(), &self.history) {
            let (from, to) = (decision.from.0 as usize - 1, decision.to.0 as usize - 1);
            assert_eq!(self.owner[decision.extent.index as usize], from, "only what is owned is moved");
            self.history.decided(self.now, &decision);
            self.monitors[from].move_out_began(decision.extent);
            self.monitors[to].move_in_began(decision.extent);
            self.monitors[from].charge(&Charge::Copy { direction: Direction::Out, bytes: decision.bytes });
            self.monitors[to].charge(&Charge::Copy { direction: Direction::In, bytes: decision.bytes });
            self.moves.push(decision.clone());
            self.in_flight.push((self.now + self.scenario.move_time, decision));
        }
        for server in 0..self.monitors.len() {
            let at = |of: fn(&Decision) -> ServerId| {
                self.in_flight.iter().filter(|m| of(&m.1) == id(server)).count()
            };
            assert!(at(|d| d.from) <= 8 && at(|d| d.to) <= 8, "limits in flight hold");
        }
    }

    /// Largest share of an owner over the mean, counted over the last `seconds`.
    pub(crate) fn imbalance_over(&self, seconds: usize) -> f64 {
        let window = &self.served[self.served.len() - seconds..];
        let sums: Vec<_> = (0..self.monitors.len()).map(|n| window.iter().map(|s| s[n]).sum()).collect();
        let weights: Vec<_> =
            self.scenario.capacities.iter().map(|capacity| capacity.disk_read_iops).collect();
        if weights.iter().all(|weight| *weight == weights[0]) {
            return imbalance(&sums);
        }
        let demand: f64 = sums.iter().zip(&weights).map(|(sum, weight)| sum * weight).sum();
        let mean = demand / weights.iter().sum::<f64>();
        sums.iter().copied().fold(0.0, f64::max) / mean
    }

    /// Moves of an extent that was moved before.
    pub(crate) fn repeated_moves(&self) -> usize {
        let mut times = BTreeMap::new();
        self.moves.iter().for_each(|m| *times.entry(m.extent).or_insert(0usize) += 1);
        times.values().map(|count| count - 1).sum()
    }
}
