//! All servers are killed at once, as when the power goes: everything that was acknowledged is there.

use evenkeel_tests::{Group, Hosts, Processes, count_of, wait_until};
use std::time::Duration;

const EXTENTS: u32 = 6;
/// How long hosts work before each kill.
const WORK: Duration = Duration::from_millis(1500);

/// `KILLS` times; each other time the directory is killed too.
#[test]
fn everything_acknowledged_is_there_after_all_servers_were_killed_at_once() {
    let mut group = Processes::start(3, "--balance false");
    let size = format!("{}MiB", EXTENTS * 4);
    let mut volumes = [2, 3].map(|replicas| {
        let iqn = group.processes[0].create_replicated(&format!("v{replicas}"), &size, replicas);
        Hosts::fill(&group, &iqn, 0..EXTENTS, 8)
    });
    let kills = count_of("KILLS", 3);
    for kill in 0..kills {
        let [two, three] = &mut volumes;
        two.while_at_work(|| {
            three.while_at_work(|| {
                std::thread::sleep(WORK);
                group.processes.iter_mut().for_each(Group::kill);
                if kill % 2 == 1 {
                    group.etcd.kill_all();
                    group.etcd.start_again();
                }
                group.processes.iter_mut().for_each(Group::spawn);
                group.all_are_up();
                // Hosts are served again.
                std::thread::sleep(WORK);
            });
        });
        for hosts in &mut volumes {
            let tally = hosts.tally();
            assert_eq!(tally.wrong, None, "kill {}", kill + 1);
            assert!(tally.lost > kill, "hosts had sessions: {tally:?}");
            // What had no answer may be there or not; what had one is.
            hosts.all_is_there(&group.portals());
        }
    }
    for (replicas, hosts) in [2, 3].into_iter().zip(&volumes) {
        let tally = hosts.tally();
        println!(
            "{replicas} copies: {kills} kills of all; {} writes and {} reads, 0 wrong; {} sessions lost with {} writes that had \
             no answer; longest {:.2?}, {} busy",
            tally.writes, tally.reads, tally.lost, tally.unknown, tally.longest, tally.busy
        );
        assert!(tally.unknown > 0, "writes were under way at the kills");
    }
    for volume in ["v2", "v3"] {
        let verify = || group.processes[1].evenkeel(&["route", volume, "--verify"]);
        wait_until(|| format!("{:?}", verify()), || verify().code == 0);
    }
    assert_eq!(group.warnings_but(&["the directory cannot be reached"]), []);
}
