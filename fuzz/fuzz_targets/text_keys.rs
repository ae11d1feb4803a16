//! The text of a login.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_iscsi::fuzz::fuzz_text_keys(data));
