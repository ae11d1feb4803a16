//! The states that a search has seen: their fingerprints, each with the one it was first reached from.

/// What a state takes: two fingerprints.
const BYTES_PER_PLACE: usize = 16;
/// Full tables grow: at seven tenths, looking up still takes one or two steps.
const FULL_TENTHS: usize = 7;
const PLACES_FIRST: usize = 1 << 16;

/// A table with open addressing; a fingerprint is never zero.
pub(crate) struct Seen {
    places: Vec<(u64, u64)>,
    states: usize,
    bytes_max: usize,
}

impl Seen {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { places: vec![(0, 0); PLACES_FIRST], states: 0, bytes_max }
    }

    pub(crate) fn len(&self) -> usize {
        self.states
    }

    fn place_of(&self, fingerprint: u64) -> usize {
        let mask = self.places.len() - 1;
        let mut place = fingerprint as usize & mask;
        while self.places[place].0 != 0 && self.places[place].0 != fingerprint {
            place = (place + 1) & mask;
        }
        place
    }

    /// Whether the state is new. The first one has no state before it.
    pub(crate) fn add(&mut self, fingerprint: u64, before: Option<u64>) -> bool {
        let place = self.place_of(fingerprint);
        if self.places[place].0 == fingerprint {
            return false;
        }
        self.places[place] = (fingerprint, before.unwrap_or(0));
        self.states += 1;
        true
    }

    /// Makes room for more. Whether there is any: while it grows, the old table is there beside the new one.
    pub(crate) fn grow(&mut self) -> bool {
        let places = self.places.len();
        if self.states * 10 < places * FULL_TENTHS {
            return true;
        }
        if places * 3 * BYTES_PER_PLACE > self.bytes_max {
            // What is left of the table may be filled a little more.
            return self.states * 10 < places * (FULL_TENTHS + 2);
        }
        let old = std::mem::replace(&mut self.places, vec![(0, 0); places * 2]);
        for (fingerprint, before) in old.into_iter().filter(|(fingerprint, _)| *fingerprint != 0) {
            let place = self.place_of(fingerprint);
            self.places[place] = (fingerprint, before);
        }
        true
    }

    /// The fingerprints from the first state to this one.
    pub(crate) fn path(&self, last: u64) -> Vec<u64> {
        let mut path = vec![last];
        let mut at = last;
        while let (_, before @ 1..) = self.places[self.place_of(at)] {
            path.push(before);
            at = before;
        }
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_new_once_and_its_path_survives_growing() {
        let mut seen = Seen::new(1 << 30);
        let number = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for n in 1..200_000u64 {
            assert!(seen.grow());
            assert!(seen.add(number(n), (n > 1).then(|| number(n - 1))));
            assert!(!seen.add(number(n), Some(number(1))));
        }
        assert_eq!(seen.len(), 199_999);
        let path = seen.path(number(150_000));
        assert_eq!((path.len(), path[0], path[149_999]), (150_000, number(1), number(150_000)));
    }

    #[test]
    fn a_table_does_not_grow_beyond_its_bound() {
        let mut seen = Seen::new(PLACES_FIRST * BYTES_PER_PLACE * 3);
        let mut states = 0u64;
        while seen.grow() {
            states += 1;
            seen.add(states.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, None);
        }
        assert!(states > PLACES_FIRST as u64, "it grew once: {states}");
        assert!(seen.places.len() * BYTES_PER_PLACE <= seen.bytes_max);
    }
}
