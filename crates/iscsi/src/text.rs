//! Text of logins and text negotiations: `key=value` pairs, each ended by a zero byte (RFC 7143 section 6.1).

use crate::keys::{self, Key, VALUE_BYTES_MAX};
use snafu::{OptionExt, Snafu, ensure};

/// Bytes of a key's name at most.
pub const KEY_NAME_BYTES_MAX: usize = 63;
/// Bytes of one side's text in a negotiation at most, over all PDUs that it is spread over.
pub const TEXT_BYTES_MAX: usize = 16 << 10;

/// Bytes that are no list of pairs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Snafu)]
pub enum TextError {
    /// A pair has no equals sign.
    #[snafu(display("a text without '=' where a pair was expected"))]
    NoEqualsSign,
    /// The name is empty, too long, or has characters that names have not.
    #[snafu(display("an ill-formed key name"))]
    BadName,
    /// The value is too long or not UTF-8.
    #[snafu(display("an ill-formed value"))]
    BadValue,
    /// The text is longer than [`TEXT_BYTES_MAX`].
    #[snafu(display("a text of more than {TEXT_BYTES_MAX} bytes"))]
    TooLong,
}

/// The pairs of a text in order. Empty pairs are skipped; the last one needs no zero byte.
pub fn pairs(text: &[u8]) -> impl Iterator<Item = Result<(&str, &str), TextError>> {
    text.split(|byte| *byte == 0).filter(|pair| !pair.is_empty()).map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').context(NoEqualsSignSnafu)?;
        let (name, value) = (&pair[..at], &pair[at + 1..]);
        // Names of extension keys may begin with "X#" (RFC 7143 section 13.22).
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b".-+@_#".contains(byte);
        ensure!(!name.is_empty() && name.len() <= KEY_NAME_BYTES_MAX && name.iter().all(legal), BadNameSnafu);
        let name = std::str::from_utf8(name).ok().context(BadNameSnafu)?;
        let bytes_max = keys::find(name).map_or(VALUE_BYTES_MAX, Key::value_bytes_max);
        ensure!(value.len() <= bytes_max, BadValueSnafu);
        Ok((name, std::str::from_utf8(value).ok().context(BadValueSnafu)?))
    })
}

/// A text under construction.
#[derive(Clone, Default, Debug)]
pub struct TextWriter(Vec<u8>);

impl TextWriter {
    /// Appends a pair.
    pub fn push(&mut self, name: &str, value: &str) {
        for part in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
            self.0.extend_from_slice(part);
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A text that comes in parts (C bit).
#[derive(Default, Debug)]
pub(crate) struct TextCollector(Vec<u8>);

impl TextCollector {
    pub(crate) fn append(&mut self, part: &[u8]) -> Result<(), TextError> {
        ensure!(self.0.len() + part.len() <= TEXT_BYTES_MAX, TooLongSnafu);
        self.0.extend_from_slice(part);
        Ok(())
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_at_the_first_equals_sign() {
        let text = b"A=b=c\0\0Empty=\0Last=x";
        let found: Result<Vec<_>, _> = pairs(text).collect();
        assert_eq!(found.unwrap(), [("A", "b=c"), ("Empty", ""), ("Last", "x")]);
    }

    #[test]
    fn ill_formed_pairs_are_named() {
        let first = |text: &[u8]| pairs(text).next().unwrap().unwrap_err();
        assert_eq!(first(b"Name"), TextError::NoEqualsSign);
        assert_eq!(first(b"=x"), TextError::BadName);
        assert_eq!(first(b"A b=x"), TextError::BadName);
        assert_eq!(first(format!("{}=x", "N".repeat(64)).as_bytes()), TextError::BadName);
        assert_eq!(first(format!("N={}", "x".repeat(256)).as_bytes()), TextError::BadValue);
        assert_eq!(first(b"N=\xff"), TextError::BadValue);
        let binary = |digits: usize| {
            pairs(format!("CHAP_R=0x{}", "0".repeat(digits)).as_bytes())
                .next()
                .is_some_and(|pair| pair.is_ok())
        };
        assert!(binary(2048) && !binary(2049), "1024 bytes in hexadecimal");
    }

    #[test]
    fn collected_text_is_bounded() {
        let mut collector = TextCollector::default();
        assert!(collector.append(&[b'a'; TEXT_BYTES_MAX]).is_ok());
        assert_eq!(collector.append(b"a"), Err(TextError::TooLong));
    }
}
