//! What is to be looked at again, and when.

use crate::event::RequestId;
use evenkeel_types::{ExtentId, Time};
use std::collections::{BTreeMap, BTreeSet};

/// What a timer is for. Each has at most one time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// Heartbeats are due, and silence is to be noticed.
    Heartbeat,
    /// The scrub may go on.
    Scrub,
    /// Another copy may be made anew.
    Rebuild,
    /// Open requests may have waited for too long.
    Patience,
    /// A piece of a request is to be tried again.
    Retry(RequestId),
    /// A barrier waits for a lease to run out.
    Barrier,
    /// An extent waits for the time: a lease to run out, a region's hold to end, a throttle to open.
    Extent(ExtentId),
}

/// Timers in order of their times.
#[derive(Default, Debug)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Time, Timer)>,
    times: BTreeMap<Timer, Time>,
}

impl Timers {
    /// Sets the time of a timer, if it has none or a later one.
    pub(crate) fn at_latest(&mut self, timer: Timer, time: Time) {
        match self.times.get(&timer) {
            Some(set) if *set <= time => {}
            set => {
                if let Some(set) = set {
                    self.by_time.remove(&(*set, timer));
                }
                self.times.insert(timer, time);
                self.by_time.insert((time, timer));
            }
        }
    }

    /// Whether a timer has a time.
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.times.contains_key(&timer)
    }

    /// The earliest time of all.
    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(time, _)| *time)
    }

    /// Takes the earliest timer whose time has come.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<Timer> {
        let (time, timer) = *self.by_time.first()?;
        if time > now {
            return None;
        }
        self.by_time.pop_first();
        self.times.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_has_one_time_the_earliest_asked_for() {
        let mut timers = Timers::default();
        timers.at_latest(Timer::Patience, Time(20));
        timers.at_latest(Timer::Patience, Time(10));
        timers.at_latest(Timer::Patience, Time(30));
        timers.at_latest(Timer::Heartbeat, Time(15));
        assert_eq!(timers.next(), Some(Time(10)));
        assert_eq!(timers.take_due(Time(9)), None);
        assert_eq!(timers.take_due(Time(100)), Some(Timer::Patience));
        assert_eq!(timers.take_due(Time(100)), Some(Timer::Heartbeat));
        assert_eq!(timers.take_due(Time(100)), None);
        assert!(!timers.is_set(Timer::Patience));
    }
}
