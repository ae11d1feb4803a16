//! Many moves: every extent of a volume in turn from server to server.

use crate::api::Api;
use crate::group::Group;
use evenkeel_api::RouteRow;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A move that takes longer has failed.
const MOVE_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether a move has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What is said of an order that stands and is not carried out yet.
const WAITING: [&str; 2] = ["waits for its turn", "a move of the extent waits already"];
/// When an order that waits is given once more.
const ORDER_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Pause after an order that was refused.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Moves extents of a volume from a number of threads.
pub struct Mover<'a> {
    /// Of the processes that may be asked; each answers for the whole group.
    apis: Vec<Api>,
    volume: &'a str,
    servers: u16,
    /// Servers go and come back: moves end in all ways, and processes do not always answer.
    is_tolerant: bool,
    /// How many moves of each extent were seen to reach their target.
    moved: Mutex<BTreeMap<u32, u64>>,
    /// What was refused or given up, and tried again.
    refused: Mutex<Vec<String>>,
}

impl<'a> Mover<'a> {
    /// For a volume of this group.
    #[must_use]
    pub fn new(group: &Group, volume: &'a str, servers: u16) -> Self {
        let (moved, refused) = (Mutex::default(), Mutex::default());
        Self { apis: vec![group.api()], volume, servers, is_tolerant: false, moved, refused }
    }

    /// For a volume of a group of several processes, any of which may be away at any time.
    #[must_use]
    pub fn among(processes: &[Group], volume: &'a str) -> Self {
        let (moved, refused) = (Mutex::default(), Mutex::default());
        let apis: Vec<Api> = processes.iter().map(Group::api).collect();
        Self { servers: apis.len() as u16, apis, volume, is_tolerant: true, moved, refused }
    }

    /// Moves these extents, each on to the next server when it has arrived, until told to stop. As many are under way
    /// at once as there are threads.
    ///
    /// # Panics
    /// If a move neither ends nor is given up, where all servers are there.
    pub fn run(&self, extents: &[u32], threads: usize, rate: Option<u64>, stop: &AtomicBool) {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let mine: Vec<u32> = extents.iter().copied().skip(thread).step_by(threads).collect();
                scope.spawn(move || {
                    for extent in mine.iter().copied().cycle() {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        if !self.move_on(extent, rate, stop) {
                            std::thread::sleep(TRY_AGAIN_AFTER);
                        }
                    }
                });
            }
        });
    }

    /// Moves an extent from where it is to the next server that has no copy of it; whether it was seen to arrive there.
    fn move_on(&self, extent: u32, rate: Option<u64>, stop: &AtomicBool) -> bool {
        let Some(before) = self.row(extent) else { return false };
        let from: u16 = before.owner[1..].parse().expect("servers are named s1, s2, ...");
        let next = (0..self.servers).map(|n| format!("s{}", (from + n) % self.servers + 1));
        let to = next.into_iter().find(|server| !before.replicas.contains(server));
        let to = to.expect("a server without a copy");
        let order = || self.ask(|api| api.order_move(self.volume, extent, &to, rate));
        let mut ordered = order();
        let (began, mut ordered_at) = (Instant::now(), Instant::now());
        let mut under_way = false;
        loop {
            let row = self.row(extent);
            if row.as_ref().is_some_and(|row| row.owner == to) {
                *self.moved.lock().expect("no thread panicked").entry(extent).or_default() += 1;
                return true;
            }
            let is_moving = row.as_ref().is_some_and(|row| row.moving_to.is_some());
            let was_under_way = std::mem::replace(&mut under_way, is_moving);
            // An order that has to wait for its turn is answered with an error, and carried out unless the owner finds in
            // the end that it cannot: then it is as if it had not been given.
            let waits = ordered.as_ref().is_err_and(|why| WAITING.iter().any(|words| why.contains(words)));
            if waits && !under_way && !was_under_way && ordered_at.elapsed() >= ORDER_AGAIN_AFTER {
                (ordered, ordered_at) = (order(), Instant::now());
                continue;
            }
            let over = if ordered.is_ok() { was_under_way && !under_way } else { !waits };
            let is_late = began.elapsed() >= MOVE_WITHIN;
            if over || self.is_tolerant && (is_late || stop.load(Ordering::Relaxed)) {
                let why = ordered.err().unwrap_or_else(|| "given up".to_owned());
                self.refused.lock().expect("no thread panicked").push(format!("{extent} to {to}: {why}"));
                return false;
            }
            assert!(!is_late, "extent {extent} to {to}: {row:?}, ordered: {ordered:?}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn row(&self, extent: u32) -> Option<RouteRow> {
        // Each process answers best for its own servers, and all know the routes.
        let of = |(n, api): (usize, &Api)| api.route(self.volume, &format!("s{}", n + 1));
        let mut answers = self.apis.iter().enumerate().map(of);
        let answered = if self.is_tolerant {
            answers.find_map(Result::ok)
        } else {
            Some(answers.next().expect("a process").expect("the route"))
        };
        answered.map(|mut table| table.extents.swap_remove(extent as usize))
    }

    /// The answer of the first process that gives one.
    fn ask<T>(&self, ask: impl Fn(&Api) -> Result<T, String>) -> Result<T, String> {
        let mut answer = Err("nobody was asked".to_owned());
        for api in &self.apis {
            answer = ask(api);
            // The process itself is away; a reason of the group's would be the same at the others.
            if !answer.as_ref().is_err_and(|why| why.contains("Connection refused") || why.contains("io:")) {
                break;
            }
        }
        answer
    }

    /// How many moves of each extent reached their target.
    ///
    /// # Panics
    /// If a thread did.
    #[must_use]
    pub fn moved(&self) -> BTreeMap<u32, u64> {
        self.moved.lock().expect("no thread panicked").clone()
    }

    /// What was refused or given up, and tried again.
    ///
    /// # Panics
    /// If a thread did.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().expect("no thread panicked").clone()
    }
}

/// The owner of each extent by the view of a server.
///
/// # Panics
/// If the server does not answer.
#[must_use]
pub fn owners(group: &Group, volume: &str, server: &str) -> Vec<String> {
    let table = group.api().route(volume, server).expect("the route");
    table.extents.into_iter().map(|row| row.owner).collect()
}

/// Waits until the servers' views of a volume's routes are equal.
///
/// # Panics
/// If they do not become so within 10 s.
pub fn views_are_equal(group: &Group, volume: &str, servers: u16) {
    let began = Instant::now();
    loop {
        let view = |n: u16| group.api().route(volume, &format!("s{n}")).expect("the route").extents;
        let first = view(1);
        let differs: Vec<u16> = (2..=servers).filter(|n| view(*n) != first).collect();
        if differs.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "the views of s1 and {differs:?} differ");
        std::thread::sleep(Duration::from_millis(50));
    }
}
