//! The login phase by single requests: every way in, and every way to be refused.

mod raw;

use evenkeel_iscsi::pdu::{Isid, LoginRequest, NopOut, PduHeader, flags};
use evenkeel_iscsi::target::sessions::SESSIONS_MAX;
use evenkeel_iscsi::target::{Action, CloseReason, ConnectionId, Lookup, NexusName, TargetConfig};
use evenkeel_iscsi::{DigestPolicy, Settings};
use raw::{Raw, TARGET, status_of, text_of};
use std::time::Duration;

const TO_FULL_FEATURE: u8 = flags::TRANSIT | 0x07;
const SECURITY_TO_OPERATIONAL: u8 = flags::TRANSIT | 0x01;
const NAMES: [(&str, &str); 2] = [("InitiatorName", "iqn.2026-01.test:i"), ("TargetName", TARGET)];

fn refused(keys: &[(&str, &str)]) -> u16 {
    let mut raw = Raw::new();
    let answers = raw.login(TO_FULL_FEATURE, keys);
    assert!(matches!(raw.closed, Some(CloseReason::LoginRefused(_))), "{:?}", raw.closed);
    assert!(raw.target.is_finished());
    status_of(&answers[0])
}

fn with(extra: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    NAMES.iter().chain(extra).copied().collect()
}

#[test]
fn a_login_may_start_in_the_operational_stage() {
    let mut raw = Raw::new();
    let answers = raw.login(TO_FULL_FEATURE, &with(&[("MaxRecvDataSegmentLength", "65536")]));
    assert_eq!(status_of(&answers[0]), 0);
    let text = text_of(&answers[0]);
    assert!(text.contains("TargetPortalGroupTag=1\0") && text.contains("MaxRecvDataSegmentLength=262144\0"));
    assert_eq!(raw.target.info().parameters.max_send_segment, 65536);
    assert!(raw.others.iter().any(|action| matches!(action, Action::SessionOpened)));
    assert_ne!(raw.target.info().facts.tsih, 0);
}

#[test]
fn a_login_goes_through_security_without_authentication() {
    let mut raw = Raw::new();
    let answers = raw.login(SECURITY_TO_OPERATIONAL, &with(&[("AuthMethod", "CHAP,None")]));
    assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, SECURITY_TO_OPERATIONAL));
    assert!(text_of(&answers[0]).contains("AuthMethod=None\0"));
    let answers = raw.login(TO_FULL_FEATURE, &[("HeaderDigest", "None")]);
    assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, TO_FULL_FEATURE));
}

#[test]
fn a_stage_takes_as_many_requests_as_the_initiator_needs() {
    let mut raw = Raw::new();
    let answers = raw.login(0x04, &with(&[]));
    assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, 0x04));
    let answers = raw.login(0x04, &[("InitialR2T", "No")]);
    assert!(text_of(&answers[0]).contains("InitialR2T=No\0"));
    assert_eq!(status_of(&raw.login(TO_FULL_FEATURE, &[])[0]), 0);
}

#[test]
fn text_that_is_cut_into_several_requests_is_put_together() {
    let mut raw = Raw::new();
    let text = format!("InitiatorName=iqn.2026-01.test:i\0TargetName={TARGET}\0");
    let (first, second) = text.split_at(20);
    let answers = raw.login_text(flags::CONTINUE | 0x04, first.as_bytes());
    assert_eq!((status_of(&answers[0]), answers[0].1.len()), (0, 0));
    assert_eq!(status_of(&raw.login_text(TO_FULL_FEATURE, second.as_bytes())[0]), 0);
    assert_eq!(raw.target.info().facts.initiator, "iqn.2026-01.test:i");
}

#[test]
fn what_is_missing_or_unknown_is_refused_by_its_own_status() {
    assert_eq!(refused(&[("TargetName", TARGET)]), 0x0207);
    assert_eq!(refused(&[("InitiatorName", "i")]), 0x0207);
    assert_eq!(refused(&[("InitiatorName", "i"), ("TargetName", "iqn.none")]), 0x0203);
    assert_eq!(refused(&with(&[("SessionType", "Odd")])), 0x0209);
    assert_eq!(refused(&with(&[("InitialR2T", "No"), ("InitialR2T", "No")])), 0x0200);
    assert_eq!(refused(&with(&[("AuthMethod", "CHAP")])), 0x0201);
    assert_eq!(refused(&with(&[("SendTargets", "All")])), 0x0200);
}

#[test]
fn each_fate_of_a_target_has_its_status() {
    let moved = |permanent| Lookup::Moved { address: "10.0.0.1:3260,7".to_owned(), permanent };
    let fates = [
        (Lookup::Forbidden, 0x0202),
        (Lookup::Removed, 0x0204),
        (Lookup::Unavailable, 0x0301),
        (moved(false), 0x0101),
        (moved(true), 0x0102),
    ];
    // In whatever stage the login begins, it ends with the first answer.
    for ((fate, status), flags) in
        fates.iter().flat_map(|fate| [0x00, 0x04, TO_FULL_FEATURE].map(|flags| (fate, flags)))
    {
        let mut raw = Raw::new();
        raw.ports.elsewhere = fate.clone();
        let answers = raw.login(flags, &[("InitiatorName", "i"), ("TargetName", "iqn.other")]);
        assert_eq!((answers.len(), status_of(&answers[0])), (1, *status));
        let redirects = status >> 8 == 1;
        let address = if redirects { "TargetAddress=10.0.0.1:3260\0" } else { "" };
        assert_eq!(text_of(&answers[0]), address, "an address without a tag, and nothing else");
        assert!(raw.target.is_finished());
    }
}

#[test]
fn a_discovery_session_is_sent_nowhere_else() {
    let mut raw = Raw::new();
    raw.ports.elsewhere = Lookup::Moved { address: "10.0.0.1:3260".to_owned(), permanent: false };
    let keys = [("InitiatorName", "i"), ("SessionType", "Discovery"), ("TargetName", "iqn.other")];
    let answers = raw.login(TO_FULL_FEATURE, &keys);
    assert_eq!(status_of(&answers[0]), 0);
    assert!(!text_of(&answers[0]).contains("TargetAddress"));
    assert_eq!(raw.target.info().facts.target, None);
}

#[test]
fn headers_that_make_no_sense_are_initiator_errors() {
    let text = format!("InitiatorName=i\0TargetName={TARGET}\0");
    let attempt = |change: &dyn Fn(&mut LoginRequest)| {
        let mut raw = Raw::new();
        let mut request = LoginRequest::empty();
        request.opcode |= flags::IMMEDIATE;
        request.flags = TO_FULL_FEATURE;
        change(&mut request);
        status_of(&raw.send(&request, text.as_bytes())[0])
    };
    assert_eq!(attempt(&|_| ()), 0);
    assert_eq!(attempt(&|request| request.version_min = 1), 0x0205);
    assert_eq!(attempt(&|request| request.version_max = 3), 0, "what is offered includes our version");
    assert_eq!(attempt(&|request| request.flags = 0x08), 0x0200, "there is no stage 2");
    assert_eq!(
        attempt(&|request| request.flags = 0x0c),
        0x0200,
        "nothing is negotiated in the full feature phase"
    );
    assert_eq!(attempt(&|request| request.tsih = 9.into()), 0x020a);
    assert_eq!(attempt(&|request| request.flags |= flags::CONTINUE), 0x0200);
    assert_eq!(attempt(&|request| request.flags = flags::TRANSIT | 0x0f), 0x0200);
    assert_eq!(attempt(&|request| request.flags = flags::TRANSIT | 0x05), 0x0200);
    assert_eq!(attempt(&|request| request.flags = flags::TRANSIT | 0x06), 0x0200);
    assert_eq!(attempt(&|request| request.flags = flags::TRANSIT | 0x08), 0x0200);
}

#[test]
fn a_connection_cannot_be_added_to_a_session_and_those_of_others_are_not_told_of() {
    let mut first = Raw::logged_in(&[]);
    let tsih = first.target.info().facts.tsih;
    let nexus = first.ports.nexus.clone().unwrap();
    let own = [("InitiatorName", "iqn.2026-01.test:i"), ("TargetName", TARGET)];
    let other = [("InitiatorName", "iqn.2026-01.test:other"), ("TargetName", TARGET)];
    let discovery = [("InitiatorName", "iqn.2026-01.test:i"), ("SessionType", "Discovery")];
    let cases = [
        (tsih, nexus.isid, own, 0x0206),
        (tsih, Isid([9; 6]), own, 0x020a),
        (tsih, nexus.isid, other, 0x020a),
        (tsih, nexus.isid, discovery, 0x020a),
        (tsih + 1, nexus.isid, own, 0x020a),
    ];
    for (tsih, isid, names, status) in cases {
        let mut second = Raw::new();
        std::mem::swap(&mut first.ports.sessions, &mut second.ports.sessions);
        let mut request = LoginRequest::empty();
        request.flags = TO_FULL_FEATURE;
        request.tsih = tsih.into();
        request.cid = 1.into();
        request.isid = isid;
        let text: String = names.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
        assert_eq!(status_of(&second.send(&request, text.as_bytes())[0]), status);
        std::mem::swap(&mut first.ports.sessions, &mut second.ports.sessions);
    }
}

#[test]
fn an_initiator_whose_name_is_none_is_refused_and_its_name_is_not_shown() {
    for name in ["iqn.2026-01.test:a\nb", "iqn.2026-01.test:a b", "iqn.\u{1b}[31m", &"i".repeat(224)] {
        let mut raw = Raw::new();
        let answers = raw.login(TO_FULL_FEATURE, &[("InitiatorName", name), ("TargetName", TARGET)]);
        assert_eq!(status_of(&answers[0]), 0x0200, "{name:?}");
        assert_eq!(raw.target.info().facts.initiator, "");
    }
}

#[test]
fn unknown_keys_are_not_understood_and_ill_formed_text_is_refused() {
    let mut raw = Raw::new();
    let answers = raw.login(TO_FULL_FEATURE, &with(&[("X-com.example.key", "1"), ("RDMAExtensions", "Yes")]));
    let text = text_of(&answers[0]);
    assert!(text.contains("X-com.example.key=NotUnderstood\0RDMAExtensions=NotUnderstood\0"));
    for text in [&b"no equals sign\0"[..], b"=x\0", b"Key\xff=1\0"] {
        assert_eq!(status_of(&Raw::new().login_text(TO_FULL_FEATURE, text)[0]), 0x0200);
    }
}

#[test]
fn text_and_requests_of_a_login_are_bounded() {
    let mut raw = Raw::new();
    let filler = vec![b'a'; 8192];
    let statuses: Vec<u16> = (0..3)
        .flat_map(|_| raw.login_text(flags::CONTINUE | 0x04, &filler))
        .map(|answer| status_of(&answer))
        .collect();
    assert_eq!(statuses, [0, 0, 0x0200]);
    let mut raw = Raw::new();
    raw.login(0x04, &with(&[]));
    let last = (0..100).flat_map(|_| raw.login(0x04, &[])).last().unwrap();
    assert_eq!(status_of(&last), 0x0200);
    // Many unknown keys would be answered by more text than the initiator must take.
    let unknown: Vec<u8> = (0..700).flat_map(|n| format!("K{n}=\0").into_bytes()).collect();
    assert_eq!(status_of(&Raw::new().login_text(0x04, &unknown)[0]), 0x0207);
    let named = [b"InitiatorName=i\0SessionType=Discovery\0".to_vec(), unknown].concat();
    assert_eq!(status_of(&Raw::new().login_text(0x04, &named)[0]), 0x0200);
}

#[test]
fn a_connection_that_does_not_begin_with_a_login_is_closed_without_a_word() {
    let mut raw = Raw::new();
    assert!(raw.ping(b"x").is_empty());
    assert_eq!(raw.closed, Some(CloseReason::NoLogin));
    let mut raw = Raw::new();
    raw.login(0x04, &with(&[]));
    let answers = raw.send(&NopOut::empty(), &[]);
    assert_eq!(status_of(&answers[0]), 0x020b);
}

#[test]
fn a_login_that_takes_too_long_is_closed() {
    let mut raw = Raw::new();
    raw.login(0x04, &with(&[]));
    raw.pass(Duration::from_secs(14));
    assert_eq!(raw.closed, None);
    raw.pass(Duration::from_secs(1));
    assert_eq!(raw.closed, Some(CloseReason::LoginTimeout));
}

#[test]
fn a_digest_that_the_target_requires_cannot_be_left_out() {
    let settings = Settings { header_digest: DigestPolicy::Require, ..Settings::default() };
    let config = TargetConfig { settings, ..TargetConfig::default() };
    let mut raw = Raw::with(config);
    assert_eq!(status_of(&raw.login(TO_FULL_FEATURE, &with(&[]))[0]), 0x0200);
}

#[test]
fn a_session_takes_the_place_of_a_former_one_after_that_has_ended() {
    let mut first = Raw::logged_in(&[]);
    let nexus = first.ports.nexus.clone().unwrap();
    let mut second = Raw::new();
    second.ports.connection = ConnectionId(2);
    second.ports.sessions = std::mem::take(&mut first.ports.sessions);
    assert!(second.login(TO_FULL_FEATURE, &with(&[])).is_empty(), "the answer waits");
    first.command(raw::read10(0, 1), flags::FINAL | flags::READ, 512, &[]);
    first.target.close(CloseReason::Reinstated);
    first.take();
    let ended = |raw: &Raw| raw.others.iter().any(|action| matches!(action, Action::SessionEnded));
    assert!(!ended(&first) && first.cancelled.len() == 1, "an operation is under way");
    first.good();
    assert!(ended(&first) && first.target.is_finished());
    let (next, tsih) = second.ports.sessions.end(&nexus, ConnectionId(1)).unwrap();
    assert_eq!(next, ConnectionId(2));
    second.target.handle_session_ready(tsih);
    assert_eq!(status_of(&second.take()[0]), 0);
}

#[test]
fn a_portal_that_has_no_handle_left_says_so() {
    let mut raw = Raw::new();
    for n in 0..SESSIONS_MAX as u64 {
        let nexus = NexusName {
            initiator: format!("iqn.2026-01.test:{n}"),
            isid: Isid::default(),
            target: Some(TARGET.to_owned()),
            portal_group_tag: 1,
        };
        raw.ports.sessions.open(&nexus, ConnectionId(n + 10));
    }
    assert_eq!(status_of(&raw.login(TO_FULL_FEATURE, &with(&[]))[0]), 0x0302);
    assert!(raw.target.is_finished());
}

#[test]
fn a_login_whose_former_session_does_not_end_is_closed_in_time_and_waits_no_more() {
    let mut first = Raw::logged_in(&[]);
    let nexus = first.ports.nexus.clone().unwrap();
    let mut second = Raw::new();
    second.ports.connection = ConnectionId(2);
    second.ports.sessions = std::mem::take(&mut first.ports.sessions);
    assert!(second.login(TO_FULL_FEATURE, &with(&[])).is_empty(), "the answer waits");
    let again = second.login(TO_FULL_FEATURE, &[]);
    assert_eq!(status_of(&again[0]), 0x0200, "there is nothing to say meanwhile");

    let mut third = Raw::new();
    third.ports.connection = ConnectionId(3);
    third.ports.sessions = std::mem::take(&mut second.ports.sessions);
    assert!(third.login(TO_FULL_FEATURE, &with(&[])).is_empty());
    third.pass(Duration::from_secs(15));
    assert_eq!(third.closed, Some(CloseReason::LoginTimeout));
    assert!(third.others.iter().any(|action| matches!(action, Action::SessionEnded)));
    assert_eq!(third.ports.sessions.end(&nexus, ConnectionId(3)), None);
    assert_eq!(third.ports.sessions.end(&nexus, ConnectionId(1)), None, "nobody waits for its end");
}
