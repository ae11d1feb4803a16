//! Logins in which something has to be proven: whatever is said, nobody gets in without the proof.

use super::{Ports, TARGET, feed, gathered, take};
use crate::chap::{self, Account, Algorithm, Challenge, Credentials, RANDOM_BYTES, Secret};
use crate::initiator::{self, Chap, Event, InitiatorConfig};
use crate::negotiate::Settings;
use crate::pdu::{Isid, LoginRequest, LoginResponse, PduHeader, flags};
use crate::target::{Authentication, Connection, TargetConfig};
use crate::transmit::Transmitter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use evenkeel_types::{Bytes, Time};
use std::sync::Arc;

/// What every byte of a random number is here, so that an input means the same each time.
pub(super) const RANDOM: u8 = 0x5a;

/// Bytes of one text at most: its length is one byte, in units of 4.
const UNIT: usize = 4;

fn credentials(mutual: bool) -> Arc<Credentials> {
    let account = |name, secret: &[u8]| {
        let secret = Secret::new(secret.to_vec()).expect("a secret is long enough");
        Account::new(name, secret).expect("a name can be sent")
    };
    let target = mutual.then(|| account("array", b"secret of the array"));
    let both = Credentials::new(account("host", b"secret of the host"), target);
    Arc::new(both.expect("the secrets differ"))
}

/// Whether a text has the right response to the challenge of this account in it, by any algorithm and in any form.
fn has_proof(text: &[u8], account: &Account) -> bool {
    let lower = text.to_ascii_lowercase();
    let contains = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
    Algorithm::ALL.iter().any(|algorithm| {
        let response = chap::respond(*algorithm, RANDOM, account, &[RANDOM; chap::CHALLENGE_BYTES]);
        // Leading zeros may be left out, as of any number.
        let hex = chap::encode(&response).split_off(2);
        let hex = hex.trim_start_matches('0');
        let base64 = STANDARD_NO_PAD.encode(&response);
        contains(&lower, hex.as_bytes()) || contains(text, base64.as_bytes())
    })
}

/// Parts of the input: a byte of flags, a byte of length, and as much text.
fn parts(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let ([flags, len], rest) = data.split_first_chunk()?;
        let (text, rest) = rest.split_at(rest.len().min(usize::from(*len) * UNIT));
        data = rest;
        Some((*flags, text))
    })
}

/// Texts of an initiator, each as a login request with flags of its own, to a target that demands CHAP (mutual, if the
/// first byte is odd).
///
/// # Panics
/// If somebody gets in who did not prove to be the one whom the target knows.
pub fn fuzz_login(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let credentials = credentials(first & 1 == 1);
    let mut ports = Ports::new(Authentication::Chap(Arc::clone(&credentials)));
    let mut target = Connection::new(Arc::new(TargetConfig::default()), "fuzz".to_owned(), Time::ZERO);
    let mut said = Vec::new();
    for (flags, text) in parts(data) {
        let mut request = LoginRequest::empty();
        request.opcode |= flags::IMMEDIATE;
        request.flags = flags;
        let mut transmitter = Transmitter::default();
        transmitter.push(request.bhs(), Bytes::copy_from_slice(text).into());
        feed(&mut target, &mut ports, Time::ZERO, &gathered(&transmitter));
        said.extend_from_slice(text);
    }
    let is_in = target.info().full_feature;
    assert!(!is_in || has_proof(&said, credentials.initiator()), "nobody gets in without a proof");
}

/// Texts of a target, each as a login response with flags of its own, to an initiator that wants it to prove itself.
///
/// # Panics
/// If the initiator goes on with a target that did not.
pub fn fuzz_login_answers(data: &[u8]) {
    let credentials = credentials(true);
    let chap = Chap::new(Arc::clone(&credentials), Challenge::new([RANDOM; RANDOM_BYTES]));
    let config = InitiatorConfig {
        initiator_name: "iqn.2026-01.io.evenkeel:fuzz".to_owned(),
        isid: Isid::default(),
        target_name: Some(TARGET.to_owned()),
        settings: Settings::default(),
    };
    let mut initiator = initiator::Connection::with_chap(config, chap);
    let (mut said, mut is_in) = (Vec::new(), false);
    for (stat_sn, (flags, text)) in (0u32..).zip(parts(data)) {
        let mut response = LoginResponse::empty();
        response.flags = flags;
        response.stat_sn = stat_sn.into();
        response.tsih = 1.into();
        let mut transmitter = Transmitter::default();
        transmitter.push(response.bhs(), Bytes::copy_from_slice(text).into());
        take(&mut initiator, &gathered(&transmitter), |event| is_in |= matches!(event, Event::LoggedIn));
        said.extend_from_slice(text);
    }
    let array = credentials.target().expect("the credentials are mutual");
    assert!(!is_in || has_proof(&said, array), "no target is used without a proof");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(flags: u8, text: &str) -> Vec<u8> {
        let mut text = text.as_bytes().to_vec();
        text.resize(text.len().next_multiple_of(UNIT), 0);
        [vec![flags, (text.len() / UNIT) as u8], text].concat()
    }

    fn proof(account: &Account) -> String {
        chap::encode(&chap::respond(Algorithm::Sha256, RANDOM, account, &[RANDOM; chap::CHALLENGE_BYTES]))
    }

    /// The entry points are of no use if nothing that they are given ever comes to the end of a login.
    #[test]
    fn a_login_with_the_right_proof_passes_through_the_entry_points() {
        let credentials = credentials(true);
        let hidden = proof(credentials.initiator());
        let names = format!("InitiatorName=iqn.i\0TargetName={TARGET}\0AuthMethod=CHAP\0");
        let steps = [
            part(0, &names),
            part(0, "CHAP_A=7\0"),
            part(0x83, &format!("CHAP_N=host\0CHAP_R={hidden}\0CHAP_I=1\0CHAP_C=0x1234\0")),
        ];
        let login = [vec![1], steps.concat()].concat();
        fuzz_login(&login);
        let mut ports = Ports::new(Authentication::Chap(credentials));
        let mut target = Connection::new(Arc::new(TargetConfig::default()), String::new(), Time::ZERO);
        for (flags, text) in parts(&login[1..]) {
            let mut request = LoginRequest::empty();
            request.flags = flags;
            let mut transmitter = Transmitter::default();
            transmitter.push(request.bhs(), Bytes::copy_from_slice(text).into());
            feed(&mut target, &mut ports, Time::ZERO, &gathered(&transmitter));
        }
        assert!(target.info().full_feature);
    }
}
