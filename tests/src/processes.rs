//! A group of several processes, one server each, with their directory on a real etcd.

use crate::etcd::Etcd;
use crate::group::{Group, GroupOptions};

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
        let etcd = Etcd::start(1);
        let directory = format!("--directory {}", etcd.address());
        let mut processes: Vec<Group> = (1..=count)
            .map(|first| {
                let options = GroupOptions::servers(1).store_size("1GiB").from_server(first);
                Group::prepare(options.flag(&directory).flag(flags))
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

    /// The portals of all servers.
    #[must_use]
    pub fn portals(&self) -> Vec<String> {
        self.processes.iter().map(|process| process.portal(1)).collect()
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
