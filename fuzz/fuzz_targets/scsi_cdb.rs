//! A command and its Data-Out.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_scsi::fuzz::fuzz_cdb(data));
