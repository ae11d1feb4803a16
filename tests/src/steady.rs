//! A steady load on a volume over real sessions, and who served it: counted by the load itself from which server owned
//! the extent of each request, not by what the servers say of themselves.

use crate::group::Group;
use evenkeel_iscsi::Settings;
use evenkeel_workload::{Load, LoadOptions, Pacing, Sample, Source, Spacing};
use std::time::{Duration, Instant};

/// Load over the mean from which a server may be disproportionately loaded.
const ENTER: f64 = 1.10;
/// How often it is looked who owns what.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How a steady load is made.
pub struct SteadyOptions {
    /// The servers whose portals it goes through, from 1.
    pub portals: Vec<u16>,
    /// What its logins offer.
    pub settings: Settings,
    /// Whether what is written carries stamps, and what is read is checked.
    pub verify: bool,
}

/// The load.
pub struct Steady<'a> {
    group: &'a Group,
    volume: String,
    load: Load,
    /// Requests by extent since the last window began.
    counts: Vec<u64>,
}

/// What a stretch of the load showed in which no extent changed its owner.
#[derive(Debug)]
pub struct Window {
    /// Requests by the server that owned their extent, in order of the servers' names.
    pub by_server: Vec<u64>,
}

impl Window {
    /// Highest share of a server over the mean.
    #[must_use]
    pub fn imbalance(&self) -> f64 {
        let mean = self.requests() as f64 / self.by_server.len() as f64;
        self.by_server.iter().copied().max().unwrap_or(0) as f64 / mean
    }

    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.by_server.iter().sum()
    }
}

impl<'a> Steady<'a> {
    /// Logs in.
    ///
    /// # Panics
    /// If a portal refuses.
    #[must_use]
    pub fn start(group: &'a Group, volume: &str, iqn: &str, options: SteadyOptions) -> Self {
        let portals = options.portals.iter().map(|server| group.portal(*server));
        let load = Load::start(&LoadOptions {
            portals: portals.map(|portal| portal.parse().expect("an address")).collect(),
            target: iqn.to_owned(),
            initiator: "iqn.2026-01.io.evenkeel.test:steady".to_owned(),
            sessions_per_portal: 2,
            depth: 8,
            settings: options.settings,
            verify: options.verify,
            seed: 1,
        });
        let load = load.unwrap_or_else(|why| panic!("{why}"));
        Self { group, volume: volume.to_owned(), load, counts: Vec::new() }
    }

    /// Size of the volume in bytes.
    #[must_use]
    pub const fn volume_bytes(&self) -> u64 {
        self.load.volume_bytes()
    }

    /// Asks from now on what `source` says, so often a second whatever the servers do.
    pub fn run(&self, source: Source, per_second: f64) {
        self.load.run(source, Pacing::Open { per_second, spacing: Spacing::Even });
    }

    /// A stretch of `length` in which nothing moved.
    ///
    /// # Panics
    /// If there is none within `patience`; if a request failed or read something wrong.
    pub fn window(&mut self, length: Duration, patience: Duration) -> Window {
        let deadline = Instant::now() + patience;
        loop {
            let _ = self.sample();
            let owners = owner_places(self.group, &self.volume);
            let began = Instant::now();
            self.counts = vec![0; owners.len()];
            while owners == owner_places(self.group, &self.volume) {
                if began.elapsed() >= length {
                    return self.served(&owners);
                }
                std::thread::sleep(LOOK_EVERY);
                let sample = self.sample();
                self.counts.iter_mut().zip(&sample.per_extent).for_each(|(sum, n)| *sum += u64::from(*n));
            }
            assert!(Instant::now() < deadline, "owners went on changing for {patience:?}");
        }
    }

    /// Windows, until one is as even as this and no server measures more than its share: [`ENTER`] times the mean on
    /// the fast filter, without which nobody is disproportionately loaded.
    ///
    /// # Panics
    /// If that does not happen within `patience`.
    pub fn wait_until_even(&mut self, imbalance_max: f64, patience: Duration) -> Window {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let window = self.window(Duration::from_secs(4), left.max(Duration::from_secs(5)));
            let highest = highest_load(self.group);
            if highest <= ENTER && window.requests() > 0 && window.imbalance() <= imbalance_max {
                return window;
            }
            assert!(
                Instant::now() < deadline,
                "not even after {patience:?}: {window:?}, imbalance {:.2}, highest load {highest:.2}\n{}\n{}",
                window.imbalance(),
                self.group.evenkeel(&["load"]).stdout,
                self.group.evenkeel(&["moves"]).stdout,
            );
        }
    }

    /// What happened since the last look.
    ///
    /// # Panics
    /// If a request failed or read something wrong.
    pub fn sample(&mut self) -> Sample {
        let sample = self.load.sample().unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((sample.errors, sample.mismatches), (0, 0), "{:?}", sample.first_trouble);
        sample
    }

    /// Ends the load and logs out.
    pub fn stop(self) {
        self.load.stop();
    }

    fn served(&self, owners: &[usize]) -> Window {
        let mut by_server = vec![0; self.group.servers()];
        owners.iter().zip(&self.counts).for_each(|(owner, count)| by_server[*owner] += count);
        Window { by_server }
    }
}

/// The owner of each extent of a volume, by number from 0 in order of the servers' names.
///
/// # Panics
/// If an extent has none.
#[must_use]
pub fn owner_places(group: &Group, volume: &str) -> Vec<usize> {
    let table = group.evenkeel(&["route", volume, "-o", "json"]).ok().json();
    let rows = table["extents"].as_array().expect("rows");
    let number = |row: &serde_json::Value| row["owner"].as_str()?.strip_prefix('s')?.parse::<usize>().ok();
    rows.iter().map(|row| number(row).unwrap_or_else(|| panic!("no owner: {row}")) - 1).collect()
}

/// What a server's view says of the load of a server; nothing while it does not know that server yet.
///
/// # Panics
/// If there is no table.
#[must_use]
pub fn load_of(group: &Group, seen_by: &str, server: &str) -> serde_json::Value {
    let table = group.evenkeel(&["load", "--server", seen_by, "-o", "json"]).ok().json();
    let rows = table["servers"].as_array().expect("rows");
    rows.iter().find(|row| row["server"] == server).cloned().unwrap_or_default()
}

/// The highest load of a server over the mean.
fn highest_load(group: &Group) -> f64 {
    let table = group.evenkeel(&["load", "-o", "json"]).ok().json();
    table["imbalance"].as_f64().unwrap_or(1.0)
}
