//! The simulator, briefly: `make sim` runs more seeds.

use evenkeel_sim::coverage::{Coverage, Row};
use evenkeel_sim::{LogMode, run_seed, run_seeds};

const SEEDS: u64 = 30;
const THREADS: usize = 2;

#[test]
fn thirty_seeds_pass_and_reach_what_they_are_for() {
    let mut coverage = Coverage::default();
    let mut failures = Vec::new();
    run_seeds(1, SEEDS, THREADS, &mut coverage, |outcome| {
        match outcome {
            Ok(summary) => {
                assert!(summary.tally.operations >= 2000, "{summary}");
                assert!(summary.tally.crashes >= 5, "{summary}");
            }
            Err(failure) => failures.push(failure.to_string()),
        }
        true
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    // Where every server holds everything, nothing can move; elsewhere each seed has at least 20.
    assert!(coverage.of(Row::MovesDone) >= 10 * SEEDS, "{}", coverage.table());
    assert!(3 * coverage.of(Row::MovesByBalance) >= coverage.of(Row::MovesDone), "{}", coverage.table());
    // Each rule of the protocol decided something, and each kind of fault happened.
    for group in ["rules", "faults", "barriers", "members", "clients"] {
        let missing: Vec<&str> = coverage.missing_of(group).collect();
        assert!(missing.is_empty(), "never seen: {}\n{}", missing.join("; "), coverage.table());
    }
    for row in [Row::WritesMirrored, Row::CutCopyingSource, Row::CutCopyingTarget, Row::RecordsReplayed] {
        assert!(coverage.of(row) > 0, "{}", coverage.table());
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || run_seed(7, LogMode::Hash, &mut Coverage::default()).unwrap();
    assert_eq!(run(), run());
}
