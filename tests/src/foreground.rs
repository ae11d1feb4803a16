//! Hosts whose latencies are measured: each asks for one block at a time, at a steady pace, and every answer is timed.

use crate::blocks::BLOCK;
use crate::session::{Ended, Session};
use evenkeel_types::Bytes;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Hosts at the same time.
const HOSTS: u64 = 3;
/// Blocks that one host uses, in turn.
const HOST_BLOCKS: u64 = 64;
/// From the begin of a request to that of the next.
const EACH: Duration = Duration::from_millis(4);

/// How long it is measured what is usual.
pub const CALM: Duration = Duration::from_secs(3);

/// All but very few requests are answered in that time.
const ANSWERED_WITHIN: Duration = Duration::from_millis(200);

/// What they measured.
#[derive(Debug, Default)]
pub struct Foreground {
    /// When each request began, and what it took.
    answers: Mutex<Vec<(Instant, Duration)>>,
    wrong: Mutex<Option<String>>,
}

/// The latencies of a stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// Requests in it.
    pub requests: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
}

impl Stretch {
    /// Of what these requests took.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        assert!(!took.is_empty(), "no request");
        let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
        Self { requests: took.len(), p50: at(50), p99: at(99) }
    }

    /// Its p99 against that of another one.
    #[must_use]
    pub fn against(&self, before: &Self) -> f64 {
        self.p99.as_secs_f64() / before.p99.as_secs_f64()
    }
}

impl std::fmt::Display for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.2?}, p99 {:.2?} of {}", self.p50, self.p99, self.requests)
    }
}

impl Foreground {
    /// Measures at the blocks of a volume from `first` on, through these portals, until told to stop.
    pub fn run(&self, portals: &[String], target: &str, first: u64, stop: &AtomicBool) {
        std::thread::scope(|scope| {
            for host in 0..HOSTS {
                let portal = &portals[host as usize % portals.len()];
                scope.spawn(move || {
                    let ran = self.run_host(portal, target, first + host * HOST_BLOCKS, stop);
                    if let Err(why) = ran {
                        self.wrong.lock().expect("no host panicked").get_or_insert(why);
                    }
                });
            }
        });
    }

    fn run_host(&self, portal: &str, target: &str, first: u64, stop: &AtomicBool) -> Result<(), String> {
        let mut session = Session::open(portal, target)?;
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let offset = (first + number * 7 % HOST_BLOCKS) * BLOCK as u64;
            let began = Instant::now();
            if number % 3 == 0 {
                session.read(offset, BLOCK as u32);
            } else {
                session.write(offset, Bytes::from(vec![number as u8; BLOCK]));
            }
            match session.wait_end()? {
                (_, Ended::Good(_)) => {}
                (_, ended) => return Err(format!("a request at byte {offset} ended with {ended:?}")),
            }
            let took = began.elapsed();
            self.answers.lock().expect("no host panicked").push((began, took));
            std::thread::sleep(EACH.saturating_sub(took));
        }
        Ok(())
    }

    /// What each request took that began within a stretch of time.
    ///
    /// # Panics
    /// If a request failed.
    #[must_use]
    pub fn within(&self, from: Instant, to: Instant) -> Vec<Duration> {
        assert_eq!(*self.wrong.lock().expect("no host panicked"), None);
        let answers = self.answers.lock().expect("no host panicked");
        let within = answers.iter().filter(|(began, _)| (from..to).contains(began));
        within.map(|(_, took)| *took).collect()
    }

    /// The calm stretch from now on.
    #[must_use]
    pub fn calm(&self) -> Vec<Duration> {
        let from = Instant::now();
        // The slowest of those that begin in it are not to be missed.
        std::thread::sleep(CALM + ANSWERED_WITHIN);
        self.within(from, from + CALM)
    }
}

/// What requests took before something, meanwhile and after it, in several rounds.
///
/// Few requests are as slow as the slowest of a hundred, and how slow depends on whatever else the machine does just then. So the
/// rounds are taken together, and what is compared with is the time on both sides of each; how far these two differ from each
/// other is what chance does.
#[derive(Debug, Default)]
pub struct Rounds {
    before: Vec<Duration>,
    meanwhile: Vec<Duration>,
    after: Vec<Duration>,
}

impl Rounds {
    /// Adds a round; gives it in words.
    pub fn add(&mut self, before: Vec<Duration>, meanwhile: Vec<Duration>, after: Vec<Duration>) -> String {
        let words = format!(
            "before: {}; meanwhile: {}; after: {}",
            Stretch::of(before.clone()),
            Stretch::of(meanwhile.clone()),
            Stretch::of(after.clone())
        );
        self.before.extend(before);
        self.meanwhile.extend(meanwhile);
        self.after.extend(after);
        words
    }
}

impl std::fmt::Display for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let calm = Stretch::of([&self.before[..], &self.after].concat());
        let [before, meanwhile, after] =
            [&self.before, &self.meanwhile, &self.after].map(|took| Stretch::of(took.clone()));
        write!(
            f,
            "meanwhile {meanwhile}; before and after {calm}: p99 {:.2} of that; control, after against before: {:.2}",
            meanwhile.against(&calm),
            after.against(&before)
        )
    }
}
