//! Blocks that were read from the device not long ago, kept in memory so that hot ones need not be read again.
//!
//! What holds: a block is here only with the content that the extent's record names at present. It goes in after its
//! checksum was verified, if the record has not changed since the device was asked. When a change of it takes its turn in
//! the journal it goes out, or gets its new content, and from then on a read waits for that change. The cache has a named
//! size, and large reads pass it by: a scan would only push out what is hot.

use crate::layout::BLOCK;
use evenkeel_types::{AlignedBuf, Bytes};
use std::collections::BTreeMap;

/// Blocks of a read at most (16 KiB) for which the cache is asked, and which go into it.
pub(crate) const CACHED_READ_BLOCKS_MAX: usize = 4;

#[derive(Debug)]
struct Item {
    place: u64,
    data: Bytes,
    /// Read again since the clock's hand passed.
    used: bool,
}

/// The cache.
#[derive(Debug)]
pub(crate) struct ReadCache {
    /// Seats in the order in which the clock's hand visits them; those of items that went are empty.
    seats: Vec<Option<Item>>,
    /// Seats by slot and block.
    places: BTreeMap<u64, usize>,
    hand: usize,
    capacity: usize,
}

const fn place(slot: u32, block: u16) -> u64 {
    (slot as u64) << 16 | block as u64
}

impl ReadCache {
    pub(crate) fn new(bytes: u64) -> Self {
        let capacity = usize::try_from(bytes / BLOCK as u64).unwrap_or(usize::MAX);
        Self { seats: Vec::new(), places: BTreeMap::new(), hand: 0, capacity }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.places.len() as u64 * BLOCK as u64
    }

    pub(crate) fn get(&mut self, slot: u32, block: u16) -> Option<Bytes> {
        let seat = *self.places.get(&place(slot, block))?;
        let item = self.seats[seat].as_mut()?;
        item.used = true;
        Some(item.data.clone())
    }

    /// Keeps blocks that were just read and verified, in place of others that were not used again.
    pub(crate) fn insert(&mut self, slot: u32, first: u16, data: &Bytes) {
        if self.capacity == 0 {
            return;
        }
        for (number, block) in data.chunks_exact(BLOCK).enumerate() {
            let place = place(slot, first + number as u16);
            if self.places.contains_key(&place) {
                continue;
            }
            // A part of a larger buffer would keep all of it.
            let data = if data.len() == BLOCK { data.clone() } else { AlignedBuf::copy_of(block).freeze() };
            let seat = self.empty_seat();
            self.seats[seat] = Some(Item { place, data, used: false });
            self.places.insert(place, seat);
        }
    }

    /// A seat for one more item: a new one, an empty one that the hand finds, or that of the next item that was not used.
    fn empty_seat(&mut self) -> usize {
        if self.seats.len() < self.capacity {
            self.seats.push(None);
            return self.seats.len() - 1;
        }
        loop {
            self.hand = (self.hand + 1) % self.seats.len();
            match &mut self.seats[self.hand] {
                None => return self.hand,
                Some(item) if item.used => item.used = false,
                Some(item) => {
                    self.places.remove(&item.place);
                    return self.hand;
                }
            }
        }
    }

    /// A block changes; one that is kept is kept with its new content. `is_part` of a larger buffer: the rest is not
    /// worth keeping.
    pub(crate) fn replace(&mut self, slot: u32, block: u16, data: &Bytes, is_part: bool) {
        if let Some(seat) = self.places.get(&place(slot, block))
            && let Some(item) = &mut self.seats[*seat]
        {
            item.data = if is_part { AlignedBuf::copy_of(data).freeze() } else { data.clone() };
        }
    }

    /// Blocks of a slot change and are not kept, from the first to the last.
    pub(crate) fn remove(&mut self, slot: u32, (first, last): (u16, u16)) {
        let of_slot = || place(slot, first)..=place(slot, last);
        while let Some((place, seat)) =
            self.places.range(of_slot()).next().map(|(place, seat)| (*place, *seat))
        {
            self.places.remove(&place);
            self.seats[seat] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fill: u8) -> Bytes {
        AlignedBuf::copy_of(&[fill; BLOCK]).freeze()
    }

    #[test]
    fn no_more_is_held_than_its_size_and_what_is_used_stays() {
        let mut cache = ReadCache::new(8 * BLOCK as u64);
        for number in 0..100 {
            cache.insert(1, number, &block(number as u8));
            assert_eq!(cache.get(1, 0).map(|data| data[0]), Some(0), "after {number}: read again and again");
        }
        assert_eq!(cache.bytes(), 8 * BLOCK as u64);
        let held: Vec<u16> = (0..100).filter(|number| cache.get(1, *number).is_some()).collect();
        assert_eq!(held.len(), 8);
        assert!(held.iter().all(|number| cache.get(1, *number).is_some_and(|data| data[0] == *number as u8)));
    }

    #[test]
    fn what_changes_goes_and_its_seat_is_used_again() {
        let mut cache = ReadCache::new(4 * BLOCK as u64);
        (0..4).for_each(|number| cache.insert(1, number, &block(1)));
        cache.remove(1, (2, 2));
        assert!(cache.get(1, 2).is_none() && cache.get(1, 3).is_some());
        cache.insert(2, 0, &block(2));
        cache.remove(1, (0, u16::MAX));
        assert_eq!((cache.bytes(), cache.get(2, 0).map(|data| data[0])), (BLOCK as u64, Some(2)));
        (0..3).for_each(|number| cache.insert(3, number, &block(3)));
        assert_eq!(cache.bytes(), 4 * BLOCK as u64);
        assert!(cache.get(2, 0).is_some(), "empty seats come first");
    }

    #[test]
    fn a_cache_without_size_holds_nothing() {
        let mut cache = ReadCache::new(0);
        cache.insert(1, 1, &block(1));
        assert!(cache.get(1, 1).is_none() && cache.bytes() == 0);
    }
}
