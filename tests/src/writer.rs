//! Writers that check: each works on blocks of its own, knows what every one of them must hold, and reads it back
//! between its writes, through any portal, also while the servers are killed and started again.

use crate::blocks::{BLOCK, Blocks};
use crate::session::{Ended, Session};
use evenkeel_iscsi::initiator::RequestId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Blocks of one request at most.
const REQUEST_BLOCKS_MAX: u64 = 6;
/// Pause before a portal that refused is tried again.
const RECONNECT_EVERY: Duration = Duration::from_millis(20);
/// Blocks of one request where all are written or read.
const AT_ONCE: usize = 64;
/// Requests after which another portal is taken.
const REQUESTS_PER_SESSION: u64 = 2_000;

/// Tells writers and movers to stop when it goes, also by a panic of the test.
pub struct StopAtEnd<'a>(pub &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a writer did.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Reads that were as they must be.
    pub reads: u64,
    /// Requests answered BUSY, and made again.
    pub busy: u64,
    /// Sessions that were lost.
    pub lost: u64,
    /// Writes whose outcome was unknown when their session was lost.
    pub unknown: u64,
    /// The longest that one request took until its answer.
    pub longest: Duration,
    /// The first thing that was wrong.
    pub wrong: Option<String>,
}

/// A writer with a number of requests under way.
pub struct Writer {
    portals: Vec<String>,
    target: String,
    blocks: Blocks,
    depth: usize,
    random: u64,
    pause: Duration,
    /// What it did so far.
    pub tally: Tally,
}

#[derive(Clone, Copy)]
struct Flight {
    at: usize,
    count: usize,
    /// The number of a write.
    write: Option<u64>,
    since: Instant,
}

impl Writer {
    /// A writer to these blocks, which were never written.
    #[must_use]
    pub fn new(portals: Vec<String>, target: &str, blocks: Blocks, depth: usize, seed: u64) -> Self {
        let tally = Tally::default();
        Self {
            portals,
            target: target.to_owned(),
            blocks,
            depth,
            random: seed | 1,
            pause: Duration::ZERO,
            tally,
        }
    }

    /// The same with a pause before each request.
    #[must_use]
    pub const fn paced(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Writes and reads until told to stop, or until something is wrong.
    pub fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) && self.tally.wrong.is_none() {
            let portal = self.random(self.portals.len() as u64) as usize;
            let portal = self.portals[portal].clone();
            match Session::open(&portal, &self.target) {
                Ok(session) => self.use_session(session, stop),
                Err(_) => std::thread::sleep(RECONNECT_EVERY),
            }
        }
    }

    fn use_session(&mut self, mut session: Session, stop: &AtomicBool) {
        let mut open: BTreeMap<RequestId, Flight> = BTreeMap::new();
        let mut made = 0;
        loop {
            let goes_on =
                made < REQUESTS_PER_SESSION && !stop.load(Ordering::Relaxed) && self.tally.wrong.is_none();
            while goes_on && open.len() < self.depth {
                std::thread::sleep(self.pause);
                if let Some((id, flight)) = self.request(&mut session, &open) {
                    open.insert(id, flight);
                    made += 1;
                }
            }
            if open.is_empty() {
                return;
            }
            match session.wait_end() {
                Ok((id, ended)) => {
                    if let Some(flight) = open.remove(&id) {
                        self.ended(flight, ended);
                    }
                }
                Err(_) => {
                    self.tally.lost += 1;
                    for flight in open.into_values() {
                        if let Some(write) = flight.write {
                            self.tally.unknown += 1;
                            self.blocks.unknown(flight.at, flight.count, write);
                        }
                    }
                    return;
                }
            }
        }
    }

    /// Makes a request on blocks that no other is under way on; two of three are writes.
    fn request(
        &mut self,
        session: &mut Session,
        open: &BTreeMap<RequestId, Flight>,
    ) -> Option<(RequestId, Flight)> {
        let at = self.random(self.blocks.count() as u64) as usize;
        let count = (1 + self.random(REQUEST_BLOCKS_MAX) as usize).min(self.blocks.count() - at);
        if open.values().any(|other| at < other.at + other.count && other.at < at + count) {
            return None;
        }
        let offset = (self.blocks.first() + at as u64) * BLOCK as u64;
        let since = Instant::now();
        if self.random(3) == 0 {
            return Some((
                session.read(offset, (count * BLOCK) as u32),
                Flight { at, count, write: None, since },
            ));
        }
        let (write, data) = self.blocks.begin_write(at, count);
        Some((session.write(offset, data), Flight { at, count, write: Some(write), since }))
    }

    fn ended(&mut self, flight: Flight, ended: Ended) {
        let Flight { at, count, write, since } = flight;
        self.tally.longest = self.tally.longest.max(since.elapsed());
        match (ended, write) {
            (Ended::Good(_), Some(write)) => {
                self.tally.writes += 1;
                self.blocks.acknowledged(at, count, write);
            }
            (Ended::Good(data), None) => {
                self.tally.reads += 1;
                let checked = if data.len() == count * BLOCK {
                    self.blocks.check(at, &data)
                } else {
                    Err(format!("{} bytes for {count} blocks", data.len()))
                };
                if let Err(why) = checked {
                    self.tally.wrong.get_or_insert(why);
                }
            }
            // A write that is answered BUSY was not applied and never will be.
            (Ended::Busy, _) => self.tally.busy += 1,
            (Ended::Miscompare, _) => {
                self.tally.wrong.get_or_insert("a miscompare, and nothing was compared".to_owned());
            }
            (Ended::Failed(why), write) => {
                let what = if write.is_some() { "write" } else { "read" };
                let block = self.blocks.first() + at as u64;
                self.tally.wrong.get_or_insert(format!("{what} of {count} blocks at {block} failed: {why}"));
            }
        }
    }

    /// Writes every block once.
    ///
    /// # Errors
    /// What a write ended with instead.
    pub fn fill(&mut self, portal: &str) -> Result<(), String> {
        let mut session = Session::open(portal, &self.target)?;
        for at in (0..self.blocks.count()).step_by(AT_ONCE) {
            let count = AT_ONCE.min(self.blocks.count() - at);
            let (write, data) = self.blocks.begin_write(at, count);
            session.write((self.blocks.first() + at as u64) * BLOCK as u64, data);
            match session.wait_end()? {
                (_, Ended::Good(_)) => self.blocks.acknowledged(at, count, write),
                (_, ended) => return Err(format!("a write ended with {ended:?}")),
            }
        }
        Ok(())
    }

    /// Reads all blocks through a portal; gives how many were ever written.
    ///
    /// # Errors
    /// What is wrong with the first of them.
    pub fn verify(&mut self, portal: &str) -> Result<usize, String> {
        let mut session = Session::open(portal, &self.target)?;
        for at in (0..self.blocks.count()).step_by(AT_ONCE) {
            let count = AT_ONCE.min(self.blocks.count() - at);
            session.read((self.blocks.first() + at as u64) * BLOCK as u64, (count * BLOCK) as u32);
            match session.wait_end()? {
                (_, Ended::Good(data)) if data.len() == count * BLOCK => self.blocks.check(at, &data)?,
                (_, ended) => return Err(format!("a read ended with {ended:?}")),
            }
        }
        Ok(self.blocks.written().0)
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % below
    }
}
