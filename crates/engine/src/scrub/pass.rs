//! All extents of this server, one after the other.

use super::Check;
use crate::config::{CHECK_PATIENCE, SWEEP_PAGE};
use crate::core::{Core, Pending};
use crate::counters::Counters;
use crate::engine::Engine;
use crate::event::EngineEvent;
use crate::timers::Timer;
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::store_op::{InventoryEntry, StoreOp};
use evenkeel_types::{ExtentId, Time, VolumeId};
use std::collections::VecDeque;
use std::time::Duration;

/// How long the scrub rests between two passes at least.
const REST_MIN: Duration = Duration::from_secs(1);
const START: ExtentId = ExtentId { volume: VolumeId(0), index: 0 };

/// How far the scrub is.
#[derive(Debug)]
pub(crate) struct Scrub {
    /// No pass begins before.
    rest_until: Time,
    /// A pass is under way.
    is_running: bool,
    /// From which extent on the records are looked through; none behind the last.
    cursor: Option<ExtentId>,
    asked: bool,
    /// Extents to be looked at, of the page that came last.
    page: VecDeque<ExtentId>,
    /// The extent that is being looked at.
    at: Option<ExtentId>,
    /// What had been counted when the pass began.
    before: Counters,
}

impl Scrub {
    pub(crate) fn new(rest_until: Time) -> Self {
        Self {
            rest_until,
            is_running: false,
            cursor: None,
            asked: false,
            page: VecDeque::new(),
            at: None,
            before: Counters::default(),
        }
    }
}

impl Core {
    /// The next region is read only when the rate allows it. A block counts for each, so that small ones take time too.
    pub(super) fn pace_checks(&mut self, bytes: u64) {
        let bytes = bytes.max(u64::from(BLOCK_BYTES));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.config.scrub.rate.max(1));
        let pause = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.next_check_at = self.next_check_at.max(self.now) + pause;
    }
}

impl Engine {
    /// Begins a pass now, at a rate of bytes per second from here on if one is given. One that is under way goes on.
    pub(crate) fn start_scrub(&mut self, rate: Option<u64>) {
        if let Some(rate) = rate {
            self.core.config.scrub.rate = rate;
            self.core.next_check_at = self.core.now;
        }
        self.scrub.rest_until = self.core.now;
        self.core.timers.at_latest(Timer::Scrub, self.core.now);
    }

    /// Bytes of this server's copies per second that the scrub reads; 0 for none.
    #[must_use]
    pub const fn scrub_rate(&self) -> u64 {
        self.core.config.scrub.rate
    }

    /// Whether a pass is under way, or about to begin.
    #[must_use]
    pub fn is_scrubbing(&self) -> bool {
        self.scrub.is_running || self.scrub.rest_until <= self.core.now
    }

    /// Goes on with the pass, or begins one when it is due.
    pub(crate) fn continue_scrub(&mut self) {
        let now = self.core.now;
        if self.core.config.scrub.rate == 0 || self.core.view.is_none() {
            return;
        }
        if let Some(id) = self.scrub.at {
            let check = self.extents.get(&id).and_then(|extent| extent.check.as_ref());
            let waits_until =
                check.map(|check| check.progressed_at().max(self.core.next_check_at) + CHECK_PATIENCE);
            if let Some(until) = waits_until.filter(|until| now < *until) {
                self.core.timers.at_latest(Timer::Scrub, until);
                return;
            }
            // An extent that is not served for long is looked at in the next pass.
            self.with_extent(id, |extent, _| extent.check = None);
            self.scrub.at = None;
        }
        while let Some(id) = self.scrub.page.pop_front() {
            if self.core.route(id).is_some_and(|route| route.owner() == Some(self.core.me())) {
                self.extent_mut(id).check = Some(Box::new(Check::new(now)));
                self.scrub.at = Some(id);
                self.core.wake(id);
                self.core.timers.at_latest(Timer::Scrub, now + CHECK_PATIENCE);
                return;
            }
        }
        if self.scrub.asked {
            return;
        }
        if self.scrub.is_running && self.scrub.cursor.is_none() {
            self.end_pass();
        }
        if !self.scrub.is_running {
            if now < self.scrub.rest_until {
                self.core.timers.at_latest(Timer::Scrub, self.scrub.rest_until);
                return;
            }
            self.scrub.is_running = true;
            self.scrub.cursor = Some(START);
            self.scrub.before = self.core.counters;
        }
        if let Some(from) = self.scrub.cursor {
            self.scrub.asked = true;
            self.core.store(Pending::Scrub, StoreOp::List { from, max: SWEEP_PAGE });
        }
    }

    /// A page of this server's records came.
    pub(crate) fn handle_scrub_page(&mut self, page: &[InventoryEntry]) {
        self.scrub.asked = false;
        let is_last = page.len() < SWEEP_PAGE as usize;
        self.scrub.cursor = match page.last().filter(|_| !is_last) {
            Some(entry) => crate::membership::after(entry.extent),
            None => None,
        };
        self.scrub.page = page.iter().filter(|entry| entry.has_data).map(|entry| entry.extent).collect();
        self.continue_scrub();
    }

    /// Goes on with the next extent, if one has been looked at.
    pub(crate) fn continue_scrubbing(&mut self) -> bool {
        let is_any = !self.core.checked.is_empty();
        self.core.checked.clear();
        if is_any {
            self.continue_scrub();
        }
        is_any
    }

    fn end_pass(&mut self) {
        let (now, before) = (self.core.counters, self.scrub.before);
        self.scrub.is_running = false;
        self.scrub.rest_until = self.core.now + self.core.config.scrub.every.max(REST_MIN);
        self.core.counters.scrub_passes += 1;
        self.core.event(EngineEvent::Scrubbed {
            regions: now.scrubbed - before.scrubbed,
            mended: now.mended + now.copies_mended - before.mended - before.copies_mended,
            unreadable: now.unreadable - before.unreadable,
        });
    }
}
