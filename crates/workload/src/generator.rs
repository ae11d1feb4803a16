//! The load itself: one thread that drives all sessions.
//!
//! ```text
//!   Schedule ─▶ is a request due? ─▶ Source ─▶ which? ─▶ Ledger ─▶ what to write? ─▶ the session with the
//!                                                                                    shortest queue
//!   Sample  ◀─ latency, errors ◀── Ledger ◀── is it what was written? ◀── answer ◀──────────┘
//! ```
//!
//! When all queues are full a request that is due waits here, with its planned time.

use crate::ledger::{Ledger, PORTALS_MAX};
use crate::random::Random;
use crate::sample::Sample;
use crate::schedule::{Pacing, Schedule};
use crate::session::{News, Session, wait};
use crate::source::{Op, Source};
use crate::stamp::Sequence;
use evenkeel_iscsi::initiator::{Done, InitiatorConfig, RequestId};
use evenkeel_iscsi::negotiate::Settings;
use evenkeel_iscsi::pdu::Isid;
use evenkeel_scsi::{SenseKey, Status};
use evenkeel_types::geometry::{EXTENT_BYTES, extents_of};
use evenkeel_types::{AlignedBuf, Bytes};
use rustix::event::{PollFd, PollFlags};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Time after which a request is made again that was answered BUSY or TASK SET FULL.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// Time after which such a request counts as failed, from its planned time on while it is under way.
const RETRY_FOR: Duration = Duration::from_secs(60);
/// Longest wait before the owner of the load is heard again.
const TICK: Duration = Duration::from_millis(5);
/// Bytes from which writes without verification take their content.
const NOISE_BYTES: usize = 4 << 20;

/// Where a load goes to, and how.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The portals, at most [`PORTALS_MAX`].
    pub portals: Vec<SocketAddr>,
    /// The target's name; every portal serves it.
    pub target: String,
    /// The initiator's name.
    pub initiator: String,
    /// Sessions with each portal.
    pub sessions_per_portal: usize,
    /// Requests under way on each session at most.
    pub depth: usize,
    /// What is offered in logins.
    pub settings: Settings,
    /// Whether all that is written carries a stamp and all that is read is checked.
    pub verify: bool,
    /// For chance.
    pub seed: u64,
}

/// A request under way.
#[derive(Debug)]
struct Flight {
    op: Op,
    /// The number of a verified write.
    sequence: Sequence,
    planned: Instant,
}

/// A session and what is under way on it.
#[derive(Debug)]
struct Seat {
    portal: usize,
    session: Session,
    open: BTreeMap<RequestId, Flight>,
    is_lost: bool,
}

/// Drives sessions; its owner calls [`Self::turn`] over and over.
#[derive(Debug)]
pub(crate) struct Generator {
    seats: Vec<Seat>,
    depth: usize,
    ledger: Option<Ledger>,
    noise: Bytes,
    random: Random,
    source: Option<Source>,
    schedule: Schedule,
    /// A request whose turn has come and that no queue has room for.
    held: Option<(Op, Instant)>,
    /// Requests to be made again, and when.
    again: Vec<(Instant, Flight)>,
    sample: Sample,
    sampled: Instant,
    volume_bytes: u64,
    ready: Vec<bool>,
}

impl Generator {
    /// Logs in at all portals. Nothing is asked of the volume yet.
    ///
    /// # Errors
    /// One line with the portal that refused.
    pub(crate) fn connect(options: &LoadOptions) -> Result<Self, String> {
        assert!(options.portals.len() <= PORTALS_MAX, "at most {PORTALS_MAX} portals");
        assert!(options.depth > 0 && options.sessions_per_portal > 0, "there is a way for requests");
        let mut random = Random::new(options.seed);
        let mut seats = Vec::new();
        for number in 0..options.sessions_per_portal {
            for (portal, address) in options.portals.iter().enumerate() {
                let config = InitiatorConfig {
                    initiator_name: options.initiator.clone(),
                    // The random format of RFC 7143 section 11.12.5, with the session's number in it.
                    isid: Isid([0x80, 0x65, 0x6b, portal as u8, (number >> 8) as u8, number as u8]),
                    target_name: Some(options.target.clone()),
                    settings: options.settings.clone(),
                };
                let session = Session::open(*address, 0, config)?;
                seats.push(Seat { portal, session, open: BTreeMap::new(), is_lost: false });
            }
        }
        let volume_bytes = seats.first().map_or(0, |seat| seat.session.volume_bytes());
        let ledger = options.verify.then(|| Ledger::new(random.next(), volume_bytes));
        let mut noise = AlignedBuf::zeroed(if options.verify { 0 } else { NOISE_BYTES });
        noise.as_chunks_mut::<8>().0.iter_mut().for_each(|word| *word = random.next().to_le_bytes());
        let now = Instant::now();
        Ok(Self {
            seats,
            depth: options.depth,
            ledger,
            noise: noise.freeze(),
            schedule: Schedule::new(Pacing::Closed, now, random.split()),
            random,
            source: None,
            held: None,
            again: Vec::new(),
            sample: Sample::new(extents_of(volume_bytes) as usize),
            sampled: now,
            volume_bytes,
            ready: Vec::new(),
        })
    }

    /// Size of the volume in bytes.
    pub(crate) const fn volume_bytes(&self) -> u64 {
        self.volume_bytes
    }

    /// Asks from now on what `source` says, in this pace. What is under way is not touched.
    pub(crate) fn run(&mut self, source: Source, pacing: Pacing) {
        self.source = Some(source);
        self.held = None;
        self.schedule = Schedule::new(pacing, Instant::now(), self.random.split());
    }

    /// Asks something else at the same pace, without a break.
    pub(crate) fn redirect(&mut self, source: Source) {
        self.source = Some(source);
    }

    /// Asks nothing more.
    pub(crate) fn pause(&mut self) {
        self.source = None;
        self.held = None;
    }

    /// What happened since the last sample.
    pub(crate) fn take_sample(&mut self) -> Sample {
        let now = Instant::now();
        let fresh = Sample::new(self.sample.per_extent.len());
        let mut sample = std::mem::replace(&mut self.sample, fresh);
        sample.time = now - self.sampled;
        self.sampled = now;
        sample.open = self.seats.iter().map(|seat| seat.open.len()).sum::<usize>() + self.again.len();
        sample.is_idle = self.source.is_none() && self.held.is_none() && sample.open == 0;
        if !sample.is_idle {
            sample.behind = match self.held {
                Some((_, planned)) if self.schedule.wakes_at().is_some() => now - planned,
                _ => self.schedule.behind(now),
            };
        }
        sample
    }

    /// Logs out everywhere.
    pub(crate) fn close(self) {
        self.seats.into_iter().for_each(|seat| seat.session.close());
    }

    /// Makes what is due, waits a little for answers, and takes them.
    ///
    /// # Errors
    /// When the last session is lost: why.
    pub(crate) fn turn(&mut self) -> Result<(), String> {
        self.issue(Instant::now());
        self.seats.iter_mut().for_each(|seat| seat.session.send());
        self.wait_for_answers();
        let mut last_loss = None;
        for index in 0..self.seats.len() {
            if self.ready[index] {
                self.seats[index].session.receive();
            }
            last_loss = self.take_news(index).or(last_loss);
        }
        if self.seats.iter().all(|seat| seat.is_lost) {
            let why = last_loss.unwrap_or_else(|| "it has none".to_owned());
            return Err(format!("all sessions are lost: {why}"));
        }
        Ok(())
    }

    fn wait_for_answers(&mut self) {
        let now = Instant::now();
        let wakes =
            if self.source.is_some() && self.held.is_none() { self.schedule.wakes_at() } else { None };
        let next = wakes.into_iter().chain(self.again.iter().map(|(due, _)| *due)).min();
        let at_most = next.map_or(TICK, |next| next.saturating_duration_since(now).min(TICK));
        // A lost session has nothing to say; its socket would be ready for ever.
        let (live, mut fds): (Vec<usize>, Vec<PollFd<'_>>) = self
            .seats
            .iter()
            .enumerate()
            .filter(|(_, seat)| !seat.is_lost)
            .map(|(index, seat)| (index, seat.session.poll_fd()))
            .unzip();
        wait(&mut fds, at_most);
        self.ready.clear();
        self.ready.resize(self.seats.len(), false);
        for (index, fd) in live.into_iter().zip(&fds) {
            self.ready[index] = fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        }
    }

    // ---- asking ----

    fn issue(&mut self, now: Instant) {
        self.issue_again(now);
        loop {
            let (op, planned) = match self.held.take() {
                Some(held) => held,
                None => match self.draw(now) {
                    Some(drawn) => drawn,
                    None => return,
                },
            };
            if !self.seats.iter().any(|seat| !seat.is_lost && !op.avoid.contains(seat.portal)) {
                self.sample.errors += 1;
                self.sample
                    .first_trouble
                    .get_or_insert_with(|| "no session is left for a request".to_owned());
                continue;
            }
            let is_free = self.ledger.as_ref().is_none_or(|ledger| ledger.is_free(op.blocks(), op.write));
            if !is_free || self.seat_for(&op).is_none() {
                self.held = Some((op, planned));
                return;
            }
            // In a closed loop a request begins when a queue takes it.
            let planned = if self.schedule.wakes_at().is_some() { planned } else { now };
            let sequence = self.ledger.as_mut().map_or(0, |ledger| {
                if op.write {
                    ledger.begin_write(op.blocks())
                } else {
                    ledger.begin_read(op.blocks());
                    0
                }
            });
            if let Some(flight) = self.launch(Flight { op, sequence, planned }) {
                self.again.push((now + RETRY_AFTER, flight));
            }
        }
    }

    /// Makes requests again whose time for that has come.
    fn issue_again(&mut self, now: Instant) {
        while let Some(at) = self.again.iter().position(|(due, _)| *due <= now) {
            let (_, flight) = self.again.swap_remove(at);
            if let Some(flight) = self.launch(flight) {
                self.again.push((now + RETRY_AFTER, flight));
            }
        }
    }

    fn draw(&mut self, now: Instant) -> Option<(Op, Instant)> {
        let planned = self.schedule.due(now)?;
        match self.source.as_mut()?.next(self.ledger.as_ref()) {
            Some(op) => {
                self.schedule.advance();
                Some((op, planned))
            }
            None => {
                self.source = None;
                None
            }
        }
    }

    /// The session with the shortest queue that has room and may be used; of equal ones each in turn.
    fn seat_for(&self, op: &Op) -> Option<usize> {
        let first = self.sample.requests() as usize % self.seats.len();
        let order = (0..self.seats.len()).map(|n| (first + n) % self.seats.len());
        order
            .filter(|index| {
                let seat = &self.seats[*index];
                let may = !seat.is_lost && !op.avoid.contains(seat.portal) && seat.open.len() < self.depth;
                may && seat.session.can_submit()
            })
            .min_by_key(|index| self.seats[*index].open.len())
    }

    /// Sends a request; gives it back if no session takes it now.
    fn launch(&mut self, flight: Flight) -> Option<Flight> {
        let Some(index) = self.seat_for(&flight.op) else { return Some(flight) };
        let op = flight.op;
        let data = op.write.then(|| self.content(&flight));
        let seat = &mut self.seats[index];
        let sent = match data {
            Some(data) => seat.session.write(op.offset, data),
            None => seat.session.read(op.offset, op.len),
        };
        match sent {
            Some(id) => {
                seat.open.insert(id, flight);
                None
            }
            None => Some(flight),
        }
    }

    fn content(&mut self, flight: &Flight) -> Bytes {
        let len = flight.op.len as usize;
        match &self.ledger {
            Some(ledger) => ledger.content(flight.op.blocks(), flight.sequence),
            None => {
                let blocks = (self.noise.len() - len) as u64 / 4096;
                let start = self.random.below(blocks + 1) as usize * 4096;
                self.noise.slice(start..start + len)
            }
        }
    }

    // ---- taking answers ----

    /// Gives why the session was lost, if it was just now.
    fn take_news(&mut self, index: usize) -> Option<String> {
        while !self.seats[index].is_lost {
            match self.seats[index].session.news()? {
                News::Done(id, done) => {
                    if let Some(flight) = self.seats[index].open.remove(&id) {
                        self.ended(index, flight, &done);
                    }
                }
                News::Lost(why) => {
                    let seat = &mut self.seats[index];
                    seat.is_lost = true;
                    let why = format!("session with {}: {why}", seat.session.address());
                    let flights = std::mem::take(&mut seat.open);
                    self.sample.errors += 1;
                    self.sample.first_trouble.get_or_insert_with(|| why.clone());
                    flights.into_values().for_each(|flight| self.failed(index, &flight, &why));
                    return Some(why);
                }
            }
        }
        None
    }

    fn ended(&mut self, index: usize, flight: Flight, done: &Done) {
        let now = Instant::now();
        let attention = done.sense.as_ref().is_some_and(|sense| sense.key == SenseKey::UnitAttention);
        match done.status {
            Some(Status::Good) => self.succeeded(index, &flight, done, now),
            Some(Status::Busy | Status::TaskSetFull | Status::CheckCondition)
                if (done.status != Some(Status::CheckCondition) || attention)
                    && now - flight.planned < RETRY_FOR + self.schedule.behind(now) =>
            {
                self.sample.retries += 1;
                self.again.push((now + RETRY_AFTER, flight));
            }
            status => {
                let why = match &done.sense {
                    Some(sense) => format!("{status:?}, {sense:?}"),
                    None => format!("{status:?}"),
                };
                self.failed(index, &flight, &why);
            }
        }
    }

    fn succeeded(&mut self, index: usize, flight: &Flight, done: &Done, now: Instant) {
        let op = flight.op;
        self.sample.latencies.record(now - flight.planned);
        self.sample.bytes += u64::from(op.len);
        if let Some(count) = self.sample.per_extent.get_mut((op.offset / u64::from(EXTENT_BYTES)) as usize) {
            *count += 1;
        }
        if op.write {
            self.sample.writes += 1;
        } else {
            self.sample.reads += 1;
        }
        let Some(ledger) = &mut self.ledger else { return };
        if op.write {
            ledger.end_write(op.blocks(), flight.sequence, self.seats[index].portal, true);
            return;
        }
        let checked = ledger.end_read(op.blocks(), Some(&done.data));
        self.sample.checked_blocks += checked.blocks;
        self.sample.mismatches += checked.mismatches;
        if let Some(what) = checked.first_mismatch {
            let address = self.seats[index].session.address();
            self.sample.first_trouble.get_or_insert_with(|| format!("read through {address}: {what}"));
        }
    }

    fn failed(&mut self, index: usize, flight: &Flight, why: &str) {
        let op = flight.op;
        self.sample.errors += 1;
        self.sample.first_trouble.get_or_insert_with(|| {
            let what = if op.write { "write" } else { "read" };
            format!("{what} of {} bytes at {} failed: {why}", op.len, op.offset)
        });
        match &mut self.ledger {
            Some(ledger) if op.write => {
                ledger.end_write(op.blocks(), flight.sequence, self.seats[index].portal, false);
            }
            Some(ledger) => drop(ledger.end_read(op.blocks(), None)),
            None => {}
        }
    }
}
