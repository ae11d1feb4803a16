//! What the target says unasked (RFC 7143 section 11.9), as it is on the wire and as our initiator hears it.

mod pair;
mod raw;

use evenkeel_iscsi::Settings;
use evenkeel_iscsi::initiator::Event;
use evenkeel_iscsi::pdu::{AsyncEvent, AsyncMessage, Opcode, RESERVED_TAG};
use evenkeel_iscsi::target::{CloseReason, ManagementScope};
use evenkeel_scsi::{AdditionalSense, Sense};
use pair::Pair;
use raw::{Answer, Raw, TARGET, kinds, status_of};
use std::time::Duration;

fn message(answers: &[Answer]) -> (u8, u16, u16, u16) {
    assert_eq!(kinds(answers), [Opcode::AsyncMessage]);
    let pdu = *answers[0].0.view::<AsyncMessage>();
    assert_eq!(pdu.itt.get(), RESERVED_TAG);
    (pdu.event, pdu.parameter_1.get(), pdu.parameter_2.get(), pdu.parameter_3.get())
}

#[test]
fn an_initiator_that_does_not_log_out_is_told_that_its_connection_is_dropped() {
    let mut raw = Raw::logged_in(&[("DefaultTime2Wait", "7"), ("DefaultTime2Retain", "9")]);
    raw.target.begin_logout(raw.now);
    assert_eq!(message(&raw.take()), (1, 0, 0, 3), "within 3 seconds");
    raw.target.begin_logout(raw.now);
    assert!(raw.take().is_empty(), "it is asked once");
    assert_eq!(message(&raw.pass(Duration::from_secs(3))), (2, 0, 7, 0));
    assert_eq!(raw.closed, Some(CloseReason::LogoutTimeout));
}

#[test]
fn an_initiator_whose_target_is_gone_is_told_that_its_session_is_dropped() {
    let mut raw = Raw::logged_in(&[]);
    raw.command(raw::read10(0, 1), 0xc0, 512, &[]);
    raw.target.drop_session(raw.now, CloseReason::TargetRemoved);
    assert_eq!(message(&raw.take()), (3, 0, 2, 20), "nobody negotiated another time");
    assert_eq!(raw.closed, Some(CloseReason::TargetRemoved));
    assert_eq!(raw.cancelled.len(), 1);
    assert!(raw.good().is_empty() && raw.target.is_finished());
}

#[test]
fn a_session_that_is_not_open_is_dropped_without_a_word() {
    let mut raw = Raw::new();
    let answers = raw.login(0x04, &[("InitiatorName", "i"), ("TargetName", TARGET)]);
    assert_eq!(status_of(&answers[0]), 0);
    raw.target.drop_session(raw.now, CloseReason::TargetRemoved);
    assert!(raw.take().is_empty());
    assert_eq!(raw.closed, Some(CloseReason::TargetRemoved));
}

#[test]
fn a_cold_reset_by_another_session_is_told_before_the_end() {
    let mut raw = Raw::logged_in(&[]);
    raw.target.handle_management(raw.now, ManagementScope::ColdReset, 8);
    assert_eq!(message(&raw.take()).0, 3);
    assert_eq!(raw.closed, Some(CloseReason::ColdReset));
}

#[test]
fn our_initiator_hears_what_the_target_says() {
    let mut pair = Pair::logged_in(1, Settings::default(), Settings::default());
    let sense = Sense::aborted_command(AdditionalSense::INTERNAL_TARGET_FAILURE);
    pair.target.report(&sense);
    pair.target.begin_logout(pair.now);
    pair.target.drop_session(pair.now, CloseReason::TargetRemoved);
    pair.run();
    let heard: Vec<_> = pair
        .events
        .drain(..)
        .map(|event| match event {
            Event::Async { event, seconds, sense } => (event, seconds, sense),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (AsyncEvent::Scsi, 0, Some(sense)),
        (AsyncEvent::LogoutRequested, 3, None),
        (AsyncEvent::SessionDrop, 0, None),
    ];
    assert_eq!(heard, expected);
    assert_eq!(pair.closed, Some(CloseReason::TargetRemoved));
}
