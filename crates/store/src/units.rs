//! Which units are free, and how many of them are promised.
//!
//! A unit is *used* (a record names it, or a write is under way to it), *freed* (no record names it any more, but a
//! journal record or an old read may: it stays marked until a checkpoint retired them), or *free*. Reservations are
//! counts: they never exceed free and freed units together, so a reserved write may have to wait for a checkpoint
//! but cannot fail.

use crate::layout::NO_UNIT;

/// Whether a number of units can be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// Now.
    Now,
    /// After the next checkpoint.
    AfterCheckpoint,
    /// Not at all.
    Never,
}

/// The allocator.
#[derive(Debug)]
pub(crate) struct Units {
    count: u32,
    /// One bit per unit, set when used or freed; bits behind the last unit are set for ever.
    used: Vec<u64>,
    /// One bit per word of `used`: set where the word has a free unit.
    some_free: Vec<u64>,
    /// One bit per word of `used`: set where all 64 units of the word are free.
    all_free: Vec<u64>,
    free: u32,
    freed: u32,
    reserved: u32,
    cursor: usize,
}

impl Units {
    /// All units free.
    pub(crate) fn new(count: u32) -> Self {
        let words = (count as usize).div_ceil(64);
        let mut used = vec![0u64; words];
        if !count.is_multiple_of(64) {
            used[words - 1] = u64::MAX << (count % 64);
        }
        let summary = words.div_ceil(64);
        let mut units = Self {
            count,
            used,
            some_free: vec![0; summary],
            all_free: vec![0; summary],
            free: count,
            freed: 0,
            reserved: 0,
            cursor: 0,
        };
        (0..words).for_each(|word| units.summarise(word));
        units
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }
    pub(crate) const fn free(&self) -> u32 {
        self.free
    }
    pub(crate) const fn freed(&self) -> u32 {
        self.freed
    }
    pub(crate) const fn reserved(&self) -> u32 {
        self.reserved
    }

    /// Marks a unit that a record names. False if it is marked already.
    #[must_use]
    pub(crate) fn mark(&mut self, unit: u32) -> bool {
        if self.is_used(unit) {
            return false;
        }
        self.set(unit);
        true
    }

    /// Whether `plain` units without and `reserved` units with a reservation can be had together.
    pub(crate) const fn room(&self, plain: u32, reserved: u32) -> Room {
        if plain <= self.free.saturating_sub(self.reserved) && plain + reserved <= self.free {
            Room::Now
        } else if plain <= (self.free + self.freed).saturating_sub(self.reserved) {
            Room::AfterCheckpoint
        } else {
            Room::Never
        }
    }

    /// Promises `count` more units; false if there are not enough.
    #[must_use]
    pub(crate) const fn reserve(&mut self, count: u32) -> bool {
        if self.reserved + count > self.free + self.freed {
            return false;
        }
        self.reserved += count;
        true
    }

    /// Takes promises back.
    pub(crate) fn unreserve(&mut self, count: u32) {
        assert!(count <= self.reserved, "more reservations given back than were made");
        self.reserved -= count;
    }

    /// Takes a free unit: one of `hints` if free, else a place in an untouched run of 64 at the region's own
    /// position, else any. The caller has asked for [`Self::room`], and takes the reservation back where it used one.
    pub(crate) fn take(&mut self, hints: [u32; 2], region: usize) -> u32 {
        assert!(self.free > 0, "units are taken only after asking for room");
        for hint in hints {
            if hint != NO_UNIT && hint < self.count && !self.is_used(hint) {
                self.set(hint);
                return hint;
            }
        }
        let unit = match find_from(&self.all_free, self.cursor) {
            Some(word) => {
                self.cursor = word;
                (word * 64 + region) as u32
            }
            None => {
                let word =
                    find_from(&self.some_free, self.cursor).expect("the free count says that a unit is free");
                self.cursor = word;
                (word * 64) as u32 + self.used[word].trailing_ones()
            }
        };
        self.set(unit);
        unit
    }

    /// Gives back a unit that no record and no journal record ever named.
    pub(crate) fn give_back(&mut self, unit: u32) {
        assert!(self.is_used(unit), "unit {unit} given back twice");
        self.used[unit as usize / 64] &= !(1 << (unit % 64));
        self.free += 1;
        self.summarise(unit as usize / 64);
    }

    /// Notes that a record stopped naming a unit; it becomes free by [`Self::retire`].
    pub(crate) fn note_freed(&mut self, count: u32) {
        self.freed += count;
    }

    /// A freed unit that nothing names any more becomes free.
    pub(crate) fn retire(&mut self, unit: u32) {
        assert!(self.freed > 0, "unit {unit} retired without having been freed");
        self.freed -= 1;
        self.give_back(unit);
    }

    /// Unmarks a unit during replay, when the record that named it is taken in hand.
    pub(crate) fn unmark(&mut self, unit: u32) {
        // Two records may name it on a damaged store, which was reported then.
        if unit < self.count && self.is_used(unit) {
            self.give_back(unit);
        }
    }

    fn is_used(&self, unit: u32) -> bool {
        self.used[unit as usize / 64] >> (unit % 64) & 1 == 1
    }

    fn set(&mut self, unit: u32) {
        self.used[unit as usize / 64] |= 1 << (unit % 64);
        self.free -= 1;
        self.summarise(unit as usize / 64);
    }

    fn summarise(&mut self, word: usize) {
        let bit = 1u64 << (word % 64);
        let value = self.used[word];
        let write = |summary: &mut u64, on: bool| if on { *summary |= bit } else { *summary &= !bit };
        write(&mut self.some_free[word / 64], value != u64::MAX);
        write(&mut self.all_free[word / 64], value == 0);
    }
}

/// The first set bit at or behind `from`, else the first one before it.
fn find_from(bits: &[u64], from: usize) -> Option<usize> {
    let start = (from / 64).min(bits.len().saturating_sub(1));
    let first = bits.get(start)? & (u64::MAX << (from % 64));
    if first != 0 {
        return Some(start * 64 + first.trailing_zeros() as usize);
    }
    (start + 1..bits.len())
        .chain(0..=start)
        .find(|word| bits[*word] != 0)
        .map(|word| word * 64 + bits[word].trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_written_in_order_gets_neighbouring_units() {
        let mut units = Units::new(640);
        let first = units.take([NO_UNIT; 2], 0);
        let home = first;
        for region in 1..64u32 {
            assert_eq!(units.take([home + region, NO_UNIT], region as usize), home + region);
        }
        assert_eq!(units.take([NO_UNIT; 2], 5) % 64, 5);
    }

    #[test]
    fn every_unit_can_be_taken_and_none_beyond_the_last() {
        let mut units = Units::new(100);
        let mut taken: Vec<u32> = (0..100).map(|n| units.take([NO_UNIT; 2], n % 64)).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert_eq!(units.room(1, 0), Room::Never);
    }

    #[test]
    fn a_freed_unit_counts_as_room_only_after_a_checkpoint() {
        let mut units = Units::new(64);
        let all: Vec<u32> = (0..64).map(|n| units.take([NO_UNIT; 2], n)).collect();
        units.note_freed(1);
        assert_eq!(units.room(1, 0), Room::AfterCheckpoint);
        units.retire(all[7]);
        assert_eq!(units.room(1, 0), Room::Now);
    }

    #[test]
    fn reserved_units_are_not_given_to_others() {
        let mut units = Units::new(64);
        assert!(units.reserve(64));
        assert!(!units.reserve(1));
        assert_eq!(units.room(1, 0), Room::Never);
        assert_eq!(units.room(0, 64), Room::Now);
    }
}
