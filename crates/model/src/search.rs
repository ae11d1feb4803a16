//! Breadth-first search through all states within a bound: what it finds is found on a shortest way.

use crate::bound::Bound;
use crate::check::{Property, check};
use crate::coverage::Coverage;
use crate::heal::Healing;
use crate::next::{Freedom, successors};
use crate::rule::Rules;
use crate::seen::Seen;
use crate::state::State;
use crate::step::Step;
use crate::timeline::Violation;
use std::time::{Duration, Instant};

/// How much a search may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// States looked at, and no more.
    pub states: usize,
    /// Bytes for the states seen, for those of two depths, and for the ways back that are known.
    pub bytes: usize,
    /// The time; none for a search whose outcome must not depend on it.
    pub time: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { states: 200_000_000, bytes: 4 << 30, time: None }
    }
}

/// How a search ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every state within the bound was looked at, and everything holds.
    Holds,
    /// A limit was reached before everything was looked at; what was holds.
    Cut,
    /// Something does not hold.
    Violated(Violation),
}

/// What a search did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// States that were looked at.
    pub states: usize,
    /// Events that led from one state to another, known or not.
    pub events: u64,
    /// Events on the way to the deepest state.
    pub depth: usize,
    /// What the states came across.
    pub coverage: Coverage,
}

/// Searches all states within the bound. With `heals`, each state is also asked for a way back to a group that serves.
#[must_use]
pub fn search(bound: &Bound, rules: Rules, heals: bool, limits: Limits) -> Outcome {
    Search::new(bound, rules, heals, limits).run()
}

struct Search<'a> {
    bound: &'a Bound,
    rules: Rules,
    limits: Limits,
    healing: Option<Healing<'a>>,
    seen: Seen,
    began: Instant,
    outcome: Outcome,
}

impl<'a> Search<'a> {
    fn new(bound: &'a Bound, rules: Rules, heals: bool, limits: Limits) -> Self {
        Self {
            bound,
            rules,
            limits,
            healing: heals.then(|| Healing::new(bound, rules, limits.bytes / 8)),
            // Three eighths for the table, a quarter for each of two depths, and an eighth for the ways back.
            seen: Seen::new(limits.bytes / 8 * 3),
            began: Instant::now(),
            outcome: Outcome {
                verdict: Verdict::Holds,
                states: 0,
                events: 0,
                depth: 0,
                coverage: Coverage::default(),
            },
        }
    }

    fn run(mut self) -> Outcome {
        let first = State::first(self.bound);
        self.seen.add(first.fingerprint(), None);
        let mut depth = vec![first];
        let mut deeper = Vec::new();
        self.outcome.verdict = loop {
            match self.expand(&depth, &mut deeper) {
                Verdict::Holds if deeper.is_empty() => break Verdict::Holds,
                Verdict::Holds => {}
                ended => break ended,
            }
            self.outcome.depth += 1;
            std::mem::swap(&mut depth, &mut deeper);
            deeper.clear();
        };
        self.outcome.states = self.seen.len();
        self.outcome
    }

    fn expand(&mut self, depth: &[State], deeper: &mut Vec<State>) -> Verdict {
        let mut found: Vec<(Step, State)> = Vec::new();
        let depth_max = self.limits.bytes / 4 / size_of::<State>();
        for state in depth {
            let before = state.fingerprint();
            if let Some(remark) = self.healing.as_mut().and_then(|healing| healing.check(state)) {
                return Verdict::Violated(self.violation(before, Property::Heals, Some(remark)));
            }
            found.clear();
            successors(state, self.bound, self.rules, Freedom::Everything, &mut found);
            for (step, next) in found.drain(..) {
                self.outcome.events += 1;
                let fingerprint = next.fingerprint();
                if !self.seen.add(fingerprint, Some(before)) {
                    continue;
                }
                self.outcome.coverage.note(&step, &next);
                if let Some(property) = check(&next, self.rules) {
                    self.outcome.depth += 1;
                    return Verdict::Violated(self.violation(fingerprint, property, None));
                }
                deeper.push(next);
            }
            let late = || self.limits.time.is_some_and(|time| self.began.elapsed() > time);
            let full = self.seen.len() > self.limits.states || deeper.len() > depth_max;
            if full || !self.seen.grow() || late() {
                return Verdict::Cut;
            }
        }
        Verdict::Holds
    }

    /// Goes the way to a state again, for its events.
    fn violation(&self, last: u64, property: Property, remark: Option<&'static str>) -> Violation {
        let mut state = State::first(self.bound);
        let mut steps = Vec::new();
        for fingerprint in self.seen.path(last).into_iter().skip(1) {
            let mut found = Vec::new();
            successors(&state, self.bound, self.rules, Freedom::Everything, &mut found);
            let taken = found.into_iter().find(|(_, next)| next.fingerprint() == fingerprint);
            let (step, next) = taken.expect("the way to a state that was seen can be gone again");
            steps.push(step.to_string());
            state = next;
        }
        Violation { property, steps, remark }
    }
}
