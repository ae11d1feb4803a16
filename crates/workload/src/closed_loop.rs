//! A closed loop on one session: so many requests open at any time, each followed by the next as soon as it ends. For
//! measuring a target; nothing of what is read is looked at.

use super::random::Random;
use super::session::{News, Session};
use evenkeel_iscsi::initiator::{Done, RequestId};
use evenkeel_scsi::Status;
use evenkeel_types::{AlignedBuf, Bytes};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// The longest latency that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Time without an answer after which the target counts as stuck.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// What is asked, again and again.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Writes, or else reads.
    pub write: bool,
    /// Length of a request in bytes.
    pub op_bytes: u32,
    /// Requests open at any time.
    pub depth: usize,
    /// One after the other through the span, or else anywhere in it.
    pub sequential: bool,
    /// Bytes of the volume that are used, from its start.
    pub span_bytes: u64,
    /// How long to go on.
    pub until: Until,
    /// Of the order of random requests, and of the content of writes.
    pub seed: u64,
}

/// When a loop ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// After this time, of which the first part is not measured.
    Elapsed {
        /// Not measured.
        ramp: Duration,
        /// Measured.
        measured: Duration,
    },
    /// When the span was gone through once.
    OnePass,
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// Requests that ended within the measured time.
    pub ops: u64,
    /// All requests, those before and behind it too.
    pub ops_in_all: u64,
    /// The measured time.
    pub elapsed: Duration,
    /// Most requests that were open at once.
    pub depth_reached: usize,
    /// Requests that failed.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<String>,
    /// Latencies of the measured requests, in nanoseconds.
    latencies: Histogram<u32>,
}

impl Measured {
    /// The latency that so many percent do not exceed, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        if self.latencies.is_empty() { 0.0 } else { self.latencies.value_at_percentile(percent) as f64 / 1e3 }
    }
}

/// Where the next request goes.
struct Addresses {
    random: Option<Random>,
    op_bytes: u64,
    places: u64,
    next: u64,
}

impl Addresses {
    fn take(&mut self) -> u64 {
        let place = match &mut self.random {
            Some(random) => random.below(self.places),
            None => self.next % self.places,
        };
        self.next += 1;
        place * self.op_bytes
    }
}

/// A request that has not ended.
struct Open {
    id: RequestId,
    since: Instant,
    /// What it writes, for the next request.
    content: Bytes,
}

/// Goes on until the end; the span and the length of requests fit into the volume.
///
/// # Errors
/// One line: what became of the session.
pub fn run(session: &mut Session, shape: &Shape) -> Result<Measured, String> {
    let mut random = Random::new(shape.seed);
    let places = shape.span_bytes / u64::from(shape.op_bytes);
    assert!(places > 0 && shape.depth > 0, "the caller has looked at the shape");
    let order = if shape.sequential { None } else { Some(random.split()) };
    let mut addresses = Addresses { random: order, op_bytes: u64::from(shape.op_bytes), places, next: 0 };
    let began = Instant::now();
    let (from, to) = match shape.until {
        Until::Elapsed { ramp, measured } => (began + ramp, Some(began + ramp + measured)),
        Until::OnePass => (began, None),
    };
    let wants_more = |now: Instant, submitted: u64| to.map_or(submitted < places, |to| now < to);
    let latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).map_err(|e| e.to_string())?;
    let mut measured = Measured {
        ops: 0,
        ops_in_all: 0,
        elapsed: Duration::ZERO,
        depth_reached: 0,
        errors: 0,
        first_error: None,
        latencies,
    };
    let mut spare: Vec<Bytes> = (0..shape.depth).map(|_| content(shape, &mut random)).collect();
    let mut open: Vec<Open> = Vec::with_capacity(shape.depth);
    let mut heard = began;
    loop {
        let mut now = Instant::now();
        while wants_more(now, addresses.next)
            && session.can_submit()
            && let Some(content) = spare.pop()
        {
            let offset = addresses.take();
            let submitted = if shape.write {
                session.write(offset, content.clone())
            } else {
                session.read(offset, shape.op_bytes)
            };
            let id = submitted.ok_or("the session takes no command")?;
            open.push(Open { id, since: now, content });
            measured.depth_reached = measured.depth_reached.max(open.len());
        }
        if open.is_empty() {
            break;
        }
        session.exchange();
        now = Instant::now();
        while let Some(news) = session.news() {
            let (id, done) = match news {
                News::Done(id, done) => (id, done),
                News::Lost(why) => return Err(format!("portal {}: {why}", session.address())),
            };
            heard = now;
            let Some(place) = open.iter().position(|request| request.id == id) else { continue };
            let request = open.swap_remove(place);
            spare.push(request.content);
            measured.take(shape, &done, request.since, now, (from, to));
        }
        if now.duration_since(heard) > SILENCE_MAX {
            return Err(format!("portal {}: no answer for {SILENCE_MAX:?}", session.address()));
        }
    }
    measured.elapsed = to.unwrap_or_else(Instant::now).duration_since(from);
    Ok(measured)
}

impl Measured {
    fn take(
        &mut self,
        shape: &Shape,
        done: &Done,
        since: Instant,
        now: Instant,
        (from, to): (Instant, Option<Instant>),
    ) {
        self.ops_in_all += 1;
        let is_whole = shape.write || done.data.len() == shape.op_bytes as usize;
        if done.status != Some(Status::Good) || !is_whole {
            self.errors += 1;
            self.first_error.get_or_insert_with(|| match (done.status, done.sense) {
                (Some(Status::Good), _) => format!("{} bytes came of {}", done.data.len(), shape.op_bytes),
                (status, sense) => format!("status {status:?}, sense {sense:?}"),
            });
        } else if now >= from && to.is_none_or(|to| now <= to) {
            self.ops += 1;
            let latency = now.duration_since(since).as_nanos();
            self.latencies.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX).max(1));
        }
    }
}

/// What a request writes: noise, so that no target can make less of it.
fn content(shape: &Shape, random: &mut Random) -> Bytes {
    if !shape.write {
        return Bytes::new();
    }
    let mut buf = AlignedBuf::zeroed(shape.op_bytes as usize);
    for word in buf.chunks_exact_mut(8) {
        word.copy_from_slice(&random.next().to_le_bytes());
    }
    buf.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(random: Option<Random>, places: u64) -> Addresses {
        Addresses { random, op_bytes: 4096, places, next: 0 }
    }

    #[test]
    fn a_sequential_loop_begins_again_where_the_span_ends() {
        let mut addresses = addresses(None, 3);
        let taken: Vec<_> = (0..5).map(|_| addresses.take() / 4096).collect();
        assert_eq!(taken, [0, 1, 2, 0, 1]);
    }

    #[test]
    fn a_random_loop_reaches_every_place_and_none_behind_the_span() {
        let mut addresses = addresses(Some(Random::new(3)), 16);
        let mut seen = [false; 16];
        (0..1000).for_each(|_| seen[(addresses.take() / 4096) as usize] = true);
        assert_eq!(seen, [true; 16]);
    }
}
