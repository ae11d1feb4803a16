//! Randomness from the kernel, for identities that must not repeat.

use std::fs::File;
use std::io::{self, Read};

/// A random number.
///
/// # Errors
/// If the kernel's source cannot be read.
pub(crate) fn random_u64() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
