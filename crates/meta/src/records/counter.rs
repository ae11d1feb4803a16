//! `counter/<what>`: the next number that was never used. Ids are never given twice, also not after a deletion.

use super::{RecordError, decode_json, encode_json};
use evenkeel_types::Bytes;

/// The first number given; 0 is never an id.
pub const COUNTER_FIRST: u64 = 1;

/// The value of a counter: a JSON number.
#[must_use]
pub fn encode_counter(next: u64) -> Bytes {
    encode_json(&next)
}

/// # Errors
/// If the value is not a number from [`COUNTER_FIRST`] on.
pub fn decode_counter(value: &[u8]) -> Result<u64, RecordError> {
    let next = decode_json(value)?;
    if next < COUNTER_FIRST { Err(RecordError { what: format!("counter at {next}") }) } else { Ok(next) }
}
