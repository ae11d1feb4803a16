//! The judges. Each keeps its own picture of what may be, from what clients saw, what the directory decided and what the
//! stores were told; none asks the engine.

pub(crate) mod marks;
pub(crate) mod register;
pub(crate) mod routing;
pub(crate) mod space;
pub(crate) mod versions;

use evenkeel_types::ExtentId;
use std::fmt;

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which checker noticed it.
    pub checker: &'static str,
    /// What is wrong.
    pub what: String,
    /// The extent that it concerns, if it concerns one.
    pub extent: Option<ExtentId>,
}

impl Violation {
    pub(crate) fn new(checker: &'static str, extent: impl Into<Option<ExtentId>>, what: String) -> Self {
        Self { checker, what, extent: extent.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} checker: {}", self.checker, self.what)?;
        match self.extent {
            Some(extent) => write!(f, " (extent {extent})"),
            None => Ok(()),
        }
    }
}
