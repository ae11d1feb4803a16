//! Locks on ranges of blocks of one extent: readers share, a writer is alone, and nobody overtakes.

use crate::slots::Key;
use evenkeel_types::BlockRange;
use smallvec::SmallVec;

#[derive(Debug)]
struct Entry {
    operation: Key,
    range: BlockRange,
    exclusive: bool,
    granted: bool,
}

impl Entry {
    const fn conflicts(&self, other: &Self) -> bool {
        (self.exclusive || other.exclusive) && self.range.overlaps(other.range)
    }
}

/// The locks of one extent, in order of arrival. An operation waits for every earlier one that it conflicts with,
/// whether that one has its lock or waits itself: so a stream of readers cannot keep a writer out.
#[derive(Default, Debug)]
pub(crate) struct RangeLocks {
    entries: Vec<Entry>,
}

impl RangeLocks {
    /// Asks for a lock; whether it is granted at once.
    pub(crate) fn request(&mut self, operation: Key, range: BlockRange, exclusive: bool) -> bool {
        let mut entry = Entry { operation, range, exclusive, granted: false };
        entry.granted = !self.entries.iter().any(|earlier| earlier.conflicts(&entry));
        let granted = entry.granted;
        self.entries.push(entry);
        granted
    }

    /// Gives a lock or a place in the queue back; who has got a lock by that.
    pub(crate) fn release(&mut self, operation: Key) -> SmallVec<[Key; 2]> {
        let mut granted = SmallVec::new();
        let Some(at) = self.entries.iter().position(|entry| entry.operation == operation) else {
            return granted;
        };
        let released = self.entries.remove(at);
        for later in at..self.entries.len() {
            let entry = &self.entries[later];
            if entry.granted || !entry.conflicts(&released) {
                continue;
            }
            if !self.entries[..later].iter().any(|earlier| earlier.conflicts(entry)) {
                granted.push(entry.operation);
                self.entries[later].granted = true;
            }
        }
        granted
    }

    /// Those that wait, in order.
    pub(crate) fn waiting(&self) -> Vec<Key> {
        self.entries.iter().filter(|entry| !entry.granted).map(|entry| entry.operation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slots;

    fn keys<const N: usize>() -> [Key; N] {
        let mut slots = Slots::default();
        std::array::from_fn(|_| slots.insert(()))
    }

    fn range(first: u16, count: u16) -> BlockRange {
        BlockRange::new(first, count).unwrap()
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let [a, b, c, d] = keys();
        let mut locks = RangeLocks::default();
        assert!(locks.request(a, range(0, 4), false));
        assert!(locks.request(b, range(2, 4), false));
        assert!(!locks.request(c, range(3, 1), true));
        assert!(locks.request(d, range(8, 1), true));
        assert!(locks.release(a).is_empty());
        assert_eq!(locks.release(b)[..], [c]);
    }

    #[test]
    fn a_reader_does_not_overtake_a_waiting_writer() {
        let [a, writer, late, apart] = keys();
        let mut locks = RangeLocks::default();
        assert!(locks.request(a, range(0, 8), false));
        assert!(!locks.request(writer, range(4, 8), true));
        assert!(!locks.request(late, range(10, 1), false));
        assert!(locks.request(apart, range(0, 2), false));
        assert_eq!(locks.waiting(), [writer, late]);
        assert_eq!(locks.release(a)[..], [writer]);
        assert_eq!(locks.release(writer)[..], [late]);
    }

    #[test]
    fn a_waiter_that_gives_up_lets_others_pass() {
        let [a, writer, late] = keys();
        let mut locks = RangeLocks::default();
        assert!(locks.request(a, range(0, 1), false));
        assert!(!locks.request(writer, range(0, 2), true));
        assert!(!locks.request(late, range(1, 1), false));
        assert_eq!(locks.release(writer)[..], [late]);
    }
}
