//! Waiting until something is so.

use std::time::{Duration, Instant};

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether something becomes so within this time.
pub fn comes_true(within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > within {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    true
}
