//! What a target answers to the commands of our initiator.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_scsi::fuzz::fuzz_answer(data));
