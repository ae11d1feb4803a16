//! A process that stood still does not bring old writes. While it stands still its hosts may give their connections up,
//! and write elsewhere what comes after; so what lay unread in its sockets is not carried out any more. The control
//! stands still only for a short time, and carries it out.

use evenkeel_iscsi::initiator::Event;
use evenkeel_scsi::Status;
use evenkeel_scsi::initiator::request;
use evenkeel_tests::{Group, GroupOptions, Initiator};
use evenkeel_types::Bytes;
use std::time::{Duration, Instant};

const OLD: u8 = 1;
const UNREAD: u8 = 66;
const NEW: u8 = 3;
/// Longer than an initiator's sign of life counts.
const LONG: Duration = Duration::from_millis(3_000);
const SHORT: Duration = Duration::from_millis(300);
/// A short standstill that took longer than this, on a busy machine, was none.
const SHORT_AT_MOST: Duration = Duration::from_millis(1_500);
const SHORT_TRIES: usize = 30;

fn write(initiator: &mut Initiator, byte: u8) {
    let _ = initiator.good(&request::write_16(0, Bytes::from(vec![byte; 4096]), 512));
}

/// The byte that all of the first block has, read through a new session.
fn read(group: &Group, iqn: &str) -> u8 {
    let data = Initiator::open(&group.portal(1), iqn).good(&request::read_16(0, 8, 512));
    assert!(data.len() == 4096 && data.iter().all(|byte| *byte == data[0]), "half a write");
    data[0]
}

fn group() -> (Group, String) {
    let group = Group::start(GroupOptions::servers(1).store_size("256MiB").flag("--balance false"));
    let iqn = group.create_volume("v1", "16MiB");
    (group, iqn)
}

/// How a write ended that was sent to a process that stood still; `None` if its connection was closed.
fn write_unread(group: &Group, iqn: &str, lasts: Duration) -> (Option<Status>, Duration) {
    let mut initiator = Initiator::open(&group.portal(1), iqn);
    write(&mut initiator, OLD);
    let began = Instant::now();
    group.pause();
    let sent = initiator.submit(request::write_16(0, Bytes::from(vec![UNREAD; 4096]), 512));
    assert!(initiator.send(), "the kernel takes what the process does not read");
    std::thread::sleep(lasts);
    group.resume();
    let stood = began.elapsed();
    loop {
        match initiator.event(Duration::from_secs(60)) {
            Some(Event::Done(id, done)) if id == sent => return (done.status, stood),
            Some(Event::Closed(_)) | None => return (None, stood),
            Some(_) => {}
        }
    }
}

#[test]
fn a_write_that_lay_unread_while_the_process_stood_still_is_never_applied() {
    let (group, iqn) = group();
    let (status, _) = write_unread(&group, &iqn, LONG);
    assert_eq!(status, None, "the connection was to be closed");
    assert_eq!(read(&group, &iqn), OLD, "an old write was applied");
    assert!(group.log().contains("stood still for"), "the log does not say why");
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    write(&mut initiator, NEW);
    assert_eq!(read(&group, &iqn), NEW);
}

#[test]
fn a_connection_without_anything_unread_is_closed_after_a_standstill_too() {
    let (group, iqn) = group();
    let mut idle = Initiator::open(&group.portal(1), &iqn);
    group.pause();
    std::thread::sleep(LONG);
    group.resume();
    while let Some(event) = idle.event(Duration::from_secs(60)) {
        assert!(!matches!(event, Event::LoggedOut), "nobody asked for a logout");
    }
}

#[test]
fn a_short_standstill_costs_nothing() {
    let (group, iqn) = group();
    for _ in 0..SHORT_TRIES {
        let (status, stood) = write_unread(&group, &iqn, SHORT);
        if stood > SHORT_AT_MOST {
            continue;
        }
        assert_eq!(status, Some(Status::Good));
        assert_eq!(read(&group, &iqn), UNREAD);
        return;
    }
    panic!("{SHORT_TRIES} times the machine made a standstill of {SHORT:?} longer than {SHORT_AT_MOST:?}");
}
