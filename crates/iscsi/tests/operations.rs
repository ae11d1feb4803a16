//! Commands that are carried out as several operations, and when they arrived.

mod raw;

use evenkeel_iscsi::pdu::{BHS_BYTES, NopOut, Opcode, PduHeader, R2t, ScsiResponse, TaskFunction, flags};
use evenkeel_iscsi::target::CloseReason;
use evenkeel_types::{BlockError, BlockOp, Payload};
use raw::{Answer, Raw, kinds, read10, sense_of, write10};
use std::time::Duration;

const WRITE: u8 = flags::FINAL | flags::WRITE;
const READ: u8 = flags::FINAL | flags::READ;
const GOOD: u8 = 0;
const BUSY: u8 = 8;
const OPEN: &[(&str, &str)] = &[("InitialR2T", "No"), ("ImmediateData", "Yes")];
/// Operations of [`write_same`]: each writes 1 MiB.
const OPERATIONS: usize = 3;

/// WRITE SAME of a block that is not zeros, over 3 MiB.
fn write_same(raw: &mut Raw) -> Vec<Answer> {
    let mut cdb = [0; 16];
    cdb[0] = 0x93;
    cdb[10..14].copy_from_slice(&(OPERATIONS as u32 * 2048).to_be_bytes());
    raw.command(cdb, WRITE, 512, &[7; 512])
}

/// UNMAP of `count` single blocks, none beside another.
fn unmap(raw: &mut Raw, count: u16) -> Vec<Answer> {
    let mut list = Vec::new();
    list.extend_from_slice(&(count * 16 + 6).to_be_bytes());
    list.extend_from_slice(&(count * 16).to_be_bytes());
    list.extend_from_slice(&[0; 4]);
    for descriptor in 0..count {
        list.extend_from_slice(&u64::from(descriptor * 16).to_be_bytes());
        list.extend_from_slice(&8u32.to_be_bytes());
        list.extend_from_slice(&[0; 4]);
    }
    let mut cdb = [0; 16];
    cdb[0] = 0x42;
    cdb[7..9].copy_from_slice(&(list.len() as u16).to_be_bytes());
    raw.command(cdb, WRITE, list.len() as u32, &list)
}

fn status_of(answers: &[Answer]) -> u8 {
    assert_eq!(kinds(answers), [Opcode::ScsiResponse]);
    answers[0].0.view::<ScsiResponse>().status
}

#[test]
fn operations_of_a_command_follow_one_another_and_the_last_one_answers() {
    let mut raw = Raw::logged_in(OPEN);
    assert!(write_same(&mut raw).is_empty());
    for operation in 0..OPERATIONS {
        let BlockOp::Write { at, .. } = &raw.submitted[0].1 else { panic!("{:?}", raw.submitted) };
        assert_eq!((at.offset, raw.submitted.len()), (operation as u64 * (1 << 20), 1));
        let answers = raw.good();
        assert_eq!(answers.is_empty(), operation + 1 < OPERATIONS);
        if operation + 1 == OPERATIONS {
            assert_eq!(status_of(&answers), GOOD);
        }
    }
}

#[test]
fn busy_is_told_while_nothing_of_the_command_was_applied() {
    for command in [write_same, |raw: &mut Raw| unmap(raw, 3)] {
        let mut raw = Raw::logged_in(OPEN);
        assert!(command(&mut raw).is_empty());
        assert_eq!(status_of(&raw.complete(Err(BlockError::Busy))), BUSY);
        assert_eq!(raw.closed, None);
    }
}

#[test]
fn a_command_that_was_applied_in_part_is_never_busy() {
    for command in [write_same, |raw: &mut Raw| unmap(raw, 3)] {
        let mut raw = Raw::logged_in(OPEN);
        assert!(command(&mut raw).is_empty());
        assert!(raw.good().is_empty());
        let answers = raw.complete(Err(BlockError::Busy));
        assert!(answers.is_empty(), "BUSY says that nothing was applied: {answers:?}");
        assert_eq!(raw.closed, Some(CloseReason::OutcomeUnknown));
        assert!(raw.target.is_finished());
    }
}

#[test]
fn the_first_operation_that_fails_ends_the_command() {
    let mut raw = Raw::logged_in(OPEN);
    assert!(unmap(&mut raw, 3).is_empty());
    assert!(raw.good().is_empty());
    let answers = raw.complete(Err(BlockError::Medium { offset: 8192 + 512 }));
    assert_eq!(
        (sense_of(&answers[0]), &answers[0].1[2 + 3..2 + 7]),
        ((3, 0x11, 0), &17u32.to_be_bytes()[..])
    );
    assert_eq!(answers[0].0.view::<ScsiResponse>().residual_count.get(), 0);
    assert!(raw.submitted.is_empty() && raw.closed.is_none());
    assert_eq!(raw.target.memory().tasks, 0);
}

#[test]
fn an_abort_between_two_operations_is_answered_after_the_one_under_way_and_no_other_follows() {
    let mut raw = Raw::logged_in(OPEN);
    assert!(unmap(&mut raw, 3).is_empty());
    assert!(raw.good().is_empty());
    let itt = raw.itt - 1;
    assert!(raw.manage(TaskFunction::AbortTask, itt, 0).is_empty());
    assert_eq!(raw.cancelled, [raw.submitted[0].0]);
    assert_eq!(kinds(&raw.good()), [Opcode::TaskManagementResponse]);
    assert!(raw.submitted.is_empty() && raw.target.memory().tasks == 0);
}

/// The first bytes of a PDU, whose rest is still to come: they may have been under way for long.
fn part_of_a_pdu(raw: &mut Raw) {
    assert!(raw.send_bytes(&NopOut::empty().bhs().to_bytes()[..BHS_BYTES / 2]).is_empty());
}

#[test]
fn what_comes_after_a_command_does_not_make_its_later_operations_younger() {
    for command in [write_same, |raw: &mut Raw| unmap(raw, 3)] {
        let mut raw = Raw::logged_in(OPEN);
        assert!(command(&mut raw).is_empty());
        let arrived = raw.now;
        raw.now = raw.now + Duration::from_secs(3);
        part_of_a_pdu(&mut raw);
        assert!(raw.good().is_empty());
        assert!(raw.good().is_empty());
        assert_eq!(raw.arrived, [arrived; 3]);
    }
}

#[test]
fn a_read_that_waited_for_room_is_as_old_as_its_command() {
    let mut raw = Raw::logged_in(&[]);
    let bytes = 6 << 20;
    let mut came = Vec::new();
    for _ in 0..3 {
        assert!(raw.command(read10(0, 12288), READ, bytes, &[]).is_empty());
        came.push(raw.now);
        raw.now = raw.now + Duration::from_secs(1);
    }
    assert_eq!(raw.submitted.len(), 2, "the third read waits for room");
    part_of_a_pdu(&mut raw);
    assert!(!raw.complete(Ok(Payload::zeros(bytes as usize))).is_empty());
    assert_eq!(raw.arrived, came);
}

#[test]
fn a_write_has_arrived_when_its_last_data_is_here() {
    let mut raw = Raw::logged_in(&[("ImmediateData", "No")]);
    let answers = raw.command(write10(0, 2), WRITE, 1024, &[]);
    let r2t = *answers[0].0.view::<R2t>();
    let (itt, ttt) = (r2t.itt.get(), r2t.ttt.get());
    raw.now = raw.now + Duration::from_secs(1);
    assert!(raw.data_out(itt, ttt, 0, 0, false, &[1; 512]).is_empty());
    raw.now = raw.now + Duration::from_secs(1);
    assert!(raw.data_out(itt, ttt, 1, 512, true, &[1; 512]).is_empty());
    assert_eq!(raw.arrived, [raw.now]);
}
