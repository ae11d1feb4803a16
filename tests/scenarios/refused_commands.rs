//! Bad input to the admin commands and to the API below them: one line that names the value, and the right exit code.

use evenkeel_tests::{Group, GroupOptions, run_within};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const UNREACHABLE: i32 = 4;

fn group() -> Group {
    let group = Group::start(GroupOptions::servers(2).store_size("256MiB"));
    let _ = group.create_volume("v1", "16MiB");
    group
}

#[test]
fn what_a_command_names_and_does_not_exist_is_named_back() {
    let group = group();
    let owner = group.evenkeel(&["route", "v1", "-o", "json"]).ok().json()["extents"][0]["owner"].clone();
    let owner = owner.as_str().expect("an owner");
    for (line, words) in [
        ("volume show v9", &["volume 'v9'", "does not exist", "volume list"][..]),
        ("volume delete v9", &["volume 'v9'", "does not exist", "volume list"]),
        ("route v9", &["volume 'v9'", "does not exist"]),
        ("route v9 --verify", &["volume 'v9'", "does not exist"]),
        ("route v1 --server s9", &["server 's9'", "s1, s2"]),
        ("load --server s9", &["server 's9'", "s1, s2"]),
        ("move v9 0 --to s1", &["volume 'v9'", "does not exist"]),
        ("move v1 4 --to s1", &["extent 4 of 'v1'", "0 to 3"]),
        ("move v1 0 --to s9", &["'s9'", "s1, s2"]),
        (&format!("move v1 0 --to {owner}"), &["extent 0 of 'v1'", owner, "already"]),
        ("explain 77", &["move 77", "evenkeel moves"]),
        ("volume create v1 --size 16MiB", &["volume 'v1'", "another name"]),
        ("volume create V_1 --size 16MiB", &["V_1", "a-z"]),
        ("volume create v2 --size 16MiB --allow bob", &["'bob'", "iqn."]),
    ] {
        let args: Vec<&str> = line.split_whitespace().collect();
        let _ = group.evenkeel(&args).refusal(FAILED, words);
    }
    let volumes = group.evenkeel(&["volume", "list", "-o", "json"]).ok().json();
    assert_eq!(volumes["volumes"].as_array().expect("rows").len(), 1, "nothing was made: {volumes}");
    let moves = group.evenkeel(&["moves", "-o", "json"]).ok().json();
    assert_eq!(moves["moves"].as_array().expect("rows").len(), 0, "nothing was moved: {moves}");
}

#[test]
fn what_is_no_size_is_refused_with_it() {
    let group = group();
    for (size, code, words) in [
        ("much", USAGE, &["'much'", "512MiB"][..]),
        ("", USAGE, &["''", "512MiB"]),
        ("-1G", USAGE, &["'-1G'", "512MiB"]),
        ("1..5G", USAGE, &["'1..5G'", "512MiB"]),
        ("1e9", USAGE, &["'1e9'", "512MiB"]),
        ("99999999P", USAGE, &["'99999999P'"]),
        ("0", FAILED, &["size 0", "multiple of 4096"]),
        ("4097", FAILED, &["size 4097", "multiple of 4096"]),
        ("65T", FAILED, &["size 71468255805440", "70368744177664"]),
    ] {
        let ran = group.evenkeel(&["volume", "create", "v2", "--size", size]);
        let _ = ran.refusal(code, words);
    }
    let _ = group.evenkeel(&["volume", "create", "v2", "--size", "4096"]).ok();
    for (rate, words) in [("fast", &["'fast'"][..]), ("0/s", &["'0/s'", "above zero"])] {
        let _ = group.evenkeel(&["move", "v1", "0", "--to", "s1", "--rate", rate]).refusal(USAGE, words);
    }
}

#[test]
fn an_api_that_is_not_there_is_exit_code_4_and_named() {
    let mut group = group();
    assert_eq!(group.stop().0, 0);
    let api = format!("127.0.0.1:{}", group.api_port());
    for line in
        ["volume list", "volume show v1", "volume create v2 --size 1G", "server list", "load", "route v1"]
            .into_iter()
            .chain(["route v1 --verify", "move v1 0 --to s1", "moves", "explain 1", "session list"])
    {
        let args: Vec<&str> = line.split_whitespace().collect();
        let _ = group.evenkeel(&args).refusal(UNREACHABLE, &[&api, "--api"]);
    }
    let _ = group.evenkeel(&["wait", "--timeout", "300ms"]).refusal(UNREACHABLE, &[&api, "300ms"]);
    let program = Group::program();
    let program = program.to_str().expect("a readable path");
    for url in ["https://127.0.0.1:1", "http://", "ftp://x", "http://127.0.0.1:99999"] {
        let ran = run_within(Duration::from_secs(30), program, &["--api", url, "volume", "list"]);
        let _ = ran.refusal(USAGE, &[url, "http://HOST:PORT"]);
    }
}

/// Status and body of the answer to a request as it stands.
fn ask(group: &Group, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", group.api_port())).expect("the API listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes options");
    stream.write_all(request.as_bytes()).expect("the API takes a request");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request:?}: {answer}"));
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.to_owned())
}

#[test]
fn what_is_no_request_of_the_api_gets_a_reason_in_one_line_of_json() {
    let group = group();
    let request = |method: &str, path: &str, kind: &str, body: &str| {
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\n");
        ask(&group, &format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
    };
    let json = "application/json";
    let huge = format!("{{\"name\": \"{}\"", "x".repeat(3 << 20));
    for (method, path, kind, body, status, word) in [
        ("POST", "/v1/volumes", json, "{bad", 400, "line 1"),
        ("POST", "/v1/volumes", json, "{}", 422, "name"),
        ("POST", "/v1/volumes", json, "{\"name\": 1}", 422, "name"),
        ("POST", "/v1/volumes", "text/plain", "{}", 415, "application/json"),
        ("POST", "/v1/volumes", json, &huge, 413, "limit"),
        ("POST", "/v1/moves", json, "[]", 422, "line 1"),
        ("POST", "/v1/moves", json, "{\"volume\":\"v1\",\"extent\":-1,\"to\":\"s1\"}", 422, "-1"),
        ("PUT", "/v1/balancing", json, "{\"enabled\": \"no\"}", 422, "no"),
        ("GET", "/v1/moves/first", json, "", 400, "first"),
        ("GET", "/v1/load?server=s1&server=s2", json, "", 400, "server"),
        ("GET", "/v1/volumes/v9", json, "", 404, "v9"),
        ("GET", "/v2/volumes", json, "", 404, "/v2/volumes"),
        ("DELETE", "/v1/load", json, "", 405, "DELETE"),
    ] {
        let (got, answer) = request(method, path, kind, body);
        let shown = &body[..body.len().min(60)];
        assert_eq!(got, status, "{method} {path} {shown}: {answer}");
        let answer: serde_json::Value =
            serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{method} {path}: {e}: {answer}"));
        let line = answer["error"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(line.contains(word) && !line.contains('\n'), "{method} {path}: {line}");
    }
    // It goes on.
    assert_eq!(request("GET", "/v1/health", json, "").0, 200);
    let volumes = group.evenkeel(&["volume", "list", "-o", "json"]).ok().json();
    assert_eq!(volumes["volumes"].as_array().expect("rows").len(), 1, "{volumes}");
}
