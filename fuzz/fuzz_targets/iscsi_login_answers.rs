//! Logins of an initiator that demands a proof of the target.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_iscsi::fuzz::fuzz_login_answers(data));
