//! Deep searches and random walks for as long as there is time.

use crate::cases::{DEEP, Held, WIDE};
use crate::cli::{say, tell};
use crate::coverage::Coverage;
use crate::rule::Rules;
use crate::search::{Limits, Verdict, search};
use crate::walk::walk;
use std::time::{Duration, Instant};

/// Events of a random walk at most.
const WALK_LENGTH: usize = 150;

/// A half of the time goes to searches of the deep bounds, each as far as it gets; the other half to random walks within
/// the wide ones. Whether everything holds.
pub(crate) fn soak(time: Duration, seed: u64, bytes: usize) -> bool {
    let share = time / 2 / DEEP.len() as u32;
    let walk_share = time / 2 / WIDE.len() as u32;
    let mut well = true;
    for Held { bound, heals, .. } in DEEP {
        let began = Instant::now();
        let limits = Limits { bytes, time: Some(share), ..Limits::default() };
        let outcome = search(bound, Rules::ALL, *heals, limits);
        tell(bound, None, &outcome, began.elapsed());
        if let Verdict::Violated(violation) = outcome.verdict {
            say(&violation);
            well = false;
        }
    }
    let mut coverage = Coverage::default();
    for bound in WIDE {
        let began = Instant::now();
        let walked = walk(bound, Rules::ALL, seed, WALK_LENGTH, |_| began.elapsed() > walk_share);
        say(&format_args!(
            "{}: {} walks from number {seed} on, {} events, {} ways back found",
            bound.name, walked.walks, walked.events, walked.healed
        ));
        coverage.add(&walked.coverage);
        if let Some((number, violation)) = walked.violation {
            say(&format_args!("walk {number}:\n{violation}"));
            well = false;
        }
    }
    say(&format_args!("walks came across: {coverage}"));
    well
}
