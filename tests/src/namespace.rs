//! Scenarios that cut the network do so in a network of their own.

use std::process::Command;

/// Tells the scenario that it is in its own network already.
const INSIDE: &str = "EVENKEEL_TEST_OWN_NETWORK";

/// Runs a test again in a process whose network is its own, with nothing in it but loopback, and there `scenario`.
/// `test` is the test's name. Where the kernel does not allow that, says so in one line and does nothing.
///
/// # Panics
/// If the scenario did.
pub fn in_own_network(test: &str, scenario: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.expect("ip can be run").success(), "loopback comes up");
        scenario();
        return;
    }
    // As root; or else with a user namespace in which one is.
    let ways: [&[&str]; 2] = [&["--net"], &["--map-root-user", "--net"]];
    let works = |way: &&[&str]| {
        let probe =
            Command::new("unshare").args(*way).args(["nft", "add", "table", "inet", "probe"]).output();
        probe.is_ok_and(|probe| probe.status.success())
    };
    let Some(way) = ways.into_iter().find(works) else {
        eprintln!("skipped {test}: no network namespace with nftables can be made here (run as root)");
        return;
    };
    let program = std::env::current_exe().expect("the test's own path");
    let status = Command::new("unshare")
        .args(way)
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("unshare can be run").success(), "{test} failed in its own network");
}
