//! Large binary values in text: hexadecimal behind `0x`, or base64 behind `0b` (RFC 7143 section 6.1).

use crate::keys::BINARY_BYTES_MAX;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// RFC 4648 with its padding, which some leave out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a value; none if it is ill-formed, empty, or longer than [`BINARY_BYTES_MAX`].
pub(crate) fn decode(value: &str) -> Option<Vec<u8>> {
    let (form, digits) = value.split_at_checked(2)?;
    if digits.len() > 2 * BINARY_BYTES_MAX {
        return None;
    }
    let bytes = match form {
        "0x" | "0X" => from_hex(digits.as_bytes())?,
        "0b" | "0B" => BASE64.decode(digits).ok()?,
        _ => return None,
    };
    (1..=BINARY_BYTES_MAX).contains(&bytes.len()).then_some(bytes)
}

/// A value as it is sent: in hexadecimal, which everyone can read.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]);
    "0x".chars().chain(digits).collect()
}

/// An odd number of digits begins with half a byte, as in any number.
fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (first, pairs) = digits.split_at(digits.len() % 2);
    let first = first.iter().map(|digit| value(*digit));
    first.chain(pairs.chunks_exact(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?))).collect()
}
