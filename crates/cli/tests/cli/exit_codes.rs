//! Exit codes, and the one line on stderr that goes with each failure.

use crate::answers;
use crate::fake_api::FakeApi;
use crate::run::{finish, program, run};
use evenkeel_api::{ApiError, MoveState};
use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn refusing(status: u16, line: &str) -> FakeApi {
    FakeApi::new().then(status, &ApiError { error: line.into() })
}

#[test]
fn what_the_api_refuses_fails_with_1_and_its_reason() {
    let reason = "volume 'v1': exists already; choose another name";
    for (status, line) in
        [(409, "volume create v1 --size 1G"), (404, "volume show v1"), (400, "move v1 0 --to s9")]
    {
        let run = refusing(status, reason).run(line);
        assert_eq!((run.code, run.failure(), run.stdout.as_str()), (1, reason, ""), "{line}");
    }
}

#[test]
fn a_wrong_command_line_is_2_and_one_line_with_the_value() {
    for (line, word) in [
        ("", "no command"),
        ("volume", "no command"),
        ("volumes", "'volumes'"),
        ("volume create v1", "--size"),
        ("volume create v1 --size 1X", "'1X'"),
        ("move v1 -1 --to s2", "-1"),
        ("move v1 4294967296 --to s2", "4294967296"),
        ("move v1 1 --to s2 --rate 0", "'0'"),
        ("move v1 1 --to s2 --timeout 3s", "--wait"),
        ("route v1 --verify --server s1", "--server"),
        ("wait --timeout soon", "'soon'"),
        ("load -o yaml", "'yaml'"),
        ("explain first", "'first'"),
        ("--api https://127.0.0.1:1 load", "https://127.0.0.1:1"),
        ("serve", "--data"),
        ("serve --data d --config f --servers 2", "--servers"),
        ("serve --data d --api 0.0.0.0:8260", "0.0.0.0:8260"),
        ("--api http://127.0.0.1:1 serve --data d", "serve --api"),
        ("completions csh", "'csh'"),
        ("bench --op read", "--target"),
        ("bench --op read --target iscsi://h/a", "iscsi://HOST:PORT/IQN/LUN"),
        ("bench --op read --target iscsi://h/a/0 --size 1KiB", "1KiB"),
        ("bench --op read --target iscsi://h/a/0 --depth 0", "0"),
        ("bench --op read --target iscsi://h/a/0 --seconds 0", "--seconds 0"),
        ("demo --seconds 79", "79 is not in 80..=86400"),
    ] {
        let run = run(line);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line}: {run:?}");
        assert!(run.failure().contains(word), "{line}: {run:?}");
    }
    let empty = finish(program().args(["volume", "show", ""]));
    assert_eq!(empty.code, 2, "an empty name would ask for the list: {empty:?}");
}

#[test]
fn findings_are_3_and_stay_on_stdout() {
    let api = FakeApi::with(&answers::findings());
    let run = api.run("route v1 --verify");
    assert_eq!((run.code, run.failure()), (3, "volume v1: 1 finding"));
    assert!(run.stdout.contains("orphan-record") && run.stdout.contains("extent 3 of volume v1"), "{run:?}");
    assert_eq!(api.run("route v1 --verify -o json").json()["findings"][0]["kind"], "orphan-record");
    assert_eq!(FakeApi::with(&answers::all_well()).run("route v1 --verify").code, 0);
}

#[test]
fn nobody_there_is_4_and_says_where() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for line in
        ["volume list", "load", "moves", "session list", "server list", "version --remote", "route v1"]
    {
        let run = run(&format!("{line} --api http://{free}"));
        assert_eq!((run.code, run.stdout.as_str()), (4, ""), "{line}");
        assert!(run.failure().contains(&free.to_string()) && run.failure().contains("--api"), "{run:?}");
    }
}

#[test]
fn a_target_that_cannot_be_reached_is_4_and_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = run(&format!("bench --op read --target iscsi://{free}/iqn.a:b/0"));
    assert_eq!((run.code, run.stdout.as_str()), (4, ""), "{run:?}");
    assert!(run.failure().contains(&free.to_string()), "{run:?}");
}

#[test]
fn a_group_that_cannot_answer_now_is_4() {
    for status in [503, 504] {
        let run = refusing(status, "server s2 does not answer").run("load --server s2");
        assert_eq!((run.code, run.failure()), (4, "server s2 does not answer"));
    }
}

#[test]
fn what_is_not_an_evenkeel_api_is_1() {
    for (status, body) in [(404, "<html>"), (200, "<html>"), (200, "{}"), (302, "")] {
        let api = FakeApi::new().then_bytes(status, body);
        let run = api.run("volume list");
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{status} {body}");
        assert!(run.failure().contains(&api.url()), "{run:?}");
    }
}

#[test]
fn wait_gives_up_with_4_in_time_and_says_what_it_waits_for() {
    let start = Instant::now();
    let api = FakeApi::with(&answers::not_serving());
    let run = api.run("wait --timeout 700ms");
    assert_eq!((run.code, run.stdout.as_str()), (4, ""));
    assert!(run.failure().contains("700ms") && run.failure().contains("server s2 waits for s3"), "{run:?}");
    assert!(api.requests().len() > 3, "it asks again and again: {:?}", api.requests());
    assert!(start.elapsed() >= Duration::from_millis(550), "{:?}", start.elapsed());
}

#[test]
fn wait_does_not_hang_on_a_server_that_accepts_and_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let run = run(&format!("wait --timeout 500ms --api http://{}", listener.local_addr().unwrap()));
    assert_eq!(run.code, 4, "{run:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn wait_fails_at_once_where_waiting_does_not_help() {
    let run = refusing(404, "no such path").run("wait --timeout 1h");
    assert_eq!((run.code, run.failure()), (1, "no such path"));
}

#[test]
fn a_move_that_was_given_up_is_1_when_it_was_waited_for() {
    let api =
        FakeApi::with(&answers::move_in(MoveState::Running)).then(200, &answers::move_in(MoveState::Aborted));
    let run = api.run("move v1 3 --to s2 --wait -o json");
    assert_eq!((run.code, run.json()["state"].as_str()), (1, Some("aborted")));
    assert!(run.failure().contains("move 12") && run.failure().contains("stays on s1"), "{run:?}");
}

#[test]
fn a_move_that_is_not_done_in_time_is_4() {
    let run =
        FakeApi::with(&answers::move_in(MoveState::Running)).run("move v1 3 --to s2 --wait --timeout 500ms");
    assert_eq!(run.code, 4);
    assert!(run.failure().contains("23 of 64"), "{run:?}");
}

#[test]
fn check_of_a_directory_that_is_not_there_is_1_and_names_it() {
    let run = run("check /no/such/directory");
    assert_eq!(run.code, 1);
    assert!(run.failure().contains("/no/such/directory"), "{run:?}");
}

#[test]
fn a_reader_that_goes_away_is_not_a_failure() {
    let mut table = answers::volumes();
    table.volumes = vec![answers::volume(); 10_000];
    let api = FakeApi::with(&table);
    let mut command = program();
    command.args(["--api", &api.url(), "volume", "list", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}
