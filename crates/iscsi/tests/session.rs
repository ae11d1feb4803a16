//! The full feature phase by single PDUs: order, damage, residuals, signs of life, the end.

mod raw;

use evenkeel_iscsi::pdu::{
    DataIn, LogoutRequest, NopOut, Opcode, PduHeader, R2t, RESERVED_TAG, RejectReason, ScsiResponse,
    SnackRequest, TaskFunction, flags,
};
use evenkeel_iscsi::target::{Action, CloseReason, TargetConfig};
use evenkeel_types::{BlockError, BlockOp, Bytes, Payload};
use raw::{Answer, Raw, kinds, read10, sense_of, write10};
use std::time::Duration;

const WRITE: u8 = flags::FINAL | flags::WRITE;
const READ: u8 = flags::FINAL | flags::READ;
const TUR: [u8; 16] = [0; 16];
const OPEN: &[(&str, &str)] = &[("InitialR2T", "No"), ("ImmediateData", "Yes"), ("MaxOutstandingR2T", "2")];

fn reject_of(answer: &Answer) -> u8 {
    assert_eq!(answer.0.kind(), Some(Opcode::Reject));
    assert_eq!(answer.1.len(), 48, "the rejected header comes back");
    answer.0.specific[0]
}

fn residual_of(answer: &Answer) -> (u8, u32) {
    let count = match answer.0.kind() {
        Some(Opcode::DataIn) => answer.0.view::<DataIn>().residual_count.get(),
        _ => answer.0.view::<ScsiResponse>().residual_count.get(),
    };
    (answer.0.flags & (flags::OVERFLOW | flags::UNDERFLOW), count)
}

#[test]
fn commands_outside_of_the_window_are_ignored() {
    let mut raw = Raw::logged_in(&[]);
    let expected = raw.cmd_sn;
    for cmd_sn in [expected.wrapping_sub(1), expected.wrapping_sub(1000), expected + 128, expected + 1000] {
        let mut command = raw.scsi(TUR, flags::FINAL, 0);
        command.cmd_sn = cmd_sn.into();
        assert!(raw.send(&command, &[]).is_empty(), "{cmd_sn}");
    }
    assert_eq!(raw.target.info().facts.ignored, 4);
    raw.cmd_sn = expected;
    let answers = raw.command(TUR, flags::FINAL, 0, &[]);
    let response = answers[0].0.view::<ScsiResponse>();
    assert_eq!((response.exp_cmd_sn.get(), response.max_cmd_sn.get()), (expected + 1, expected + 128));
}

#[test]
fn an_early_command_waits_with_its_data_for_its_turn() {
    let mut raw = Raw::logged_in(OPEN);
    let first = raw.scsi(TUR, flags::FINAL, 0);
    let second = raw.scsi(write10(8, 2), flags::WRITE, 1024);
    assert!(raw.send(&second, &[1; 512]).is_empty());
    assert!(raw.data_out(second.itt.get(), RESERVED_TAG, 0, 512, true, &[2; 512]).is_empty());
    assert!(raw.send(&second, &[9; 512]).is_empty(), "the same number again is ignored");
    assert!(raw.submitted.is_empty());
    assert_eq!(raw.send(&first, &[]).len(), 1);
    let BlockOp::Write { at, data } = &raw.submitted[0].1 else { panic!("{:?}", raw.submitted) };
    assert_eq!((at.offset, &data[..512], &data[512..]), (4096, &[1u8; 512][..], &[2u8; 512][..]));
    let answers = raw.good();
    assert_eq!(answers[0].0.specific, [0, 0]);
}

#[test]
fn an_immediate_command_overtakes_and_does_not_count() {
    let mut raw = Raw::logged_in(&[]);
    let held = {
        let mut command = raw.scsi(TUR, flags::FINAL, 0);
        command.cmd_sn = (raw.cmd_sn).into();
        command
    };
    raw.cmd_sn -= 1;
    assert!(raw.send(&held, &[]).is_empty());
    let mut immediate = raw.scsi(TUR, flags::FINAL, 0);
    raw.cmd_sn -= 1;
    immediate.opcode |= flags::IMMEDIATE;
    assert_eq!(raw.send(&immediate, &[]).len(), 1);
    assert_eq!(raw.command(TUR, flags::FINAL, 0, &[]).len(), 2);
}

#[test]
fn a_tag_in_use_is_rejected() {
    let mut raw = Raw::logged_in(&[]);
    raw.command(read10(0, 1), READ, 512, &[]);
    raw.itt -= 1;
    let answers = raw.command(read10(0, 1), READ, 512, &[]);
    assert_eq!(reject_of(&answers[0]), RejectReason::TaskInProgress as u8);
}

#[test]
fn residuals_tell_what_was_over_and_under() {
    let read = |raw: &mut Raw, expected| {
        raw.command(read10(0, 1), READ, expected, &[]);
        raw.complete(Ok(Payload::zeros(512)))
    };
    let mut raw = Raw::logged_in(OPEN);
    let answers = read(&mut raw, 0);
    assert_eq!(
        (kinds(&answers), residual_of(&answers[0])),
        (vec![Opcode::ScsiResponse], (flags::OVERFLOW, 512))
    );
    let answers = read(&mut raw, 200);
    assert_eq!((kinds(&answers), answers[0].1.len()), (vec![Opcode::DataIn], 200));
    assert_eq!(residual_of(&answers[0]), (flags::OVERFLOW, 312));
    let answers = read(&mut raw, 10_000);
    assert_eq!((answers[0].1.len(), residual_of(&answers[0])), (512, (flags::UNDERFLOW, 9488)));
    assert_eq!(residual_of(&read(&mut raw, 512)[0]), (0, 0));

    let answers = raw.command(write10(0, 1), WRITE, 200, &[1; 200]);
    assert_eq!((sense_of(&answers[0]), residual_of(&answers[0])), ((5, 0x0e, 3), (flags::OVERFLOW, 312)));
    let answers = raw.command(write10(0, 1), WRITE, 0, &[]);
    assert_eq!(residual_of(&answers[0]), (flags::OVERFLOW, 512));
    raw.command(write10(0, 1), WRITE, 1024, &[1; 1024]);
    let BlockOp::Write { data, .. } = &raw.submitted[0].1 else { panic!() };
    assert_eq!(data.len(), 512);
    assert_eq!(residual_of(&raw.good()[0]), (flags::UNDERFLOW, 512));
    raw.command(write10(0, 2), WRITE, 512, &[1; 512]);
    assert_eq!(residual_of(&raw.good()[0]), (flags::OVERFLOW, 512));
    let answers = raw.command(TUR, flags::FINAL, 0, &[]);
    assert_eq!(residual_of(&answers[0]), (0, 0));
}

#[test]
fn a_read_is_cut_into_segments_and_bursts_with_the_status_in_the_last() {
    let mut raw = Raw::logged_in(&[("MaxRecvDataSegmentLength", "1024"), ("MaxBurstLength", "2560")]);
    raw.command(read10(0, 8), READ, 4096, &[]);
    let answers = raw.complete(Ok(Payload::zeros(4096)));
    let shape: Vec<_> = answers
        .iter()
        .map(|(bhs, data)| {
            let pdu = bhs.view::<DataIn>();
            (pdu.data_sn.get(), pdu.buffer_offset.get(), data.len(), bhs.flags)
        })
        .collect();
    let (f, s) = (flags::FINAL, flags::STATUS);
    let expected =
        [(0, 0, 1024, 0), (1, 1024, 1024, 0), (2, 2048, 512, f), (3, 2560, 1024, 0), (4, 3584, 512, f | s)];
    assert_eq!(shape, expected);
}

#[test]
fn a_failed_command_carries_sense_data() {
    let mut raw = Raw::logged_in(&[]);
    raw.command(read10(0, 8), READ, 4096, &[]);
    let answers = raw.complete(Err(BlockError::Medium { offset: 512 }));
    assert_eq!((sense_of(&answers[0]), residual_of(&answers[0])), ((3, 0x11, 0), (flags::UNDERFLOW, 4096)));
    raw.command(read10(0, 8), READ, 4096, &[]);
    raw.complete(Err(BlockError::Unknown));
    assert_eq!(raw.closed, Some(CloseReason::OutcomeUnknown));
}

#[test]
fn solicited_data_in_the_wrong_order_ends_the_command() {
    for numbers in [[0, 0], [27, 28], [u32::MAX, 1], [1, 0]] {
        let mut raw = Raw::logged_in(&[("ImmediateData", "No")]);
        let answers = raw.command(write10(100, 2), WRITE, 1024, &[]);
        let r2t = *answers[0].0.view::<R2t>();
        let (itt, ttt) = (r2t.itt.get(), r2t.ttt.get());
        assert_eq!((r2t.buffer_offset.get(), r2t.desired_data_len.get()), (0, 1024));
        assert!(raw.data_out(itt, ttt, numbers[0], 0, false, &[1; 512]).is_empty());
        let answers = raw.data_out(itt, ttt, numbers[1], 512, true, &[1; 512]);
        assert_eq!(sense_of(&answers[0]), (0x0b, 0x47, 5));
        assert!(raw.submitted.is_empty() && raw.target.memory().data_out_bytes == 0);
    }
}

#[test]
fn unsolicited_data_that_was_not_agreed_ends_the_command() {
    let mut raw = Raw::logged_in(&[("InitialR2T", "Yes"), ("ImmediateData", "No")]);
    let answers = raw.command(write10(0, 1), WRITE, 512, &[1; 512]);
    assert_eq!(sense_of(&answers[0]), (0x0b, 0x0c, 0x0c));
    let command = raw.scsi(write10(0, 1), flags::WRITE, 512);
    assert!(raw.send(&command, &[]).is_empty(), "the end of the data is waited for");
    let answers = raw.data_out(command.itt.get(), RESERVED_TAG, 0, 0, true, &[1; 512]);
    assert_eq!(sense_of(&answers[0]), (0x0b, 0x0c, 0x0c));
}

#[test]
fn a_refused_write_is_answered_when_its_unsolicited_data_has_ended() {
    let mut raw = Raw::logged_in(OPEN);
    let command = raw.scsi(write10(u32::MAX, 2), flags::WRITE, 1024);
    assert!(raw.send(&command, &[1; 512]).is_empty());
    let answers = raw.data_out(command.itt.get(), RESERVED_TAG, 0, 512, true, &[1; 512]);
    assert_eq!(sense_of(&answers[0]), (5, 0x21, 0));
}

#[test]
fn no_more_r2ts_are_open_than_agreed() {
    let mut raw = Raw::logged_in(&[
        ("InitialR2T", "Yes"),
        ("ImmediateData", "No"),
        ("MaxBurstLength", "512"),
        ("MaxOutstandingR2T", "2"),
    ]);
    let answers = raw.command(write10(0, 4), WRITE, 2048, &[]);
    assert_eq!(kinds(&answers), [Opcode::R2t, Opcode::R2t]);
    let r2ts: Vec<R2t> = answers.iter().map(|answer| *answer.0.view::<R2t>()).collect();
    let next = raw.data_out(r2ts[0].itt.get(), r2ts[0].ttt.get(), 0, 0, true, &[1; 512]);
    assert_eq!(next[0].0.view::<R2t>().buffer_offset.get(), 1024);
    assert_eq!(next[0].0.view::<R2t>().r2t_sn.get(), 2);
}

#[test]
fn writes_beyond_the_room_wait_for_their_r2t_and_small_ones_do_not() {
    let mut raw = Raw::logged_in(OPEN);
    let blocks = 12288;
    for _ in 0..2 {
        assert_eq!(kinds(&raw.command(write10(0, blocks), WRITE, 6 << 20, &[]))[0], Opcode::R2t);
    }
    let first = raw.itt - 2;
    assert!(raw.command(write10(0, blocks), WRITE, 6 << 20, &[1; 8192]).is_empty(), "no R2T without room");
    assert!(raw.command(write10(0, 1), WRITE, 512, &[1; 512]).is_empty());
    assert_eq!(raw.submitted.len(), 1, "a small write needs no room");
    assert_eq!(raw.target.memory().data_out_bytes, 12 << 20);
    let answers = raw.manage(TaskFunction::AbortTask, first, 0);
    assert_eq!(kinds(&answers), [Opcode::TaskManagementResponse, Opcode::R2t, Opcode::R2t], "room was freed");
    assert_eq!(answers[1].0.view::<R2t>().buffer_offset.get(), 8192);
}

#[test]
fn a_damaged_segment_is_rejected_and_ends_its_command() {
    let mut raw = Raw::logged_in(&[("DataDigest", "CRC32C"), ("InitialR2T", "No")]);
    let command = raw.scsi(write10(0, 1), WRITE, 512);
    let mut bhs = command.bhs();
    bhs.data_segment_len = evenkeel_iscsi::pdu::U24::new(512);
    let bytes = [&bhs.to_bytes()[..], &[1; 512], &[0; 4]].concat();
    let answers = raw.send_bytes(&bytes);
    assert_eq!(reject_of(&answers[0]), RejectReason::DataDigestError as u8);
    assert_eq!(sense_of(&answers[1]), (0x0b, 0x47, 5));
    assert!(raw.submitted.is_empty());
    assert_eq!(raw.target.memory().tasks, 0);
}

#[test]
fn a_damaged_large_segment_that_was_received_in_place_ends_its_command_too() {
    let mut raw = Raw::logged_in(&[("DataDigest", "CRC32C"), ("ImmediateData", "No")]);
    let answers = raw.command(write10(0, 256), WRITE, 131_072, &[]);
    let r2t = *answers[0].0.view::<R2t>();
    let mut pdu = evenkeel_iscsi::pdu::DataOut::empty();
    pdu.flags = flags::FINAL;
    pdu.itt = r2t.itt;
    pdu.ttt = r2t.ttt;
    pdu.data_segment_len = evenkeel_iscsi::pdu::U24::new(131_072);
    let bytes = [&pdu.bhs().to_bytes()[..], &vec![1; 131_072], &[0; 4]].concat();
    let answers = raw.send_bytes(&bytes);
    assert_eq!(reject_of(&answers[0]), RejectReason::DataDigestError as u8);
    assert_eq!(sense_of(&answers[1]), (0x0b, 0x47, 5));
    assert!(raw.submitted.is_empty());
}

#[test]
fn a_damaged_header_ends_the_connection() {
    let mut raw = Raw::new();
    let keys = [("InitiatorName", "i"), ("TargetName", raw::TARGET), ("HeaderDigest", "CRC32C")];
    raw.login(flags::TRANSIT | 0x07, &keys);
    let bytes = [&NopOut::empty().bhs().to_bytes()[..], &[0; 4]].concat();
    raw.send_bytes(&bytes);
    assert_eq!(raw.closed, Some(CloseReason::Frame(evenkeel_iscsi::FrameError::HeaderDigest)));
}

#[test]
fn what_does_not_belong_here_is_rejected() {
    let mut raw = Raw::logged_in(&[]);
    assert_eq!(reject_of(&raw.send(&SnackRequest::empty(), &[])[0]), RejectReason::ProtocolError as u8);
    let mut unknown = NopOut::empty();
    unknown.opcode = 0x1d;
    assert_eq!(reject_of(&raw.send(&unknown, &[])[0]), RejectReason::CommandNotSupported as u8);
    assert_eq!(raw.closed, None);
    let answers = raw.send(&R2t::empty(), &[]);
    assert_eq!(reject_of(&answers[0]), RejectReason::ProtocolError as u8);
    assert!(matches!(raw.closed, Some(CloseReason::Protocol(_))));
}

#[test]
fn a_ping_comes_back() {
    let mut raw = Raw::logged_in(&[]);
    let answers = raw.ping(b"nopping");
    assert_eq!((kinds(&answers), &answers[0].1[..]), (vec![Opcode::NopIn], &b"nopping"[..]));
    assert!(raw.ping(b"")[0].1.is_empty());
    let big = vec![7; 200_000];
    assert_eq!(raw.ping(&big)[0].1.len(), 8192, "no more than the initiator takes");
}

#[test]
fn a_silent_initiator_is_asked_and_then_dropped() {
    let mut raw = Raw::logged_in(&[]);
    let answers = raw.pass(Duration::from_secs(5));
    let asked = answers[0].0.view::<NopOut>().ttt.get();
    assert_eq!((answers[0].0.kind(), answers[0].0.itt.get()), (Some(Opcode::NopIn), RESERVED_TAG));
    let mut answer = NopOut::empty();
    answer.opcode |= flags::IMMEDIATE;
    answer.itt = RESERVED_TAG.into();
    answer.ttt = asked.into();
    assert!(raw.send(&answer, &[]).is_empty());
    assert_eq!(raw.pass(Duration::from_secs(5)).len(), 1);
    raw.pass(Duration::from_secs(5));
    assert_eq!(raw.closed, Some(CloseReason::PeerSilent));
}

fn answer_probe(raw: &mut Raw, ttt: u32) {
    let mut answer = NopOut::empty();
    answer.opcode |= flags::IMMEDIATE;
    answer.itt = RESERVED_TAG.into();
    answer.ttt = ttt.into();
    assert!(raw.send(&answer, &[]).is_empty());
}

#[test]
fn only_the_answer_to_a_question_proves_that_the_initiator_lives_as_of_when_it_was_asked() {
    let mut raw = Raw::logged_in(&[]);
    let asked_at = raw.now;
    raw.target.probe(raw.now);
    let asked = raw.take()[0].0.view::<NopOut>().ttt.get();
    raw.pass(Duration::from_secs(1));
    assert_eq!(raw.ping(b"sent long ago").len(), 1);
    assert_eq!(raw.target.proven_at(), None, "any bytes are no proof");
    answer_probe(&mut raw, asked ^ 1);
    assert_eq!(raw.target.proven_at(), None, "that was not asked");
    answer_probe(&mut raw, asked);
    assert_eq!(raw.target.proven_at(), Some(asked_at));
}

fn logout(raw: &mut Raw, reason: u8, cid: u16) -> Vec<Answer> {
    let mut request = LogoutRequest::empty();
    request.opcode |= flags::IMMEDIATE;
    request.flags = flags::FINAL | reason;
    request.itt = 3.into();
    request.cid = cid.into();
    request.cmd_sn = raw.cmd_sn.into();
    raw.send(&request, &[])
}

#[test]
fn a_logout_ends_the_session_after_its_operations() {
    let mut raw = Raw::logged_in(&[]);
    assert_eq!(logout(&mut raw, 1, 5)[0].0.specific[0], 1, "there is no such connection");
    assert_eq!(logout(&mut raw, 2, 0)[0].0.specific[0], 2, "recovery is not supported");
    assert_eq!(reject_of(&logout(&mut raw, 3, 0)[0]), RejectReason::InvalidPduField as u8);
    raw.command(read10(0, 1), READ, 512, &[]);
    assert!(logout(&mut raw, 0, 0).is_empty());
    let answers = raw.complete(Err(BlockError::Aborted));
    assert_eq!((kinds(&answers), answers[0].0.specific[0]), (vec![Opcode::LogoutResponse], 0));
    assert_eq!(raw.closed, Some(CloseReason::LoggedOut));
    assert!(raw.others.iter().any(|action| matches!(action, Action::SessionEnded)));
}

#[test]
fn an_initiator_that_is_asked_to_log_out_and_does_not_is_dropped() {
    let mut raw = Raw::logged_in(&[]);
    raw.target.begin_logout(raw.now);
    let answers = raw.take();
    assert_eq!((kinds(&answers), answers[0].0.to_bytes()[36]), (vec![Opcode::AsyncMessage], 1));
    raw.pass(Duration::from_secs(2));
    assert_eq!(raw.closed, None);
    raw.pass(Duration::from_secs(1));
    assert_eq!(raw.closed, Some(CloseReason::LogoutTimeout));
}

#[test]
fn a_full_task_set_is_told() {
    let mut raw = Raw::logged_in(&[]);
    for _ in 0..160 {
        let mut command = raw.scsi(read10(0, 1), READ, 512);
        raw.cmd_sn -= 1;
        command.opcode |= flags::IMMEDIATE;
        assert!(raw.send(&command, &[]).is_empty());
    }
    let answers = raw.command(read10(0, 1), READ, 512, &[]);
    assert_eq!(answers[0].0.specific, [0, 0x28]);
    raw.complete(Ok(Payload::from(Bytes::from(vec![1; 512]))));
    assert!(raw.command(read10(0, 1), READ, 512, &[]).is_empty(), "there is room again");
}

#[test]
fn a_connection_that_sends_but_does_not_receive_is_held_up() {
    let mut raw = Raw::with(TargetConfig::default());
    raw.log_in(&[]);
    let mut ping = NopOut::empty();
    ping.opcode |= flags::IMMEDIATE;
    ping.itt = 1.into();
    ping.ttt = RESERVED_TAG.into();
    let bytes = ping.bhs().to_bytes();
    let mut sent = 0;
    while let Some(space) = raw.target.receive_space() {
        let n = space.len() / 48 * 48;
        space[..n].chunks_exact_mut(48).for_each(|to| to.copy_from_slice(&bytes));
        raw.target.handle_received(raw.now, n, &mut raw.ports);
        sent += n / 48;
        assert!(sent < 10_000, "the output is bounded");
    }
    assert_eq!(raw.target.memory().output_pdus, sent);
    assert_eq!(raw.take().len(), sent);
    assert!(raw.target.receive_space().is_some());
}

#[test]
fn data_of_an_ignored_command_is_skipped_to_the_last_byte() {
    let mut raw = Raw::logged_in(OPEN);
    let mut ignored = raw.scsi(write10(0, 1), WRITE, 512);
    ignored.cmd_sn = 5000.into();
    ignored.data_segment_len = evenkeel_iscsi::pdu::U24::new(512);
    raw.cmd_sn -= 1;
    for byte in [&ignored.bhs().to_bytes()[..], &[0x3f; 512]].concat() {
        assert!(raw.send_bytes(&[byte]).is_empty());
    }
    assert_eq!(kinds(&raw.command(TUR, flags::FINAL, 0, &[])), [Opcode::ScsiResponse]);
}

#[test]
fn a_damaged_ping_is_rejected_and_not_answered() {
    let mut raw = Raw::logged_in(&[("DataDigest", "CRC32C")]);
    let mut ping = NopOut::empty();
    ping.opcode |= flags::IMMEDIATE;
    ping.itt = 1.into();
    ping.ttt = RESERVED_TAG.into();
    ping.data_segment_len = evenkeel_iscsi::pdu::U24::new(4);
    let answers = raw.send_bytes(&[&ping.bhs().to_bytes()[..], b"ping", &[0; 4]].concat());
    assert_eq!(reject_of(&answers[0]), RejectReason::DataDigestError as u8);
    assert_eq!(answers.len(), 1);
}
