//! What names may look like. Group and volume names become part of iSCSI target names (RFC 7143 section 4.2.7), which
//! allow lower-case letters, digits, dash, dot and colon; the colon separates our parts and is left out.

use snafu::{Snafu, ensure};

/// Bytes of a group's name at most. With a volume's name and the prefix it stays below the 223 bytes of an iSCSI name.
pub const GROUP_NAME_BYTES_MAX: usize = 63;
/// Bytes of a volume's name at most.
pub const VOLUME_NAME_BYTES_MAX: usize = 63;
/// Bytes of a server's name at most.
pub const SERVER_NAME_BYTES_MAX: usize = 63;

/// A name that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
pub enum NameError {
    /// Nothing, or too much.
    #[snafu(display("the {kind} name {name:?} has {} bytes; 1 to {max} are possible", name.len()))]
    Length {
        /// Whose name.
        kind: &'static str,
        /// The name.
        name: String,
        /// The bound, in bytes.
        max: usize,
    },
    /// Something that a target name cannot hold, or a first or last character that is not a letter or digit.
    #[snafu(display(
        "the {kind} name {name:?} is not possible: use a-z, 0-9, '-' and '.', with a letter or digit first and last"
    ))]
    Characters {
        /// Whose name.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

/// # Errors
/// If the name cannot be a group's.
pub fn check_group_name(name: &str) -> Result<(), NameError> {
    check("group", name, GROUP_NAME_BYTES_MAX)
}

/// # Errors
/// If the name cannot be a volume's.
pub fn check_volume_name(name: &str) -> Result<(), NameError> {
    check("volume", name, VOLUME_NAME_BYTES_MAX)
}

/// # Errors
/// If the name cannot be a server's.
pub fn check_server_name(name: &str) -> Result<(), NameError> {
    check("server", name, SERVER_NAME_BYTES_MAX)
}

fn check(kind: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    ensure!((1..=max).contains(&name.len()), LengthSnafu { kind, name, max });
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    let ends = plain(bytes[0]) && plain(bytes[bytes.len() - 1]);
    let inside = bytes.iter().all(|c| plain(*c) || *c == b'-' || *c == b'.');
    ensure!(ends && inside, CharactersSnafu { kind, name });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_target_names_and_keys() {
        for good in ["v1", "a", "db-01.prod", "0"] {
            assert_eq!(check_volume_name(good), Ok(()), "{good}");
        }
        for bad in ["", "V1", "a/b", "a:b", "-a", "a.", "a b", "ä", "a\0", &"a".repeat(64)] {
            assert!(check_volume_name(bad).is_err(), "{bad}");
        }
    }
}
