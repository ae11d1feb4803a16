//! Why a process cannot start or go on, for the person who started it.

use std::fmt;

/// One clear line: what failed, on what, and what to do.
#[derive(Debug)]
pub struct ServeError(String);

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServeError {}

/// An error with this line.
pub(crate) fn error(line: impl Into<String>) -> ServeError {
    ServeError(line.into())
}
