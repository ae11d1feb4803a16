//! Messages of another server, hello among them, in a frame that fits.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_peer::fuzz::fuzz_messages(data));
