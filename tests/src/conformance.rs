//! The conformance tests of libiscsi: `iscsi-test-cu`, each test in a process of its own.
//!
//! CUnit counts a test that it skipped as passed. Here it is skipped, with the reason that it printed. Some reasons are
//! printed only with `-V`.

use crate::program::run_within;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A test that takes longer has failed. They take some ten milliseconds, a few of them seconds.
const TEST_SECONDS_MAX: u64 = 30;
/// What `iscsi-test-cu` prints before is its own probing of the target, not the test's.
const BANNER: &str = "cunit.sourceforge.net";

/// How a test ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It ran and everything was as it wants it.
    Passed,
    /// It did not apply, for this reason.
    Skipped(String),
    /// It failed, crashed or did not end, with the first line that says so.
    Failed(String),
}

/// A test and how it ended.
#[derive(Debug)]
pub struct Outcome {
    /// `SUITE.TEST`.
    pub test: String,
    /// How it ended.
    pub verdict: Verdict,
}

impl Outcome {
    /// The suite that the test is in.
    #[must_use]
    pub fn suite(&self) -> &str {
        self.test.split('.').next().unwrap_or_default()
    }
}

/// All tests of the installed version, as `SUITE.TEST`.
///
/// # Panics
/// If it is not installed.
#[must_use]
pub fn conformance_tests() -> Vec<String> {
    let listed = run_within(Duration::from_secs(30), "iscsi-test-cu", &["--list"]).stdout;
    let of_all = listed.lines().filter_map(|line| line.trim().strip_prefix("ALL."));
    of_all.filter(|name| name.contains('.')).map(str::to_owned).collect()
}

/// Runs tests that may destroy data. As many run at once as there are targets: each of them works on a volume of its
/// own, given as its URL or the URLs of two ways to it.
///
/// # Panics
/// If the program cannot be run.
#[must_use]
pub fn run_conformance(tests: &[String], targets: &[Vec<String>]) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let mut outcomes: Vec<(usize, Outcome)> = std::thread::scope(|scope| {
        let worker = |urls: &[String]| {
            let mut done = Vec::new();
            while let Some((at, test)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                tests.get(at).map(|test| (at, test))
            } {
                done.push((at, Outcome { test: test.clone(), verdict: run_one(test, urls) }));
            }
            done
        };
        let workers: Vec<_> = targets.iter().map(|urls| scope.spawn(move || worker(urls))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends")).collect()
    });
    outcomes.sort_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn run_one(test: &str, urls: &[String]) -> Verdict {
    let (limit, name) = (TEST_SECONDS_MAX.to_string(), format!("ALL.{test}"));
    let mut args = vec!["--kill-after=5", &limit, "iscsi-test-cu", "-n", "-V", "-d", "-S", "-t", &name];
    args.extend(urls.iter().map(String::as_str));
    let ran = run_within(Duration::from_secs(TEST_SECONDS_MAX + 10), "timeout", &args);
    verdict(&ran.stdout).unwrap_or_else(|| {
        Verdict::Failed(format!("no summary, exit code {}: {}", ran.code, ran.stderr.trim()))
    })
}

/// What the summary says; `None` if there is none, or if no test ran.
fn verdict(printed: &str) -> Option<Verdict> {
    let (_, printed) = printed.split_once(BANNER)?;
    let lines = || printed.lines().map(str::trim);
    let marked = |mark: &str| lines().find(|line| line.starts_with(mark)).map(str::to_owned);
    // Columns of the summary: total, ran, passed, failed, inactive.
    let counts: Vec<u32> = lines()
        .find_map(|line| line.strip_prefix("tests "))?
        .split_whitespace()
        .map_while(|count| count.parse().ok())
        .collect();
    let [_, ran, _, failed, _] = counts[..] else { return None };
    if ran == 0 {
        return None;
    }
    if failed > 0 {
        return Some(Verdict::Failed(marked("1. ").or_else(|| marked("[FAILED]")).unwrap_or_default()));
    }
    Some(marked("[SKIPPED]").map_or(Verdict::Passed, |line| {
        Verdict::Skipped(line.replacen("[SKIPPED]", "", 1).trim().to_owned())
    }))
}

/// A table of the counts per suite, with what was skipped or failed below it.
#[must_use]
pub fn conformance_table(outcomes: &[Outcome]) -> String {
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let (mut total, mut notes) = ([0; 3], String::new());
    for outcome in outcomes {
        let column = match &outcome.verdict {
            Verdict::Passed => 0,
            Verdict::Skipped(why) => {
                let _ = writeln!(notes, "skipped  {}: {why}", outcome.test);
                1
            }
            Verdict::Failed(why) => {
                let _ = writeln!(notes, "FAILED   {}: {why}", outcome.test);
                2
            }
        };
        counts.entry(outcome.suite()).or_default()[column] += 1;
        total[column] += 1;
    }
    let mut table = format!("{:24} {:>7} {:>7} {:>7}\n", "suite", "passed", "skipped", "failed");
    for (suite, [passed, skipped, failed]) in counts.into_iter().chain([("all", total)]) {
        let _ = writeln!(table, "{suite:24} {passed:7} {skipped:7} {failed:7}");
    }
    table + &notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(body: &str, counts: &str) -> String {
        format!(
            "[SKIPPED] while probing\nhttp://cunit.sourceforge.net/\n{body}\n tests {counts}\nasserts 4 4 4 0 n/a\n"
        )
    }

    #[test]
    fn a_skip_counts_as_a_skip_only_behind_the_banner() {
        assert_eq!(verdict(&printed("", "1 1 1 0 0")), Some(Verdict::Passed));
        let skipped = verdict(&printed("    [SKIPPED] VERIFY10 is not implemented.", "1 1 1 0 0"));
        assert_eq!(skipped, Some(Verdict::Skipped("VERIFY10 is not implemented.".into())));
    }

    #[test]
    fn a_failure_outweighs_a_skip_and_names_its_first_assertion() {
        let body = "[SKIPPED] a part\n    1. test_x.c:60  - CU_ASSERT_EQUAL(ret,0)\n    2. more";
        let failed = Verdict::Failed("1. test_x.c:60  - CU_ASSERT_EQUAL(ret,0)".into());
        assert_eq!(verdict(&printed(body, "1 1 0 1 0")), Some(failed));
    }

    #[test]
    fn no_summary_and_no_test_are_no_verdict() {
        assert_eq!(verdict("Failed to connect"), None);
        assert_eq!(verdict("http://cunit.sourceforge.net/\nSegmentation fault"), None);
        assert_eq!(verdict(&printed("", "1 0 0 0 0")), None);
    }
}
