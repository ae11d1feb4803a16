//! The event log: one line for each thing that happened. Its hash names a run; its lines explain a failure.

use evenkeel_types::{ExtentId, Time};
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{BufWriter, Stdout, Write as _, stdout};

/// Lines that are kept to explain a failure.
const LINES_KEPT_MAX: usize = 200_000;

/// What becomes of the lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogMode {
    /// They are hashed only.
    Hash,
    /// They are kept.
    Keep,
    /// They are written to standard output.
    Print,
}

/// What a line is about: it decides whether the line helps to explain a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    /// One extent.
    Extent(ExtentId),
    /// All of the group: a crash, a directory revision.
    Group,
    /// Something that happens all the time.
    Routine,
}

/// The log of one run.
#[derive(Debug)]
pub struct Log {
    mode: LogMode,
    hash: u64,
    events: u64,
    line: String,
    out: BufWriter<Stdout>,
    kept: VecDeque<(About, String)>,
}

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new(mode: LogMode) -> Self {
        Self {
            mode,
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            line: String::new(),
            out: BufWriter::new(stdout()),
            kept: VecDeque::new(),
        }
    }

    /// Adds a line.
    pub(crate) fn event(&mut self, now: Time, about: About, what: fmt::Arguments<'_>) {
        self.line.clear();
        writeln!(self.line, "{now} {what}").expect("writing to a string does not fail");
        self.events += 1;
        for byte in self.line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        match self.mode {
            LogMode::Hash => {}
            // Who reads no further has seen enough.
            LogMode::Print => drop(self.out.write_all(self.line.as_bytes())),
            LogMode::Keep => {
                if self.kept.len() == LINES_KEPT_MAX {
                    self.kept.pop_front();
                }
                self.kept.push_back((about, self.line.clone()));
            }
        }
    }

    /// A hash of all lines.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there were.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The last lines about an extent and the whole group, or about anything but routine; oldest first.
    pub fn last(&self, count: usize, about: Option<ExtentId>) -> impl Iterator<Item = &str> {
        let fits = move |line: &&(About, String)| match (line.0, about) {
            (About::Extent(found), Some(wanted)) => found == wanted,
            (About::Extent(_), None) | (About::Group, _) => true,
            (About::Routine, _) => false,
        };
        let mut lines: Vec<&str> =
            self.kept.iter().rev().filter(fits).take(count).map(|(_, line)| line.trim_end()).collect();
        lines.reverse();
        lines.into_iter()
    }
}
