//! Exponential filters: what a load has been lately, on a fast and on a slow scale.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How fast the two filters forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HalfLives {
    /// After this time half of a change has reached the fast value.
    pub fast: Duration,
    /// After this time half of a change has reached the slow value.
    pub slow: Duration,
}

impl Default for HalfLives {
    /// 3 s and 10 s: a shift of the load shows within a few reports, so that it is evened within a minute, while a
    /// burst of a second hardly moves the slow value.
    fn default() -> Self {
        Self { fast: Duration::from_secs(3), slow: Duration::from_secs(10) }
    }
}

/// What remains of a value after `elapsed`: 1 at once, 1/2 after a half-life.
pub(crate) fn remaining(elapsed: Duration, half_life: Duration) -> f64 {
    (-elapsed.as_secs_f64() / half_life.as_secs_f64().max(1e-3)).exp2()
}

/// The factors of one step of both filters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) keep_fast: f64,
    pub(crate) keep_slow: f64,
}

impl HalfLives {
    pub(crate) fn step(&self, elapsed: Duration) -> Step {
        Step { keep_fast: remaining(elapsed, self.fast), keep_slow: remaining(elapsed, self.slow) }
    }
}

/// A value on both scales.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Filtered<T> {
    /// On the fast scale.
    pub fast: T,
    /// On the slow scale.
    pub slow: T,
}

impl<T> Filtered<T> {
    /// Applies a function to both.
    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> Filtered<U> {
        Filtered { fast: f(&self.fast), slow: f(&self.slow) }
    }
}

/// Ratio of fast to slow above which, and inverse below which, a value is taken to have changed for good: the fast
/// value alone is right then.
const CHANGE_RISE: f64 = 1.6;
const CHANGE_FALL: f64 = 0.6;
/// Weight of the fast value while nothing has changed: most of the noise of a short window is left out.
const STEADY_FAST_WEIGHT: f64 = 0.35;

/// The best single estimate from both scales. `size` is a scalar of the same quantity that tells whether it changed.
pub(crate) fn estimate<T: Copy>(
    value: &Filtered<T>,
    size: Filtered<f64>,
    mix: impl FnOnce(T, T, f64) -> T,
) -> T {
    if size.fast > CHANGE_RISE * size.slow || size.fast < CHANGE_FALL * size.slow {
        value.fast
    } else {
        mix(value.fast, value.slow, STEADY_FAST_WEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_value_remains_after_a_half_life() {
        let second = Duration::from_secs(1);
        assert!((remaining(second * 3, second * 3) - 0.5).abs() < 1e-12);
        assert!((remaining(Duration::ZERO, second) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_regime_change_makes_the_fast_value_count_alone() {
        let mix = |fast: f64, slow: f64, weight: f64| weight * fast + (1.0 - weight) * slow;
        let of = |fast, slow| {
            let value = Filtered { fast, slow };
            estimate(&value, value, mix)
        };
        assert_eq!(of(1.7, 1.0), 1.7);
        assert_eq!(of(0.5, 1.0), 0.5);
        assert!((of(1.2, 1.0) - 1.07).abs() < 1e-12);
    }
}
