//! Running seeds: one, or many on several threads.

use crate::checkers::Violation;
use crate::coverage::Coverage;
use crate::log::{Log, LogMode};
use crate::world::{Tally, World};
use evenkeel_types::Time;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines of the log that explain a failure.
const LINES_SHOWN: usize = 60;

/// A seed that passed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Which.
    pub seed: u64,
    /// What it reached.
    pub tally: Tally,
    /// Virtual time.
    pub time: Time,
    /// A hash of its whole event log.
    pub hash: u64,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// The rule that was broken.
    pub violation: Violation,
    /// The last events of the log, as far as they concern it.
    pub events: Vec<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, tally: Tally { operations, moves, crashes }, time, hash } = self;
        let seconds = time.0 as f64 / 1e9;
        write!(f, "seed {seed}: ok {operations} ops, {moves} moves, {crashes} crashes, ")?;
        write!(f, "{seconds:.1} virtual s, hash {hash:016x}")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: FAILED {}", self.seed, self.violation)?;
        for event in &self.events {
            writeln!(f, "  {event}")?;
        }
        write!(f, "replay: cargo run -p evenkeel-sim --release -- --seed {} --log", self.seed)
    }
}

/// Runs one seed; `mode` says what becomes of its event log.
///
/// # Errors
/// The rule that it broke.
pub fn run_seed(seed: u64, mode: LogMode, coverage: &mut Coverage) -> Result<Summary, Box<Failure>> {
    match attempt(seed, mode, coverage) {
        (Ok(summary), _) => Ok(summary),
        (Err(violation), log) if mode == LogMode::Keep => {
            let events = log.last(LINES_SHOWN, violation.extent).map(str::to_owned).collect();
            Err(Box::new(Failure { seed, violation, events }))
        }
        (Err(violation), _) if mode == LogMode::Print => {
            Err(Box::new(Failure { seed, violation, events: Vec::new() }))
        }
        // The same once more, with its lines kept.
        (Err(_), _) => run_seed(seed, LogMode::Keep, &mut Coverage::default()),
    }
}

fn attempt(seed: u64, mode: LogMode, coverage: &mut Coverage) -> (Result<Summary, Violation>, Log) {
    let mut log = Log::new(mode);
    let run = || -> Result<(Tally, Time), Violation> {
        let mut world = World::new(seed, &mut log, coverage)?;
        world.run()?;
        Ok((world.tally, world.now()))
    };
    let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation::new("panic", None, text.unwrap_or_else(|| "a panic without a message".into())))
    });
    (outcome.map(|(tally, time)| Summary { seed, tally, time, hash: log.hash() }), log)
}

/// Runs seeds `first..first + count` on some threads; `show` sees each in order. Stops early if `show` says so.
pub fn run_seeds(
    first: u64,
    count: u64,
    threads: usize,
    coverage: &mut Coverage,
    mut show: impl FnMut(Result<Summary, Box<Failure>>) -> bool + Send,
) {
    let next = AtomicU64::new(first);
    let shown = Mutex::new((first, std::collections::BTreeMap::new(), &mut show, &mut *coverage, false));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let mut own = Coverage::default();
                    let outcome = run_seed(seed, LogMode::Hash, &mut own);
                    let mut shown = shown.lock().expect("no thread panics while it shows a result");
                    let (upto, waiting, show, coverage, stop) = &mut *shown;
                    coverage.merge(&own);
                    waiting.insert(seed, outcome);
                    while let Some(outcome) = waiting.remove(upto) {
                        *upto += 1;
                        *stop |= !*stop && !show(outcome);
                    }
                    if *stop {
                        return;
                    }
                }
            });
        }
    });
}
