//! A reset of a logical unit holds on all servers: it is answered when what came in through others is over.

use evenkeel_iscsi::initiator::Event;
use evenkeel_iscsi::pdu::{TaskFunction, TaskResponse};
use evenkeel_scsi::initiator::request;
use evenkeel_scsi::{AdditionalSense, Status};
use evenkeel_tests::{Group, GroupOptions, Initiator};
use evenkeel_types::Bytes;
use std::time::Duration;

const ROUNDS: u8 = 20;
/// Writes under way when the reset comes, and how long each is.
const WRITES: u64 = 16;
const WRITE_BYTES: u32 = 512 << 10;
const BLOCK: u32 = 512;
/// Longest time for an answer on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// In which a write that was aborted and lands all the same would be seen.
const LATE: Duration = Duration::from_millis(100);

/// The first block of each write's range.
fn firsts(host: &mut Initiator) -> Vec<u8> {
    let ranges = (0..WRITES).map(|n| n * u64::from(WRITE_BYTES / BLOCK));
    ranges.map(|lba| host.good(&request::read_16(lba, 1, BLOCK))[0]).collect()
}

#[test]
fn a_reset_through_one_server_ends_what_came_in_through_another() {
    let group = Group::start(GroupOptions::servers(3).flag("--balance false"));
    let iqn = group.create_volume("v1", "64MiB");
    let mut resetting = Initiator::open(&group.portal(2), &iqn);
    let mut aborted = 0;
    for round in 1..=ROUNDS {
        let mut writing = Initiator::open(&group.portal(1), &iqn);
        for n in 0..WRITES {
            let data = Bytes::from(vec![round; WRITE_BYTES as usize]);
            writing.submit(request::write_16(n * u64::from(WRITE_BYTES / BLOCK), data, BLOCK));
        }
        // What arrives only behind the reset is none of its business.
        let (taken, mut answered) = (writing.ping(), 0);
        loop {
            match writing.event(PATIENCE).expect("the session is open") {
                Event::Pong(id, _) if id == taken => break,
                Event::Done(_, done) if done.status == Some(Status::Good) => answered += 1,
                other => panic!("round {round}: {other:?}"),
            }
        }
        assert_eq!(resetting.manage(TaskFunction::LogicalUnitReset), TaskResponse::FunctionComplete);
        // Whoever asked for the reset is told of it too.
        let told = resetting.ask(&request::test_unit_ready());
        assert_eq!(told.sense.map(|sense| sense.additional), Some(AdditionalSense::LOGICAL_UNIT_RESET));
        let before = firsts(&mut resetting);
        std::thread::sleep(LATE);
        assert_eq!(firsts(&mut resetting), before, "round {round}: a write landed behind the reset");
        // What ended before the reset was answered; what it ended is not.
        let told = writing.submit(request::test_unit_ready());
        loop {
            match writing.event(PATIENCE).expect("the session is open") {
                Event::Done(id, done) if id == told => {
                    assert_eq!(done.status, Some(Status::CheckCondition), "round {round}");
                    let sense = done.sense.expect("sense data of a unit attention");
                    assert_eq!(sense.additional, AdditionalSense::LOGICAL_UNIT_RESET, "round {round}");
                    break;
                }
                Event::Done(_, done) => {
                    assert_eq!(done.status, Some(Status::Good), "round {round}: {:?}", done.sense);
                    answered += 1;
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
        assert!(before.iter().filter(|byte| **byte == round).count() as u64 >= answered);
        aborted += WRITES - answered;
    }
    println!("{ROUNDS} resets ended {aborted} writes of another server's session; 0 landed later");
    assert!(aborted > 0, "no write was under way at any reset");
}
