//! The one place that reads the clock of the data path.

use evenkeel_types::Time;
use rustix::time::{ClockId, clock_gettime};

/// Time since the machine started, sleep included (CLOCK_BOOTTIME): leases must go on expiring while it sleeps.
#[must_use]
pub(crate) fn now() -> Time {
    let t = clock_gettime(ClockId::Boottime);
    Time(t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs())
}

/// Milliseconds since the Unix epoch, for people.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
