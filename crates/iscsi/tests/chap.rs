//! CHAP by single requests at the target: every way to be let in, and every way to be refused.

mod raw;

use evenkeel_iscsi::chap::{Account, Algorithm, Credentials, Secret};
use evenkeel_iscsi::pdu::flags;
use evenkeel_iscsi::target::{Action, Authenticated, Authentication, CloseReason, TargetConfig};
use raw::{Answer, Raw, TARGET, status_of, text_of};
use sha2::digest::Digest;
use std::sync::Arc;

const SECURITY: u8 = 0x00;
const TO_OPERATIONAL: u8 = flags::TRANSIT | 0x01;
const FROM_SECURITY_TO_FULL: u8 = flags::TRANSIT | 0x03;
const TO_FULL_FEATURE: u8 = flags::TRANSIT | 0x07;
const FAILED: u16 = 0x0201;
const WRONG: u16 = 0x0200;

const USER: &str = "user-of-host";
const SECRET: &str = "secret of the host";
const TARGET_USER: &str = "array";
const TARGET_SECRET: &str = "secret of the array";

const NAMES: [(&str, &str); 2] = [("InitiatorName", "iqn.2026-01.test:i"), ("TargetName", TARGET)];

fn account(name: &str, secret: &str) -> Account {
    let secret = Secret::new(secret.as_bytes().to_vec()).expect("a secret is long enough");
    Account::new(name, secret).expect("a name can be sent")
}

fn demanding(mutual: bool, config: TargetConfig) -> Raw {
    let mut raw = Raw::with(config);
    let target = mutual.then(|| account(TARGET_USER, TARGET_SECRET));
    let credentials = Credentials::new(account(USER, SECRET), target).expect("the secrets differ");
    raw.ports.authentication = Authentication::Chap(Arc::new(credentials));
    raw
}

fn target() -> Raw {
    demanding(true, TargetConfig::default())
}

/// Computed with the hashes alone, beside the code under test.
fn hash(algorithm: &str, identifier: u8, secret: &str, challenge: &[u8]) -> Vec<u8> {
    let input = [&[identifier], secret.as_bytes(), challenge].concat();
    match algorithm {
        "5" => md5::Md5::digest(&input).to_vec(),
        "6" => sha1::Sha1::digest(&input).to_vec(),
        "7" => sha2::Sha256::digest(&input).to_vec(),
        "8" => sha3::Sha3_256::digest(&input).to_vec(),
        other => panic!("algorithm {other}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("0x").expect("we send hexadecimal");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

fn value(answer: &Answer, key: &str) -> Option<String> {
    let text = text_of(answer);
    let found = text.split('\0').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    found.map(str::to_owned)
}

/// The challenge after the first two requests: identifier and bytes.
fn challenged(raw: &mut Raw, algorithms: &str) -> (String, u8, Vec<u8>) {
    let mut first = NAMES.to_vec();
    first.push(("AuthMethod", "CHAP,None"));
    let answers = raw.login(SECURITY, &first);
    assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, SECURITY));
    assert_eq!(value(&answers[0], "AuthMethod").as_deref(), Some("CHAP"));
    let answers = raw.login(SECURITY, &[("CHAP_A", algorithms)]);
    assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, SECURITY), "{}", text_of(&answers[0]));
    let told = |key| value(&answers[0], key).unwrap_or_else(|| panic!("{key}: {}", text_of(&answers[0])));
    (told("CHAP_A"), told("CHAP_I").parse().expect("a number"), unhex(&told("CHAP_C")))
}

/// The proof of this account by the answer to a challenge.
fn proof(algorithm: &str, identifier: u8, challenge: &[u8]) -> String {
    hex(&hash(algorithm, identifier, SECRET, challenge))
}

/// What somebody says to a challenge.
type Proof<'a> = &'a dyn Fn(u8, &[u8]) -> String;

fn is_refused(raw: &Raw, answers: &[Answer], status: u16) {
    assert_eq!((answers.len(), status_of(&answers[0])), (1, status), "{}", text_of(&answers[0]));
    assert!(matches!(raw.closed, Some(CloseReason::LoginRefused(_))), "{:?}", raw.closed);
    assert!(!raw.others.iter().any(|action| matches!(action, Action::SessionOpened)));
    assert!(raw.target.is_finished() && !raw.target.info().full_feature);
    // Else it would have ended the session that a new one takes the place of.
    assert!(raw.ports.nexus.is_none(), "no session was asked for");
}

#[test]
fn who_knows_the_secret_gets_in_by_each_algorithm() {
    for (offered, chosen) in
        [("5", "5"), ("6", "6"), ("7", "7"), ("8", "8"), ("7,8,6,5", "7"), ("99,5,7", "5")]
    {
        let mut raw = target();
        let (algorithm, identifier, challenge) = challenged(&mut raw, offered);
        assert_eq!((algorithm.as_str(), challenge.len()), (chosen, 32));
        let response = proof(&algorithm, identifier, &challenge);
        let answers = raw.login(TO_OPERATIONAL, &[("CHAP_N", USER), ("CHAP_R", &response)]);
        assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, TO_OPERATIONAL));
        assert_eq!(value(&answers[0], "CHAP_R"), None, "the target was asked for nothing");
        assert_eq!(status_of(&raw.login(TO_FULL_FEATURE, &[])[0]), 0);
        let info = raw.target.info();
        assert!(info.full_feature);
        assert_eq!(info.facts.authenticated, Authenticated::Initiator);
    }
}

#[test]
fn a_response_may_be_in_base64_and_the_stage_may_lead_straight_to_the_session() {
    let mut raw = target();
    let (_, identifier, challenge) = challenged(&mut raw, "7");
    use base64::Engine;
    let bytes = hash("7", identifier, SECRET, &challenge);
    let response = format!("0b{}", base64::engine::general_purpose::STANDARD.encode(bytes));
    let answers = raw.login(FROM_SECURITY_TO_FULL, &[("CHAP_N", USER), ("CHAP_R", &response)]);
    assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, FROM_SECURITY_TO_FULL));
    assert!(raw.target.info().full_feature);
}

#[test]
fn a_target_proves_itself_when_it_is_asked_to() {
    let mut raw = target();
    let (algorithm, identifier, challenge) = challenged(&mut raw, "6");
    let response = proof(&algorithm, identifier, &challenge);
    let keys = [("CHAP_N", USER), ("CHAP_R", &*response), ("CHAP_I", "0xfe"), ("CHAP_C", "0b3q2+7w==")];
    let answers = raw.login(TO_OPERATIONAL, &keys);
    assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, TO_OPERATIONAL));
    assert_eq!(value(&answers[0], "CHAP_N").as_deref(), Some(TARGET_USER));
    let expected = hex(&hash("6", 0xfe, TARGET_SECRET, &[0xde, 0xad, 0xbe, 0xef]));
    assert_eq!(value(&answers[0], "CHAP_R"), Some(expected));
    raw.login(TO_FULL_FEATURE, &[]);
    assert_eq!(raw.target.info().facts.authenticated, Authenticated::Both);
}

#[test]
fn a_wrong_proof_is_refused_and_nothing_is_proven_in_return() {
    let right = |identifier, challenge: &[u8]| hash("7", identifier, SECRET, challenge);
    let wrong_secret = |identifier, challenge: &[u8]| hex(&hash("7", identifier, TARGET_SECRET, challenge));
    let cut = |identifier, challenge: &[u8]| hex(&right(identifier, challenge)[..16]);
    let flipped = |identifier, challenge: &[u8]| {
        let mut bytes = right(identifier, challenge);
        bytes[31] ^= 1;
        hex(&bytes)
    };
    let other_algorithm = |identifier, challenge: &[u8]| hex(&hash("8", identifier, SECRET, challenge));
    let proofs: [Proof<'_>; 4] = [&wrong_secret, &cut, &flipped, &other_algorithm];
    for wrong in proofs {
        let mut raw = target();
        let (_, identifier, challenge) = challenged(&mut raw, "7");
        let response = wrong(identifier, &challenge);
        let keys = [("CHAP_N", USER), ("CHAP_R", &*response), ("CHAP_I", "1"), ("CHAP_C", "0x1234")];
        let answers = raw.login(TO_OPERATIONAL, &keys);
        is_refused(&raw, &answers, FAILED);
        assert!(answers[0].1.is_empty(), "a wrong proof is answered by nothing but its status");
    }
    for name in ["", "User-of-host", TARGET_USER] {
        let mut raw = target();
        let (algorithm, identifier, challenge) = challenged(&mut raw, "7");
        let response = proof(&algorithm, identifier, &challenge);
        let answers = raw.login(TO_OPERATIONAL, &[("CHAP_N", name), ("CHAP_R", &response)]);
        is_refused(&raw, &answers, FAILED);
    }
}

#[test]
fn ill_formed_proofs_are_initiator_errors() {
    let mut raw = target();
    let (algorithm, identifier, challenge) = challenged(&mut raw, "5");
    let response = proof(&algorithm, identifier, &challenge);
    drop(raw);
    let response = response.as_str();
    let many = format!("0x{}", "00".repeat(1025));
    let cases: [&[(&str, &str)]; 9] = [
        &[("CHAP_N", USER)],
        &[("CHAP_R", response)],
        &[("CHAP_N", USER), ("CHAP_R", &response[2..])],
        &[("CHAP_N", USER), ("CHAP_R", &many)],
        &[("CHAP_N", USER), ("CHAP_R", response), ("CHAP_I", "1")],
        &[("CHAP_N", USER), ("CHAP_R", response), ("CHAP_C", "0x12")],
        &[("CHAP_N", USER), ("CHAP_R", response), ("CHAP_I", "256"), ("CHAP_C", "0x12")],
        &[("CHAP_N", USER), ("CHAP_R", response), ("CHAP_I", "1"), ("CHAP_C", "0x")],
        &[("CHAP_N", USER), ("CHAP_R", response), ("CHAP_A", "5")],
    ];
    for keys in cases {
        // The same random numbers, so the same challenge, to which the response is right.
        let mut raw = target();
        challenged(&mut raw, "5");
        let answers = raw.login(TO_OPERATIONAL, keys);
        is_refused(&raw, &answers, WRONG);
    }
}

#[test]
fn the_security_stage_cannot_be_left_out_or_left_early() {
    let with = |extra: &[(&'static str, &'static str)]| [&NAMES[..], extra].concat();
    for (flags, keys) in [
        (TO_FULL_FEATURE, with(&[])),
        (TO_FULL_FEATURE, with(&[("AuthMethod", "CHAP")])),
        (0x04, with(&[])),
        (TO_OPERATIONAL, with(&[])),
        (FROM_SECURITY_TO_FULL, with(&[])),
        (TO_OPERATIONAL, with(&[("AuthMethod", "None")])),
        (SECURITY, with(&[("AuthMethod", "None,KRB5")])),
        (SECURITY, with(&[("AuthMethod", "chap")])),
    ] {
        let mut raw = target();
        let answers = raw.login(flags, &keys);
        is_refused(&raw, &answers, FAILED);
    }
    let mut raw = target();
    for (flags, keys) in [
        (TO_OPERATIONAL, with(&[("AuthMethod", "CHAP,None")])),
        (FROM_SECURITY_TO_FULL, vec![]),
        (TO_OPERATIONAL, vec![("CHAP_A", "5")]),
        (FROM_SECURITY_TO_FULL, vec![]),
    ] {
        let answers = raw.login(flags, &keys);
        assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, SECURITY), "the stage goes on");
    }
    let answers = raw.login(TO_FULL_FEATURE, &[]);
    is_refused(&raw, &answers, WRONG);
}

#[test]
fn a_proven_initiator_may_stay_in_the_stage_but_not_begin_again() {
    for again in [&[][..], &[("CHAP_A", "5")], &[("CHAP_N", USER)]] {
        let mut raw = target();
        let (algorithm, identifier, challenge) = challenged(&mut raw, "7");
        let response = proof(&algorithm, identifier, &challenge);
        let answers = raw.login(SECURITY, &[("CHAP_N", USER), ("CHAP_R", &response)]);
        assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, SECURITY));
        let answers = raw.login(TO_OPERATIONAL, again);
        if again.is_empty() {
            assert_eq!((status_of(&answers[0]), answers[0].0.flags), (0, TO_OPERATIONAL));
        } else {
            is_refused(&raw, &answers, WRONG);
        }
    }
}

#[test]
fn keys_out_of_their_order_are_initiator_errors() {
    let cases: [&[(&str, &str)]; 4] = [
        &[("CHAP_A", "5")],
        &[("CHAP_N", USER), ("CHAP_R", "0x12")],
        &[("AuthMethod", "CHAP"), ("CHAP_N", USER), ("CHAP_R", "0x12")],
        &[("AuthMethod", "CHAP"), ("CHAP_A", "5"), ("CHAP_A", "7")],
    ];
    for keys in cases {
        let mut raw = target();
        let answers = raw.login(SECURITY, &[&NAMES[..], keys].concat());
        is_refused(&raw, &answers, WRONG);
    }
    // Where nothing has to be proven, nobody begins to.
    let mut raw = Raw::new();
    let answers = raw.login(SECURITY, &[&NAMES[..], &[("AuthMethod", "None"), ("CHAP_A", "5")]].concat());
    is_refused(&raw, &answers, WRONG);
}

#[test]
fn without_an_algorithm_in_common_the_login_is_refused() {
    let config = TargetConfig { chap_algorithms: vec![Algorithm::Sha256], ..TargetConfig::default() };
    for (offered, goes_on) in [("5,6", false), ("", false), ("0", false), ("5,7", true)] {
        let mut raw = demanding(true, config.clone());
        raw.login(SECURITY, &[&NAMES[..], &[("AuthMethod", "CHAP")]].concat());
        let answers = raw.login(SECURITY, &[("CHAP_A", offered)]);
        if goes_on {
            assert_eq!(value(&answers[0], "CHAP_A").as_deref(), Some("7"));
        } else {
            is_refused(&raw, &answers, FAILED);
        }
    }
}

#[test]
fn our_own_challenge_that_comes_back_is_refused_and_not_answered() {
    let mut raw = target();
    let (algorithm, identifier, challenge) = challenged(&mut raw, "7");
    let response = proof(&algorithm, identifier, &challenge);
    let reflected = hex(&challenge);
    let keys = [("CHAP_N", USER), ("CHAP_R", &*response), ("CHAP_I", "77"), ("CHAP_C", &*reflected)];
    let answers = raw.login(TO_OPERATIONAL, &keys);
    is_refused(&raw, &answers, FAILED);
    assert!(answers[0].1.is_empty(), "it is not answered");
}

#[test]
fn a_connection_that_is_printed_in_the_middle_of_a_login_shows_no_secret() {
    let mut raw = target();
    challenged(&mut raw, "7");
    let printed = format!("{:?} {:?}", raw.target, raw.ports.authentication);
    assert!(printed.contains(USER) && printed.contains(TARGET_USER), "the accounts are in it");
    for secret in [SECRET, TARGET_SECRET] {
        let bytes = format!("{:?}", secret.as_bytes());
        assert!(!printed.contains(secret) && !printed.contains(bytes.trim_matches(['[', ']'])));
    }
}

#[test]
fn what_was_overheard_in_one_login_is_refused_in_the_next() {
    let mut first = target();
    let (algorithm, identifier, challenge) = challenged(&mut first, "7");
    let response = proof(&algorithm, identifier, &challenge);
    let keys = [("CHAP_N", USER), ("CHAP_R", &*response)];
    assert_eq!(status_of(&first.login(TO_OPERATIONAL, &keys)[0]), 0);
    let mut second = target();
    second.ports.random = first.ports.random;
    let (_, other_identifier, other_challenge) = challenged(&mut second, "7");
    assert_ne!((identifier, challenge), (other_identifier, other_challenge));
    let answers = second.login(TO_OPERATIONAL, &keys);
    is_refused(&second, &answers, FAILED);
}

#[test]
fn a_target_without_an_account_of_its_own_refuses_to_be_asked() {
    let mut raw = demanding(false, TargetConfig::default());
    let (algorithm, identifier, challenge) = challenged(&mut raw, "7");
    let response = proof(&algorithm, identifier, &challenge);
    let keys = [("CHAP_N", USER), ("CHAP_R", &*response), ("CHAP_I", "1"), ("CHAP_C", "0x1234")];
    let answers = raw.login(TO_OPERATIONAL, &keys);
    is_refused(&raw, &answers, FAILED);
}

#[test]
fn a_discovery_session_is_only_had_by_who_proves_itself() {
    let names = [("InitiatorName", "iqn.2026-01.test:i"), ("SessionType", "Discovery")];
    let mut raw = target();
    let answers = raw.login(TO_FULL_FEATURE, &names);
    is_refused(&raw, &answers, FAILED);
    let mut raw = target();
    raw.login(SECURITY, &[&names[..], &[("AuthMethod", "CHAP")]].concat());
    let answers = raw.login(SECURITY, &[("CHAP_A", "7")]);
    let identifier: u8 = value(&answers[0], "CHAP_I").unwrap().parse().unwrap();
    let challenge = unhex(&value(&answers[0], "CHAP_C").unwrap());
    let response = proof("7", identifier, &challenge);
    raw.login(TO_OPERATIONAL, &[("CHAP_N", USER), ("CHAP_R", &response)]);
    assert_eq!(status_of(&raw.login(TO_FULL_FEATURE, &[])[0]), 0);
    assert!(raw.target.info().full_feature);
}

#[test]
fn what_is_refused_for_its_name_is_not_asked_for_a_proof() {
    let mut raw = target();
    let answers =
        raw.login(SECURITY, &[("InitiatorName", "i"), ("TargetName", "iqn.none"), ("AuthMethod", "CHAP")]);
    is_refused(&raw, &answers, 0x0203);
}
