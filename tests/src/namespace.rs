//! Networks of a scenario's own: one for the scenario, and in it one for each machine that it plays.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Tells the scenario that it is in its own network already.
const INSIDE: &str = "EVENKEEL_TEST_OWN_NETWORK";
/// Time in which a network must have been made.
const MADE_WITHIN: Duration = Duration::from_secs(20);

/// Runs a test again in a process whose network is its own, with nothing in it but loopback, and there `scenario`.
/// `test` is the test's name. Whatever is made in that network goes with its last process, however that ends, and no name
/// or address in it is in anybody's way.
///
/// # Panics
/// If the scenario did, or where the kernel does not allow such a network.
pub fn in_own_network(test: &str, scenario: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.expect("ip can be run").success(), "loopback comes up");
        scenario();
        return;
    }
    // As root; or else with a user namespace in which one is.
    let ways: [&[&str]; 2] = [&["--net"], &["--map-root-user", "--net"]];
    let probe = |way: &&[&str]| {
        let probe =
            Command::new("unshare").args(*way).args(["nft", "add", "table", "inet", "probe"]).output();
        probe.map_or_else(
            |e| e.to_string(),
            |probe| {
                if probe.status.success() {
                    String::new()
                } else {
                    String::from_utf8_lossy(&probe.stderr).into_owned()
                }
            },
        )
    };
    let failures = ways.map(|way| probe(&way));
    let Some(way) = failures.iter().position(String::is_empty) else {
        panic!(
            "{test}: no network namespace with nftables can be made here: run it as root with CAP_NET_ADMIN, after \
             tools/setup.sh test ({})",
            failures[0].trim()
        );
    };
    let program = std::env::current_exe().expect("the test's own path");
    let inside = Command::new("unshare")
        .args(ways[way])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdout(Stdio::piped())
        .spawn();
    let mut inside = inside.expect("unshare can be run");
    let said = BufReader::new(inside.stdout.take().expect("its output"));
    // How the test ended is told once, by this process.
    for line in said.lines().map_while(Result::ok).filter(|line| !line.starts_with("test result:")) {
        println!("{line}");
    }
    assert!(inside.wait().expect("it ends").success(), "{test} failed in its own network");
}

/// A network in which one machine's processes run. It lives as long as anything in it, and is nowhere on record.
pub struct Namespace {
    /// Holds it open while nothing else runs there; ends when its standard input does, and so with this process.
    holder: Child,
}

impl Namespace {
    /// A network with nothing in it but loopback.
    ///
    /// # Panics
    /// If the kernel does not allow it.
    #[must_use]
    pub fn new() -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("no network namespace can be made: unshare: {e}"));
        let made = Self { holder };
        let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let (began, own) = (Instant::now(), of("self"));
        while of(&made.holder.id().to_string()).is_none_or(|theirs| Some(theirs) == own) {
            assert!(began.elapsed() < MADE_WITHIN, "no network namespace was made in {MADE_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        made.run("ip link set lo up");
        made
    }

    /// A process in it, as `ip` names networks.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.holder.id()
    }

    /// A command that runs a program in it; the process is the program's own.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.process())).arg(program);
        command
    }

    /// Runs a program in it, with words for arguments.
    ///
    /// # Panics
    /// If it fails, with what it says.
    pub fn run(&self, line: &str) {
        let (program, args) = line.split_once(' ').unwrap_or((line, ""));
        let mut command = self.command(program);
        succeeds(command.args(args.split_whitespace()), line);
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Runs a command that has to succeed.
pub(crate) fn succeeds(command: &mut Command, line: &str) {
    let ran =
        command.output().unwrap_or_else(|e| panic!("cannot run '{line}': {e}; run tools/setup.sh test"));
    assert!(ran.status.success(), "'{line}' failed: {}", String::from_utf8_lossy(&ran.stderr));
}
