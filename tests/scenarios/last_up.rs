//! Of two copies one server goes, hosts write, then the other one goes: the first, when it comes back, does not have what
//! was written last, and serves nothing until the other one is back.

use evenkeel_api::{ServerState, ServersTable};
use evenkeel_tests::{Ended, Hosts, Processes, Session, wait_until};
use std::time::Duration;

const EXTENTS: u32 = 4;
/// How long the server that is behind is watched.
const WATCHED: Duration = Duration::from_secs(5);

#[test]
fn a_server_without_what_was_written_last_waits_for_the_one_that_has_it() {
    let mut group = Processes::start(3, "--balance false");
    let iqn = group.processes[0].create_replicated("v1", &format!("{}MiB", EXTENTS * 4), 2);
    let [owner, other, third] = group.placed("v1");
    let mut hosts = Hosts::fill(&group, &iqn, 0..EXTENTS, 4);
    // The owner is the one that goes first: when it is back the routes name it first too.
    let (behind, last) = (owner, other);
    let last_name = format!("s{}", last + 1);
    group.processes[behind].kill();
    let state = |group: &Processes, of: usize| {
        let table: ServersTable = group.processes[third].api().get("/v1/servers").expect("the servers");
        table.servers[of].clone()
    };
    wait_until(|| "it is marked down".to_owned(), || state(&group, behind).state == ServerState::Down);
    hosts.while_at_work(|| std::thread::sleep(Duration::from_secs(2)));
    let _ = hosts.saw_no_error();
    let acknowledged = hosts.tally().writes;
    assert!(acknowledged > 100, "hosts wrote to the copy that is left");
    group.processes[last].kill();
    group.processes[behind].spawn();
    // It says for whom it waits, in one line of its log and in the tables.
    let line = format!("waits for {last_name}");
    wait_until(
        || group.processes[behind].log(),
        || group.processes[behind].log().lines().any(|logged| logged.contains(&line)),
    );
    let row = state(&group, behind);
    assert_eq!(row.state, ServerState::Syncing, "{row:?}");
    assert!(row.waiting_for.as_ref().is_some_and(|what| what.contains(&last_name)), "{row:?}");
    let listed = group.processes[third].evenkeel(&["server", "list"]).ok().stdout;
    assert!(listed.contains(&line), "{listed}");
    let waited = group.processes[behind].evenkeel(&["wait", "--timeout", "1s"]);
    assert!(waited.code == 4 && waited.stderr.contains(&last_name), "{waited:?}");
    let table = group.processes[third].api().route("v1", &format!("s{}", third + 1)).expect("the route");
    assert!(table.extents.iter().all(|row| row.owner == last_name), "{table:?}");
    // Nobody is served by it, through no portal: a read waits, and is answered BUSY at last, never with old data.
    for at in [behind, third] {
        if let Ok(mut session) = Session::open(&group.processes[at].portal(1), &iqn) {
            session.read(0, 4096);
            let ended = session.wait_end_within(WATCHED);
            assert!(matches!(ended, Ok(None | Some((_, Ended::Busy))) | Err(_)), "{ended:?}");
        }
    }
    let logged = group.processes[behind].log_since_start();
    assert_eq!(logged.matches(&line).count(), 1, "told once: {logged}");
    group.processes[last].spawn();
    group.all_are_up();
    hosts.all_is_there(&group.portals());
    hosts.while_at_work(|| std::thread::sleep(Duration::from_secs(1)));
    let _ = hosts.saw_no_error();
    let row = state(&group, behind);
    assert!(row.state == ServerState::Up && row.waiting_for.is_none(), "{row:?}");
    println!("{acknowledged} writes were acknowledged before, all of them are there");
    assert_eq!(group.warnings_but(&["has not answered for", &line]), []);
}
