//! Figures over the last seconds.

use super::scenario::SERVERS;
use evenkeel_workload::{Latencies, Sample};
use std::collections::VecDeque;
use std::time::Duration;

/// One look at the load: what it did since the last one, and which server owned the extents that it asked.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) sample: Sample,
    /// Requests by the server that owned their extent.
    pub(super) by_server: [u64; SERVERS],
}

impl Look {
    /// `owners` names the server of each extent at the end of the sample.
    pub(super) fn new(sample: Sample, owners: &[usize]) -> Self {
        let mut by_server = [0; SERVERS];
        for (count, owner) in sample.per_extent.iter().zip(owners) {
            by_server[*owner] += u64::from(*count);
        }
        Self { sample, by_server }
    }
}

/// The looks of the last seconds.
#[derive(Debug)]
pub(super) struct Window {
    length: Duration,
    looks: VecDeque<Look>,
    covered: Duration,
}

/// A look may come this much early without making the window too short.
const SLACK: Duration = Duration::from_millis(250);

impl Window {
    /// Of this length, without looks yet.
    pub(super) const fn new(length: Duration) -> Self {
        Self { length, looks: VecDeque::new(), covered: Duration::ZERO }
    }

    /// Takes a look in, and lets go of those that are too old.
    pub(super) fn push(&mut self, look: Look) {
        self.covered += look.sample.time;
        self.looks.push_back(look);
        while let Some(first) = self.looks.front()
            && self.covered.saturating_sub(first.sample.time) + SLACK >= self.length
        {
            self.covered -= first.sample.time;
            self.looks.pop_front();
        }
    }

    /// Whether its whole length was looked at.
    pub(super) fn is_full(&self) -> bool {
        self.covered + SLACK >= self.length
    }

    /// The figures of the window.
    pub(super) fn figures(&self) -> Figures {
        let mut latencies = Latencies::default();
        let mut by_server = [0; SERVERS];
        let mut requests = 0;
        for look in &self.looks {
            latencies.add(&look.sample.latencies);
            requests += look.sample.requests();
            for (sum, count) in by_server.iter_mut().zip(look.by_server) {
                *sum += count;
            }
        }
        let total: u64 = by_server.iter().sum();
        let share = |count: u64| if total == 0 { 0.0 } else { count as f64 / total as f64 };
        let shares = by_server.map(share);
        Figures {
            imbalance: shares.iter().fold(0.0, |max: f64, share| max.max(*share)) * SERVERS as f64,
            shares,
            throughput: if self.covered.is_zero() {
                0.0
            } else {
                requests as f64 / self.covered.as_secs_f64()
            },
            p50: latencies.percentile(50.0),
            p99: latencies.percentile(99.0),
        }
    }
}

/// What a window shows.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Figures {
    /// Most requests of a server over the mean; 1 is perfect, 0 stands for no requests.
    pub(super) imbalance: f64,
    /// Each server's share of the requests.
    pub(super) shares: [f64; SERVERS],
    /// Requests per second that ended.
    pub(super) throughput: f64,
    /// Half of the requests took no longer.
    pub(super) p50: Duration,
    /// 99 % of the requests took no longer.
    pub(super) p99: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(counts: [u32; 4], latency_ms: u64) -> Look {
        let mut sample = Sample::new(4);
        sample.time = Duration::from_secs(1);
        sample.per_extent = counts.to_vec();
        sample.reads = counts.iter().map(|count| u64::from(*count)).sum();
        (0..sample.reads).for_each(|_| sample.latencies.record(Duration::from_millis(latency_ms)));
        Look::new(sample, &[0, 1, 2, 0])
    }

    #[test]
    fn imbalance_is_the_most_of_a_server_over_the_mean() {
        let mut window = Window::new(Duration::from_secs(2));
        window.push(look([40, 20, 20, 20], 1));
        let figures = window.figures();
        assert_eq!(figures.shares, [0.6, 0.2, 0.2]);
        assert!((figures.imbalance - 1.8).abs() < 1e-9 && (figures.throughput - 100.0).abs() < 1e-9);
        assert!(!window.is_full());
    }

    #[test]
    fn what_is_older_than_the_window_no_longer_counts() {
        let mut window = Window::new(Duration::from_secs(2));
        window.push(look([100, 0, 0, 0], 900));
        window.push(look([1, 1, 1, 0], 1));
        window.push(look([1, 1, 1, 0], 1));
        assert!(window.is_full());
        let figures = window.figures();
        assert!((figures.imbalance - 1.0).abs() < 1e-9 && figures.p99 < Duration::from_millis(2));
        assert_eq!(Window::new(Duration::from_secs(2)).figures(), Figures::default());
    }
}
