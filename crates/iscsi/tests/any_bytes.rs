//! Whatever bytes come, nothing panics, nothing hangs, and memory stays within its bounds.

use evenkeel_iscsi::fuzz::{
    fuzz_initiator_bytes, fuzz_login, fuzz_login_answers, fuzz_pdu, fuzz_target_bytes, fuzz_text_keys,
    login_bytes,
};
use evenkeel_iscsi::pdu::{BHS_BYTES, Bhs, U24};
use proptest::prelude::*;

/// PDUs with sensible opcodes, small tags, numbers near the window, and lengths that are mostly right.
fn pdu() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop::sample::select(vec![0u8, 1, 1, 1, 1, 2, 4, 5, 5, 5, 6, 0x10, 0x1d, 0x25, 3]);
    let cdb =
        prop::sample::select(vec![0u8, 0x28, 0x2a, 0x2a, 0x88, 0x8a, 0x42, 0x41, 0x93, 0x89, 0x35, 0x12]);
    let data = prop_oneof![Just(0usize), Just(512), 0..2000usize, Just(70_000)];
    let expected = prop_oneof![Just(512u32), Just(4096), Just(1 << 20), any::<u32>()];
    let ttt = prop_oneof![Just(u32::MAX), 0..64u32, any::<u32>()];
    let numbers = (0..6u32, 1..12u32, expected, ttt, 0..4u32);
    (opcode, any::<u8>(), cdb, 0..9u8, data, numbers, any::<bool>()).prop_map(
        |(opcode, flags, cdb, blocks, len, (itt, number, expected, ttt, data_sn), immediate)| {
            let mut bytes = [0; BHS_BYTES];
            bytes[0] = opcode | if immediate { 0x40 } else { 0 };
            bytes[1] = flags;
            bytes[16..20].copy_from_slice(&itt.to_be_bytes());
            if opcode == 1 {
                bytes[20..24].copy_from_slice(&expected.to_be_bytes());
                bytes[32] = cdb;
                bytes[32 + 8] = blocks;
                bytes[32 + 13] = blocks;
            } else {
                bytes[20..24].copy_from_slice(&ttt.to_be_bytes());
                bytes[36..40].copy_from_slice(&data_sn.to_be_bytes());
                bytes[40..44].copy_from_slice(&(data_sn * 512).to_be_bytes());
            }
            bytes[24..28].copy_from_slice(&number.to_be_bytes());
            let mut bhs = Bhs::new(bytes);
            bhs.data_segment_len = U24::new(len as u32);
            let mut whole = bhs.to_bytes().to_vec();
            whole.resize(whole.len() + len.next_multiple_of(4), 0x5a);
            whole
        },
    )
}

/// What is said in logins, right or wrong, but for a proof that is right.
const SAID: [&str; 14] = [
    "InitiatorName=iqn.i\0TargetName=iqn.2026-01.io.evenkeel:fuzz:v\0",
    "InitiatorName=iqn.i\0SessionType=Discovery\0",
    "AuthMethod=CHAP\0",
    "AuthMethod=CHAP,None\0",
    "AuthMethod=None\0",
    "CHAP_A=5\0",
    "CHAP_A=8,7,6,5\0",
    "CHAP_N=host\0",
    "CHAP_N=array\0",
    "CHAP_R=0x00112233445566778899aabbccddeeff\0",
    "CHAP_R=0bABEiM0RVZneImaq7zN3u/w==\0",
    "CHAP_I=90\0CHAP_C=0x5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\0",
    "CHAP_I=1\0CHAP_C=0x1234\0",
    "InitialR2T=No\0",
];

/// A part of a login: flags, a length in words, and text.
fn part(flags: u8, text: &str) -> Vec<u8> {
    let mut text = text.as_bytes().to_vec();
    text.resize(text.len().next_multiple_of(4), 0);
    [vec![flags, (text.len() / 4) as u8], text].concat()
}

/// Any texts behind one another, with any flags.
fn muddled_login() -> impl Strategy<Value = Vec<u8>> {
    let flags =
        prop_oneof![Just(0u8), Just(0x81), Just(0x83), Just(0x04), Just(0x87), Just(0x40), any::<u8>()];
    let part = (flags, prop::collection::vec(0..SAID.len(), 0..4)).prop_map(|(flags, picks)| {
        part(flags, &picks.into_iter().map(|pick| SAID[pick]).collect::<String>())
    });
    prop::collection::vec(part, 1..7).prop_map(|parts| parts.concat())
}

/// What is said in the order of a login, right but for the proof and one thing or another.
fn orderly_login(names: &'static str, challenge: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec!["AuthMethod=CHAP\0", "AuthMethod=CHAP\0", "AuthMethod=None\0", ""]);
    let second = prop::sample::select(vec!["CHAP_A=5\0", "CHAP_A=5\0", "CHAP_A=7\0", ""]);
    let name = prop::sample::select(vec!["CHAP_N=host\0", "CHAP_N=array\0", ""]);
    let response = "(CHAP_R=0x[0-9a-f]{32}\0|CHAP_R=0b[A-Za-z0-9+/]{22}==\0|)";
    let asked = prop::sample::select(vec!["", "", SAID[11], SAID[12]]);
    let flags = (prop::sample::select(vec![0u8, 0x81]), prop::sample::select(vec![0x81u8, 0x83]));
    (first, second, name, response, asked, flags).prop_map(
        move |(first, second, name, response, asked, (early, late))| {
            [
                part(early, &format!("{names}{first}")),
                part(early & 0x01, &format!("{second}{challenge}")),
                part(late, &format!("{name}{response}{asked}")),
                part(0x87, ""),
            ]
            .concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..3000)) {
        fuzz_target_bytes(&data);
        fuzz_initiator_bytes(&data);
        fuzz_pdu(&data);
        fuzz_text_keys(&data);
        fuzz_login(&data);
        fuzz_login_answers(&data);
    }

    #[test]
    fn nobody_gets_in_without_a_proof_whatever_else_is_said(
        mutual in any::<bool>(), muddled in muddled_login(), orderly in orderly_login(SAID[0], ""),
    ) {
        for login in [muddled, orderly] {
            fuzz_login(&[vec![u8::from(mutual)], login].concat());
        }
    }

    #[test]
    fn no_target_is_used_without_a_proof_whatever_else_it_says(
        muddled in muddled_login(), orderly in orderly_login("", SAID[12]),
    ) {
        fuzz_login_answers(&muddled);
        fuzz_login_answers(&orderly);
    }

    #[test]
    fn plausible_pdus_in_any_order_do_no_harm(pdus in prop::collection::vec(pdu(), 1..60), chunk in any::<u8>()) {
        let stream = [vec![chunk | 1], pdus.concat()].concat();
        fuzz_target_bytes(&stream);
    }

    #[test]
    fn a_login_with_flipped_bytes_does_no_harm(flips in prop::collection::vec((any::<u16>(), any::<u8>()), 0..4)) {
        let mut bytes = [vec![0], login_bytes()].concat();
        let len = bytes.len();
        for (at, value) in flips {
            bytes[1 + usize::from(at) % (len - 1)] = value;
        }
        fuzz_target_bytes(&bytes);
    }

    #[test]
    fn text_made_of_known_keys_is_answered(
        picks in prop::collection::vec((0..evenkeel_iscsi::keys::KEYS.len(), "[A-Za-z0-9,~-]{0,12}"), 0..20),
    ) {
        let text: String =
            picks.iter().map(|(key, value)| format!("{}={value}\0", evenkeel_iscsi::keys::KEYS[*key].name)).collect();
        fuzz_text_keys(text.as_bytes());
    }
}
