//! What it costs to bring a group back to all its copies, while hosts read and write: after a server was away, when one is
//! gone for good, and when one is emptied.

use evenkeel_tests::{CALM, Foreground, Hosts, Processes, Rounds, StopAtEnd, count_of, wait_until};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Extents that lie there, beside those that hosts write to meanwhile and one where latencies are measured.
const QUIET: u32 = 16;
const EXTENT_BLOCKS: u64 = 1024;
const REGIONS: u64 = 64;

/// A group whose hosts are at work.
struct Stage {
    group: Processes,
    iqn: String,
    busy: Hosts,
    quiet: Hosts,
    /// Extents that are written to, and all but the one where latencies are measured.
    busy_extents: u32,
    all: u32,
}

impl Stage {
    fn start(flags: &str) -> Self {
        let group = Processes::start(3, flags);
        let busy_extents = count_of("BUSY", 4) as u32;
        let all = busy_extents + QUIET;
        let iqn = group.processes[0].create_replicated("v1", &format!("{}MiB", (all + 1) * 4), 2);
        let busy = Hosts::fill(&group, &iqn, 0..busy_extents, 2);
        let quiet = Hosts::fill(&group, &iqn, busy_extents..all, 2);
        Self { group, iqn, busy, quiet, busy_extents, all }
    }

    /// Does something while hosts work and latencies are measured, through the portals of servers that stay.
    fn measured<T>(&mut self, portals: &[usize], act: impl FnOnce(&mut Processes, &Foreground) -> T) -> T {
        let portals: Vec<String> = portals.iter().map(|at| self.group.processes[*at].portal(1)).collect();
        let (foreground, stop) = (Foreground::default(), AtomicBool::new(false));
        let (group, iqn, first) = (&mut self.group, &self.iqn, u64::from(self.all) * EXTENT_BLOCKS);
        std::thread::scope(|scope| {
            let _stop_at_end = StopAtEnd(&stop);
            scope.spawn(|| foreground.run(&portals, iqn, first, &stop));
            self.busy.while_at_work(|| act(group, &foreground))
        })
    }

    /// Nothing failed, and all is there.
    fn judge(&mut self) {
        let tally = self.busy.saw_no_error();
        println!("{} writes, {} reads, 0 errors, longest {:.2?}", tally.writes, tally.reads, tally.longest);
        let portals: Vec<String> = self.group.running().map(|process| process.portal(1)).collect();
        self.busy.all_is_there(&portals);
        self.quiet.all_is_there(&portals[..1]);
    }
}

/// Waits until all copies of all extents are at these servers only.
fn wait_until_placed(group: &Processes, asked: usize, without: &str) {
    let seen_by = format!("s{}", asked + 1);
    let route = || group.processes[asked].api().route("v1", &seen_by).expect("the route");
    wait_until(
        || format!("nothing is at {without}: {:?}", route()),
        || {
            let table = route();
            let settled = |row: &evenkeel_api::RouteRow| {
                row.replicas.len() == 2
                    && row.moving_to.is_none()
                    && !row.replicas.iter().any(|name| name == without)
            };
            table.extents.iter().all(settled)
        },
    );
}

/// `ROUNDS` times a server is away for `AWAY_S` seconds.
#[test]
fn a_server_that_was_away_is_sent_what_changed_and_nothing_else() {
    let away = Duration::from_secs(count_of("AWAY_S", 8));
    let mut stage = Stage::start("--balance false");
    let [owner, other, third] = stage.group.placed("v1");
    let (all, busy) = (u64::from(stage.all), u64::from(stage.busy_extents));
    let mut rounds = Rounds::default();
    for round in 1..=count_of("ROUNDS", 1) {
        let (before, back, then, what) = stage.measured(&[owner, third], |group, foreground| {
            let before = foreground.calm();
            group.processes[other].kill();
            std::thread::sleep(away);
            let counted = group.counters();
            let from = Instant::now();
            group.processes[other].spawn();
            group.all_are_up();
            let took = from.elapsed();
            // As long as the stretch before, or what is rare weighs more in one of them.
            std::thread::sleep(CALM.saturating_sub(took));
            let to = Instant::now();
            let then = foreground.calm();
            let back = foreground.within(from, to);
            let counters = group.counters();
            let compared = counters.regions_compared - counted.regions_compared;
            let sent = counters.regions_sent - counted.regions_sent;
            let what = format!("back after {took:.1?}, {compared} regions compared, {sent} sent");
            assert!(compared >= all * REGIONS, "{compared} regions compared");
            // The busy extents and the measured one may differ in all their regions, and nothing else does.
            let most = (busy + 1) * REGIONS;
            assert!(sent > 0 && sent <= most, "{sent} regions sent, {most} can differ");
            (before, back, then, what)
        });
        println!("round {round}: away for {away:?}, {what}; {}", rounds.add(before, back, then));
    }
    println!("while it came back: {rounds}");
    stage.judge();
    assert_eq!(stage.group.warnings_but(&["has not answered for"]), []);
}

/// `ROUNDS` times a server does not come back for long, and its copies are made anew.
#[test]
fn the_copies_of_a_server_that_is_gone_for_good_are_made_anew_under_load() {
    let mut stage = Stage::start("--balance false --rebuild-after-s 3");
    let mut rounds = Rounds::default();
    for round in 1..=count_of("ROUNDS", 1) {
        let [owner, gone, third] = stage.group.placed("v1");
        let (before, meanwhile, then, took) = stage.measured(&[owner, third], |group, foreground| {
            let before = foreground.calm();
            group.processes[gone].kill();
            let from = Instant::now();
            wait_until_placed(group, owner, &format!("s{}", gone + 1));
            let to = Instant::now();
            // The first seconds are those until the server is given up.
            let begun = (from + Duration::from_secs(5)).min(to - Duration::from_millis(500));
            let then = foreground.calm();
            let rebuild = foreground.within(begun, to);
            group.processes[gone].spawn();
            group.all_are_up();
            (before, rebuild, then, to - from)
        });
        println!("round {round}: all copies again after {took:.1?}; {}", rounds.add(before, meanwhile, then));
    }
    println!("while copies were made anew: {rounds}");
    stage.judge();
    assert_eq!(stage.group.warnings_but(&["has not answered for"]), []);
}

/// `ROUNDS` times the owner of everything is emptied.
#[test]
fn a_server_is_emptied_under_load_and_hosts_are_answered_as_before() {
    let mut stage = Stage::start("--balance false");
    let mut rounds = Rounds::default();
    for round in 1..=count_of("ROUNDS", 1) {
        let [owner, other, third] = stage.group.placed("v1");
        let name = format!("s{}", owner + 1);
        let (before, meanwhile, then, took) = stage.measured(&[other, third], |group, foreground| {
            let before = foreground.calm();
            let from = Instant::now();
            let _ = group.processes[third].evenkeel(&["server", "drain", &name]).ok();
            wait_until_placed(group, third, &name);
            let to = Instant::now();
            let then = foreground.calm();
            let drain = foreground.within(from, to);
            let _ = group.processes[third].evenkeel(&["server", "drain", &name, "--undo"]).ok();
            (before, drain, then, to - from)
        });
        println!("round {round}: empty after {took:.1?}; {}", rounds.add(before, meanwhile, then));
    }
    println!("while a server was emptied: {rounds}");
    stage.judge();
    assert_eq!(stage.group.warnings_but(&[]), []);
}
