//! What comes from the connection of another server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_peer::fuzz::fuzz_frames(data));
