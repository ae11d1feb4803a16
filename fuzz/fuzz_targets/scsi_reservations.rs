//! A record of reservations, and commands that change them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_scsi::fuzz::fuzz_reservations(data));
