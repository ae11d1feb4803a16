//! Heat of extents: what each one has asked of its owner lately.
//!
//! Only extents with heat have an entry. One that is left alone cools below a floor and goes, so an idle server
//! remembers nothing and a tick costs what is hot, not what exists.

use crate::charge::{Access, Order};
use crate::filter::{Filtered, Step, estimate};
use crate::pattern::{Pattern, Streams};
use crate::resource::Load;
use evenkeel_types::ExtentId;

/// Extents that one server remembers the heat of. When more are in use at a time, the coldest half is forgotten; their
/// work still counts in the server's totals.
pub const EXTENTS_TRACKED_MAX: usize = 32_768;
/// An extent whose slow heat, summed over the resources, is below this utilisation is forgotten.
const HEAT_FLOOR: f64 = 1e-6;
/// An extent was in use during an interval if it asked for at least this share of what it usually asks for.
const IN_USE_SHARE: f64 = 0.25;
const EMPTY: u32 = u32::MAX;
const INDEX_SLOTS_MIN: usize = 64;

/// What is remembered of one extent.
#[derive(Clone, Debug)]
pub(crate) struct Heat {
    pub(crate) extent: ExtentId,
    /// Charged since the last tick, in utilisation-seconds.
    charged: Load,
    counted: Pattern,
    pub(crate) heat: Filtered<Load>,
    pub(crate) pattern: Pattern,
    streams: Streams,
    /// One bit for each of the last eight ticks, the latest lowest: whether the extent was in use.
    in_use: u8,
}

impl Heat {
    const fn new(extent: ExtentId) -> Self {
        Self {
            extent,
            charged: Load::ZERO,
            counted: Pattern {
                random_reads: 0.0,
                sequential_reads: 0.0,
                random_writes: 0.0,
                sequential_writes: 0.0,
            },
            heat: Filtered { fast: Load::ZERO, slow: Load::ZERO },
            pattern: Pattern {
                random_reads: 0.0,
                sequential_reads: 0.0,
                random_writes: 0.0,
                sequential_writes: 0.0,
            },
            streams: Streams::NONE,
            in_use: 0,
        }
    }

    fn tick(&mut self, step: Step, seconds: f64) {
        let now = self.charged.scaled(1.0 / seconds);
        let in_use = now.sum() > IN_USE_SHARE * self.heat.fast.sum();
        self.in_use = self.in_use << 1 | u8::from(in_use);
        self.heat.fast =
            self.heat.fast.zip(now, |old, new| step.keep_fast * old + (1.0 - step.keep_fast) * new);
        self.heat.slow =
            self.heat.slow.zip(now, |old, new| step.keep_slow * old + (1.0 - step.keep_slow) * new);
        self.pattern.decay_into(self.counted, step.keep_fast as f32, seconds as f32);
        self.charged = Load::ZERO;
        self.counted = Pattern::default();
    }

    /// The heat to reckon with, each filter times its factor.
    pub(crate) fn estimate(&self, factors: Filtered<f64>) -> Load {
        let heat =
            Filtered { fast: self.heat.fast.scaled(factors.fast), slow: self.heat.slow.scaled(factors.slow) };
        estimate(&heat, heat.map(Load::sum), |fast, slow, weight| {
            fast.zip(slow, |fast, slow| weight * fast + (1.0 - weight) * slow)
        })
    }

    /// In how many of the last eight ticks the extent was in use.
    pub(crate) const fn ticks_in_use(&self) -> u8 {
        self.in_use.count_ones() as u8
    }
}

/// The heat of all extents that have any.
#[derive(Debug, Default)]
pub(crate) struct HeatTable {
    entries: Vec<Heat>,
    /// Open addressing with linear probing: positions in `entries`, or [`EMPTY`]. A power of two, at most half full.
    index: Vec<u32>,
}

impl HeatTable {
    /// Charges an access to its extent, at a cost that depends on whether it continues a stream.
    pub(crate) fn charge(
        &mut self,
        extent: ExtentId,
        access: Access,
        (offset, bytes): (u32, u32),
        cost: impl FnOnce(Order) -> Load,
    ) -> (Load, Order) {
        let Some(position) = self.find_or_insert(extent) else {
            return (cost(Order::Random), Order::Random);
        };
        let mut streams = self.entries[position].streams;
        let order = streams.classify(offset, bytes, || {
            let before = ExtentId { volume: extent.volume, index: extent.index.checked_sub(1)? };
            self.find(before).map(|position| self.entries[position].streams)
        });
        let load = cost(order);
        let entry = &mut self.entries[position];
        entry.streams = streams;
        entry.charged += load;
        entry.counted.count(access, order);
        (load, order)
    }

    /// Closes an interval of `seconds`.
    pub(crate) fn tick(&mut self, step: Step, seconds: f64) {
        let before = self.entries.len();
        self.entries.retain_mut(|entry| {
            entry.tick(step, seconds);
            entry.heat.slow.sum() >= HEAT_FLOOR
        });
        if self.entries.len() >= EXTENTS_TRACKED_MAX {
            let half = self.entries.len() / 2;
            self.entries.select_nth_unstable_by(half, |a, b| b.heat.fast.sum().total_cmp(&a.heat.fast.sum()));
            self.entries.truncate(half);
        }
        if self.entries.len() != before {
            self.rebuild_index(self.index.len());
        }
    }

    /// Forgets an extent that has left this server.
    pub(crate) fn forget(&mut self, extent: ExtentId) {
        if let Some(position) = self.find(extent) {
            self.entries.swap_remove(position);
            self.rebuild_index(self.index.len());
        }
    }

    pub(crate) fn get(&self, extent: ExtentId) -> Option<&Heat> {
        self.find(extent).map(|position| &self.entries[position])
    }

    /// What all extents together ask for on the fast filter, over the sum of their estimates: by each resource, 1 where
    /// nothing is asked for.
    ///
    /// An estimate leans on the slow filter, against the noise of a single extent. When the load of a whole server rises
    /// or falls, all estimates lag behind it by the same factor, which has next to no noise: this one.
    pub(crate) fn trend(&self, factors: Filtered<f64>) -> Load {
        let (fast, estimated) =
            self.entries.iter().fold((Load::ZERO, Load::ZERO), |(fast, estimated), heat| {
                (fast + heat.heat.fast.scaled(factors.fast), estimated + heat.estimate(factors))
            });
        fast.zip(estimated, |fast, estimated| if estimated > 0.0 { fast / estimated } else { 1.0 })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Heat> {
        self.entries.iter()
    }

    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    fn first_slot(&self, extent: ExtentId) -> usize {
        // Multiplication by odd constants spreads neighbours; the upper bits are the good ones.
        let mixed =
            (extent.volume.0 ^ u64::from(extent.index).rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed >> 32) as usize & (self.index.len() - 1)
    }

    /// The position of an extent in `entries`, or the free slot of the index where it would go.
    fn probe(&self, extent: ExtentId) -> Result<usize, usize> {
        let mut slot = self.first_slot(extent);
        loop {
            match self.index[slot] {
                EMPTY => return Err(slot),
                position if self.entries[position as usize].extent == extent => return Ok(position as usize),
                _ => slot = (slot + 1) & (self.index.len() - 1),
            }
        }
    }

    fn find(&self, extent: ExtentId) -> Option<usize> {
        if self.entries.is_empty() { None } else { self.probe(extent).ok() }
    }

    fn find_or_insert(&mut self, extent: ExtentId) -> Option<usize> {
        if (self.entries.len() + 1) * 2 > self.index.len() {
            if self.entries.len() >= EXTENTS_TRACKED_MAX {
                return self.find(extent);
            }
            self.rebuild_index((self.index.len() * 2).max(INDEX_SLOTS_MIN));
        }
        match self.probe(extent) {
            Ok(position) => Some(position),
            Err(_) if self.entries.len() >= EXTENTS_TRACKED_MAX => None,
            Err(slot) => {
                self.index[slot] = self.entries.len() as u32;
                self.entries.push(Heat::new(extent));
                Some(self.entries.len() - 1)
            }
        }
    }

    fn rebuild_index(&mut self, slots: usize) {
        self.index.clear();
        self.index.resize(slots, EMPTY);
        for position in 0..self.entries.len() {
            match self.probe(self.entries[position].extent) {
                Err(slot) => self.index[slot] = position as u32,
                Ok(_) => unreachable!("an extent has one entry"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
