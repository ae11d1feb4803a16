use super::*;
use crate::text::pairs;

fn answer(negotiation: &mut Negotiation, name: &str, value: &str) -> String {
    let mut out = TextWriter::default();
    let key = keys::find(name).unwrap();
    negotiation.note(key).unwrap();
    negotiation.respond(key, value, &mut out);
    let bytes = out.into_bytes();
    pairs(&bytes).next().map(|pair| pair.unwrap().1.to_owned()).unwrap_or_default()
}

fn target() -> Negotiation {
    Negotiation::new(Settings::default(), false)
}

#[test]
fn numbers_are_combined_by_the_rule_of_their_key() {
    let mut negotiation = target();
    assert_eq!(answer(&mut negotiation, "MaxBurstLength", "16776192"), "1048576");
    assert_eq!(answer(&mut negotiation, "FirstBurstLength", "0x2000"), "8192");
    assert_eq!(answer(&mut negotiation, "DefaultTime2Wait", "5"), "5");
    assert_eq!(answer(&mut negotiation, "DefaultTime2Retain", "5"), "0");
    assert_eq!(answer(&mut negotiation, "MaxConnections", "8"), "1");
    assert_eq!(answer(&mut negotiation, "ErrorRecoveryLevel", "2"), "0");
    assert_eq!(answer(&mut negotiation, "MaxRecvDataSegmentLength", "65536"), "");
    assert_eq!(negotiation.agreed().max_send_segment, 65536);
    assert_eq!(negotiation.agreed().max_burst, 1 << 20);
}

#[test]
fn booleans_are_combined_by_and_and_or() {
    let mut negotiation = target();
    assert_eq!(answer(&mut negotiation, "InitialR2T", "No"), "No");
    assert_eq!(answer(&mut negotiation, "ImmediateData", "Yes"), "Yes");
    assert_eq!(answer(&mut negotiation, "DataPDUInOrder", "No"), "Yes");
    let mut strict =
        Negotiation::new(Settings { initial_r2t: true, immediate_data: false, ..Settings::default() }, false);
    assert_eq!(answer(&mut strict, "InitialR2T", "No"), "Yes");
    assert_eq!(answer(&mut strict, "ImmediateData", "Yes"), "No");
    assert_eq!(answer(&mut strict, "FirstBurstLength", "4096"), "Irrelevant");
}

#[test]
fn values_outside_of_their_range_are_rejected() {
    let mut negotiation = target();
    assert_eq!(answer(&mut negotiation, "MaxBurstLength", "511"), "Reject");
    assert_eq!(answer(&mut negotiation, "FirstBurstLength", "16777216"), "Reject");
    assert_eq!(answer(&mut negotiation, "InitialR2T", "Perhaps"), "Reject");
    assert_eq!(answer(&mut negotiation, "HeaderDigest", "MD5"), "Reject");
    assert_eq!(answer(&mut negotiation, "MaxRecvDataSegmentLength", "0"), "Reject");
    let untouched = Parameters { ..Parameters::default() };
    assert_eq!(*negotiation.agreed(), untouched);
}

#[test]
fn the_first_supported_value_of_a_list_is_chosen() {
    assert_eq!(answer(&mut target(), "HeaderDigest", "MD5,CRC32C,None"), "CRC32C");
    assert_eq!(answer(&mut target(), "DataDigest", "None,CRC32C"), "None");
    let strict =
        || Negotiation::new(Settings { data_digest: DigestPolicy::Require, ..Settings::default() }, false);
    let mut negotiation = strict();
    assert_eq!(answer(&mut negotiation, "DataDigest", "None,CRC32C"), "CRC32C");
    assert!(negotiation.is_sufficient());
    assert!(!strict().is_sufficient());
}

#[test]
fn a_repeated_key_is_an_error() {
    let mut negotiation = target();
    let key = keys::find("InitialR2T").unwrap();
    assert!(negotiation.note(key).is_ok());
    assert_eq!(negotiation.note(key), Err(NegotiationError::Repeated { name: "InitialR2T" }));
}

#[test]
fn first_burst_never_exceeds_max_burst() {
    let mut negotiation = target();
    assert_eq!(answer(&mut negotiation, "MaxBurstLength", "4096"), "4096");
    assert_eq!(answer(&mut negotiation, "FirstBurstLength", "8192"), "4096");
}

#[test]
fn keys_without_meaning_in_a_discovery_session_are_irrelevant() {
    let mut negotiation = Negotiation::new(Settings::default(), true);
    assert_eq!(answer(&mut negotiation, "MaxBurstLength", "4096"), "Irrelevant");
    assert_eq!(answer(&mut negotiation, "HeaderDigest", "None"), "None");
}

#[test]
fn obsolete_keys_get_the_answers_of_section_13_25() {
    assert_eq!(answer(&mut target(), "IFMarker", "Yes"), "No");
    assert_eq!(answer(&mut target(), "OFMarkInt", "2048~8192"), "Reject");
}

#[test]
fn both_ends_agree_whatever_their_settings() {
    for bits in 0..64u32 {
        let bit = |n: u32| bits >> n & 1 == 1;
        let digest = |n| if bit(n) { DigestPolicy::Require } else { DigestPolicy::Allow };
        let theirs = Settings {
            header_digest: digest(0),
            data_digest: digest(1),
            initial_r2t: bit(2),
            immediate_data: bit(3),
            max_burst: if bit(4) { 4096 } else { 1 << 20 },
            first_burst: 4096,
            max_outstanding_r2t: 1 + u32::from(bit(5)) * 20,
            max_receive_segment: 12288,
        };
        let mut initiator = Negotiation::new(theirs, false);
        let mut target = target();
        let (mut offer, mut answers) = (TextWriter::default(), TextWriter::default());
        initiator.offer(&mut offer);
        for pair in pairs(&offer.into_bytes()) {
            let (name, value) = pair.unwrap();
            let key = keys::find(name).unwrap();
            target.note(key).unwrap();
            target.respond(key, value, &mut answers);
        }
        target.declare_segment(&mut answers);
        for pair in pairs(&answers.into_bytes()) {
            let (name, value) = pair.unwrap();
            initiator.accept(keys::find(name).unwrap(), value).unwrap();
        }
        let (ours, theirs) = (*initiator.agreed(), *target.agreed());
        assert_eq!(ours.max_send_segment, theirs.max_receive_segment);
        assert_eq!(ours.max_receive_segment, theirs.max_send_segment);
        let alike = Parameters { max_send_segment: 0, max_receive_segment: 0, ..ours };
        let first_burst = if bit(2) && !bit(3) { alike.first_burst } else { theirs.first_burst };
        assert_eq!(alike, Parameters { max_send_segment: 0, max_receive_segment: 0, first_burst, ..theirs });
        assert!(initiator.is_sufficient());
    }
}

#[test]
fn an_answer_against_the_rule_is_an_error() {
    let mut initiator = Negotiation::new(Settings::default(), false);
    let accept =
        |negotiation: &mut Negotiation, name, value| negotiation.accept(keys::find(name).unwrap(), value);
    assert!(accept(&mut initiator, "MaxBurstLength", "16777215").is_err());
    assert!(accept(&mut initiator, "HeaderDigest", "MD5").is_err());
    assert!(accept(&mut initiator, "MaxBurstLength", "4096").is_ok());
}
