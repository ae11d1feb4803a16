//! The header of a PDU, and its additional header segments.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evenkeel_iscsi::fuzz::fuzz_pdu(data));
