//! Task management functions and their order to commands (RFC 7143 sections 4.2.3 and 11.5).

mod raw;

use evenkeel_iscsi::pdu::{
    NopOut, Opcode, PduHeader, R2t, RESERVED_TAG, RejectReason, TaskFunction, TaskManagementRequest, flags,
};
use evenkeel_iscsi::target::{Action, CloseReason, ManagementId, ManagementScope};
use evenkeel_types::{BlockError, Payload};
use raw::{Answer, Raw, kinds, read10, sense_of, write10};
use std::time::Duration;

const READ: u8 = flags::FINAL | flags::READ;
const WRITE: u8 = flags::FINAL | flags::WRITE;
const TUR: [u8; 16] = [0; 16];
const SOLICITED: &[(&str, &str)] =
    &[("ImmediateData", "No"), ("MaxBurstLength", "512"), ("MaxOutstandingR2T", "2")];

fn code_of(answers: &[Answer]) -> u8 {
    assert_eq!(answers.len(), 1, "{answers:?}");
    code_of_one(&answers[0])
}

fn code_of_one(answer: &Answer) -> u8 {
    assert_eq!(answer.0.kind(), Some(Opcode::TaskManagementResponse));
    answer.0.specific[0]
}

/// What other sessions are to carry out.
fn others(raw: &mut Raw) -> (ManagementId, ManagementScope) {
    match raw.others.pop() {
        Some(Action::ManageOthers { id, scope, .. }) => (id, scope),
        other => panic!("{other:?}"),
    }
}

fn function(raw: &Raw, function: TaskFunction, cmd_sn: u32) -> TaskManagementRequest {
    let mut pdu = TaskManagementRequest::empty();
    pdu.opcode |= flags::IMMEDIATE;
    pdu.flags = flags::FINAL | function as u8;
    pdu.itt = 0x8000_0000.into();
    pdu.referenced_task_tag = RESERVED_TAG.into();
    pdu.cmd_sn = cmd_sn.into();
    pdu.ref_cmd_sn = raw.cmd_sn.into();
    pdu
}

#[test]
fn each_function_that_clears_tasks_says_whose_and_is_answered_after_them() {
    let cases = [
        (TaskFunction::ClearTaskSet, ManagementScope::ClearTaskSet, None),
        (TaskFunction::LogicalUnitReset, ManagementScope::Reset, Some((6, 0x29, 3))),
        (TaskFunction::TargetWarmReset, ManagementScope::Reset, Some((6, 0x29, 3))),
    ];
    for (function, scope, attention) in cases {
        let mut raw = Raw::logged_in(&[]);
        assert!(raw.manage(function, RESERVED_TAG, 0).is_empty());
        let (id, told) = others(&mut raw);
        assert_eq!(told, scope);
        raw.target.handle_others_managed(raw.now, id);
        assert_eq!(code_of(&raw.take()), 0);
        let answers = raw.command(TUR, flags::FINAL, 0, &[]);
        match attention {
            Some(attention) => assert_eq!(sense_of(&answers[0]), attention),
            None => assert_eq!(answers[0].0.specific, [0, 0]),
        }
    }
}

#[test]
fn a_cold_reset_is_answered_and_then_the_connection_ends() {
    let mut raw = Raw::logged_in(&[]);
    assert!(raw.manage(TaskFunction::TargetColdReset, RESERVED_TAG, 0).is_empty());
    let (id, scope) = others(&mut raw);
    assert_eq!(scope, ManagementScope::ColdReset);
    raw.target.handle_others_managed(raw.now, id);
    assert_eq!(code_of(&raw.take()), 0);
    assert_eq!(raw.closed, Some(CloseReason::ColdReset));
}

#[test]
fn commands_that_another_session_clears_are_told_of_and_none_else() {
    for has_command in [true, false] {
        let mut raw = Raw::logged_in(&[]);
        if has_command {
            assert!(raw.command(read10(0, 1), READ, 512, &[]).is_empty());
        }
        raw.target.handle_management(raw.now, ManagementScope::ClearTaskSet, 1);
        assert!(raw.take().is_empty());
        if has_command {
            raw.good();
        }
        assert!(raw.others.iter().any(|action| matches!(action, Action::Managed { token: 1 })));
        let answers = raw.command(TUR, flags::FINAL, 0, &[]);
        if has_command {
            assert_eq!(sense_of(&answers[0]), (6, 0x2f, 0), "commands cleared by another initiator");
        } else {
            assert_eq!(answers[0].0.specific, [0, 0]);
        }
    }
}

#[test]
fn a_logical_unit_that_there_is_not_has_no_tasks() {
    for (of_unit, what) in [
        (true, TaskFunction::AbortTask),
        (true, TaskFunction::AbortTaskSet),
        (true, TaskFunction::ClearTaskSet),
        (true, TaskFunction::LogicalUnitReset),
        (false, TaskFunction::TargetWarmReset),
    ] {
        let mut raw = Raw::logged_in(&[]);
        let mut pdu = function(&raw, what, raw.cmd_sn);
        pdu.lun = (1u64 << 48).into();
        let answers = raw.send(&pdu, &[]);
        if of_unit {
            assert_eq!(code_of(&answers), 2, "{what:?}");
            let asked = raw.others.iter().any(|action| matches!(action, Action::ManageOthers { .. }));
            assert!(!asked, "no other session is concerned");
        } else {
            assert!(answers.is_empty());
        }
    }
}

#[test]
fn a_function_on_many_tasks_is_answered_when_the_data_that_was_asked_for_has_ended() {
    let mut raw = Raw::logged_in(SOLICITED);
    let answers = raw.command(write10(0, 4), WRITE, 2048, &[]);
    assert_eq!(kinds(&answers), [Opcode::R2t, Opcode::R2t]);
    let r2ts: Vec<R2t> = answers.iter().map(|answer| *answer.0.view::<R2t>()).collect();
    assert!(raw.manage(TaskFunction::AbortTaskSet, RESERVED_TAG, 0).is_empty());
    assert_eq!(raw.target.memory().tasks, 0, "it is aborted all the same");
    let itt = r2ts[0].itt.get();
    assert!(raw.data_out(itt, r2ts[0].ttt.get(), 0, 0, false, &[1; 256]).is_empty());
    assert!(raw.data_out(itt, r2ts[0].ttt.get(), 1, 256, true, &[1; 256]).is_empty());
    assert!(raw.pass(Duration::from_millis(999)).is_empty());
    assert_eq!(code_of(&raw.data_out(itt, r2ts[1].ttt.get(), 0, 512, true, &[1; 512])), 0);
    assert!(raw.submitted.is_empty());
    assert_eq!(kinds(&raw.command(TUR, flags::FINAL, 0, &[])), [Opcode::ScsiResponse]);
}

#[test]
fn data_that_does_not_come_keeps_a_function_back_for_a_second_only() {
    let mut raw = Raw::logged_in(SOLICITED);
    let answers = raw.command(write10(0, 1), WRITE, 512, &[]);
    let r2t = *answers[0].0.view::<R2t>();
    assert!(raw.manage(TaskFunction::AbortTaskSet, RESERVED_TAG, 0).is_empty());
    assert_eq!(raw.target.poll_timeout(), Some(raw.now + Duration::from_secs(1)));
    assert_eq!(code_of(&raw.pass(Duration::from_secs(1))), 0);
    assert!(raw.data_out(r2t.itt.get(), r2t.ttt.get(), 0, 0, true, &[1; 512]).is_empty());
    assert!(raw.submitted.is_empty() && raw.closed.is_none());
}

#[test]
fn commands_numbered_before_a_function_are_aborted_when_they_come_and_those_behind_it_are_carried_out() {
    let mut raw = Raw::logged_in(&[("InitialR2T", "No")]);
    let first = raw.scsi(write10(0, 2), flags::WRITE, 1024);
    let second = raw.scsi(write10(8, 1), WRITE, 512);
    let number = raw.cmd_sn;
    let behind = raw.scsi(write10(16, 1), WRITE, 512);
    assert!(raw.send(&second, &[2; 512]).is_empty(), "it is early");
    let abort = function(&raw, TaskFunction::AbortTaskSet, number);
    assert!(raw.send(&abort, &[]).is_empty(), "a command before it is missing");
    assert!(raw.send(&behind, &[3; 512]).is_empty(), "it is early too");
    assert_eq!(code_of(&raw.send(&first, &[1; 512])), 0);
    assert!(raw.data_out(first.itt.get(), RESERVED_TAG, 0, 512, true, &[1; 512]).is_empty());
    let offsets: Vec<_> =
        raw.submitted.iter().filter_map(|(_, op)| op.range()).map(|range| range.offset).collect();
    assert_eq!(offsets, [16 * 512], "only what came behind the function");
    assert_eq!(kinds(&raw.good()), [Opcode::ScsiResponse]);
    raw.cmd_sn = number + 1;
    raw.command(write10(0, 1), WRITE, 512, &[4; 512]);
    assert_eq!(raw.submitted.len(), 1, "the numbers go on");
}

#[test]
fn a_command_that_comes_long_after_the_function_that_aborted_it_is_not_carried_out() {
    let mut raw = Raw::logged_in(&[]);
    let late = raw.scsi(write10(0, 1), WRITE, 512);
    let abort = function(&raw, TaskFunction::AbortTaskSet, raw.cmd_sn);
    assert!(raw.send(&abort, &[]).is_empty());
    assert_eq!(code_of(&raw.pass(Duration::from_secs(1))), 0);
    assert!(raw.send(&late, &[1; 512]).is_empty());
    assert!(raw.submitted.is_empty());
    raw.command(write10(0, 1), WRITE, 512, &[1; 512]);
    assert_eq!(raw.submitted.len(), 1);
}

#[test]
fn a_question_numbered_before_a_function_is_answered() {
    let mut raw = Raw::logged_in(&[]);
    let missing = raw.scsi(TUR, flags::FINAL, 0);
    let mut ping = NopOut::empty();
    ping.flags = flags::FINAL;
    ping.itt = 5.into();
    ping.ttt = RESERVED_TAG.into();
    ping.cmd_sn = raw.cmd_sn.into();
    assert!(raw.send(&ping, b"here").is_empty());
    let abort = function(&raw, TaskFunction::AbortTaskSet, raw.cmd_sn + 1);
    assert!(raw.send(&abort, &[]).is_empty());
    let answers = raw.send(&missing, &[]);
    assert_eq!(kinds(&answers), [Opcode::NopIn, Opcode::TaskManagementResponse]);
}

#[test]
fn a_function_with_a_number_far_away_aborts_what_there_is_and_nothing_in_advance() {
    for far in [100_000u32, u32::MAX - 100_000] {
        let mut raw = Raw::logged_in(&[]);
        let abort = function(&raw, TaskFunction::AbortTaskSet, raw.cmd_sn.wrapping_add(far));
        assert_eq!(code_of(&raw.send(&abort, &[])), 0);
        assert_eq!(kinds(&raw.command(TUR, flags::FINAL, 0, &[])), [Opcode::ScsiResponse]);
    }
}

#[test]
fn a_command_that_writes_nothing_cannot_announce_data() {
    let mut raw = Raw::logged_in(&[("InitialR2T", "No")]);
    for flag in [0, flags::READ] {
        let answers = raw.command(TUR, flag, 512, &[]);
        assert_eq!(kinds(&answers), [Opcode::Reject]);
        assert_eq!(answers[0].0.specific[0], RejectReason::InvalidPduField as u8);
    }
    assert_eq!(
        kinds(&raw.command(TUR, flags::FINAL, 0, &[])),
        [Opcode::ScsiResponse],
        "its number is used up"
    );
}

#[test]
fn an_abort_is_answered_when_the_operation_has_ended_and_the_command_never() {
    let mut raw = Raw::logged_in(&[]);
    raw.command(read10(0, 1), READ, 512, &[]);
    let (itt, cmd_sn) = (raw.itt - 1, raw.cmd_sn - 1);
    assert!(raw.manage(TaskFunction::AbortTask, itt, cmd_sn).is_empty());
    assert_eq!(raw.cancelled, [raw.submitted[0].0]);
    let answers = raw.complete(Ok(Payload::zeros(512)));
    assert_eq!((kinds(&answers), code_of_one(&answers[0])), (vec![Opcode::TaskManagementResponse], 0));
    let answers = raw.manage(TaskFunction::AbortTask, itt, cmd_sn);
    assert_eq!(code_of_one(&answers[0]), 1, "the task does not exist");
}

#[test]
fn an_abort_of_a_command_that_has_not_come_gives_its_number_up() {
    let mut raw = Raw::logged_in(&[]);
    let lost = raw.cmd_sn;
    raw.cmd_sn += 1;
    assert!(raw.command(TUR, flags::FINAL, 0, &[]).is_empty(), "one number is missing");
    let answers = raw.manage(TaskFunction::AbortTask, 5, lost);
    assert_eq!(kinds(&answers), [Opcode::TaskManagementResponse, Opcode::ScsiResponse]);
    assert_eq!(code_of_one(&answers[0]), 0);
}

#[test]
fn data_of_an_aborted_write_is_dropped() {
    let mut raw = Raw::logged_in(&[("ImmediateData", "No")]);
    let answers = raw.command(write10(0, 1), WRITE, 512, &[]);
    let r2t = *answers[0].0.view::<R2t>();
    let answers = raw.manage(TaskFunction::AbortTask, r2t.itt.get(), 0);
    assert_eq!(code_of_one(&answers[0]), 0);
    assert!(raw.data_out(r2t.itt.get(), r2t.ttt.get(), 0, 0, true, &[1; 512]).is_empty());
    assert!(raw.submitted.is_empty() && raw.closed.is_none());
    assert_eq!(raw.target.info().facts.ignored, 1);
}

#[test]
fn a_reset_waits_for_own_operations_and_for_other_sessions() {
    let mut raw = Raw::logged_in(&[]);
    raw.command(read10(0, 1), READ, 512, &[]);
    assert!(raw.manage(TaskFunction::LogicalUnitReset, RESERVED_TAG, 0).is_empty());
    let Some(Action::ManageOthers { id, scope: ManagementScope::Reset, .. }) = raw.others.pop() else {
        panic!("{:?}", raw.others)
    };
    assert!(raw.complete(Err(BlockError::Aborted)).is_empty());
    raw.target.handle_others_managed(raw.now, id);
    assert_eq!(code_of_one(&raw.take()[0]), 0);
    let answers = raw.command(TUR, flags::FINAL, 0, &[]);
    assert_eq!(sense_of(&answers[0]), (6, 0x29, 3), "the reset is told");
}

#[test]
fn a_reset_by_another_session_aborts_and_is_told() {
    let mut raw = Raw::logged_in(&[]);
    raw.command(read10(0, 1), READ, 512, &[]);
    raw.target.handle_management(raw.now, ManagementScope::Reset, 42);
    assert!(raw.take().is_empty() && raw.cancelled.len() == 1);
    let managed = |raw: &Raw| raw.others.iter().any(|action| matches!(action, Action::Managed { token: 42 }));
    assert!(!managed(&raw));
    assert!(raw.complete(Err(BlockError::Aborted)).is_empty());
    assert!(managed(&raw));
    let answers = raw.command(TUR, flags::FINAL, 0, &[]);
    assert_eq!(sense_of(&answers[0]), (6, 0x29, 3));
    raw.target.handle_management(raw.now, ManagementScope::ColdReset, 43);
    raw.take();
    assert_eq!(raw.closed, Some(CloseReason::ColdReset));
}

#[test]
fn functions_that_do_not_exist_are_not_supported() {
    let mut raw = Raw::logged_in(&[]);
    assert_eq!(code_of_one(&raw.manage(TaskFunction::TaskReassign, 1, 0)[0]), 4);
    assert_eq!(code_of_one(&raw.manage(TaskFunction::ClearAca, 1, 0)[0]), 5);
    assert_eq!(code_of_one(&raw.manage(TaskFunction::AbortTaskSet, 1, 0)[0]), 0);
}
