//! How long hosts' requests take at the owner, and how fast lost copies may be made anew beside them.
//!
//! Moves that make copies anew, or empty a server, are to be hardly felt. While there are none, the 99th percentile of what
//! requests take is learned; while there are, their rate falls in each window in which it is more than [`FELT_AT`] of that,
//! and grows by as much in each other one. So it settles where requests feel it in half of the windows. Where even the
//! lowest rate does not help for a while, something else is the reason, and what is seen is taken for what is usual from then
//! on.

use crate::config::{
    FOREGROUND_SAMPLES_MIN, FOREGROUND_WINDOW, REBUILD_RATE_MAX, REBUILD_RATE_MIN, REBUILD_RATE_START,
};
use evenkeel_types::Time;
use std::time::Duration;

/// The share of what is usual, in percent, above which requests feel the copies.
const FELT_AT: u64 = 115;
/// By how much the rate falls or grows at once: three halves.
const STEP: (u64, u64) = (3, 2);
/// How much of a new window goes into what is usual, as a part: 1 of so many.
const LEARNED_PART: u64 = 8;
/// Windows at the lowest rate after which the copies are not taken for the reason any more.
const WINDOWS_AT_MIN_MAX: u32 = 15;
/// Sub-buckets of each power of two: a percentile is exact to about 6 %.
const SUB_BUCKETS: usize = 16;
const SUB_BITS: u32 = SUB_BUCKETS.trailing_zeros();
/// Times of 2^40 ns and more, some 18 minutes, count as that.
const BUCKETS: usize = SUB_BUCKETS * (40 - SUB_BITS as usize + 1);

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Foreground {
    /// How many requests took about so long, in the present window.
    buckets: Box<[u32; BUCKETS]>,
    count: u32,
    since: Time,
    /// The percentile that is usual without copies, in nanoseconds; none before the first window with enough requests.
    usual: Option<u64>,
    /// Bytes per second for all such moves together.
    rate: u64,
    windows_at_min: u32,
}

impl Foreground {
    pub(crate) fn new(now: Time) -> Self {
        let (buckets, count, windows_at_min) = (Box::new([0; BUCKETS]), 0, 0);
        Self { buckets, count, since: now, usual: None, rate: REBUILD_RATE_START, windows_at_min }
    }

    /// A request was answered after that time.
    pub(crate) fn note(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
    }

    /// Requests in the present window.
    #[cfg(test)]
    pub(crate) const fn seen(&self) -> u32 {
        self.count
    }

    /// Bytes per second for all moves together that make copies anew.
    pub(crate) const fn rate(&self) -> u64 {
        self.rate
    }

    /// To be called often; once in a window it judges what was seen in it. Whether it did.
    pub(crate) fn judge(&mut self, now: Time, are_made: bool) -> bool {
        if now.since(self.since) < FOREGROUND_WINDOW {
            return false;
        }
        let seen = (self.count >= FOREGROUND_SAMPLES_MIN).then(|| self.percentile_99());
        (self.count, self.since) = (0, now);
        self.buckets.fill(0);
        if are_made {
            self.adjust(seen);
        } else {
            self.rate = REBUILD_RATE_START;
            self.windows_at_min = 0;
            if let Some(seen) = seen {
                self.learn(seen);
            }
        }
        true
    }

    fn learn(&mut self, seen: u64) {
        let usual = self.usual.unwrap_or(seen);
        self.usual = Some(usual - usual / LEARNED_PART + seen / LEARNED_PART);
    }

    fn adjust(&mut self, seen: Option<u64>) {
        let is_felt = match (seen, self.usual) {
            (Some(seen), Some(usual)) => seen > usual / 100 * FELT_AT,
            // Whoever begins now is used to it.
            (Some(seen), None) => {
                self.usual = Some(seen);
                false
            }
            (None, _) => false,
        };
        if !is_felt {
            self.windows_at_min = 0;
            self.rate = (self.rate * STEP.0 / STEP.1).min(REBUILD_RATE_MAX);
            return;
        }
        self.rate = (self.rate * STEP.1 / STEP.0).max(REBUILD_RATE_MIN);
        if self.rate == REBUILD_RATE_MIN {
            self.windows_at_min += 1;
        }
        if self.windows_at_min > WINDOWS_AT_MIN_MAX {
            self.windows_at_min = 0;
            self.usual = seen;
        }
    }

    fn percentile_99(&self) -> u64 {
        let mut above = self.count / 100;
        for (bucket, count) in self.buckets.iter().enumerate().rev() {
            if *count > above {
                return lowest_of(bucket);
            }
            above -= count;
        }
        0
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < SUB_BUCKETS as u64 {
        return nanos as usize;
    }
    let power = nanos.ilog2();
    let sub = (nanos >> (power - SUB_BITS)) as usize & (SUB_BUCKETS - 1);
    ((power - SUB_BITS + 1) as usize * SUB_BUCKETS + sub).min(BUCKETS - 1)
}

/// The shortest time of a bucket, in nanoseconds.
const fn lowest_of(bucket: usize) -> u64 {
    if bucket < SUB_BUCKETS {
        return bucket as u64;
    }
    let (power, sub) = (bucket / SUB_BUCKETS - 1, bucket % SUB_BUCKETS);
    ((SUB_BUCKETS + sub) as u64) << power
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A second in which requests take that long, but for one of a hundred.
    fn window(foreground: &mut Foreground, now: &mut Time, took: Duration, are_made: bool) {
        for n in 0..200 {
            foreground.note(if n % 100 == 0 { took * 20 } else { took });
        }
        *now = *now + FOREGROUND_WINDOW;
        assert!(foreground.judge(*now, are_made));
    }

    fn used_to(took: Duration) -> (Foreground, Time) {
        let mut now = Time(0);
        let mut foreground = Foreground::new(now);
        for _ in 0..30 {
            window(&mut foreground, &mut now, took, false);
        }
        (foreground, now)
    }

    #[test]
    fn a_time_is_in_a_bucket_that_begins_at_most_a_sixteenth_below_it() {
        for nanos in
            (0..39).flat_map(|power| [1u64 << power, (1 << power) + 1, (3 << power) / 2, (2 << power) - 1])
        {
            let lowest = lowest_of(bucket(nanos));
            assert!(lowest <= nanos && nanos - lowest <= nanos / 16, "{nanos}: {lowest}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_rate_falls_while_requests_feel_the_copies_and_grows_while_not() {
        let (mut foreground, mut now) = used_to(MS);
        window(&mut foreground, &mut now, MS * 2, true);
        let felt = foreground.rate();
        assert_eq!(felt, REBUILD_RATE_START * 2 / 3);
        window(&mut foreground, &mut now, MS * 2, true);
        assert_eq!(foreground.rate(), felt * 2 / 3);
        window(&mut foreground, &mut now, MS, true);
        assert!(foreground.rate().abs_diff(felt) < 2);
        for _ in 0..100 {
            window(&mut foreground, &mut now, MS, true);
        }
        assert_eq!(foreground.rate(), REBUILD_RATE_MAX);
    }

    #[test]
    fn what_is_seen_beside_copies_is_not_learned() {
        let (mut foreground, mut now) = used_to(MS);
        for _ in 0..15 {
            window(&mut foreground, &mut now, MS * 3, true);
        }
        assert_eq!(foreground.rate(), REBUILD_RATE_MIN);
        window(&mut foreground, &mut now, MS, false);
        assert_eq!(foreground.rate(), REBUILD_RATE_START);
        window(&mut foreground, &mut now, MS * 3, true);
        assert_eq!(foreground.rate(), REBUILD_RATE_START * 2 / 3);
    }

    #[test]
    fn where_the_lowest_rate_does_not_help_something_else_is_the_reason() {
        let (mut foreground, mut now) = used_to(MS);
        for _ in 0..40 {
            window(&mut foreground, &mut now, MS * 3, true);
        }
        assert!(foreground.rate() > REBUILD_RATE_MIN);
    }

    #[test]
    fn few_requests_say_nothing_and_hinder_nothing() {
        let (mut foreground, mut now) = used_to(MS);
        for _ in 0..5 {
            foreground.note(MS * 50);
            now = now + FOREGROUND_WINDOW;
            assert!(foreground.judge(now, true));
        }
        assert!(foreground.rate() > REBUILD_RATE_START);
    }
}
