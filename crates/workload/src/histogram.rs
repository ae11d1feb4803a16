//! Latencies.

use hdrhistogram::Histogram;
use std::time::Duration;

/// The longest latency that is told apart, in microseconds; longer ones count as this one.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Significant digits that are kept.
const DIGITS: u8 = 3;

/// A distribution of latencies, in microseconds within.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u32>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS);
        Self(histogram.expect("the bounds and digits are what the histogram allows"))
    }
}

impl Latencies {
    /// One more.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// All of another distribution too.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all distributions have the same bounds");
    }

    /// The latency that so many percent of all do not exceed; zero if there are none.
    pub fn percentile(&self, percent: f64) -> Duration {
        if self.0.is_empty() {
            Duration::ZERO
        } else {
            Duration::from_micros(self.0.value_at_percentile(percent))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_joined_distributions_are_those_of_all_latencies() {
        let (mut low, mut high) = (Latencies::default(), Latencies::default());
        (1..=980).for_each(|n| low.record(Duration::from_micros(n)));
        (0..20).for_each(|_| high.record(Duration::from_secs(2)));
        low.add(&high);
        assert!((495..=505).contains(&low.percentile(50.0).as_micros()));
        assert!((1990..=2010).contains(&low.percentile(99.0).as_millis()));
        assert_eq!(Latencies::default().percentile(99.0), Duration::ZERO);
        high.record(Duration::from_secs(100_000));
        assert!(high.percentile(100.0) >= Duration::from_secs(3590));
    }
}
