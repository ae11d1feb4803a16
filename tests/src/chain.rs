//! Hosts that count with COMPARE AND WRITE: each step of a count compares with the one before, and is made only from there.
//!
//! A step whose answer was lost with its session is decided by reading, then the host goes on through another portal. Two
//! ways of counting show different faults:
//! * **Marked**: each try writes a mark of its own, and the host goes on at once. A try that was given up may still arrive
//!   (a host has left, and cannot call it back), then the next one is refused, and the mark tells why. Anything else that is
//!   refused is a false miscompare.
//! * **To and fro**: there are two contents, so a step that were made twice would turn the count back. The host lets
//!   [`SETTLED_AFTER`] pass after it lost a session: nothing of before happens any more, and nothing at all may be refused.

use crate::blocks::{BLOCK, fill};
use crate::session::{Ended, Session};
use evenkeel_iscsi::initiator::RequestId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// After this time nothing happens any more of what was under way on a session that is lost: an owner orders an operation
/// only within 2 s of the last proof that its initiator lives, and a connection between servers lapses after 2 s.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// Pause before a portal that refused is tried again.
const RECONNECT_EVERY: Duration = Duration::from_millis(20);
/// What an answer takes at least that had to wait for another owner: leases of the one before have to run out.
const TAKEOVER_MIN: Duration = Duration::from_secs(1);
/// Bytes that a step compares and writes: a logical block.
const STEP_BYTES: usize = 512;
/// Blocks of an extent.
const EXTENT_BLOCKS: u64 = 1024;

/// What the scenario tells the hosts.
#[derive(Debug, Default)]
pub struct Kills {
    count: AtomicU64,
    /// Extents whose owner was killed last, by volume.
    extents: Mutex<BTreeSet<(String, u64)>>,
    /// Microseconds that a host waits before each step.
    pace: AtomicU64,
}

impl Kills {
    /// The owner of these extents was just killed.
    ///
    /// # Panics
    /// If a host has.
    pub fn note(&self, extents: BTreeSet<(String, u64)>) {
        *self.extents.lock().expect("no host panicked") = extents;
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on hosts wait so long before each step.
    pub fn pace(&self, pause: Duration) {
        self.pace.store(pause.as_micros() as u64, Ordering::Relaxed);
    }
}

/// How hosts count: see the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Each try has a mark.
    Marked,
    /// Two contents take turns.
    ToAndFro,
}

/// What a host saw.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// Steps that were acknowledged.
    pub made: u64,
    /// Of them, those that were under way when the owner of their extent was killed, and waited for another one.
    pub over: u64,
    /// Steps whose answer was lost with their session.
    pub unanswered: u64,
    /// Of them, those that were found made.
    pub found_made: u64,
    /// Steps that were given up and arrived afterwards.
    pub late: u64,
    /// Steps answered BUSY, and made again.
    pub busy: u64,
    /// The longest that one took.
    pub longest: Duration,
    /// The first thing that was wrong.
    pub wrong: Option<String>,
}

/// One count.
#[derive(Debug)]
struct Count {
    block: u64,
    /// In bytes of the volume: a logical block within the block.
    offset: u64,
    /// How far it is, and the mark of the try that made the last step.
    at: (u64, u64),
    last_mark: u64,
    /// Marks of tries from here that may have happened or still happen.
    open: Vec<u64>,
    /// It has to be read before it goes on.
    is_unknown: bool,
}

/// A host with a number of counts, one step of each under way.
pub struct Host {
    portals: Vec<String>,
    volume: String,
    target: String,
    way: Way,
    counts: Vec<Count>,
    random: u64,
    lost_at: Option<Instant>,
    /// What it saw.
    pub steps: Steps,
}

/// A step, or a read, that is under way.
struct Flight {
    count: usize,
    /// The mark of a step; none for a read.
    mark: Option<u64>,
    since: Instant,
    kills: u64,
}

impl Host {
    /// One that counts at these blocks of a volume, which nobody else uses.
    #[must_use]
    pub fn new(portals: Vec<String>, volume: &str, target: &str, way: Way, blocks: &[u64]) -> Self {
        let count = |(n, block): (usize, &u64)| Count {
            block: *block,
            offset: block * BLOCK as u64 + (n * STEP_BYTES % BLOCK) as u64,
            at: (0, 0),
            last_mark: 0,
            open: Vec::new(),
            is_unknown: false,
        };
        let counts: Vec<Count> = blocks.iter().enumerate().map(count).collect();
        let random = blocks.first().map_or(1, |block| block * 2 + 1);
        let (volume, target) = (volume.to_owned(), target.to_owned());
        Self { portals, volume, target, way, counts, random, lost_at: None, steps: Steps::default() }
    }

    /// Writes where each count begins.
    ///
    /// # Errors
    /// What a write ended with instead.
    pub fn begin(&mut self) -> Result<(), String> {
        let mut session = Session::open(&self.portals[0], &self.target)?;
        for count in &self.counts {
            let content = content(self.way, count, count.at);
            session.write(count.offset, content.into());
            match session.wait_end()? {
                (_, Ended::Good(_)) => {}
                (_, ended) => return Err(format!("a write ended with {ended:?}")),
            }
        }
        Ok(())
    }

    /// Counts until told to stop, or until something is wrong.
    pub fn run(&mut self, kills: &Kills, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) && self.steps.wrong.is_none() {
            self.settle();
            let portal = self.random(self.portals.len() as u64) as usize;
            match Session::open(&self.portals[portal], &self.target) {
                Ok(mut session) => {
                    if self.use_session(&mut session, kills, stop).is_err() {
                        self.lost_at = Some(Instant::now());
                    }
                }
                Err(_) => std::thread::sleep(RECONNECT_EVERY),
            }
        }
    }

    /// Lets pass the time in which anything may still happen of what was under way, where the way of counting needs it.
    fn settle(&self) {
        if let (Way::ToAndFro, Some(lost_at)) = (self.way, self.lost_at) {
            std::thread::sleep(SETTLED_AFTER.saturating_sub(lost_at.elapsed()));
        }
    }

    fn use_session(&mut self, session: &mut Session, kills: &Kills, stop: &AtomicBool) -> Result<(), String> {
        let mut flights: BTreeMap<RequestId, Flight> = BTreeMap::new();
        for count in 0..self.counts.len() {
            self.go_on(session, count, kills, &mut flights);
        }
        while !flights.is_empty() {
            let ended = session.wait_end();
            let Ok((id, ended)) = ended else {
                for flight in flights.into_values() {
                    self.counts[flight.count].is_unknown = true;
                    self.steps.unanswered += u64::from(flight.mark.is_some());
                }
                return ended.map(drop);
            };
            let Some(flight) = flights.remove(&id) else { continue };
            let count = flight.count;
            self.ended(&flight, ended, kills);
            if !stop.load(Ordering::Relaxed) && self.steps.wrong.is_none() {
                self.go_on(session, count, kills, &mut flights);
            }
        }
        Ok(())
    }

    /// Makes the next step of a count, or reads how far it is.
    fn go_on(
        &mut self,
        session: &mut Session,
        n: usize,
        kills: &Kills,
        flights: &mut BTreeMap<RequestId, Flight>,
    ) {
        std::thread::sleep(Duration::from_micros(kills.pace.load(Ordering::Relaxed)));
        let way = self.way;
        let count = &mut self.counts[n];
        let offset = count.offset;
        let mut flight =
            Flight { count: n, mark: None, since: Instant::now(), kills: kills.count.load(Ordering::SeqCst) };
        let id = if count.is_unknown {
            session.read(offset, STEP_BYTES as u32)
        } else {
            count.last_mark += 1;
            let (mark, next) = (count.last_mark, (count.at.0 + 1, count.last_mark));
            count.open.push(mark);
            flight.mark = Some(mark);
            session.compare_and_write(offset, &content(way, count, count.at), &content(way, count, next))
        };
        flights.insert(id, flight);
    }

    fn ended(&mut self, flight: &Flight, ended: Ended, kills: &Kills) {
        let took = flight.since.elapsed();
        self.steps.longest = self.steps.longest.max(took);
        let count = &mut self.counts[flight.count];
        let wrong = match (ended, flight.mark) {
            (Ended::Good(_), Some(mark)) => {
                let extent = (self.volume.clone(), count.block / EXTENT_BLOCKS);
                let is_over = kills.count.load(Ordering::SeqCst) != flight.kills
                    && took >= TAKEOVER_MIN
                    && kills.extents.lock().expect("no host panicked").contains(&extent);
                self.steps.made += 1;
                self.steps.over += u64::from(is_over);
                count.moved_on(mark);
                None
            }
            (Ended::Good(data), None) => self.decide(flight.count, &data).err(),
            // Certainly not made, and never will be.
            (Ended::Busy, Some(mark)) => {
                self.steps.busy += 1;
                count.open.retain(|open| *open != mark);
                None
            }
            (Ended::Busy, None) => None,
            (Ended::Miscompare, Some(mark)) => {
                count.open.retain(|open| *open != mark);
                count.is_unknown = true;
                (count.open.is_empty()).then(|| {
                    format!("block {}: step {} was refused, and nothing else was under way", count.block, {
                        count.at.0 + 1
                    })
                })
            }
            (ended, mark) => Some(format!("block {}: {mark:?} ended with {ended:?}", count.block)),
        };
        self.steps.wrong = self.steps.wrong.take().or(wrong);
    }

    /// A count was read that was unknown.
    fn decide(&mut self, n: usize, data: &[u8]) -> Result<(), String> {
        let way = self.way;
        let count = &mut self.counts[n];
        if data == content(way, count, count.at) {
            // A mark may still arrive; where there is none, nothing does any more.
            if way == Way::ToAndFro {
                count.open.clear();
            }
            count.is_unknown = false;
            return Ok(());
        }
        let next = count.at.0 + 1;
        let made = count.open.iter().copied().find(|mark| data == content(way, count, (next, *mark)));
        let Some(mark) = made else {
            return Err(format!(
                "block {} is neither at step {} nor at the next: {:02x?}..., under way were {:?}",
                count.block,
                count.at.0,
                &data[..data.len().min(16)],
                count.open
            ));
        };
        if count.open.last() == Some(&mark) {
            self.steps.found_made += 1;
        } else {
            self.steps.late += 1;
        }
        count.moved_on(mark);
        count.is_unknown = false;
        Ok(())
    }

    /// Reads all counts through a portal, once everything has settled.
    ///
    /// # Errors
    /// What is wrong with the first of them.
    pub fn verify(&mut self, portal: &str) -> Result<(), String> {
        if let Some(lost_at) = self.lost_at {
            std::thread::sleep(SETTLED_AFTER.saturating_sub(lost_at.elapsed()));
        }
        let mut session = Session::open(portal, &self.target)?;
        for n in 0..self.counts.len() {
            session.read(self.counts[n].offset, STEP_BYTES as u32);
            match session.wait_end()? {
                (_, Ended::Good(data)) => self.decide(n, &data)?,
                (_, ended) => return Err(format!("a read ended with {ended:?}")),
            }
            self.counts[n].open.clear();
        }
        Ok(())
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % below
    }
}

impl Count {
    /// The step with this mark was made.
    fn moved_on(&mut self, mark: u64) {
        self.at = (self.at.0 + 1, mark);
        self.open.clear();
    }
}

/// What a count's place holds at a step that was made with a mark.
fn content(way: Way, count: &Count, (step, mark): (u64, u64)) -> Vec<u8> {
    let mut bytes = vec![0; STEP_BYTES];
    let write = match way {
        Way::Marked => step << 32 | mark,
        Way::ToAndFro => step % 2,
    };
    fill(&mut bytes, count.block, write);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(way: Way) -> Host {
        Host::new(vec!["nowhere".into()], "v1", "iqn", way, &[7])
    }

    /// A step that is under way.
    fn step(host: &mut Host) -> Flight {
        let count = &mut host.counts[0];
        count.last_mark += 1;
        count.open.push(count.last_mark);
        Flight { count: 0, mark: Some(count.last_mark), since: Instant::now(), kills: 0 }
    }

    fn held(host: &Host, at: (u64, u64)) -> Vec<u8> {
        content(host.way, &host.counts[0], at)
    }

    #[test]
    fn a_refused_step_is_a_false_miscompare_unless_an_earlier_one_of_its_own_arrived() {
        let mut host = host(Way::Marked);
        let lost = step(&mut host);
        host.counts[0].is_unknown = true;
        let before = held(&host, (0, 0));
        host.decide(0, &before).expect("not made yet");
        let again = step(&mut host);
        host.ended(&again, Ended::Miscompare, &Kills::default());
        assert_eq!(host.steps.wrong, None);
        let late = held(&host, (1, lost.mark.unwrap()));
        host.decide(0, &late).expect("the first one arrived");
        let next = step(&mut host);
        host.ended(&next, Ended::Miscompare, &Kills::default());
        assert!(host.steps.wrong.as_ref().is_some_and(|why| why.contains("was refused")), "{:?}", host.steps);
    }

    #[test]
    fn a_step_that_is_made_twice_turns_a_count_to_and_fro_back() {
        let mut host = host(Way::ToAndFro);
        for _ in 0..2 {
            let made = step(&mut host);
            host.ended(&made, Ended::Good(evenkeel_types::Bytes::new()), &Kills::default());
        }
        assert_eq!(host.steps.made, 2);
        // The first step once more: 0 became 1 again.
        let turned_back = held(&host, (1, 0));
        assert!(host.decide(0, &turned_back).is_err());
    }
}
