//! Many moves: every extent of a volume in turn from server to server.

use crate::api::Api;
use crate::group::Group;
use evenkeel_api::RouteTable;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A move that takes longer has failed.
const MOVE_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether a move has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Moves extents of a volume from a number of threads.
pub struct Mover<'a> {
    api: Api,
    volume: &'a str,
    servers: u16,
    /// How many moves of each extent were seen to reach their target.
    moved: Mutex<BTreeMap<u32, u64>>,
    /// What was refused or given up, and tried again.
    refused: Mutex<Vec<String>>,
}

impl<'a> Mover<'a> {
    /// For a volume of this group.
    #[must_use]
    pub fn new(group: &Group, volume: &'a str, servers: u16) -> Self {
        Self { api: group.api(), volume, servers, moved: Mutex::default(), refused: Mutex::default() }
    }

    /// Moves these extents, each on to the next server when it has arrived, until told to stop. As many are under way
    /// at once as there are threads.
    ///
    /// # Panics
    /// If a move neither ends nor is given up.
    pub fn run(&self, extents: &[u32], threads: usize, rate: Option<u64>, stop: &AtomicBool) {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let mine: Vec<u32> = extents.iter().copied().skip(thread).step_by(threads).collect();
                scope.spawn(move || {
                    for extent in mine.iter().copied().cycle() {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        self.move_on(extent, rate);
                    }
                });
            }
        });
    }

    /// Moves an extent from where it is to the next server.
    fn move_on(&self, extent: u32, rate: Option<u64>) {
        let owner = |table: &RouteTable| table.extents[extent as usize].owner.clone();
        let before = self.route();
        let from = owner(&before);
        let number: u16 = from[1..].parse().expect("servers are named s1, s2, ...");
        let to = format!("s{}", number % self.servers + 1);
        // An order that has to wait for its turn is answered with an error and carried out all the same.
        let ordered = self.api.order_move(self.volume, extent, &to, rate);
        let began = Instant::now();
        let mut under_way = false;
        loop {
            let table = self.route();
            let row = &table.extents[extent as usize];
            if row.owner == to {
                *self.moved.lock().expect("no thread panicked").entry(extent).or_default() += 1;
                return;
            }
            let was_under_way = std::mem::replace(&mut under_way, row.moving_to.is_some());
            let over = match &ordered {
                Ok(_) => was_under_way && !under_way,
                Err(why) => !why.contains("waits for its turn"),
            };
            if over {
                let why = ordered.err().unwrap_or_else(|| "given up".to_owned());
                self.refused.lock().expect("no thread panicked").push(format!("{extent} to {to}: {why}"));
                return;
            }
            assert!(began.elapsed() < MOVE_WITHIN, "extent {extent} to {to}: {row:?}, ordered: {ordered:?}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn route(&self) -> RouteTable {
        self.api.route(self.volume, "s1").expect("the route")
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
