//! A group of several processes, one server each, with their directory on a real etcd.

use crate::etcd::Etcd;
use crate::group::{Group, GroupOptions};
use evenkeel_api::{RouteTable, ServerCounters, ServerState, ServersTable};
use std::time::{Duration, Instant};

/// For what must come at some time.
const WITHIN: Duration = Duration::from_secs(60);

/// The processes and the etcd. Dropping it ends them all.
pub struct Processes {
    /// Their directory.
    pub etcd: Etcd,
    /// The processes: the first runs s1, the second s2, ...
    pub processes: Vec<Group>,
}

impl Processes {
    /// So many processes, once all of them serve; `flags` are given to each.
    ///
    /// # Panics
    /// If they do not.
    #[must_use]
    pub fn start(count: u16, flags: &str) -> Self {
        Self::start_on(Etcd::start(1), count, flags)
    }

    /// The same on an etcd that runs.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_on(etcd: Etcd, count: u16, flags: &str) -> Self {
        Self::start_with(etcd, count, flags, |_, options| options)
    }

    /// The same with relays between the servers that count what passes; see [`crate::PeerRelays`].
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn relayed(count: u16, flags: &str) -> Self {
        Self::start_with(Etcd::start(1), count, flags, |_, options| options.relayed())
    }

    /// The same, each process with other options, by its number from 1.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with(
        etcd: Etcd,
        count: u16,
        flags: &str,
        with: impl Fn(u16, GroupOptions) -> GroupOptions,
    ) -> Self {
        let directory = format!("--directory {}", etcd.address());
        let mut processes: Vec<Group> = (1..=count)
            .map(|first| {
                let options = GroupOptions::servers(1).store_size("1GiB").from_server(first);
                Group::prepare(with(first, options.flag(&directory).flag(flags)))
            })
            .collect();
        for process in &mut processes {
            // One after the other, so that s1 is the first server of the directory too, and so on.
            process.spawn();
            process.wait();
        }
        // Whoever was asked first did not know the later ones yet.
        processes.iter().for_each(Group::wait);
        Self { etcd, processes }
    }

    /// The server that plans for the group, from 0; none while nobody does.
    #[must_use]
    pub fn planner(&self) -> Option<usize> {
        let kept = self.etcd.ctl(&["get", "--prefix", "/evenkeel/evenkeel/lead/", "--print-value-only"]);
        let record: serde_json::Value = serde_json::from_str(&kept.stdout).ok()?;
        record["server"].as_u64().map(|id| id as usize - 1)
    }

    /// The portals of all servers.
    #[must_use]
    pub fn portals(&self) -> Vec<String> {
        self.processes.iter().map(|process| process.portal(1)).collect()
    }

    /// The processes that run now.
    pub fn running(&self) -> impl Iterator<Item = &Group> {
        self.processes.iter().filter(|process| process.runs())
    }

    /// Waits until every process that runs says of all servers that they are up.
    ///
    /// # Panics
    /// If that does not come true within 60 s.
    pub fn all_are_up(&self) {
        all_are_up(self.running(), self.processes.len());
    }

    /// The processes with the owner and the other copy of a volume with two copies, and of three processes the one without,
    /// from 0.
    ///
    /// # Panics
    /// If its extents are not all placed together, as neighbours are.
    #[must_use]
    pub fn placed(&self, volume: &str) -> [usize; 3] {
        let process = self.running().next().expect("a process runs");
        let table: RouteTable = process.api().get(&format!("/v1/volumes/{volume}/route")).expect("the route");
        let number = |name: &String| name[1..].parse::<usize>().expect("s and a number") - 1;
        let owner = number(&table.extents[0].owner);
        let copies: Vec<usize> = table.extents[0].replicas.iter().map(number).collect();
        let others: Vec<usize> = copies.iter().copied().filter(|copy| *copy != owner).collect();
        let are_together = table.extents.iter().all(|row| row.replicas == table.extents[0].replicas);
        assert!(are_together && copies.len() == 2 && others.len() == 1, "{table:?}");
        [owner, others[0], 3 - owner - others[0]]
    }

    /// What the servers that answer did since their starts, all together.
    #[must_use]
    pub fn counters(&self) -> ServerCounters {
        let table = self.running().find_map(|process| process.api().get::<ServersTable>("/v1/servers").ok());
        let rows = table.into_iter().flat_map(|table| table.servers);
        rows.filter_map(|row| row.counters).fold(ServerCounters::default(), |sum, more| ServerCounters {
            regions_compared: sum.regions_compared + more.regions_compared,
            regions_sent: sum.regions_sent + more.regions_sent,
            bytes_sent: sum.bytes_sent + more.bytes_sent,
            regions_received: sum.regions_received + more.regions_received,
            regions_mended: sum.regions_mended + more.regions_mended,
            takeovers: sum.takeovers + more.takeovers,
            marked_down: sum.marked_down + more.marked_down,
            retried: sum.retried + more.retried,
            found_applied: sum.found_applied + more.found_applied,
        })
    }

    /// What all processes logged at WARN or ERROR but lines with one of these parts, which a scenario expects.
    #[must_use]
    pub fn warnings_but(&self, expected: &[&str]) -> Vec<(usize, String)> {
        let mut warnings = self.warnings();
        warnings.retain(|(_, line)| !expected.iter().any(|part| line.contains(part)));
        warnings
    }

    /// What all processes logged at WARN or ERROR, with their numbers from 1.
    #[must_use]
    pub fn warnings(&self) -> Vec<(usize, String)> {
        let numbered = (1..).zip(&self.processes);
        let lines = numbered.flat_map(|(number, process)| {
            let log = process.log();
            let bad = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
            log.lines().filter(bad).map(|line| (number, line.to_owned())).collect::<Vec<_>>()
        });
        lines.collect()
    }
}

/// Waits until each of these processes says of so many servers that they are all up.
pub(crate) fn all_are_up<'a>(processes: impl Iterator<Item = &'a Group>, servers: usize) {
    for process in processes {
        process.wait();
        wait_until(
            || format!("all are up: {:?}", states(process)),
            || {
                let states = states(process);
                states.len() == servers && states.iter().all(|state| *state == ServerState::Up)
            },
        );
    }
}

/// The states of all servers, as a process answers.
///
/// # Panics
/// If it does not.
#[must_use]
pub fn states(process: &Group) -> Vec<ServerState> {
    let table: ServersTable = process.api().get("/v1/servers").expect("the servers");
    table.servers.iter().map(|row| row.state).collect()
}

/// Waits until something is so.
///
/// # Panics
/// If it does not become so within 60 s, with what was waited for.
pub fn wait_until(what: impl Fn() -> String, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WITHIN, "not within {WITHIN:?}: {}", what());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A number that the environment may set: how often a scenario does what it does, for the long runs.
///
/// # Panics
/// If it sets something that is no number.
#[must_use]
pub fn count_of(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("{name} '{text}': {e}")),
        Err(_) => default,
    }
}
