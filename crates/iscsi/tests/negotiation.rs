//! Any set of offers in any order against a model of the rules: each key is answered as chapter 13 of RFC 7143 says, and
//! what is in force afterwards is what was answered.

mod raw;

use evenkeel_iscsi::target::TargetConfig;
use evenkeel_iscsi::{DigestPolicy, Parameters, Settings};
use proptest::prelude::*;
use raw::{Raw, TARGET, status_of, text_of};
use std::collections::BTreeMap;

const LENGTHS: std::ops::RangeInclusive<u32> = 512..=16_777_215;
const NUMBERS: [&str; 12] =
    ["0", "1", "5", "511", "512", "0x1000", "65536", "16777215", "16777216", "4000", "-1", "many"];
const BOOLEANS: [&str; 4] = ["Yes", "No", "yes", ""];
const LISTS: [&str; 5] = ["None", "CRC32C", "None,CRC32C", "CRC32C,None", "MD5,CRC32C"];
const NO_DIGEST: &str = "MD5";

/// Keys with the values that are offered of them.
const OFFERS: [(&str, &[&str]); 17] = [
    ("HeaderDigest", &LISTS),
    ("DataDigest", &LISTS),
    ("InitialR2T", &BOOLEANS),
    ("ImmediateData", &BOOLEANS),
    ("DataPDUInOrder", &BOOLEANS),
    ("DataSequenceInOrder", &BOOLEANS),
    ("MaxRecvDataSegmentLength", &NUMBERS),
    ("MaxBurstLength", &NUMBERS),
    ("FirstBurstLength", &NUMBERS),
    ("DefaultTime2Wait", &NUMBERS),
    ("DefaultTime2Retain", &NUMBERS),
    ("MaxOutstandingR2T", &NUMBERS),
    ("MaxConnections", &NUMBERS),
    ("ErrorRecoveryLevel", &NUMBERS),
    ("IFMarker", &BOOLEANS),
    ("OFMarkInt", &NUMBERS),
    ("X-org.example.key", &NUMBERS),
];

fn number(value: &str) -> Option<u32> {
    value.strip_prefix("0x").map_or_else(|| value.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
}

fn within(value: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    number(value).filter(|number| range.contains(number))
}

fn boolean(value: &str) -> Option<bool> {
    (value == "Yes").then_some(true).or((value == "No").then_some(false))
}

/// What should be answered, by key, and what should hold.
fn model(ours: &Settings, offers: &BTreeMap<&str, &str>) -> (BTreeMap<String, String>, Parameters) {
    let mut holds = Parameters { max_receive_segment: ours.max_receive_segment, ..Parameters::default() };
    let mut answers = BTreeMap::new();
    let mut answer = |key: &str, value: Option<String>| {
        answers.insert(key.to_owned(), value.unwrap_or_else(|| "Reject".to_owned()));
    };
    let digest = |key: &str, policy: DigestPolicy| {
        let supported = |value: &&str| match *value {
            "None" => policy != DigestPolicy::Require,
            "CRC32C" => policy != DigestPolicy::Refuse,
            _ => false,
        };
        offers.get(key).map(|list| list.split(',').find(supported))
    };
    if let Some(chosen) = digest("HeaderDigest", ours.header_digest) {
        holds.digests.header = chosen == Some("CRC32C");
        answer("HeaderDigest", chosen.map(str::to_owned));
    }
    if let Some(chosen) = digest("DataDigest", ours.data_digest) {
        holds.digests.data = chosen == Some("CRC32C");
        answer("DataDigest", chosen.map(str::to_owned));
    }
    let yes_no = |value: bool| if value { "Yes" } else { "No" }.to_owned();
    if let Some(value) = offers.get("InitialR2T") {
        let result = boolean(value).map(|theirs| theirs || ours.initial_r2t);
        holds.initial_r2t = result.unwrap_or(holds.initial_r2t);
        answer("InitialR2T", result.map(yes_no));
    }
    if let Some(value) = offers.get("ImmediateData") {
        let result = boolean(value).map(|theirs| theirs && ours.immediate_data);
        holds.immediate_data = result.unwrap_or(holds.immediate_data);
        answer("ImmediateData", result.map(yes_no));
    }
    for key in ["DataPDUInOrder", "DataSequenceInOrder"] {
        if let Some(value) = offers.get(key) {
            answer(key, boolean(value).map(|_| "Yes".to_owned()));
        }
    }
    if let Some(value) = offers.get("MaxRecvDataSegmentLength") {
        match within(value, LENGTHS) {
            Some(length) => holds.max_send_segment = length,
            None => answer("MaxRecvDataSegmentLength", None),
        }
    }
    if let Some(value) = offers.get("MaxBurstLength") {
        let result = within(value, LENGTHS).map(|theirs| theirs.min(ours.max_burst));
        holds.max_burst = result.unwrap_or(holds.max_burst);
        answer("MaxBurstLength", result.map(|length| length.to_string()));
    }
    if let Some(value) = offers.get("FirstBurstLength") {
        let both = offers.contains_key("InitialR2T") && offers.contains_key("ImmediateData");
        if both && holds.initial_r2t && !holds.immediate_data {
            answer("FirstBurstLength", Some("Irrelevant".to_owned()));
        } else {
            let result =
                within(value, LENGTHS).map(|theirs| theirs.min(ours.first_burst).min(holds.max_burst));
            holds.first_burst = result.unwrap_or(holds.first_burst);
            answer("FirstBurstLength", result.map(|length| length.to_string()));
        }
    }
    if let Some(value) = offers.get("DefaultTime2Wait") {
        let result = within(value, 0..=3600).map(|theirs| theirs.max(2));
        holds.time2wait = result.unwrap_or(holds.time2wait);
        answer("DefaultTime2Wait", result.map(|seconds| seconds.to_string()));
    }
    if let Some(value) = offers.get("DefaultTime2Retain") {
        let result = within(value, 0..=3600).map(|_| 0);
        holds.time2retain = result.unwrap_or(holds.time2retain);
        answer("DefaultTime2Retain", result.map(|seconds| seconds.to_string()));
    }
    if let Some(value) = offers.get("MaxOutstandingR2T") {
        let result = within(value, 1..=65535).map(|theirs| theirs.min(ours.max_outstanding_r2t));
        holds.max_outstanding_r2t = result.unwrap_or(holds.max_outstanding_r2t);
        answer("MaxOutstandingR2T", result.map(|count| count.to_string()));
    }
    if let Some(value) = offers.get("MaxConnections") {
        answer("MaxConnections", within(value, 1..=65535).map(|_| "1".to_owned()));
    }
    if let Some(value) = offers.get("ErrorRecoveryLevel") {
        answer("ErrorRecoveryLevel", within(value, 0..=2).map(|_| "0".to_owned()));
    }
    if offers.contains_key("IFMarker") {
        answer("IFMarker", Some("No".to_owned()));
    }
    if offers.contains_key("OFMarkInt") {
        answer("OFMarkInt", None);
    }
    if offers.contains_key("X-org.example.key") {
        answer("X-org.example.key", Some("NotUnderstood".to_owned()));
    }
    (answers, holds)
}

fn settings() -> impl Strategy<Value = Settings> {
    let digest =
        || prop_oneof![Just(DigestPolicy::Allow), Just(DigestPolicy::Refuse), Just(DigestPolicy::Require)];
    let bursts =
        prop::sample::select(vec![(512u32, 512u32), (4096, 8192), (65536, 1 << 20), (8192, 16_777_215)]);
    (digest(), digest(), any::<bool>(), any::<bool>(), bursts, 1..9u32).prop_map(
        |(header_digest, data_digest, initial_r2t, immediate_data, (first_burst, max_burst), r2ts)| {
            Settings {
                header_digest,
                data_digest,
                initial_r2t,
                immediate_data,
                max_receive_segment: first_burst,
                max_burst,
                first_burst,
                max_outstanding_r2t: r2ts,
            }
        },
    )
}

fn offers() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let offer = |(key, values): (&'static str, &'static [&'static str])| {
        prop::option::weighted(0.7, prop::sample::select(values.to_vec()))
            .prop_map(move |value| Some((key, value?)))
    };
    let all: Vec<_> = OFFERS.into_iter().map(offer).collect();
    all.prop_map(|offers| offers.into_iter().flatten().collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn each_key_is_answered_by_its_rule_whatever_else_is_offered(ours in settings(), offers in offers(), cut in any::<bool>()) {
        let (mut expected, holds) = model(&ours, &offers.iter().copied().collect());
        // FirstBurstLength depends on keys that may come after it, so the model holds for one request.
        let met = |policy, agreed| policy != DigestPolicy::Require || agreed;
        let sufficient = met(ours.header_digest, holds.digests.header) && met(ours.data_digest, holds.digests.data);
        let mut raw = Raw::with(TargetConfig { settings: ours.clone(), ..TargetConfig::default() });
        let names = [("InitiatorName", "iqn.2026-01.test:i"), ("TargetName", TARGET)];
        let keys: String =
            names.iter().chain(&offers).map(|(key, value)| format!("{key}={value}\0")).collect();
        // In two PDUs, the first with the C bit, it is one text all the same.
        let (first, second) = keys.split_at(if cut { keys.len() / 2 } else { 0 });
        if cut {
            prop_assert_eq!(status_of(&raw.login_text(0x44, first.as_bytes())[0]), 0);
        }
        let answers = raw.login_text(0x04, second.as_bytes());
        prop_assert_eq!(status_of(&answers[0]), 0);
        expected.insert("TargetPortalGroupTag".to_owned(), "1".to_owned());
        // A key of its own right: the declaration may stand beside the answer to a bad one of the initiator.
        let text = text_of(&answers[0]);
        let declared = format!("MaxRecvDataSegmentLength={}", ours.max_receive_segment);
        let mut pairs: Vec<&str> = text.split('\0').filter(|pair| !pair.is_empty()).collect();
        let at = pairs.iter().rposition(|pair| *pair == declared);
        prop_assert!(at.is_some(), "{}", text);
        pairs.remove(at.unwrap());
        let told: BTreeMap<String, String> = pairs
            .iter()
            .map(|pair| pair.split_once('=').expect("our answers are pairs"))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        prop_assert_eq!(told.len(), pairs.len(), "no key is answered twice: {}", text);
        prop_assert_eq!(told, expected);
        let answers = raw.login(0x87, &[]);
        prop_assert_eq!(status_of(&answers[0]), if sufficient { 0 } else { 0x0200 });
        if sufficient {
            prop_assert_eq!(raw.target.info().parameters, holds);
        }
    }
}

#[test]
fn a_list_without_a_digest_that_exists_is_rejected() {
    let mut raw = Raw::new();
    let keys = [("InitiatorName", "i"), ("TargetName", TARGET), ("HeaderDigest", NO_DIGEST)];
    assert!(text_of(&raw.login(0x04, &keys)[0]).contains("HeaderDigest=Reject\0"));
}
