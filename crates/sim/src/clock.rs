//! Virtual time: a queue of what will happen. Time passes only by taking the next thing out of it.

use evenkeel_types::Time;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// What will happen, in order of its time; of the same time, in order of its being planned.
#[derive(Debug)]
pub(crate) struct Clock<T> {
    now: Time,
    planned: u64,
    heap: BinaryHeap<Planned<T>>,
}

#[derive(Debug)]
struct Planned<T> {
    at: Time,
    order: u64,
    what: T,
}

impl<T> Default for Clock<T> {
    fn default() -> Self {
        Self { now: Time::ZERO, planned: 0, heap: BinaryHeap::new() }
    }
}

impl<T> Clock<T> {
    /// The time.
    pub(crate) const fn now(&self) -> Time {
        self.now
    }

    /// Plans something for a time; what should have been in the past happens now.
    pub(crate) fn at(&mut self, at: Time, what: T) {
        self.planned += 1;
        self.heap.push(Planned { at: at.max(self.now), order: self.planned, what });
    }

    /// Plans something for later.
    pub(crate) fn after(&mut self, delay: Duration, what: T) {
        self.at(self.now + delay, what);
    }

    /// What was planned and answers to this does not happen.
    pub(crate) fn forget(&mut self, answers: impl Fn(&T) -> bool) {
        self.heap.retain(|planned| !answers(&planned.what));
    }

    /// Lets time pass until the next thing happens.
    pub(crate) fn next(&mut self) -> Option<T> {
        let planned = self.heap.pop()?;
        self.now = planned.at;
        Some(planned.what)
    }
}

impl<T> Ord for Planned<T> {
    /// Reversed, so that the earliest is at the top of the heap.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Planned<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_order_of_their_times_then_of_their_planning() {
        let mut clock = Clock::default();
        clock.at(Time(20), 'c');
        clock.at(Time(10), 'a');
        clock.at(Time(20), 'd');
        clock.at(Time(10), 'b');
        let order: String = std::iter::from_fn(|| clock.next()).collect();
        assert_eq!((order.as_str(), clock.now()), ("abcd", Time(20)));
    }
}
