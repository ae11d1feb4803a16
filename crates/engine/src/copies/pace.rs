//! How many regions are on their way to a server at once, from all extents together.
//!
//! Everything that is copied to a server stands in one line there with what hosts write: each region more on its way makes
//! every write to it, and the hold of every region in motion, longer. So the window follows what answers say. It grows
//! while they come nearly as fast as they do without copies, and is halved when they do not, down to
//! [`COPY_WINDOW_MIN`]: what lacks a copy does not wait for ever, however busy the server is.
//!
//! Copies that are in sync and have to be made equal before anything is served are not held up by this.

use crate::config::{COPY_WINDOW_MAX, COPY_WINDOW_MIN, COPY_WINDOW_START, FELT_FROM, FELT_MAX, USUAL_FOR};
use crate::core::Core;
use crate::engine::Engine;
use evenkeel_types::{ExtentId, ServerId, Time};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A place in the window; whoever drops it gives it back.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "its count is what matters")] Arc<()>);

/// The shortest of some times, of late: what an answer takes where nothing stands before it.
#[derive(Debug)]
struct Usual {
    since: Time,
    /// In the present span, and in the one before.
    shortest: [Option<Duration>; 2],
}

impl Usual {
    const fn new(since: Time) -> Self {
        Self { since, shortest: [None; 2] }
    }

    fn note(&mut self, now: Time, took: Duration) {
        if now.since(self.since) >= USUAL_FOR {
            self.shortest = [None, self.shortest[0]];
            self.since = now;
        }
        let shortest = &mut self.shortest[0];
        *shortest = Some(shortest.map_or(took, |earlier| earlier.min(took)));
    }

    /// Above this an answer was late.
    fn late_from(&self) -> Duration {
        let usual = self.shortest.into_iter().flatten().min().unwrap_or_default();
        (2 * usual).max(FELT_FROM)
    }
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Pace {
    window: usize,
    /// Answers in time since the window last changed.
    in_time: usize,
    /// Only what was sent later says something about the present window.
    changed_at: Time,
    copies: Usual,
    writes: Usual,
    places: Arc<()>,
    /// Extents that wait for a place, each once.
    waiting: VecDeque<ExtentId>,
    waits: BTreeSet<ExtentId>,
}

impl Pace {
    fn new(now: Time) -> Self {
        Self {
            window: COPY_WINDOW_START,
            in_time: 0,
            changed_at: now,
            copies: Usual::new(now),
            writes: Usual::new(now),
            places: Arc::new(()),
            waiting: VecDeque::new(),
            waits: BTreeSet::new(),
        }
    }

    /// Regions on their way.
    fn taken(&self) -> usize {
        Arc::strong_count(&self.places) - 1
    }

    /// A place for a region of an extent; if there is none, the extent is woken when there is one again.
    fn take(&mut self, extent: ExtentId) -> Option<Place> {
        if self.taken() < self.window {
            return Some(Place(Arc::clone(&self.places)));
        }
        if self.waits.insert(extent) {
            self.waiting.push_back(extent);
        }
        None
    }

    fn next_waiting(&mut self) -> Option<ExtentId> {
        if self.waiting.is_empty() || self.taken() >= self.window {
            return None;
        }
        let extent = self.waiting.pop_front()?;
        self.waits.remove(&extent);
        Some(extent)
    }

    fn note_copy(&mut self, now: Time, sent_at: Time) {
        let took = now.since(sent_at);
        self.copies.note(now, took);
        if took > self.copies.late_from().min(FELT_MAX) {
            self.shrink(now, sent_at);
            return;
        }
        self.in_time += 1;
        if self.in_time >= self.window {
            self.in_time = 0;
            self.window = (self.window + 1).min(COPY_WINDOW_MAX);
        }
    }

    fn note_write(&mut self, now: Time, sent_at: Time) {
        let took = now.since(sent_at);
        if self.taken() == 0 {
            self.writes.note(now, took);
        } else if took > self.writes.late_from() {
            self.shrink(now, sent_at);
        }
    }

    fn shrink(&mut self, now: Time, sent_at: Time) {
        if sent_at >= self.changed_at {
            self.window = (self.window / 2).max(COPY_WINDOW_MIN);
            self.in_time = 0;
            self.changed_at = now;
        }
    }
}

impl Core {
    fn pace(&mut self, server: ServerId) -> &mut Pace {
        let now = self.now;
        self.paces.entry(server).or_insert_with(|| Pace::new(now))
    }

    /// A place for a region on its way to a server; without one the extent is woken when there is one.
    pub(super) fn place_for_copy(&mut self, server: ServerId, extent: ExtentId) -> Option<Place> {
        self.pace(server).take(extent)
    }

    /// A region that was sent at that time has been answered, or is waited for no longer.
    pub(super) fn note_copy_answered(&mut self, server: ServerId, sent_at: Time) {
        let now = self.now;
        self.pace(server).note_copy(now, sent_at);
    }

    /// A host's write that was sent at that time has been answered.
    pub(super) fn note_write_answered(&mut self, server: ServerId, sent_at: Time) {
        let now = self.now;
        self.pace(server).note_write(now, sent_at);
    }
}

impl Engine {
    /// Wakes an extent that waits for a place, if there is one; whether it did.
    pub(crate) fn continue_copies(&mut self) -> bool {
        let next = self.core.paces.values_mut().find_map(Pace::next_waiting);
        if let Some(extent) = next {
            self.core.wake(extent);
        }
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_types::VolumeId;

    const MS: Duration = Duration::from_millis(1);

    fn extent(index: u32) -> ExtentId {
        ExtentId { volume: VolumeId(1), index }
    }

    #[test]
    fn places_come_back_however_they_are_given_up() {
        let mut pace = Pace::new(Time(0));
        let mut places: Vec<Place> = (0..).map_while(|n| pace.take(extent(n))).collect();
        assert_eq!(places.len(), COPY_WINDOW_START);
        assert_eq!(pace.next_waiting(), None, "there is no place yet");
        assert!(pace.take(extent(7000)).is_none() && pace.take(extent(7000)).is_none());
        places.pop();
        let first = extent(COPY_WINDOW_START as u32);
        assert_eq!(pace.next_waiting(), Some(first), "whoever waited first");
        assert_eq!(pace.next_waiting(), Some(extent(7000)), "nobody has taken it");
        assert_eq!(pace.next_waiting(), None, "each waits once");
    }

    #[test]
    fn the_window_grows_while_answers_are_in_time_and_is_halved_when_they_are_not() {
        let mut pace = Pace::new(Time(0));
        let mut now = Time(0);
        for _ in 0..10_000 {
            now = now + MS;
            pace.note_copy(now + MS, now);
        }
        assert_eq!(pace.window, COPY_WINDOW_MAX);
        let sent = now;
        for _ in 0..10 {
            pace.note_copy(now + 10 * MS, sent);
            now = now + 10 * MS;
        }
        assert_eq!(pace.window, COPY_WINDOW_MAX / 2, "what was sent before says nothing of the new window");
        for _ in 0..10 {
            pace.note_copy(now + 10 * MS, now);
            now = now + 10 * MS;
        }
        assert_eq!(pace.window, COPY_WINDOW_MIN);
    }

    #[test]
    fn hosts_writes_that_are_late_beside_copies_shrink_the_window() {
        let mut pace = Pace::new(Time(0));
        let mut now = Time(0);
        // A server that takes that long without copies, too.
        for _ in 0..100 {
            pace.note_write(now + 6 * MS, now);
            now = now + 6 * MS;
        }
        let _place = pace.take(extent(0));
        pace.note_write(now + 11 * MS, now);
        assert_eq!(pace.window, COPY_WINDOW_START, "not much more than usual");
        now = now + 11 * MS;
        pace.note_write(now + 13 * MS, now);
        assert_eq!(pace.window, COPY_WINDOW_START / 2);
    }

    #[test]
    fn what_is_usual_is_what_was_shortest_of_late() {
        let mut usual = Usual::new(Time(0));
        usual.note(Time(0), 5 * MS);
        usual.note(Time(0), 9 * MS);
        assert_eq!(usual.late_from(), 10 * MS);
        usual.note(Time(0) + USUAL_FOR, 7 * MS);
        assert_eq!(usual.late_from(), 10 * MS);
        usual.note(Time(0) + 2 * USUAL_FOR, 8 * MS);
        assert_eq!(
            usual.late_from(),
            14 * MS,
            "a device that has become slower is not taken for burdened for ever"
        );
        usual.note(Time(0) + 2 * USUAL_FOR, MS / 10);
        assert_eq!(usual.late_from(), FELT_FROM);
    }
}
