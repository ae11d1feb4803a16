//! What a target sends to our initiator.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_iscsi::fuzz::fuzz_initiator_bytes(data));
