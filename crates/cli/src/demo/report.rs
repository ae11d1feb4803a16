//! What came out: as one JSON object, in words, and whether all of it held.

use super::live::latency;
use super::phases::VOLUME_BLOCKS;
use super::scenario::{
    HotSpot, IMBALANCE_AFTER_MAX, IMBALANCE_BEFORE_MIN, IMBALANCE_UNBALANCED_MIN, MOVED_SHARE_MAX, SERVERS,
    VOLUME_BYTES,
};
use super::watch::{Moved, Totals};
use super::window::Figures;
use crate::display::{per_second, percent};
use evenkeel_api::show_size;
use serde::Serialize;
use std::time::Duration;

/// Everything that was measured.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) seed: u64,
    /// Whether the servers were allowed to balance.
    pub(super) balanced: bool,
    /// Requests per second that were asked for throughout.
    pub(super) offered: f64,
    pub(super) hot_spots: [HotSpot; 2],
    pub(super) before: Figures,
    pub(super) after: Figures,
    pub(super) after_shift: Figures,
    /// How long it took until a whole window was even, ...
    pub(super) evened: Option<Duration>,
    /// ... and after the shift.
    pub(super) evened_again: Option<Duration>,
    pub(super) moved: Moved,
    pub(super) totals: Totals,
    /// Blocks read back through another server than the one that took the write.
    pub(super) verified_blocks: u64,
    pub(super) time: Duration,
}

/// The object that `--json` prints. Its fields are a contract.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    seed: u64,
    servers: usize,
    balanced: bool,
    offered: f64,
    hot_extents: [u32; 2],
    imbalance_before: f64,
    imbalance_after: f64,
    imbalance_after_shift: f64,
    p99_before_ms: f64,
    p99_after_ms: f64,
    p99_after_shift_ms: f64,
    throughput_before: f64,
    throughput_after: f64,
    throughput_after_shift: f64,
    evened_s: Option<f64>,
    evened_again_s: Option<f64>,
    moves: u64,
    moves_aborted: u64,
    bytes_moved: u64,
    requests: u64,
    io_errors: u64,
    io_retries: u64,
    mismatches: u64,
    checked_blocks: u64,
    verified_blocks: u64,
    seconds: f64,
    failures: Vec<String>,
}

impl Outcome {
    /// Everything that should have held and did not.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                failures.push(what);
            }
        };
        let trouble = self.totals.first_trouble.as_deref().unwrap_or_default();
        must(self.totals.errors == 0, format!("{} requests failed, first: {trouble}", self.totals.errors));
        must(
            self.totals.mismatches == 0,
            format!(
                "{} blocks held something else than was written, first: {trouble}",
                self.totals.mismatches
            ),
        );
        must(
            self.verified_blocks == VOLUME_BLOCKS,
            format!("{} of {VOLUME_BLOCKS} blocks were read back", self.verified_blocks),
        );
        let windows =
            [("before", &self.before), ("after", &self.after), ("after the shift", &self.after_shift)];
        if !self.balanced {
            for (when, figures) in windows {
                let imbalance = figures.imbalance;
                must(
                    imbalance >= IMBALANCE_UNBALANCED_MIN,
                    format!(
                        "imbalance {when} is {imbalance:.2}, without balancing at least {IMBALANCE_UNBALANCED_MIN} was expected"
                    ),
                );
            }
            return failures;
        }
        let imbalance = self.before.imbalance;
        must(
            imbalance >= IMBALANCE_BEFORE_MIN,
            format!("imbalance before is {imbalance:.2}, at least {IMBALANCE_BEFORE_MIN} was expected"),
        );
        for (when, figures) in &windows[1..] {
            let imbalance = figures.imbalance;
            must(
                imbalance > 0.0 && imbalance <= IMBALANCE_AFTER_MAX,
                format!("imbalance {when} is {imbalance:.2}, at most {IMBALANCE_AFTER_MAX} was expected"),
            );
        }
        must(
            self.after.p99 < self.before.p99,
            format!("p99 is {} after and was {} before", latency(self.after.p99), latency(self.before.p99)),
        );
        must(
            self.after.throughput > self.before.throughput,
            format!(
                "{} requests/s were served after and {} before",
                per_second(self.after.throughput),
                per_second(self.before.throughput)
            ),
        );
        let moved_share = self.moved.bytes as f64 / VOLUME_BYTES as f64;
        must(moved_share <= MOVED_SHARE_MAX, format!("{} of the volume was moved", percent(moved_share)));
        failures
    }

    /// The result as one line of JSON.
    pub(super) fn json(&self) -> String {
        let ms = |time: Duration| rounded(time.as_secs_f64() * 1e3, 1e3);
        let seconds = |time: Duration| rounded(time.as_secs_f64(), 10.0);
        let summary = Summary {
            seed: self.seed,
            servers: SERVERS,
            balanced: self.balanced,
            offered: self.offered,
            hot_extents: self.hot_spots.map(|spot| spot.extent),
            imbalance_before: rounded(self.before.imbalance, 1e3),
            imbalance_after: rounded(self.after.imbalance, 1e3),
            imbalance_after_shift: rounded(self.after_shift.imbalance, 1e3),
            p99_before_ms: ms(self.before.p99),
            p99_after_ms: ms(self.after.p99),
            p99_after_shift_ms: ms(self.after_shift.p99),
            throughput_before: rounded(self.before.throughput, 10.0),
            throughput_after: rounded(self.after.throughput, 10.0),
            throughput_after_shift: rounded(self.after_shift.throughput, 10.0),
            evened_s: self.evened.map(seconds),
            evened_again_s: self.evened_again.map(seconds),
            moves: self.moved.completed,
            moves_aborted: self.moved.aborted,
            bytes_moved: self.moved.bytes,
            requests: self.totals.requests,
            io_errors: self.totals.errors,
            io_retries: self.totals.retries,
            mismatches: self.totals.mismatches,
            checked_blocks: self.totals.checked_blocks,
            verified_blocks: self.verified_blocks,
            seconds: seconds(self.time),
            failures: self.failures(),
        };
        serde_json::to_string(&summary).expect("numbers and texts can be written as JSON")
    }

    /// The result for people.
    pub(super) fn words(&self, names: &[String]) -> String {
        let row = |what: &str, of: &dyn Fn(&Figures) -> String| {
            let [a, b, c] = [&self.before, &self.after, &self.after_shift].map(of);
            format!("  {what:<20} {a:>12} {b:>12} {c:>18}\n")
        };
        let mut text = format!("\n  {:<20} {:>12} {:>12} {:>18}\n", "", "before", "after", "after the shift");
        for (number, name) in names.iter().enumerate() {
            text += &row(&format!("share of {name}"), &|figures| percent(figures.shares[number]));
        }
        text += &row("imbalance", &|figures| format!("{:.2}", figures.imbalance));
        text += &row("requests/s", &|figures| per_second(figures.throughput));
        text += &row("p50", &|figures| latency(figures.p50));
        text += &row("p99", &|figures| latency(figures.p99));
        text += &format!("\n{}", self.story(names));
        text
    }

    fn story(&self, names: &[String]) -> String {
        let [first, second] = &self.hot_spots;
        let mut text = format!(
            "{} requests/s were asked for throughout, first around extent {} ({}'s), then around extent {} ({}'s).\n",
            per_second(self.offered),
            first.extent,
            names[first.server],
            second.extent,
            names[second.server],
        );
        if self.balanced {
            let when = |evened: Option<Duration>, since: &str| match evened {
                Some(time) => format!("{} s after {since}", time.as_secs()),
                None => format!("not in time after {since}"),
            };
            text += &format!(
                "The servers moved {} extents while they were in use, {} or {} of the volume. The load of a whole \
                 window was even {}, and {}.\n",
                self.moved.completed,
                show_size(self.moved.bytes),
                percent(self.moved.bytes as f64 / VOLUME_BYTES as f64),
                when(self.evened, "balancing began"),
                when(self.evened_again, "the shift"),
            );
        } else {
            text += "The servers were not allowed to balance.\n";
        }
        text += &format!(
            "{} blocks were read back through another server than the one that took the write, {} were checked in all: \
             {} mismatches, {} errors.\n",
            self.verified_blocks, self.totals.checked_blocks, self.totals.mismatches, self.totals.errors,
        );
        for failure in self.failures() {
            text += &format!("NOT AS IT SHOULD BE: {failure}\n");
        }
        text
    }
}

fn rounded(number: f64, steps: f64) -> f64 {
    (number * steps).round() / steps
}

#[cfg(test)]
mod tests;
