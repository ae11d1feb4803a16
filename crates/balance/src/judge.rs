//! The disproportion test: does a server carry more than its share, for long enough, and of something that moving
//! extents can change?
//!
//! ```text
//!             over on both filters,        for `sustained`
//!             and above the floor          (urgent: `urgent_sustained`)
//!     Calm ──────────────────────▶ Over ─────────────────────────▶ Acting
//!      ▲ ◀─────── not over ─────────┘                                 │
//!      └──── below `exit` on the slow filter, or below the mean ──────┘
//! ```

use crate::capacity::Capacity;
use crate::filter::Filtered;
use crate::measure::{Weights, mean_load};
use crate::report::Parts;
use crate::resource::{Load, Resource};
use evenkeel_types::{ServerId, Time};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Crossings of the band that are remembered for each server.
const CROSSINGS_REMEMBERED_MAX: usize = 16;
/// Share of the floor below which an acting server is let go, so that it does not flutter around the floor.
const FLOOR_EXIT_SHARE: f64 = 0.9;

/// When a server counts as disproportionately loaded.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Thresholds {
    /// Load over the group's mean from which a server is over, on the fast and on the slow filter.
    pub enter: f64,
    /// Load over the mean, on the slow filter, below which it is no longer.
    pub exit: f64,
    /// Utilisation of the busiest resource below which nothing is worth moving.
    pub floor: f64,
    /// How long a server must be over.
    pub sustained: Duration,
    /// Utilisation of the busiest resource from which a disproportionate server is urgent.
    pub urgent: f64,
    /// How long an urgent server must be over.
    pub urgent_sustained: Duration,
    /// Crossings of the band around the mean, from above `enter` to below its mirror image or back, from which a load
    /// counts as swinging.
    pub swing_crossings: u32,
    /// The time in which they are counted.
    pub swing_window: Duration,
}

impl Default for Thresholds {
    /// Ten percent over the mean is noise to no host; 5 s tell a shift from a burst. Three crossings: the hot spot
    /// arriving, leaving and arriving again is one more than any single shift makes.
    fn default() -> Self {
        Self {
            enter: 1.10,
            exit: 1.07,
            floor: 0.30,
            sustained: Duration::from_secs(5),
            urgent: 0.85,
            urgent_sustained: Duration::from_secs(3),
            swing_crossings: 3,
            swing_window: Duration::from_secs(120),
        }
    }
}

/// What is thought of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its report is missing or too old, or it is not up: it neither gives nor takes.
    Unknown,
    /// Nothing of it is busy enough to matter.
    Idle,
    /// It carries its share, more or less.
    Even,
    /// It is over its share, but not yet for long enough.
    Watched,
    /// It is over its share for long enough: it gives.
    Disproportionate,
    /// As before, and close to the end of its strength.
    Urgent,
    /// It is over its share, but because of portal work, which extents do not carry.
    FrontEnd,
    /// Its load swings over and under the mean; moving would chase it. It neither gives nor takes.
    Swinging,
}

impl Standing {
    /// Whether extents should leave the server.
    #[must_use]
    pub const fn gives(self) -> bool {
        matches!(self, Self::Disproportionate | Self::Urgent)
    }

    /// Whether the server may take extents, if it has room for them.
    #[must_use]
    pub const fn takes(self) -> bool {
        matches!(self, Self::Idle | Self::Even)
    }
}

/// The standing of a server and the figures that it follows from.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Judgement {
    /// What is thought of the server.
    pub standing: Standing,
    /// Its combined load.
    pub load: Filtered<f64>,
    /// The combined load of the group's mean.
    pub mean: Filtered<f64>,
    /// Its load if its portal work were not above the group's mean (on the fast filter).
    pub load_of_extents: f64,
    /// Its busiest resource.
    pub busiest: Resource,
    /// The utilisation of that resource, on the fast filter.
    pub busiest_utilisation: f64,
    /// For how long it has been over, in seconds; 0 if it is not.
    pub over_s: f64,
    /// Crossings of the band within the window.
    pub crossings: u32,
}

impl Judgement {
    /// The judgement on a server of which nothing fresh is known.
    pub const UNKNOWN: Self = Self {
        standing: Standing::Unknown,
        load: Filtered { fast: 0.0, slow: 0.0 },
        mean: Filtered { fast: 0.0, slow: 0.0 },
        load_of_extents: 0.0,
        busiest: Resource::Cpu,
        busiest_utilisation: 0.0,
        over_s: 0.0,
        crossings: 0,
    };

    /// Load over mean on the fast filter; 1 in an idle group.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        if self.mean.fast > 0.0 { self.load.fast / self.mean.fast } else { 1.0 }
    }
}

/// A server as the judge sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Which server.
    pub server: ServerId,
    /// What it can do.
    pub capacity: Capacity,
    /// Its utilisation.
    pub utilisation: Filtered<Parts>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Calm,
    Over { since: Time },
    Acting { since: Time },
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Side {
    Above,
    Below,
}

/// What the judgement on each server needs to know of all of them.
#[derive(Clone, Copy)]
struct Group {
    servers: usize,
    is_busy: bool,
}

#[derive(Debug)]
struct Memory {
    phase: Phase,
    side: Option<Side>,
    crossings: VecDeque<Time>,
    judgement: Judgement,
}

/// Judges all servers of a group, one step a second, and remembers what hysteresis needs.
#[derive(Debug)]
pub struct Judge {
    thresholds: Thresholds,
    weights: Weights,
    memories: BTreeMap<ServerId, Memory>,
}

/// The load of a server for the question whether its extents are the trouble: portal work above the group's mean is
/// left out, since extents that leave do not take it along.
pub(crate) fn load_of_extents(parts: &Parts, mean: &Parts) -> Load {
    parts.owner + parts.front_end.min(mean.front_end)
}

/// The group's mean of each part.
pub(crate) fn mean_parts<'a>(servers: impl Iterator<Item = (&'a Capacity, Parts)> + Clone) -> Parts {
    Parts {
        front_end: mean_load(servers.clone().map(|(capacity, parts)| (capacity, parts.front_end))),
        owner: mean_load(servers.clone().map(|(capacity, parts)| (capacity, parts.owner))),
        copy: mean_load(servers.map(|(capacity, parts)| (capacity, parts.copy))),
    }
}

impl Judge {
    /// A judge that has seen nothing yet.
    #[must_use]
    pub const fn new(thresholds: Thresholds, weights: Weights) -> Self {
        Self { thresholds, weights, memories: BTreeMap::new() }
    }

    /// Takes a look at the servers of which fresh reports exist. What was remembered of others is forgotten: a server
    /// that comes back is judged from the beginning.
    pub fn step(&mut self, now: Time, samples: &[Sample]) {
        self.memories.retain(|server, _| samples.iter().any(|sample| sample.server == *server));
        let of = |parts: fn(&Filtered<Parts>) -> Parts| {
            mean_parts(samples.iter().map(move |sample| (&sample.capacity, parts(&sample.utilisation))))
        };
        let mean = Filtered { fast: of(|filtered| filtered.fast), slow: of(|filtered| filtered.slow) };
        let seen: Vec<_> = samples.iter().map(|sample| (sample.server, self.look(sample, &mean))).collect();
        let group = Group {
            servers: seen.len(),
            is_busy: seen.iter().any(|(_, seen)| seen.busiest_utilisation > self.thresholds.floor),
        };
        for (server, seen) in seen {
            let memory = self.memories.entry(server).or_insert_with(Memory::new);
            memory.step(now, seen, group, &self.thresholds);
        }
    }

    /// What is thought of a server since the last step.
    #[must_use]
    pub fn judgement(&self, server: ServerId) -> Judgement {
        self.memories.get(&server).map_or(Judgement::UNKNOWN, |memory| memory.judgement)
    }

    fn look(&self, sample: &Sample, mean: &Filtered<Parts>) -> Judgement {
        let weights = &self.weights;
        let offered = sample.utilisation.map(Parts::offered);
        let (busiest, busiest_utilisation) = weights.busiest(&offered.fast);
        Judgement {
            standing: Standing::Even,
            load: offered.map(|load| weights.combined(load)),
            mean: mean.map(|parts| weights.combined(&parts.offered())),
            load_of_extents: weights.combined(&load_of_extents(&sample.utilisation.fast, &mean.fast)),
            busiest,
            busiest_utilisation,
            over_s: 0.0,
            crossings: 0,
        }
    }
}

impl Memory {
    const fn new() -> Self {
        Self { phase: Phase::Calm, side: None, crossings: VecDeque::new(), judgement: Judgement::UNKNOWN }
    }

    fn step(&mut self, now: Time, seen: Judgement, group: Group, thresholds: &Thresholds) {
        self.count_crossings(now, &seen, group, thresholds);
        let is_urgent = seen.busiest_utilisation > thresholds.urgent;
        let over = group.servers > 1
            && seen.load.fast > thresholds.enter * seen.mean.fast
            && seen.load.slow > thresholds.enter * seen.mean.slow
            && seen.busiest_utilisation > thresholds.floor;
        let is_done = seen.load.slow < thresholds.exit * seen.mean.slow
            || seen.load.fast < seen.mean.fast
            || seen.busiest_utilisation < FLOOR_EXIT_SHARE * thresholds.floor;
        self.phase = match self.phase {
            Phase::Acting { .. } if is_done => Phase::Calm,
            Phase::Acting { since } => Phase::Acting { since },
            _ if !over => Phase::Calm,
            Phase::Calm => Phase::Over { since: now },
            Phase::Over { since } => {
                let needed = if is_urgent { thresholds.urgent_sustained } else { thresholds.sustained };
                if now.since(since) >= needed { Phase::Acting { since } } else { Phase::Over { since } }
            }
        };
        let is_swinging = self.crossings.len() >= thresholds.swing_crossings as usize;
        // Only portal work is to blame if without its excess the server would be within its share, though with it, it is
        // not.
        let limit = thresholds.exit * seen.mean.fast;
        let is_front_end = seen.load.fast > limit && seen.load_of_extents <= limit;
        let standing = match self.phase {
            _ if is_swinging => Standing::Swinging,
            Phase::Acting { .. } if is_front_end => Standing::FrontEnd,
            Phase::Acting { .. } if is_urgent => Standing::Urgent,
            Phase::Acting { .. } => Standing::Disproportionate,
            Phase::Over { .. } => Standing::Watched,
            Phase::Calm if seen.busiest_utilisation <= thresholds.floor => Standing::Idle,
            Phase::Calm => Standing::Even,
        };
        let over_s = match self.phase {
            Phase::Calm => 0.0,
            Phase::Over { since } | Phase::Acting { since } => now.since(since).as_secs_f64(),
        };
        self.judgement = Judgement { standing, over_s, crossings: self.crossings.len() as u32, ..seen };
    }

    /// A crossing leads from above the band around the mean to below it, or back, while any server is busy enough to
    /// matter.
    fn count_crossings(&mut self, now: Time, seen: &Judgement, group: Group, thresholds: &Thresholds) {
        while self.crossings.front().is_some_and(|at| now.since(*at) > thresholds.swing_window) {
            self.crossings.pop_front();
        }
        let side = if seen.load.fast > thresholds.enter * seen.mean.fast {
            Some(Side::Above)
        } else if seen.load.fast < (2.0 - thresholds.enter) * seen.mean.fast {
            Some(Side::Below)
        } else {
            None
        };
        if let Some(side) = side.filter(|_| group.is_busy) {
            if self.side.is_some_and(|before| before != side) {
                if self.crossings.len() == CROSSINGS_REMEMBERED_MAX {
                    self.crossings.pop_front();
                }
                self.crossings.push_back(now);
            }
            self.side = Some(side);
        }
    }
}

#[cfg(test)]
mod tests;
