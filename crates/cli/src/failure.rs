//! How a command fails: one line for the person, one exit code for the script.

use std::fmt::{self, Display};
use std::io::Write;
use std::process::ExitCode;

/// Exit codes of the program. Scripts depend on them: numbers never change their meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// All that was asked for was done.
    Ok = 0,
    /// It was not done, or not wholly.
    Failed = 1,
    /// The command line or the configuration file is wrong; nothing was tried.
    Usage = 2,
    /// A check was done to its end and found something.
    Found = 3,
    /// The group could not be reached, or did not get there in time.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Of which kind it is.
    pub(crate) exit: Exit,
    /// What failed, on what, and what to do.
    line: String,
}

impl Failure {
    /// A failure of the given kind. Line breaks in `line` become spaces: a failure is one line.
    pub(crate) fn new(exit: Exit, line: impl Display) -> Self {
        let line = line.to_string();
        Self {
            exit,
            line: line.lines().map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
        }
    }

    /// The command was not carried out.
    pub(crate) fn failed(line: impl Display) -> Self {
        Self::new(Exit::Failed, line)
    }

    /// What the argument parser has to say, without its layout over several lines.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self::new(Exit::Usage, "no command given; '--help' lists the commands");
        }
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let wanted = |line: &&str| !line.is_empty() && !line.starts_with("Usage:");
        let parts: Vec<_> =
            text.lines().map(str::trim).filter(wanted).map(|line| line.trim_end_matches('.')).collect();
        Self::new(Exit::Usage, parts.join("; ").replace(":; ", ": ").replace("; For more", "; for more"))
    }

    /// Says it on stderr. If even that is impossible the exit code still tells.
    pub(crate) fn report(&self) {
        let _ = writeln!(std::io::stderr(), "evenkeel: {self}");
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_whatever_it_is_made_of() {
        assert_eq!(Failure::failed("a\n\n  b\r\nc").line, "a b c");
    }
}
