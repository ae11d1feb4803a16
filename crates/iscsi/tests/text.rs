//! Text requests of the full feature phase (RFC 7143 sections 11.10 and 13.3).

mod raw;

use evenkeel_iscsi::pdu::{Opcode, PduHeader, RESERVED_TAG, RejectReason, TextRequest, flags};
use evenkeel_iscsi::target::CloseReason;
use evenkeel_types::Payload;
use raw::{Answer, Raw, read10, text_of};

const READ: u8 = flags::FINAL | flags::READ;
const TUR: [u8; 16] = [0; 16];

fn reject_of(answer: &Answer) -> u8 {
    assert_eq!(answer.0.kind(), Some(Opcode::Reject));
    assert_eq!(answer.1.len(), 48, "the rejected header comes back");
    answer.0.specific[0]
}

fn text(raw: &mut Raw, ttt: u32, keys: &[u8]) -> Vec<Answer> {
    let mut request = TextRequest::empty();
    request.opcode |= flags::IMMEDIATE;
    request.flags = flags::FINAL;
    request.itt = 9.into();
    request.ttt = ttt.into();
    request.cmd_sn = raw.cmd_sn.into();
    raw.send(&request, keys)
}

#[test]
fn send_targets_in_a_normal_session_tells_of_its_own_target() {
    let mut raw = Raw::logged_in(&[]);
    for which in ["SendTargets=All\0", "SendTargets=\0"] {
        let told = text_of(&text(&mut raw, RESERVED_TAG, which.as_bytes())[0]);
        let expected = "TargetAddress=127.0.0.1:3260,1\0TargetAddress=127.0.0.1:3261,2\0";
        assert_eq!(told, format!("TargetName={}\0{expected}", raw::TARGET));
    }
    for (asked, told) in [
        ("SendTargets=Alle\0", "SendTargets=Reject\0"),
        ("SendTargets=iqn.other\0", "SendTargets=Reject\0"),
        ("SendTargetsPlease=All\0", "SendTargetsPlease=NotUnderstood\0"),
        ("MaxBurstLength=512\0", "MaxBurstLength=Reject\0"),
    ] {
        assert_eq!(text_of(&text(&mut raw, RESERVED_TAG, asked.as_bytes())[0]), told);
    }
}

#[test]
fn a_key_that_is_given_twice_in_an_exchange_ends_the_connection() {
    let mut raw = Raw::logged_in(&[]);
    let keys = b"MaxRecvDataSegmentLength=512\0MaxRecvDataSegmentLength=1024\0";
    let answers = text(&mut raw, RESERVED_TAG, keys);
    assert_eq!(reject_of(&answers[0]), RejectReason::ProtocolError as u8);
    assert!(matches!(raw.closed, Some(CloseReason::Protocol(_))));
}

#[test]
fn a_segment_length_that_is_declared_anew_holds_from_then_on() {
    let mut raw = Raw::logged_in(&[]);
    assert!(text(&mut raw, RESERVED_TAG, b"MaxRecvDataSegmentLength=512\0")[0].1.is_empty());
    raw.command(read10(0, 2), READ, 1024, &[]);
    let answers = raw.complete(Ok(Payload::zeros(1024)));
    assert_eq!(answers.iter().map(|answer| answer.1.len()).collect::<Vec<_>>(), [512, 512]);
}

#[test]
fn a_long_answer_is_given_out_in_parts() {
    let mut raw = Raw::new();
    let address = vec!["127.0.0.1:3260,1".to_owned()];
    raw.ports.targets = (0..100)
        .map(|n| evenkeel_iscsi::target::DiscoveredTarget {
            name: format!("iqn.2026-01.test:{n:03}"),
            addresses: address.clone(),
        })
        .collect();
    let keys = [("InitiatorName", "i"), ("SessionType", "Discovery"), ("MaxRecvDataSegmentLength", "1000")];
    raw.login(flags::TRANSIT | 0x07, &keys);
    let mut whole = String::new();
    let mut ttt = RESERVED_TAG;
    loop {
        let asked: &[u8] = if ttt == RESERVED_TAG { b"SendTargets=All\0" } else { b"" };
        let answers = text(&mut raw, ttt, asked);
        whole.push_str(&text_of(&answers[0]));
        ttt = answers[0].0.view::<TextRequest>().ttt.get();
        assert!(answers[0].1.len() <= 1000);
        if answers[0].0.has(flags::FINAL) {
            break;
        }
    }
    assert_eq!((whole.matches("TargetName=").count(), ttt), (100, RESERVED_TAG));
    let answers = raw.command(TUR, flags::FINAL, 0, &[]);
    assert_eq!(reject_of(&answers[0]), RejectReason::CommandNotSupported as u8);
}
