//! Writers that check: each works on blocks of its own, knows what every one of them must hold, and reads it back
//! between its writes, through any portal, also while the servers are killed and started again.

use crate::blocks::{BLOCK, Blocks};
use crate::session::{Ended, SILENCE_MAX, Session};
use evenkeel_iscsi::initiator::RequestId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    /// The longest that one request took until its answer, through however many sessions.
    pub longest: Duration,
    /// The first thing that was wrong.
    pub wrong: Option<String>,
}

/// How long requests waited lately, for those who look on while a writer runs.
#[derive(Debug)]
pub struct Waits {
    began: Instant,
    longest_us: AtomicU64,
    answered: AtomicU64,
    /// When the oldest request under way was made, from the beginning on; the maximum if there is none.
    oldest_us: AtomicU64,
}

impl Waits {
    fn new() -> Self {
        let (longest_us, answered) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { began: Instant::now(), longest_us, answered, oldest_us: AtomicU64::new(u64::MAX) }
    }

    fn note_open(&self, open: impl Iterator<Item = Instant>) {
        let us = |at: Instant| at.saturating_duration_since(self.began).as_micros() as u64;
        self.oldest_us.store(open.map(us).min().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the oldest request under way has waited so far.
    #[must_use]
    pub fn oldest(&self) -> Duration {
        let since = Duration::from_micros(self.oldest_us.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(since)
    }

    fn note(&self, waited: Duration) {
        self.longest_us.fetch_max(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// The longest of those that were answered since the last call.
    #[must_use]
    pub fn take_longest(&self) -> Duration {
        Duration::from_micros(self.longest_us.swap(0, Ordering::Relaxed))
    }

    /// How many were answered in all.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// A writer with a number of requests under way.
pub struct Writer {
    portals: Vec<String>,
    target: String,
    blocks: Blocks,
    depth: usize,
    random: u64,
    pause: Duration,
    /// How long it waits for anything to come of a session; none if it makes no request twice.
    patience: Option<Duration>,
    /// Requests that were lost with a session, to be made again in the next.
    again: Vec<Flight>,
    waits: Arc<Waits>,
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
    /// It was made before, with an outcome that is unknown.
    is_again: bool,
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
            patience: None,
            again: Vec::new(),
            waits: Arc::new(Waits::new()),
            tally,
        }
    }

    /// The same for a host with several paths: what a lost session leaves without an answer it makes again through another
    /// one, and a path on which nothing comes for this long it gives up.
    #[must_use]
    pub const fn with_paths(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// How long its requests wait, to be looked at while it runs.
    #[must_use]
    pub fn waits(&self) -> Arc<Waits> {
        Arc::clone(&self.waits)
    }

    /// The same with a pause before each request.
    #[must_use]
    pub const fn paced(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Writes and reads until told to stop, or until something is wrong.
    pub fn run(&mut self, stop: &AtomicBool) {
        while self.tally.wrong.is_none() && (!stop.load(Ordering::Relaxed) || !self.again.is_empty()) {
            let portal = self.random(self.portals.len() as u64) as usize;
            let portal = self.portals[portal].clone();
            match Session::open_with(&portal, &self.target, self.patience.unwrap_or(SILENCE_MAX)) {
                Ok(session) => self.use_session(session, stop),
                Err(_) => std::thread::sleep(RECONNECT_EVERY),
            }
        }
    }

    fn use_session(&mut self, mut session: Session, stop: &AtomicBool) {
        let mut open: BTreeMap<RequestId, Flight> = BTreeMap::new();
        let mut made = 0;
        for flight in std::mem::take(&mut self.again) {
            open.insert(self.make(&mut session, flight), flight);
        }
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
            self.waits.note_open(open.values().map(|flight| flight.since));
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
                        self.tally.unknown += u64::from(flight.write.is_some());
                        if self.patience.is_some() {
                            self.again.push(Flight { is_again: true, ..flight });
                        } else if let Some(write) = flight.write {
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
        let write = (self.random(3) != 0).then(|| self.blocks.begin_write(at, count).0);
        let flight = Flight { at, count, write, since: Instant::now(), is_again: false };
        Some((self.make(session, flight), flight))
    }

    /// Sends a request, for the first time or again.
    fn make(&self, session: &mut Session, flight: Flight) -> RequestId {
        let offset = (self.blocks.first() + flight.at as u64) * BLOCK as u64;
        match flight.write {
            None => session.read(offset, (flight.count * BLOCK) as u32),
            Some(write) => session.write(offset, self.blocks.content(flight.at, flight.count, write)),
        }
    }

    fn ended(&mut self, flight: Flight, ended: Ended) {
        let Flight { at, count, write, since, is_again } = flight;
        let waited = since.elapsed();
        self.tally.longest = self.tally.longest.max(waited);
        self.waits.note(waited);
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
            (Ended::Miscompare, _) => {
                self.tally.wrong.get_or_insert("a miscompare, and nothing was compared".to_owned());
            }
            // A write that is answered BUSY was not applied and never will be; of one that was made before that is not
            // known.
            (Ended::Busy, write) => {
                self.tally.busy += 1;
                if let Some(write) = write.filter(|_| is_again) {
                    self.blocks.unknown(at, count, write);
                }
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
