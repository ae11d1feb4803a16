//! The end of a process: sessions are logged out, the exit code is 0, it takes less than 5 s, and the next start replays
//! nothing. The control is a kill, after which there is something to replay.

use evenkeel_iscsi::initiator::Event;
use evenkeel_iscsi::pdu::AsyncEvent;
use evenkeel_scsi::Status;
use evenkeel_scsi::initiator::request;
use evenkeel_tests::{Group, GroupOptions, INITIATOR_NAME, Initiator, Signal, initiator_config};
use evenkeel_types::Bytes;
use std::time::{Duration, Instant};

const STOP_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Blocks of 4 KiB that a scenario writes before the end.
const BLOCKS: u64 = 64;

fn group() -> (Group, String) {
    let group = Group::start(GroupOptions::servers(2).store_size("256MiB").flag("--balance false"));
    let iqn = group.create_volume("v1", "16MiB");
    (group, iqn)
}

fn block(number: u64) -> Bytes {
    Bytes::from(vec![(number as u8).wrapping_add(1); 4096])
}

fn write_blocks(initiator: &mut Initiator) {
    for number in 0..BLOCKS {
        let _ = initiator.good(&request::write_16(number * 512, block(number), 512));
    }
}

fn assert_written(group: &Group, iqn: &str, blocks: u64) {
    let mut initiator = Initiator::open(&group.portal(2), iqn);
    for number in 0..blocks {
        let data = initiator.good(&request::read_16(number * 512, 8, 512));
        assert!(data[..] == block(number)[..], "block {number} is lost");
    }
}

/// Waits for the request to log out.
fn asked_to_log_out(initiator: &mut Initiator) -> bool {
    while let Some(event) = initiator.event(ANSWER_WITHIN) {
        if let Event::Async { event: AsyncEvent::LogoutRequested, .. } = event {
            return true;
        }
    }
    false
}

/// Waits until the target has ended the connection; true if by a logout.
fn logged_out(initiator: &mut Initiator) -> bool {
    let mut logged_out = false;
    while let Some(event) = initiator.event(ANSWER_WITHIN) {
        logged_out |= matches!(event, Event::LoggedOut);
    }
    logged_out
}

#[test]
fn sigterm_and_sigint_log_sessions_out_and_leave_nothing_to_replay() {
    let (mut group, iqn) = group();
    for signal in [Signal::TERM, Signal::INT] {
        let mut obedient = Initiator::open(&group.portal(1), &iqn);
        write_blocks(&mut obedient);
        let mut deaf = Initiator::open(&group.portal(2), &iqn);
        let discovery = initiator_config(INITIATOR_NAME, None, evenkeel_iscsi::Settings::default());
        let mut discovery = Initiator::log_in(&group.portal(2), discovery).expect("discovery is for all");
        let began = Instant::now();
        group.signal(signal);
        assert!(asked_to_log_out(&mut obedient), "no request to log out after {signal:?}");
        obedient.begin_logout();
        assert!(logged_out(&mut obedient), "the logout was not answered");
        // One that does not log out is asked too, and then closed.
        assert!(asked_to_log_out(&mut deaf) && !logged_out(&mut deaf));
        assert!(!logged_out(&mut discovery));
        let (code, _) = group.ended();
        let took = began.elapsed();
        assert!(
            code == 0 && took < STOP_WITHIN,
            "{signal:?}: exit code {code} after {took:?}\n{}",
            group.log()
        );
        group.spawn();
        group.wait();
        assert_eq!(group.records_replayed(), 0, "after {signal:?}:\n{}", group.log());
        assert_written(&group, &iqn, BLOCKS);
    }
}

#[test]
fn a_signal_during_the_start_is_not_lost_and_ends_the_process_cleanly() {
    let mut group = Group::prepare(GroupOptions::servers(4).store_size("256MiB"));
    group.spawn();
    let began = Instant::now();
    // The directory is made first; the stores, which take some time, come after it.
    while !group.data().join("directory").exists() {
        assert!(began.elapsed() < ANSWER_WITHIN, "the start does not begin\n{}", group.log());
        std::thread::sleep(Duration::from_millis(1));
    }
    group.signal(Signal::TERM);
    let (code, _) = group.ended();
    assert_eq!(code, 0, "{}", group.log());
    group.spawn();
    group.wait();
    assert_eq!(group.records_replayed(), 0, "{}", group.log());
}

#[test]
fn a_kill_leaves_something_to_replay_and_nothing_is_lost() {
    let (mut group, iqn) = group();
    write_blocks(&mut Initiator::open(&group.portal(1), &iqn));
    group.kill();
    group.spawn();
    group.wait();
    assert!(group.records_replayed() > 0, "the control finds nothing to replay: the figure proves nothing");
    assert_written(&group, &iqn, BLOCKS);
    // What was replayed is in its place and is not replayed again. Each of the four extents was taken over since, which
    // may have a record of its own.
    group.kill();
    group.spawn();
    group.wait();
    assert!(group.records_replayed() <= 4, "{}", group.log());
    assert_written(&group, &iqn, BLOCKS);
}

#[test]
fn a_stop_in_the_middle_of_writes_keeps_every_one_that_was_acknowledged() {
    let (mut group, iqn) = group();
    let portal = group.portal(1);
    let acknowledged = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut initiator = Initiator::open(&portal, &iqn);
            let mut acknowledged = 0;
            // It goes on until its connection is closed, and is never in step with the stop.
            for number in 0u64.. {
                let id = initiator.submit(request::write_16(number % 4096 * 8, block(number), 512));
                let done = loop {
                    match initiator.event(ANSWER_WITHIN) {
                        Some(Event::Done(ended, done)) if ended == id => break Some(done),
                        Some(Event::Closed(_)) | None => break None,
                        Some(_) => {}
                    }
                };
                if number == 32 {
                    group.signal(Signal::TERM);
                }
                match done {
                    Some(done) if done.status == Some(Status::Good) => acknowledged += 1,
                    _ => break,
                }
            }
            acknowledged
        });
        writer.join().expect("the writer ends")
    });
    let (code, took) = group.ended();
    assert!(code == 0 && took < STOP_WITHIN, "exit code {code} after {took:?}\n{}", group.log());
    assert!(acknowledged > 32, "only {acknowledged} writes before the stop");
    group.spawn();
    group.wait();
    assert_eq!(group.records_replayed(), 0, "{}", group.log());
    let mut initiator = Initiator::open(&group.portal(2), &iqn);
    for number in 0..acknowledged.min(4096) {
        let data = initiator.good(&request::read_16(number * 8, 8, 512));
        assert!(data[..] == block(number)[..], "write {number} of {acknowledged} is lost");
    }
}
