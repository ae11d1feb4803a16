//! What a process takes, as the kernel counts it.

use std::fs;
use std::time::{Duration, Instant};

/// Ticks of the kernel's counters of CPU time in a second: USER_HZ, the same on all Linux systems in use.
const TICKS_PER_SECOND: u64 = 100;

/// A running process.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// Resident memory now, in bytes.
    ///
    /// # Panics
    /// If the process does not run.
    #[must_use]
    pub fn resident_bytes(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB");
        kib << 10
    }

    /// Waits until all threads stand still, after a SIGSTOP: those that run go on for a moment.
    ///
    /// # Panics
    /// If they do not stand still within 20 s.
    pub fn wait_until_still(self) {
        let began = Instant::now();
        while !self.stands_still() {
            assert!(began.elapsed() < Duration::from_secs(20), "process {} does not stand still", self.0);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stands_still(self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).expect("the process runs");
        // The state is the first field behind the name, which ends with the last parenthesis.
        threads.flatten().all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    }

    /// Open file descriptors.
    ///
    /// # Panics
    /// If the process does not run.
    #[must_use]
    pub fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).expect("the process runs").count()
    }

    /// CPU time of all its threads so far.
    ///
    /// # Panics
    /// If the process does not run.
    #[must_use]
    pub fn cpu_time(self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).expect("the process runs");
        // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 =
            fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }
}
