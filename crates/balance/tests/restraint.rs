//! When nothing is moved: monitors, judge and decision together, second by second.

mod group;

use evenkeel_balance::{
    Access, Charge, Decision, Limits, Membership, Monitor, MonitorOptions, MoveHistory, Standing, decide,
};
use evenkeel_types::{Incarnation, ServerId, Time};
use group::{DISK_OF_1000, Group, Rng, SECOND, Scenario, extent};

const SEEDS: [u64; 4] = [1, 2, 3, 4];

#[test]
fn claim_06_all_servers_idle_move_nothing_however_uneven_they_are() {
    for seed in SEEDS {
        let mut group = Group::new(Scenario { ops_per_second: 240, ..Scenario::new(seed, 3) });
        group.run(120);
        assert!(group.imbalance_over(60) >= 1.5, "{}", group.imbalance_over(60));
        assert_eq!(group.moves.len(), 0, "seed {seed}");
    }
}

#[test]
fn claim_06_servers_that_are_all_equally_loaded_move_nothing_however_busy_they_are() {
    for seed in SEEDS {
        let scenario = Scenario { theta: 0.0, ops_per_second: 3600, ..Scenario::new(seed, 3) };
        let mut group = Group::new(scenario);
        (0..).zip(&mut group.owner).for_each(|(index, owner)| *owner = index % 3);
        group.run(120);
        assert!(group.imbalance_over(60) <= 1.05);
        assert!(group.monitors[0].table(group.now).iter().all(|row| row.standing == Standing::Even));
        assert_eq!(group.moves.len(), 0, "seed {seed}");
    }
}

#[test]
fn claim_06_a_load_that_swings_from_server_to_server_is_not_chased() {
    for seed in SEEDS {
        let mut group = Group::new(Scenario::new(seed, 3));
        let first = 32;
        let second = (32..1024).step_by(64).find(|at| group.owner[*at] != group.owner[32]).unwrap() as u32;
        let mut moves = Vec::new();
        for swing in 0..12 {
            group.set_hot_spot(if swing % 2 == 0 { first } else { second });
            group.run(8);
            moves.push(group.moves.len());
        }
        let until_noticed = moves[3];
        assert_eq!(*moves.last().unwrap(), until_noticed, "seed {seed}: {moves:?}");
        // It is the same load that is evened where it stays.
        group.run(130);
        assert!(group.moves.len() > until_noticed, "seed {seed}: {moves:?}");
    }
}

/// Eight extents of one server, each asked for 64 blocks a second, in streams or at random.
fn decided(in_streams: bool) -> (Vec<Decision>, Standing) {
    let capacity = evenkeel_balance::Capacity { disk_read_iops: 600.0, disk_mib_s: None, ..DISK_OF_1000 };
    let ids = [1, 2, 3].map(ServerId);
    let mut monitors = ids.map(|id| {
        let mut monitor = Monitor::new(Time::ZERO, id, Incarnation(1), capacity, MonitorOptions::default());
        monitor.set_members(ids.map(|id| (id, Membership::Up)));
        monitor.set_space(1 << 30, 64 << 30);
        monitor
    });
    let mut rng = Rng(3);
    let mut now = Time::ZERO;
    for second in 0..20 {
        for turn in 0..64 {
            for index in 0..8 {
                let block = if in_streams { (second * 64 + turn) % 1024 } else { rng.below(1024) as u32 };
                let (extent, offset) = (extent(index), block * 4096);
                let access = Access::Read;
                monitors[0].charge(&Charge::Extent { extent, access, offset, bytes: 4096, remote: false });
            }
        }
        now = now + SECOND;
        let reports = monitors.each_mut().map(|monitor| monitor.tick(now));
        for report in &reports[1..] {
            monitors[0].handle_report(now, report.server, report.clone());
        }
    }
    monitors[0].tick(now);
    let view = monitors[0].view(now);
    (decide(now, &view, &Limits::default(), &MoveHistory::new()), view.servers[0].judgement.standing)
}

#[test]
fn claim_10_the_same_bytes_are_moved_away_at_random_and_stay_in_streams() {
    let (decisions, standing) = decided(false);
    assert!(standing.gives() && !decisions.is_empty(), "{standing:?}");
    assert!(decisions.iter().all(|decision| decision.reason.pattern.words() == "random reads"));
    assert_eq!(decided(true), (vec![], Standing::Idle));
}
