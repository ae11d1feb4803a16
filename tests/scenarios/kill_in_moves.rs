//! The process is killed in the middle of moves under load: they go on after the restart, only what was on its way is
//! sent again, and everything that was acknowledged is there.
//!
//! What is sent is counted by relays between the servers, from the frames.

use evenkeel_api::{MoveRow, MoveState};
use evenkeel_tests::{Blocks, Group, GroupOptions, Sent, StopAtEnd, Writer, owners, views_are_equal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const EXTENTS: u32 = 8;
/// Moves under way at each kill.
const MOVES: u32 = 4;
const KILLS: u32 = 5;
const BLOCKS_PER_EXTENT: u64 = 1024;
const REGIONS: usize = 64;
/// Regions of one move that may be sent again: those that were on their way.
const AGAIN_MAX: usize = 8;
/// Bytes per second of each move.
const RATE: u64 = 2 << 20;
/// Requests under way on each extent.
const DEPTH: usize = 2;
const WITHIN: Duration = Duration::from_secs(40);

/// Polls until something is so.
fn wait_until(what: &str, group: &Group, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}\n{}", group.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn sum(tallies: impl Iterator<Item = u64>) -> u64 {
    tallies.sum()
}

/// Kills the process when each move has sent `when` regions, over and over.
fn kill_in_moves(when: usize) {
    let mut group = Group::start(GroupOptions::servers(3).flag("--balance false").relayed());
    let iqn = group.create_volume("v1", &format!("{}MiB", EXTENTS * 4));
    let portals: Vec<String> = (1..=3).map(|server| group.portal(server)).collect();
    let mut writers: Vec<Writer> = (0..EXTENTS)
        .map(|extent| {
            let blocks = Blocks::new(u64::from(extent) * BLOCKS_PER_EXTENT, BLOCKS_PER_EXTENT as usize);
            Writer::new(portals.clone(), &iqn, blocks, DEPTH, 77 + u64::from(extent))
        })
        .collect();
    writers.iter_mut().for_each(|writer| writer.fill(&portals[0]).expect("the volume is written"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        for writer in &mut writers {
            scope.spawn(|| writer.run(&stop));
        }
        let resumed: usize = (0..KILLS).map(|round| one_kill(&mut group, round, when)).sum();
        drop(stop_at_end);
        // A disk that is too slow for a move ends it, as it should; but not all of them.
        assert!(resumed >= KILLS as usize, "{resumed} moves went on after a kill");
    });
    let tally = |of: fn(&evenkeel_tests::Tally) -> u64| sum(writers.iter().map(|writer| of(&writer.tally)));
    let (writes, reads) = (tally(|t| t.writes), tally(|t| t.reads));
    let (lost, unknown, busy) = (tally(|t| t.lost), tally(|t| t.unknown), tally(|t| t.busy));
    eprintln!(
        "{KILLS} kills: {writes} writes acknowledged, {reads} reads checked, {lost} sessions lost with {unknown} writes \
         without an answer, {busy} answers BUSY"
    );
    for (extent, writer) in writers.iter_mut().enumerate() {
        assert_eq!(writer.tally.wrong, None, "extent {extent}");
        for portal in &portals {
            let written = writer.verify(portal).expect("what was acknowledged is there");
            assert_eq!(written as u64, BLOCKS_PER_EXTENT);
        }
    }
    assert!(writes > 0 && reads > 0 && unknown > 0, "the kills met no load");
    assert!(lost >= u64::from(KILLS), "{lost} sessions were lost");
    views_are_equal(&group, "v1", 3);
    let verified = group.evenkeel(&["route", "v1", "--verify", "-o", "json"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}

/// Orders moves, kills the process in their middle, starts it again, waits until they have ended, and counts. Gives how
/// many arrived; those that the disk was too slow for are given up.
fn one_kill(group: &mut Group, round: u32, when: usize) -> usize {
    let before = owners(group, "v1", "s1");
    let extents: Vec<u32> = (0..MOVES).map(|n| (round * MOVES + n) % EXTENTS).collect();
    let _ = group.relays().take_copies();
    let ids: BTreeMap<u32, u64> = extents
        .iter()
        .map(|extent| {
            let to = match before[*extent as usize].as_str() {
                "s1" => "s2",
                "s2" => "s3",
                _ => "s1",
            };
            (*extent, group.api().begin_move("v1", *extent, to, Some(RATE)).id)
        })
        .collect();
    wait_until("the moves are in their middle", group, || {
        let table = group.api().route("v1", "s1").expect("the route");
        let is_over = |extent: u32| table.extents[extent as usize].moving_to.is_none();
        let sent = |extent: &u32| group.relays().regions_of(*extent);
        // A slow disk may hold one of them up; none is to be at its end.
        extents.iter().all(|extent| sent(extent) >= when || is_over(*extent))
            || extents.iter().any(|extent| sent(extent) >= REGIONS - AGAIN_MAX)
    });
    group.kill();
    let sent: BTreeMap<u32, usize> =
        extents.iter().map(|extent| (*extent, group.relays().regions_of(*extent))).collect();
    assert!(sent.values().all(|sent| *sent < REGIONS), "not in their middle: {sent:?}");
    group.spawn();
    group.wait();
    let mut rows: BTreeMap<u32, MoveRow> = BTreeMap::new();
    wait_until("the moves have ended", group, || {
        let moves = group.api().moves().moves;
        let ended = moves.into_iter().filter(|row| row.state != MoveState::Running);
        rows =
            ended.filter(|row| ids.get(&row.extent) == Some(&row.id)).map(|row| (row.extent, row)).collect();
        rows.len() == ids.len()
    });
    let copies = group.relays().take_copies();
    let mut resumed = 0;
    for (extent, row) in &rows {
        let of: Vec<_> = copies.range((*extent, 0)..=(*extent, 63)).map(|(_, sent)| sent).collect();
        let all: usize = of.iter().map(|sent| sent.len()).sum();
        // Sent again is what went in the same version before the kill and after it. A region that was written meanwhile is
        // another one, and one that was retried within a life was too slow, which is no matter of the kill.
        let again = of.iter().map(|sent| sent_in_two_lives(sent)).sum::<usize>();
        eprintln!(
            "kill {}: extent {extent} to {}, {:?}: {} regions sent before, {} after; {again} of them again",
            round + 1,
            row.to,
            row.state,
            sent[extent],
            all - sent[extent],
        );
        if row.state == MoveState::Done {
            assert_eq!(of.len(), REGIONS, "extent {extent}");
            assert!(again <= AGAIN_MAX, "extent {extent}: {again} regions were sent again");
            resumed += 1;
        }
    }
    resumed
}

/// How many versions of a region were sent both before the kill and after it.
fn sent_in_two_lives(sent: &[Sent]) -> usize {
    let lives_of = sent.iter().fold(BTreeMap::new(), |mut lives, sent| {
        lives.entry(sent.version).or_insert_with(BTreeSet::new).insert(sent.life);
        lives
    });
    lives_of.values().filter(|lives| lives.len() > 1).count()
}

#[test]
fn claim_12_five_kills_early_in_moves_redo_only_what_was_in_motion() {
    kill_in_moves(10);
}

#[test]
fn claim_12_five_kills_late_in_moves_redo_only_what_was_in_motion() {
    kill_in_moves(45);
}
