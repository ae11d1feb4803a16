//! When requests are to be made.
//!
//! In an open loop each request has its planned time, whatever the servers do: one that cannot be sent then waits, and
//! its latency counts from the plan. So a server that stalls is charged for all requests that the stall held up, not
//! only for those that happened to be in its hands ("coordinated omission").

use crate::random::Random;
use std::time::{Duration, Instant};

/// How requests follow each other.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pacing {
    /// As fast as the queues take them.
    Closed,
    /// So many per second.
    Open {
        /// Requests per second, above zero.
        per_second: f64,
        /// How they are spread within the second.
        spacing: Spacing,
    },
}

/// How the requests of an open loop are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spacing {
    /// At equal distances.
    Even,
    /// As independent users make them: a Poisson process.
    Poisson,
}

/// The planned times of requests.
#[derive(Debug)]
pub(crate) struct Schedule {
    pacing: Pacing,
    next: Instant,
    random: Random,
}

impl Schedule {
    /// From now on.
    pub(crate) fn new(pacing: Pacing, now: Instant, random: Random) -> Self {
        if let Pacing::Open { per_second, .. } = pacing {
            assert!(per_second.is_finite() && per_second > 0.0, "{per_second} requests per second");
        }
        Self { pacing, next: now, random }
    }

    /// The planned time of the next request, if it has come.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        match self.pacing {
            Pacing::Closed => Some(now),
            Pacing::Open { .. } => (self.next <= now).then_some(self.next),
        }
    }

    /// The next request was made: on to the one after it.
    pub(crate) fn advance(&mut self) {
        if let Pacing::Open { per_second, spacing } = self.pacing {
            let gap = match spacing {
                Spacing::Even => 1.0,
                // The distance of events of a Poisson process is distributed exponentially.
                Spacing::Poisson => -(1.0 - self.random.unit()).ln(),
            };
            self.next += Duration::from_secs_f64(gap / per_second);
        }
    }

    /// When the next request comes, if the clock decides that.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        matches!(self.pacing, Pacing::Open { .. }).then_some(self.next)
    }

    /// How far behind the plan the requests are.
    pub(crate) fn behind(&self, now: Instant) -> Duration {
        self.wakes_at().map_or(Duration::ZERO, |next| now.saturating_duration_since(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_within(pacing: Pacing, time: Duration) -> u32 {
        let start = Instant::now();
        let mut schedule = Schedule::new(pacing, start, Random::new(9));
        let mut made = 0;
        while schedule.due(start + time).is_some() {
            schedule.advance();
            made += 1;
        }
        made
    }

    #[test]
    fn an_open_loop_makes_its_rate_however_spaced() {
        let ten = Duration::from_secs(10);
        let even = made_within(Pacing::Open { per_second: 1000.0, spacing: Spacing::Even }, ten);
        let poisson = made_within(Pacing::Open { per_second: 1000.0, spacing: Spacing::Poisson }, ten);
        assert!((9_999..=10_001).contains(&even), "{even}");
        assert!((9_700..10_300).contains(&poisson) && poisson != even, "{poisson}");
    }

    #[test]
    fn a_request_that_could_not_be_sent_keeps_its_planned_time() {
        let start = Instant::now();
        let mut schedule =
            Schedule::new(Pacing::Open { per_second: 10.0, spacing: Spacing::Even }, start, Random::new(1));
        let late = start + Duration::from_secs(1);
        assert_eq!(schedule.due(late), Some(start));
        schedule.advance();
        assert_eq!(schedule.due(late), Some(start + Duration::from_millis(100)));
        assert_eq!(schedule.behind(late), Duration::from_millis(900));
    }

    #[test]
    fn a_closed_loop_is_always_due_and_never_behind() {
        let start = Instant::now();
        let schedule = Schedule::new(Pacing::Closed, start, Random::new(1));
        let later = start + Duration::from_secs(5);
        assert_eq!((schedule.due(later), schedule.wakes_at()), (Some(later), None));
        assert_eq!(schedule.behind(later), Duration::ZERO);
    }
}
