//! The content of a region: the writes that were applied to it, in order.

use std::fmt::{Display, Formatter};

/// Writes that are told apart, numbered from 1.
pub(crate) const WRITES_MAX: u8 = 3;
/// Writes that a history has room for; more than there are, because a bug may apply one twice.
const LENGTH_MAX: u32 = 4;
const BITS: u32 = 2;
const MASK: u8 = 0b11;

/// The writes applied to a region, the last one in the lowest bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct History(u8);

/// A set of writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Writes(u8);

impl History {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) fn len(self) -> u32 {
        (u8::BITS - self.0.leading_zeros()).div_ceil(BITS)
    }

    /// The writes, the first one first.
    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..self.len()).rev().map(move |n| self.0 >> (BITS * n) & MASK)
    }

    pub(crate) fn contains(self, write: u8) -> bool {
        self.iter().any(|applied| applied == write)
    }

    /// Applies a write. One that finds no room is not applied: what is to be found is in the writes before it.
    #[must_use]
    pub(crate) fn then(self, write: u8) -> Self {
        if self.len() == LENGTH_MAX { self } else { Self(self.0 << BITS | write) }
    }

    /// Takes the last write back.
    #[must_use]
    pub(crate) fn without_last(self) -> Self {
        Self(self.0 >> BITS)
    }

    pub(crate) fn last(self) -> u8 {
        self.0 & MASK
    }

    /// Whether `later` goes on from here.
    pub(crate) fn is_prefix_of(self, later: Self) -> bool {
        let (now, then) = (self.len(), later.len());
        then >= now && later.0.checked_shr(BITS * (then - now)).unwrap_or(0) == self.0
    }

    pub(crate) fn set(self) -> Writes {
        self.iter().fold(Writes::default(), Writes::with)
    }

    /// Whether a write was applied again after another one: w1, w2, w1. Applied twice in a row it has the same effect
    /// as once.
    pub(crate) fn has_repeat(self) -> bool {
        let mut last = 0;
        let mut seen = Writes::default();
        for write in self.iter() {
            if write != last && seen.contains(write) {
                return true;
            }
            seen = seen.with(write);
            last = write;
        }
        false
    }
}

impl Display for History {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        if *self == Self::EMPTY {
            return write!(f, "nothing");
        }
        let names: Vec<String> = self.iter().map(|write| format!("w{write}")).collect();
        write!(f, "{}", names.join(", "))
    }
}

impl Writes {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn contains(self, write: u8) -> bool {
        self.0 >> write & 1 == 1
    }

    #[must_use]
    pub(crate) const fn with(self, write: u8) -> Self {
        Self(self.0 | 1 << write)
    }

    #[must_use]
    pub(crate) const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(writes: &[u8]) -> History {
        writes.iter().fold(History::EMPTY, |history, write| history.then(*write))
    }

    #[test]
    fn a_history_tells_what_goes_on_from_it() {
        assert!(History::EMPTY.is_prefix_of(history(&[1])));
        assert!(history(&[1]).is_prefix_of(history(&[1, 2])));
        assert!(history(&[3, 1]).is_prefix_of(history(&[3, 1])));
        assert!(!history(&[2]).is_prefix_of(history(&[1, 2])));
        assert!(!history(&[1, 2]).is_prefix_of(history(&[1])));
        assert!(History::EMPTY.is_prefix_of(history(&[1, 2, 3, 1])));
    }

    #[test]
    fn a_write_that_comes_back_after_another_one_is_a_repeat() {
        assert!(history(&[1, 2, 1]).has_repeat());
        assert!(!history(&[1, 1, 2]).has_repeat());
        assert!(!history(&[1, 2, 3]).has_repeat());
        assert_eq!(history(&[1, 2, 3]).without_last(), history(&[1, 2]));
        assert_eq!(history(&[1, 2, 3]).to_string(), "w1, w2, w3");
    }
}
