//! The clocks of servers, which are never quite right.

use crate::rng::Rng;
use evenkeel_types::Time;
use std::time::Duration;

/// A server's own clock: it began at another time and runs a little faster or slower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SkewedClock {
    offset: u64,
    /// Parts per million that it runs fast (or, negative, slow).
    drift_ppm: i64,
}

impl SkewedClock {
    /// Clocks run up to 4 % apart: far more than any real one, and less than the leases allow for.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        Self { offset: rng.below(1_000_000_000_000), drift_ppm: rng.below(40_001) as i64 - 20_000 }
    }

    pub(super) const fn drift_ppm(self) -> i64 {
        self.drift_ppm
    }

    pub(crate) fn local(&self, now: Time) -> Time {
        let drift = i128::from(now.0) * i128::from(self.drift_ppm) / 1_000_000;
        Time((i128::from(now.0) + drift) as u64 + self.offset)
    }

    /// The earliest moment at which this clock shows at least `local`.
    pub(super) fn global(&self, local: Time) -> Time {
        let since = i128::from(local.0.saturating_sub(self.offset));
        let mut at = Time((since * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm))) as u64);
        while self.local(at) < local {
            at = at + Duration::from_nanos(1);
        }
        at
    }
}
