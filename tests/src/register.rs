//! Registers: blocks that one host writes with growing numbers while others read them through every portal. Whoever asks
//! gets a number that is not older than any that somebody had acknowledged, or had read, before the question.

use crate::session::{Ended, Session};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of a register.
const BYTES: usize = 4096;
/// A host leaves a path on which nothing comes for this long.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pause after a portal that did not answer, and between two requests: what is looked for is order, not load.
const PAUSE: Duration = Duration::from_millis(3);

/// One block of a volume.
pub struct Register {
    target: String,
    offset: u64,
    /// The number of the latest write that was begun.
    begun: AtomicU64,
    /// The highest that is known to be there: acknowledged, or read.
    known: AtomicU64,
    reads: Mutex<std::collections::BTreeMap<String, u64>>,
    busy: AtomicU64,
    wrong: Mutex<Option<String>>,
}

impl Register {
    /// At this byte of the volume with this target name.
    #[must_use]
    pub fn new(target: &str, offset: u64) -> Self {
        Self {
            target: target.to_owned(),
            offset,
            begun: AtomicU64::new(0),
            known: AtomicU64::new(0),
            reads: Mutex::default(),
            busy: AtomicU64::new(0),
            wrong: Mutex::default(),
        }
    }

    /// Writes one number after the other through any of these portals until told to stop; one without an answer is written
    /// again through the next.
    pub fn write(&self, portals: &[String], stop: &AtomicBool) {
        let mut next = portals.iter().cycle();
        let mut is_open = false;
        while self.goes_on(stop) {
            let portal = next.next().expect("there are portals");
            let Ok(mut session) = Session::open_with(portal, &self.target, PATIENCE) else {
                std::thread::sleep(PAUSE);
                continue;
            };
            while self.goes_on(stop) {
                let number = if is_open {
                    self.begun.load(Ordering::SeqCst)
                } else {
                    self.begun.fetch_add(1, Ordering::SeqCst) + 1
                };
                is_open = true;
                session.write(self.offset, content(number).into());
                match session.wait_end() {
                    Ok((_, Ended::Good(_))) => {
                        self.known.fetch_max(number, Ordering::SeqCst);
                        is_open = false;
                    }
                    Ok((_, Ended::Busy)) => {
                        self.busy.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok((_, ended)) => self.is_wrong(format!("a write through {portal}: {ended:?}")),
                    Err(_) => break,
                }
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Reads through a portal until told to stop. What it does not answer is no answer, and no mistake.
    pub fn read(&self, portal: &str, stop: &AtomicBool) {
        while self.goes_on(stop) {
            let Ok(mut session) = Session::open_with(portal, &self.target, PATIENCE) else {
                std::thread::sleep(PAUSE);
                continue;
            };
            while self.goes_on(stop) {
                let known = self.known.load(Ordering::SeqCst);
                session.read(self.offset, BYTES as u32);
                match session.wait_end() {
                    Ok((_, Ended::Good(data))) => self.judge(portal, known, &data),
                    Ok((_, Ended::Busy)) => {
                        self.busy.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok((_, ended)) => self.is_wrong(format!("a read through {portal}: {ended:?}")),
                    Err(_) => break,
                }
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn judge(&self, portal: &str, known: u64, data: &[u8]) {
        let number = u64::from_le_bytes(data[..8].try_into().expect("eight bytes"));
        let begun = self.begun.load(Ordering::SeqCst);
        if data != content(number) {
            self.is_wrong(format!("{portal} answers with no whole write: {:02x?}...", &data[..16]));
        } else if !(known..=begun).contains(&number) {
            self.is_wrong(format!(
                "{portal} answers with write {number}; {known} was known before it was asked, {begun} is the latest"
            ));
        }
        self.known.fetch_max(number, Ordering::SeqCst);
        *self.reads.lock().expect("no thread panicked").entry(portal.to_owned()).or_default() += 1;
    }

    fn goes_on(&self, stop: &AtomicBool) -> bool {
        !stop.load(Ordering::Relaxed) && self.wrong.lock().expect("no thread panicked").is_none()
    }

    fn is_wrong(&self, why: String) {
        self.wrong.lock().expect("no thread panicked").get_or_insert(why);
    }

    /// The first thing that was wrong.
    ///
    /// # Panics
    /// If a thread did.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        self.wrong.lock().expect("no thread panicked").clone()
    }

    /// The highest number that is known to be there.
    #[must_use]
    pub fn known(&self) -> u64 {
        self.known.load(Ordering::SeqCst)
    }

    /// Answers BUSY so far.
    #[must_use]
    pub fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// How many reads each portal answered.
    ///
    /// # Panics
    /// If a thread did.
    #[must_use]
    pub fn reads(&self) -> std::collections::BTreeMap<String, u64> {
        self.reads.lock().expect("no thread panicked").clone()
    }
}

/// The bytes of a write: none for the time before the first.
fn content(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(BYTES / 8)
}
