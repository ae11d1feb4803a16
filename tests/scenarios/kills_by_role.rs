//! In the middle of a move of an extent with two copies, the process of its source, of its target, or of the group's
//! planner is killed: the move goes on, or is given up, only what was on its way is sent again, and hosts notice nothing.
//!
//! What is sent is counted by relays between the servers, from the frames.

use evenkeel_api::RouteRow;
use evenkeel_tests::{Blocks, Processes, Sent, StopAtEnd, Tally, Writer, comes_true, count_of};
use evenkeel_types::{Incarnation, ServerId, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Runs of the volume: each has a place of its own. One extent of each may be used.
const RUNS: u32 = 24;
const EXTENTS_PER_RUN: u32 = 64;
const BLOCKS_PER_EXTENT: u64 = 1024;
/// Regions that the moved extent has been sent when the process is killed: at least, and at most.
const IN_THE_MIDDLE: std::ops::RangeInclusive<usize> = 8..=56;
/// Regions that may be sent again: those that were on their way.
const AGAIN_MAX: usize = 8;
/// Bytes per second of each move: an extent takes two seconds.
const RATE: u64 = 2 << 20;
/// Requests under way on each extent.
const DEPTH: usize = 2;
/// A host leaves a path on which nothing comes for this long.
const PATIENCE: Duration = Duration::from_secs(5);
const WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Source,
    Target,
    Planner,
}

/// A move to be made, by the processes that take part in it.
#[derive(Clone, Copy, Debug)]
struct Plan {
    extent: u32,
    source: usize,
    target: usize,
    victim: usize,
}

fn number(server: &str) -> usize {
    server[1..].parse::<usize>().expect("servers are named s1, s2, ...") - 1
}

fn name(server: usize) -> String {
    format!("s{}", server + 1)
}

/// The rows of all extents by the view of the first process that answers.
fn routes(group: &Processes) -> Vec<RouteRow> {
    let of = |n: usize| group.processes[n].api().route("v1", &name(n)).ok();
    (0..3).find_map(of).expect("a process answers").extents
}

/// An extent whose move has that role played by a process that has no other.
fn plan(group: &Processes, extents: &[u32], role: Role, nth: u32) -> Option<Plan> {
    let rows = routes(group);
    let planner = group.planner()?;
    let of = |extent: &u32| {
        let row = &rows[*extent as usize];
        let (source, other) = (number(&row.owner), number(&row.replicas[1]));
        let target = 3 - source - other;
        let victim = match role {
            Role::Source => source,
            Role::Target => target,
            Role::Planner => planner,
        };
        let is_one_role = role != Role::Planner || planner == other;
        is_one_role.then_some(Plan { extent: *extent, source, target, victim })
    };
    let possible: Vec<Plan> = extents.iter().filter_map(of).collect();
    possible.get(nth as usize % possible.len().max(1)).copied()
}

/// All that was sent of an extent to a server, over whichever relay.
fn sent_to(copies: &BTreeMap<(u32, u8), Vec<Sent>>, extent: u32, to: usize) -> BTreeMap<u8, Vec<Sent>> {
    let of = copies.range((extent, 0)..=(extent, u8::MAX));
    of.map(|((_, region), sent)| {
        let to_it = sent.iter().filter(|sent| sent.to == Some(ServerId(to as u32 + 1)));
        (*region, to_it.copied().collect::<Vec<_>>())
    })
    .filter(|(_, sent)| !sent.is_empty())
    .collect()
}

/// Who sent something, in which life, over which connection.
type Way = (ServerId, Incarnation, u64);

/// Versions of regions that were sent by more than one life of a server, or over more than one connection.
fn sent_again(sent: &BTreeMap<u8, Vec<Sent>>) -> usize {
    let mut ways: BTreeMap<(u8, Version), BTreeSet<Way>> = BTreeMap::new();
    for (region, sent) in sent {
        for sent in sent {
            ways.entry((*region, sent.version)).or_default().insert((sent.from, sent.life, sent.connection));
        }
    }
    ways.values().filter(|ways| ways.len() > 1).count()
}

struct Killed {
    arrived: bool,
    again: usize,
}

/// One kill in the middle of a move; none if the move was not caught there.
fn one_kill(group: &mut Processes, plan: Plan, role: Role, when: usize, away: Duration) -> Option<Killed> {
    let Plan { extent, source, target, victim } = plan;
    let take = |group: &Processes| {
        let mut all: BTreeMap<(u32, u8), Vec<Sent>> = BTreeMap::new();
        for process in &group.processes {
            for (place, sent) in process.relays().take_copies() {
                all.entry(place).or_default().extend(sent);
            }
        }
        sent_to(&all, extent, target)
    };
    let _ = take(group);
    let row = group.processes[source].api().begin_move("v1", extent, &name(target), Some(RATE));
    let mut sent: BTreeMap<u8, Vec<Sent>> = BTreeMap::new();
    let note = |group: &Processes, sent: &mut BTreeMap<u8, Vec<Sent>>| {
        take(group).into_iter().for_each(|(region, more)| sent.entry(region).or_default().extend(more));
    };
    let is_there = comes_true(WITHIN, || {
        note(group, &mut sent);
        let is_over = routes(group)[extent as usize].moving_to.is_none();
        sent.len() >= when || is_over
    });
    assert!(is_there, "the move sends nothing: {row:?}");
    group.processes[victim].kill();
    note(group, &mut sent);
    let before = sent.len();
    std::thread::sleep(away);
    group.processes[victim].spawn();
    let is_over = || {
        let row = &routes(group)[extent as usize];
        row.moving_to.is_none()
    };
    assert!(comes_true(WITHIN, is_over), "the move neither arrives nor is given up");
    let arrived = number(&routes(group)[extent as usize].owner) == target;
    group.all_are_up();
    note(group, &mut sent);
    let again = sent_again(&sent);
    let all: usize = sent.values().map(Vec::len).sum();
    println!(
        "{role:?} s{} killed with {before} of 64 regions sent, away for {away:?}: {}, {} more sent, {again} of them again",
        victim + 1,
        if arrived { "arrived" } else { "given up" },
        all - before,
    );
    IN_THE_MIDDLE.contains(&before).then_some(Killed { arrived, again })
}

fn kills(role: Role) {
    let mut group = Processes::relayed(3, "--balance false");
    let size = format!("{}MiB", RUNS * EXTENTS_PER_RUN * 4);
    let iqn = group.processes[0].create_replicated("v1", &size, 2);
    // Two extents for each order of owner and other copy.
    let rows = routes(&group);
    let mut by_order: BTreeMap<(String, String), Vec<u32>> = BTreeMap::new();
    for extent in (0..RUNS).map(|run| run * EXTENTS_PER_RUN) {
        let row = &rows[extent as usize];
        by_order.entry((row.replicas[0].clone(), row.replicas[1].clone())).or_default().push(extent);
    }
    let extents: Vec<u32> = by_order.values().flat_map(|extents| extents.iter().copied().take(2)).collect();
    let portals = group.portals();
    let mut writers: Vec<Writer> = extents
        .iter()
        .map(|extent| {
            let blocks = Blocks::new(u64::from(*extent) * BLOCKS_PER_EXTENT, BLOCKS_PER_EXTENT as usize);
            let writer = Writer::new(portals.clone(), &iqn, blocks, DEPTH, 7 + u64::from(*extent));
            writer.with_paths(PATIENCE).paced(Duration::from_millis(5))
        })
        .collect();
    for (n, writer) in writers.iter_mut().enumerate() {
        writer.fill(&portals[n % portals.len()]).expect("the volume is written");
    }
    let wanted = count_of("ROUNDS", 1) as u32;
    let stop = AtomicBool::new(false);
    let mut counted = Vec::new();
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        for writer in &mut writers {
            scope.spawn(|| writer.run(&stop));
        }
        for try_number in 0..3 * wanted {
            let mut planned = None;
            let found = comes_true(WITHIN, || {
                planned = plan(&group, &extents, role, try_number);
                planned.is_some()
            });
            assert!(found, "no extent has a planner that has no other part: {:?}", group.planner());
            let when = IN_THE_MIDDLE.start() + try_number as usize * 13 % 38;
            // Back before anybody misses it, or after another server took its place. A target that is missed for long is
            // given up.
            let is_short = role == Role::Target || try_number % 2 == 0;
            let away = if is_short { Duration::ZERO } else { Duration::from_secs(4) };
            counted.extend(planned.and_then(|plan| one_kill(&mut group, plan, role, when, away)));
            if counted.len() >= wanted as usize && counted.iter().any(|killed| killed.arrived) {
                break;
            }
        }
        drop(stop_at_end);
    });
    let arrived = counted.iter().filter(|killed| killed.arrived).count();
    let most = counted.iter().map(|killed| killed.again).max().unwrap_or(0);
    let sum = |of: fn(&Tally) -> u64| writers.iter().map(|writer| of(&writer.tally)).sum::<u64>();
    println!(
        "{role:?}: {} kills in the middle of a move, {arrived} moves arrived; at most {most} regions sent again; {} writes, {} \
         reads, {} sessions lost, {} busy",
        counted.len(),
        sum(|t| t.writes),
        sum(|t| t.reads),
        sum(|t| t.lost),
        sum(|t| t.busy)
    );
    assert!(counted.len() >= wanted as usize, "moves were caught in their middle {} times", counted.len());
    assert!(arrived > 0, "no move went on");
    assert!(most <= AGAIN_MAX, "{most} regions of a move were sent again");
    assert!(sum(|t| t.writes) > 0 && sum(|t| t.reads) > 0, "the kills met no load");
    for (extent, writer) in extents.iter().zip(&mut writers) {
        assert_eq!((&writer.tally.wrong, writer.tally.busy), (&None, 0), "extent {extent}");
        for portal in &portals {
            assert_eq!(writer.verify(portal).expect("all is there") as u64, BLOCKS_PER_EXTENT);
        }
    }
    let _ = group.processes[0].evenkeel(&["route", "v1", "--verify"]).ok();
}

#[test]
fn a_move_survives_the_kill_of_its_source() {
    kills(Role::Source);
}

#[test]
fn a_move_survives_the_kill_of_its_target() {
    kills(Role::Target);
}

#[test]
fn a_move_survives_the_kill_of_the_planner() {
    kills(Role::Planner);
}
