//! What an initiator sends to a portal.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_iscsi::fuzz::fuzz_target_bytes(data));
