use super::*;
use crate::keys::BINARY_BYTES_MAX;
use proptest::prelude::*;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

fn account(name: &str, text: &str) -> Account {
    Account::new(name, secret(text)).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    encode(bytes).split_off(2)
}

/// Expected values come from the published digests of these inputs, not from the crates that are used here.
#[test]
fn responses_are_the_published_hashes_of_what_is_behind_one_another() {
    let abc = [&b"a"[..], b"", b"bc"];
    assert_eq!(hex(&Algorithm::Md5.hash(abc)), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(hex(&Algorithm::Sha1.hash(abc)), "a9993e364706816aba3e25717850c26c9cd0d89d");
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex(&Algorithm::Sha256.hash(abc)), sha256);
    let sha3 = "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532";
    assert_eq!(hex(&Algorithm::Sha3_256.hash(abc)), sha3);
    // Identifier 0x61, secret, challenge: "a" + "message diges" ... of RFC 1321's suite.
    let account = account("n", "bcdefghijklmnopqrstuvwxy");
    let response = respond(Algorithm::Md5, b'a', &account, b"z");
    assert_eq!(hex(&response), "c3fcd3d76192e4007dfb496cca67e13b");
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.hash(abc).len(), algorithm.response_bytes());
        assert_eq!(Algorithm::from_number(algorithm.number().into()), Some(algorithm));
    }
}

#[test]
fn the_first_algorithm_of_the_initiators_list_that_is_allowed_is_chosen() {
    let all = &Algorithm::ALL[..];
    assert_eq!(Algorithm::choose("7,5", all), Some(Algorithm::Sha256));
    assert_eq!(Algorithm::choose("5,7", all), Some(Algorithm::Md5));
    assert_eq!(Algorithm::choose("5,7", &[Algorithm::Sha256]), Some(Algorithm::Sha256));
    assert_eq!(Algorithm::choose("99,x,,-5,0x6", all), Some(Algorithm::Sha1));
    assert_eq!(Algorithm::choose("5", &[Algorithm::Sha256]), None);
    assert_eq!(Algorithm::choose("", all), None);
    assert_eq!(Algorithm::list(all), "8,7,6,5");
}

#[test]
fn secrets_that_are_too_short_or_the_same_both_ways_are_refused() {
    assert_eq!(Secret::new(vec![1; 11]).unwrap_err(), ChapError::SecretLength { len: 11 });
    assert!(Secret::new(vec![1; 12]).is_ok() && Secret::new(vec![1; 255]).is_ok());
    assert!(Secret::new(vec![1; 256]).is_err());
    let (one, other) = (account("i", "twelve bytes"), account("t", "twelve Bytes"));
    assert!(Credentials::new(one.clone(), Some(other)).is_ok());
    let same = Credentials::new(one, Some(account("t", "twelve bytes")));
    assert_eq!(same.unwrap_err(), ChapError::SameSecret);
    for bad in ["", "a\0b", &"n".repeat(256)] {
        assert_eq!(Account::new(bad, secret("twelve bytes")).unwrap_err(), ChapError::BadName);
    }
}

#[test]
fn nothing_that_is_printed_has_a_secret_or_a_challenge_in_it() {
    let credentials =
        Credentials::new(account("user", "hidden-hidden"), Some(account("t", "veiled-veiled"))).unwrap();
    let challenge = Challenge::new([0x41; RANDOM_BYTES]);
    let printed =
        format!("{credentials:?} {credentials:#?} {challenge:?} {:?}", Secret::new(b"hid".to_vec()));
    assert!(printed.contains("user"));
    for hidden in ["hid", "veiled", "104", "AAAA", "65, 65", "4141"] {
        assert!(!printed.contains(hidden), "{printed}");
    }
}

#[test]
fn binary_values_are_read_in_both_forms_and_nothing_else_is() {
    assert_eq!(decode("0x0a0B"), Some(vec![10, 11]));
    assert_eq!(decode("0XfFf"), Some(vec![0x0f, 0xff]));
    assert_eq!(decode("0bCgs="), Some(vec![10, 11]));
    assert_eq!(decode("0BCgs"), Some(vec![10, 11]));
    for bad in [
        "",
        "0",
        "0x",
        "0b",
        "0a",
        "1234",
        "0xzz",
        "0x+f",
        "0bC",
        "0bCg==Cg==",
        "0b****",
        "ä0x00",
        "0x0\u{e4}",
    ] {
        assert_eq!(decode(bad), None, "{bad}");
    }
    assert_eq!(decode(&encode(&[7; BINARY_BYTES_MAX])).unwrap().len(), BINARY_BYTES_MAX);
    assert_eq!(decode(&encode(&[7; BINARY_BYTES_MAX + 1])), None);
    // In base64 the same number of characters would be half as long again.
    assert_eq!(decode(&format!("0b{}", "A".repeat(1364))), Some(vec![0; 1023]));
    assert_eq!(decode(&format!("0b{}", "A".repeat(1368))), None);
}

#[test]
fn only_the_response_of_the_account_to_this_very_challenge_answers_it() {
    let (account, other) = (account("i", "twelve bytes"), account("i", "twelve Bytes"));
    let challenge = Challenge::new([9; RANDOM_BYTES]);
    let response = respond(Algorithm::Sha256, 9, &account, challenge.bytes());
    assert!(challenge.is_answered(Algorithm::Sha256, &account, &response));
    assert!(!challenge.is_answered(Algorithm::Sha3_256, &account, &response));
    assert!(!challenge.is_answered(Algorithm::Sha256, &other, &response));
    assert!(!challenge.is_answered(Algorithm::Sha256, &account, &response[..31]));
    assert!(!challenge.is_answered(Algorithm::Sha256, &account, &[]));
    let mut next = [9; RANDOM_BYTES];
    next[0] = 10;
    assert!(!Challenge::new(next).is_answered(Algorithm::Sha256, &account, &response));
}

proptest! {
    #[test]
    fn binary_values_round_trip_in_both_forms(bytes in prop::collection::vec(any::<u8>(), 1..=BINARY_BYTES_MAX)) {
        use base64::Engine;
        prop_assert_eq!(decode(&encode(&bytes)), Some(bytes.clone()));
        let text = format!("0b{}", base64::engine::general_purpose::STANDARD.encode(&bytes));
        prop_assert_eq!(decode(&text), Some(bytes));
    }

    #[test]
    fn any_text_is_a_binary_value_within_bounds_or_none(text in "(0x|0b|)[ -~]{0,40}") {
        prop_assert!(decode(&text).is_none_or(|bytes| (1..=40).contains(&bytes.len())));
    }
}
