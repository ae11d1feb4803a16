//! The journal of a store.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_store::fuzz::fuzz_journal(data));
