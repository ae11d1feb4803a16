//! What the demo sees of the group from outside, once a second: who owns which extent, what has moved, and what the
//! servers think of their load.

use super::group::Group;
use super::scenario::{SERVERS, VOLUME};
use super::window::Look;
use crate::failure::Failure;
use evenkeel_api::{LoadTable, MoveState, MovesTable, RouteTable};
use evenkeel_workload::{Load, Sample};
use std::time::Duration;

/// Answers that may fail in a row: a server with much to do may refuse a question.
const FAILURES_MAX: u32 = 10;
/// Longest time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// What has moved so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Moved {
    pub(super) completed: u64,
    pub(super) under_way: u64,
    pub(super) aborted: u64,
    pub(super) bytes: u64,
}

impl Moved {
    fn of(table: &MovesTable) -> Self {
        let under_way = table.moves.iter().filter(|row| row.state == MoveState::Running).count();
        Self {
            completed: table.completed,
            under_way: under_way as u64,
            aborted: table.aborted,
            bytes: table.bytes_sent,
        }
    }
}

/// Sums over the whole run.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) retries: u64,
    pub(super) checked_blocks: u64,
    pub(super) mismatches: u64,
    pub(super) first_trouble: Option<String>,
}

impl Totals {
    /// Whether anything went wrong.
    pub(super) const fn has_trouble(&self) -> bool {
        self.errors + self.mismatches > 0
    }

    fn add(&mut self, sample: &Sample) {
        self.requests += sample.requests();
        self.errors += sample.errors;
        self.retries += sample.retries;
        self.checked_blocks += sample.checked_blocks;
        self.mismatches += sample.mismatches;
        if self.first_trouble.is_none() {
            self.first_trouble.clone_from(&sample.first_trouble);
        }
    }
}

/// The view from outside.
pub(super) struct Watch {
    /// The server of each extent, by number.
    pub(super) owners: Vec<usize>,
    pub(super) moved: Moved,
    /// The load as the first server sees it.
    pub(super) loads: Option<LoadTable>,
    pub(super) totals: Totals,
    failures: u32,
}

impl Watch {
    /// A first look at the routes of the volume.
    pub(super) fn new(group: &Group) -> Result<Self, Failure> {
        let owners = owners(group)?;
        Ok(Self { owners, moved: Moved::default(), loads: None, totals: Totals::default(), failures: 0 })
    }

    /// Looks at the load and at the group.
    pub(super) fn look(&mut self, group: &Group, load: &mut Load) -> Result<Look, Failure> {
        let sample = load.sample().map_err(Failure::failed)?;
        self.totals.add(&sample);
        match self.ask(group) {
            Ok(()) => self.failures = 0,
            Err(failure) => {
                self.failures += 1;
                if self.failures > FAILURES_MAX {
                    return Err(failure);
                }
            }
        }
        Ok(Look::new(sample, &self.owners))
    }

    fn ask(&mut self, group: &Group) -> Result<(), Failure> {
        self.owners = owners(group)?;
        self.moved = Moved::of(&group.client().get_within("/v1/moves", ANSWER_TIMEOUT)?);
        self.loads = Some(group.client().get_within("/v1/load", ANSWER_TIMEOUT)?);
        Ok(())
    }
}

fn owners(group: &Group) -> Result<Vec<usize>, Failure> {
    let path = format!("/v1/volumes/{VOLUME}/route");
    let table: RouteTable = group.client().get_within(&path, ANSWER_TIMEOUT)?;
    let number = |owner: &str| {
        let found = group.names().iter().take(SERVERS).position(|name| name == owner);
        found.ok_or_else(|| {
            Failure::failed(format_args!("an extent of '{VOLUME}' has the unknown owner '{owner}'"))
        })
    };
    table.extents.iter().map(|row| number(&row.owner)).collect()
}
