//! Secrets: kept from logs and from memory that is used again.

use super::{ChapError, SECRET_BYTES_MAX, SECRET_BYTES_MIN, SecretLengthSnafu};
use snafu::ensure;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret of 12 to 255 bytes. It is not printed, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A secret of these bytes.
    ///
    /// # Errors
    /// If there are too few to be safe, or too many.
    pub fn new(bytes: Vec<u8>) -> Result<Self, ChapError> {
        let bytes = Zeroizing::new(bytes);
        let len = bytes.len();
        ensure!((SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&len), SecretLengthSnafu { len });
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(..)")
    }
}
