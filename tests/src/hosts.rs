//! Hosts that read and write a whole volume while something happens to the group: one writer for each extent.

use crate::blocks::Blocks;
use crate::processes::Processes;
use crate::writer::{StopAtEnd, Tally, Writer};
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Blocks of an extent.
const EXTENT_BLOCKS: u64 = 1024;
/// Pause of a host before each request, for the machine's sake.
const PACED: Duration = Duration::from_millis(3);

/// The hosts of one volume.
pub struct Hosts {
    writers: Vec<Writer>,
}

impl Hosts {
    /// Hosts for extents of a new volume, all of whose blocks they write once; each has so many requests under way.
    ///
    /// # Panics
    /// If a write fails.
    #[must_use]
    pub fn fill(group: &Processes, iqn: &str, extents: Range<u32>, depth: usize) -> Self {
        let portals = group.portals();
        let writer = |extent: u32| {
            let blocks = Blocks::new(u64::from(extent) * EXTENT_BLOCKS, EXTENT_BLOCKS as usize);
            let seed = 7 + u64::from(extent);
            let mut writer = Writer::new(portals.clone(), iqn, blocks, depth, seed).paced(PACED);
            writer.fill(&portals[extent as usize % portals.len()]).expect("the volume is written");
            writer
        };
        Self { writers: extents.map(writer).collect() }
    }

    /// Does something while they read and write.
    pub fn while_at_work<T>(&mut self, act: impl FnOnce() -> T) -> T {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop_at_end = StopAtEnd(&stop);
            for writer in &mut self.writers {
                scope.spawn(|| writer.run(&stop));
            }
            act()
        })
    }

    /// What all of them did so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for Tally { writes, reads, busy, lost, unknown, longest, wrong } in
            self.writers.iter().map(|writer| writer.tally.clone())
        {
            sum.writes += writes;
            sum.reads += reads;
            sum.busy += busy;
            sum.lost += lost;
            sum.unknown += unknown;
            sum.longest = sum.longest.max(longest);
            sum.wrong = sum.wrong.or(wrong);
        }
        sum
    }

    /// Asserts that nothing was wrong or refused; gives what they did.
    ///
    /// # Panics
    /// If something was, or they did hardly anything.
    pub fn saw_no_error(&self) -> Tally {
        let tally = self.tally();
        assert_eq!((&tally.wrong, tally.busy), (&None, 0));
        assert!(tally.writes > 100 && tally.reads > 50, "{tally:?}");
        tally
    }

    /// Asserts that every block holds what it must, at each of these portals.
    ///
    /// # Panics
    /// If one does not.
    pub fn all_is_there(&mut self, portals: &[String]) {
        for portal in portals {
            for writer in &mut self.writers {
                let read = writer.verify(portal).unwrap_or_else(|why| panic!("{portal}: {why}"));
                assert_eq!(read as u64, EXTENT_BLOCKS, "all blocks were written");
            }
        }
    }
}
