//! The course of the demo.
//!
//! ```text
//!   fill ─▶ before: one server is asked for more than it can do ─▶ balancing on ─▶ after ─▶ the hot spot
//!   shifts ─▶ after the shift ─▶ everything is read back through other servers
//! ```

use super::group::Group;
use super::live::{Live, Scene};
use super::report::Outcome;
use super::scenario::{
    HotSpot, IMBALANCE_AFTER_MAX, IMBALANCE_SETTLED, P99_SETTLED, Plan, READ_SHARE, SERVED_SETTLED,
    VOLUME_BYTES,
};
use super::watch::Watch;
use super::window::{Figures, Window};
use crate::failure::Failure;
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_workload::{Load, Pacing, Random, Source, Spacing};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Window of the live view.
const LIVE_WINDOW: Duration = Duration::from_secs(3);
/// Longest time for a fill or for reading back.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(600);
/// How often it is looked whether a sweep has ended.
const SWEEP_LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a phase is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Fill,
    Before,
    After,
    AfterShift,
    ReadBack,
}

/// What is asked for on the command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    pub(super) seed: u64,
    pub(super) balance: bool,
    pub(super) plan: Plan,
}

/// Everything that a run of the demo works with.
pub(super) struct Stage<'a> {
    pub(super) group: &'a Group,
    pub(super) load: &'a mut Load,
    pub(super) live: &'a mut Live,
    pub(super) interrupted: &'a AtomicBool,
    pub(super) watch: Watch,
    pub(super) wishes: Wishes,
}

/// How a phase went.
struct Course {
    figures: Figures,
    /// When, after the phase began, a window was even enough.
    evened: Option<Duration>,
}

impl Stage<'_> {
    /// Runs the demo from the fill to reading back.
    pub(super) fn run(&mut self) -> Result<Outcome, Failure> {
        let began = Instant::now();
        let Wishes { seed, balance, plan } = self.wishes;
        let mut random = Random::new(seed);
        self.sweep(Phase::Fill, Source::fill(VOLUME_BYTES, self.group.portals().len()))?;
        let first = HotSpot::draw(&mut random, &self.watch.owners, None);
        let offered = first.offered();
        self.live.hot_spot(&first, offered, self.group.names());
        self.load
            .run(mix(&first, &mut random), Pacing::Open { per_second: offered, spacing: Spacing::Poisson });
        let before = self.course(Phase::Before, offered, plan.warm_up + plan.window, false)?;
        if balance {
            self.group.enable_balancing()?;
        }
        let after = self.course(Phase::After, offered, plan.phase, balance)?;
        let second = HotSpot::draw(&mut random, &self.watch.owners, Some(first));
        self.live.hot_spot(&second, offered, self.group.names());
        self.load.redirect(mix(&second, &mut random));
        let shifted = self.course(Phase::AfterShift, offered, plan.phase, balance)?;
        self.load.pause();
        self.drain()?;
        let verified_blocks =
            self.sweep(Phase::ReadBack, Source::read_back(VOLUME_BYTES, self.group.portals().len()))?;
        Ok(Outcome {
            seed,
            balanced: balance,
            offered,
            hot_spots: [first, second],
            before: before.figures,
            after: after.figures,
            after_shift: shifted.figures,
            evened: after.evened,
            evened_again: shifted.evened,
            moved: self.watch.moved,
            totals: self.watch.totals.clone(),
            verified_blocks,
            time: began.elapsed(),
        })
    }

    /// Goes through the whole volume as fast as it can; gives the blocks that were checked.
    fn sweep(&mut self, phase: Phase, source: Source) -> Result<u64, Failure> {
        let begin = Instant::now();
        let (checked_before, mut done_bytes) = (self.watch.totals.checked_blocks, 0);
        self.load.run(source, Pacing::Closed);
        loop {
            self.pause(SWEEP_LOOK_EVERY)?;
            let look = self.watch.look(self.group, self.load)?;
            done_bytes += look.sample.bytes;
            let done = done_bytes as f64 / VOLUME_BYTES as f64;
            self.live.progress(phase, done, begin.elapsed(), &self.watch);
            if look.sample.is_idle {
                return Ok(self.watch.totals.checked_blocks - checked_before);
            }
            if begin.elapsed() > SWEEP_TIMEOUT {
                let line = "the volume is not done within ten minutes; is the disk of the folder very slow?";
                return Err(Failure::failed(line));
            }
        }
    }

    /// Waits until nothing is under way.
    fn drain(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        while !self.watch.look(self.group, self.load)?.sample.is_idle {
            self.pause(SWEEP_LOOK_EVERY / 5)?;
            if begin.elapsed() > SWEEP_TIMEOUT {
                return Err(Failure::failed("requests are under way that do not end"));
            }
        }
        Ok(())
    }

    /// Watches the load for `at_most`, or until it has settled if it may end early.
    fn course(
        &mut self,
        phase: Phase,
        offered: f64,
        at_most: Duration,
        may_settle: bool,
    ) -> Result<Course, Failure> {
        let begin = Instant::now();
        let mut window = Window::new(self.wishes.plan.window);
        let mut recent = Window::new(LIVE_WINDOW);
        let mut evened = None;
        let mut next = begin;
        // What came before the phase, and its end, belongs to no window of it.
        self.watch.look(self.group, self.load)?;
        loop {
            next += LOOK_EVERY;
            self.pause(next.saturating_duration_since(Instant::now()))?;
            let look = self.watch.look(self.group, self.load)?;
            let behind = look.sample.behind;
            window.push(look.clone());
            recent.push(look);
            let (figures, elapsed) = (window.figures(), begin.elapsed());
            if window.is_full() && figures.imbalance <= IMBALANCE_AFTER_MAX && figures.imbalance > 0.0 {
                evened.get_or_insert(elapsed);
            }
            let whole = window.is_full().then_some(&figures);
            let scene =
                Scene { phase, elapsed, at_most, offered, behind, recent: &recent.figures(), window: whole };
            self.live.show(&scene, &self.watch, self.group.names());
            let settled = window.is_full()
                && figures.imbalance <= IMBALANCE_SETTLED
                && figures.p99 <= P99_SETTLED
                && figures.throughput >= SERVED_SETTLED * offered
                && self.watch.moved.under_way == 0;
            if elapsed + LOOK_EVERY / 2 >= at_most || may_settle && settled {
                return Ok(Course { figures, evened });
            }
        }
    }

    /// Sleeps, unless it is asked to end.
    fn pause(&self, time: Duration) -> Result<(), Failure> {
        std::thread::sleep(time);
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::failed(
                "demo: interrupted; the servers were stopped and their data removed",
            ));
        }
        Ok(())
    }
}

/// Blocks of the volume; all of them are written, so all of them are read back.
pub(super) const VOLUME_BLOCKS: u64 = VOLUME_BYTES / BLOCK_BYTES as u64;

fn mix(spot: &HotSpot, random: &mut Random) -> Source {
    Source::mix(spot.pattern(), READ_SHARE, random.split())
}
