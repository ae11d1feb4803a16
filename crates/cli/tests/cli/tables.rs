//! The tables for people, as they look in a pipe.

use crate::answers;
use crate::fake_api::FakeApi;
use evenkeel_api::{LoadTable, MoveState, MovesTable, SessionsTable, VolumesTable};
use serde::Serialize;

fn assert_shows(answer: &impl Serialize, line: &str, expected: &[&str]) {
    let run = FakeApi::with(answer).run(line);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{line}");
    assert_eq!(run.stdout.lines().collect::<Vec<_>>(), expected, "{line}");
}

#[test]
fn volumes() {
    assert_shows(
        &answers::volumes(),
        "volume list",
        &[
            "VOLUME  SIZE  ALLOCATED  COPIES  ALLOWED  TARGET",
            "v1      1GiB     1.5MiB       1  any      iqn.2026-01.io.evenkeel:g:v1",
            "v2      1GiB     1.5MiB       1  nobody   iqn.2026-01.io.evenkeel:g:v1",
        ],
    );
    assert_shows(
        &VolumesTable { volumes: vec![] },
        "volume list",
        &["no volumes; 'evenkeel volume create NAME --size SIZE' makes one"],
    );
}

#[test]
fn a_volume_is_shown_with_all_its_portals() {
    assert_shows(
        &answers::volume(),
        "volume show v1",
        &[
            "volume     v1",
            "target     iqn.2026-01.io.evenkeel:g:v1",
            "size       1GiB (1073741824 bytes)",
            "allocated  1.5MiB",
            "copies     1",
            "allowed    any",
            "portal     127.0.0.1:3260",
            "portal     127.0.0.1:3261",
        ],
    );
}

#[test]
fn servers() {
    assert_shows(
        &answers::servers(),
        "server list",
        &[
            "group g",
            "SERVER  STATE    PORTAL          PEER            SESSIONS  USED  STORE  DISK          CONNECTED  STARTS",
            "s1      up       127.0.0.1:3260  127.0.0.1:7260         2  1GiB   8GiB  uring direct  s2              3",
            "s2      syncing  127.0.0.1:3260  127.0.0.1:7260         2  1GiB   8GiB  uring direct  -               3",
            "s3      stopped  127.0.0.1:3260  127.0.0.1:7260         2  1GiB   8GiB  uring direct  -               3",
            "s3: store '/s3' failed",
        ],
    );
}

#[test]
fn load_tells_front_end_work_apart_and_shows_the_age_of_each_report() {
    let run = FakeApi::with(&answers::load()).run("load");
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines[0], "seen by s1, mean load 40%, imbalance 2.12 (highest over mean)");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    assert_eq!(
        words(lines[2]),
        "s1 400ms disproportionate 85% 70% 90% 30% 50%+5.0% 50%+5.0% 50%+5.0% 50%+5.0% 50%+5.0% 2.0% 1234 2.5 0 10 1GiB/8GiB 1 out 0 in"
    );
    assert!(words(lines[3]).starts_with("s2 stale 5.1s"), "{run:?}");
    assert!(words(lines[4]).starts_with("s3 never"), "{run:?}");
    let idle = LoadTable { imbalance: None, servers: vec![], ..answers::load() };
    assert!(FakeApi::with(&idle).run("load").stdout.contains("imbalance -"));
}

#[test]
fn neighbours_with_the_same_route_share_a_row() {
    assert_shows(
        &answers::route(),
        "route v1",
        &[
            "volume v1 seen by s2 at revision 44",
            "EXTENTS  OWNER  COPIES  PLACED    MOVING TO  EPOCH",
            "2        s2     s2      moved     s3             9",
            "3-4      s1     s1      computed  -              5",
            "5        s1     s1      computed  -              6",
        ],
    );
}

#[test]
fn a_verify_without_findings_says_what_it_looked_at() {
    assert_shows(
        &answers::all_well(),
        "route v1 --verify",
        &["256 extents and 1 record looked at: all well"],
    );
}

#[test]
fn moves() {
    let run = FakeApi::with(&answers::moves()).run("moves");
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "MOVE  VOLUME  EXTENT  FROM  TO  STATE          STARTED (UTC)        TOOK  REASON",
            "  12  v1           3  s1    s2  running 23/64  2026-11-23 03:35:09     -  s1 is overloaded",
            "  12  v1           3  s1    s2  done           2026-11-23 03:35:09  4.2s  s1 is overloaded",
        ]
    );
    assert!(lines[3].starts_with("8 completed, 9 aborted, 6 regions and 7MiB sent"), "{run:?}");
    let none = MovesTable { moves: vec![], ..answers::moves() };
    assert!(FakeApi::with(&none).run("moves").stdout.starts_with("no moves\n"));
}

#[test]
fn explain_gives_the_reason_in_full() {
    assert_shows(
        &answers::move_in(MoveState::Done),
        "explain 12",
        &[
            "move 12: extent 3 of volume v1 from s1 to s2, done",
            "started 2026-11-23 03:35:09 UTC, took 4.2s, 25 regions sent",
            "reason: s1 is overloaded",
            "  load 0.91 above 0.80 for 3 s",
        ],
    );
}

#[test]
fn sessions() {
    assert_shows(
        &answers::sessions(),
        "session list",
        &[
            "SERVER  INITIATOR                     ADDRESS          VOLUME       TSIH  COMMANDS  READ  WRITTEN  DIGESTS",
            "s1      iqn.2004-10.com.example:host  127.0.0.1:50000  v1              1       100  4KiB     8KiB  header+data",
            "s1      iqn.2004-10.com.example:host  127.0.0.1:50000  (discovery)     1       100  4KiB     8KiB  header+data",
        ],
    );
    assert_shows(&SessionsTable { sessions: vec![] }, "session list", &["no sessions"]);
}
