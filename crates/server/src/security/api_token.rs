//! The tokens that calls of the admin API show: one a line of a file, read again whenever it changes, so that a token is
//! replaced without a restart.
//!
//! ```text
//! # may do everything
//! 8Yq...
//! # may only look: for a monitoring
//! kP3... read
//! ```

use super::files;
use crate::error::{ServeError, error};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Characters of a token.
pub(crate) const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 24..=256;
/// Tokens in a file at most.
pub(crate) const TOKENS_MAX: usize = 32;
/// Random bytes of a token that this program makes.
const TOKEN_BYTES: usize = 32;

/// What the holder of a token may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Right {
    /// Look: `GET`.
    Read,
    /// Everything.
    All,
}

/// What is kept of a token: enough to recognise it.
struct Known {
    hash: [u8; 32],
    right: Right,
}

/// A file of tokens.
pub(crate) struct TokenFile {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    stamp: Option<Stamp>,
    tokens: Vec<Known>,
}

/// By which a changed file is noticed: device, inode, length, and time of the last change with its nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec()))
}

/// A new token.
///
/// # Errors
/// One line if there are no random numbers.
pub(crate) fn fresh() -> Result<String, ServeError> {
    let mut bytes = [0; TOKEN_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| error("no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The first token of a text, whatever it may do.
pub(crate) fn first(text: &str) -> Option<&str> {
    lines(text).find_map(|(_, line)| line.split_whitespace().next())
}

/// The first token of a text that may do everything.
pub(crate) fn first_with_all_rights(text: &str) -> Option<&str> {
    lines(text).find_map(|(_, line)| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [token] => Some(token),
        _ => None,
    })
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn parse(text: &str) -> Result<Vec<Known>, String> {
    let mut tokens = Vec::new();
    for (number, line) in lines(text) {
        let mut words = line.split_whitespace();
        let token = words.next().unwrap_or_default();
        let right = match (words.next(), words.next()) {
            (None, _) => Right::All,
            (Some("read"), None) => Right::Read,
            _ => {
                return Err(format!(
                    "line {number}: write a token, and 'read' behind it if it may only look"
                ));
            }
        };
        if !TOKEN_CHARS.contains(&token.len()) || !token.bytes().all(|c| c.is_ascii_graphic()) {
            let (least, most) = (TOKEN_CHARS.start(), TOKEN_CHARS.end());
            return Err(format!(
                "line {number}: a token of {} characters; use {least} to {most} letters, digits and signs",
                token.chars().count()
            ));
        }
        tokens.push(Known { hash: hash(token), right });
    }
    if tokens.is_empty() || tokens.len() > TOKENS_MAX {
        return Err(format!("{} tokens: write 1 to {TOKENS_MAX}, one a line", tokens.len()));
    }
    Ok(tokens)
}

fn hash(token: &str) -> [u8; 32] {
    let found = digest(&SHA256, token.as_bytes());
    found.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// One line: it cannot be read, others may read it, or what is in it is no token.
    pub(crate) fn open(path: PathBuf) -> Result<Self, ServeError> {
        let stamp = stamp(&path);
        let tokens = Self::read(&path)?;
        Ok(Self { path, state: Mutex::new(State { stamp, tokens }) })
    }

    fn read(path: &Path) -> Result<Vec<Known>, ServeError> {
        let text = files::read_secret(path)?;
        parse(&text).map_err(|why| error(format!("API tokens '{}' {why}", path.display())))
    }

    /// What the holder of this token may do; nothing if it is none. The time that this takes tells nothing about the
    /// tokens.
    pub(crate) fn right_of(&self, token: &str) -> Option<Right> {
        let shown = hash(token);
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.refresh(&mut state);
        let mut right = None;
        for known in &state.tokens {
            if verify_slices_are_equal(&known.hash, &shown).is_ok() {
                right = right.max(Some(known.right));
            }
        }
        right
    }

    /// A changed file counts from now on; one that cannot be read changes nothing.
    fn refresh(&self, state: &mut State) {
        let found = stamp(&self.path);
        if found == state.stamp {
            return;
        }
        state.stamp = found;
        match Self::read(&self.path) {
            Ok(tokens) => {
                tracing::info!("read '{}' again: {} API tokens", self.path.display(), tokens.len());
                state.tokens = tokens;
            }
            Err(e) => tracing::error!("the API tokens stay as they were: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "an-admin-token-0123456789";
    const LOOK: &str = "a-looking-token-0123456789";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api-token");
        files::write_secret(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_token_has_the_right_of_its_line_and_other_words_have_none() {
        let (_folder, path) = file(&format!("# for people\n{ADMIN}\n\n{LOOK} read\n"));
        let tokens = TokenFile::open(path).unwrap();
        assert_eq!(tokens.right_of(ADMIN), Some(Right::All));
        assert_eq!(tokens.right_of(LOOK), Some(Right::Read));
        let shorter = &ADMIN[..ADMIN.len() - 1];
        for wrong in ["", "#", "read", shorter, &format!("{ADMIN} "), &format!("{LOOK} read")] {
            assert_eq!(tokens.right_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_changed_file_counts_at_once_and_a_broken_one_changes_nothing() {
        let (_folder, path) = file(ADMIN);
        let tokens = TokenFile::open(path.clone()).unwrap();
        files::write_secret(&path, LOOK).unwrap();
        assert_eq!((tokens.right_of(ADMIN), tokens.right_of(LOOK)), (None, Some(Right::All)));
        files::write_secret(&path, "short").unwrap();
        assert_eq!((tokens.right_of("short"), tokens.right_of(LOOK)), (None, Some(Right::All)));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(tokens.right_of(LOOK), Some(Right::All));
    }

    #[test]
    fn a_file_that_is_none_of_tokens_is_refused_in_one_line() {
        for (text, named) in [
            ("", "0 tokens"),
            ("# nothing\n", "0 tokens"),
            ("too-short\n", "line 1: a token of 9 characters"),
            (&format!("{ADMIN}\n{LOOK} write\n"), "line 2: write a token"),
            (&format!("{LOOK} read read\n"), "line 1: write a token"),
            (&"x".repeat(257), "a token of 257 characters"),
            (&format!("{ADMIN}\n").repeat(33), "33 tokens"),
        ] {
            let (_folder, path) = file(text);
            let why = TokenFile::open(path).err().unwrap().to_string();
            assert!(why.contains(named) && why.contains("api-token") && !why.contains('\n'), "{why}");
            assert!(!why.contains(ADMIN) && !why.contains(LOOK), "a secret in an error: {why}");
        }
    }

    #[test]
    fn fresh_tokens_are_tokens_and_differ() {
        let (one, two) = (fresh().unwrap(), fresh().unwrap());
        assert_ne!(one, two);
        assert_eq!(parse(&one).unwrap().len(), 1);
        assert_eq!(first_with_all_rights(&format!("# x\n{LOOK} read\n{one}\n{two}")), Some(one.as_str()));
    }
}
