//! Who has no part in a group gets nothing of it and is logged once; those who have one are served as well as without
//! protection.

use evenkeel_tests::{Blocks, Group, GroupOptions, Mover, Ran, StopAtEnd, Writer, run, run_within};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Extents of the volume, each with a writer of its own.
const EXTENTS: u32 = 6;
const BLOCKS_PER_EXTENT: u64 = 1024;
/// Connections that a stranger makes until it is looked how often it was logged.
const TRIES: usize = 8;
/// Calls of the API without a token.
const CALLS: usize = 20;

fn secured(servers: u16) -> GroupOptions {
    GroupOptions::servers(servers).store_size("1GiB").flag("--balance false").secured()
}

fn wait_until(what: &str, group: &Group, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", group.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The lines of a log at WARN or ERROR.
fn warnings(group: &Group) -> Vec<String> {
    let log = group.log();
    log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).map(str::to_owned).collect()
}

/// How many of the lines contain all of the words.
fn count(lines: &[String], words: &[&str]) -> usize {
    lines.iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// Writers that know what every block must hold, through the portals of all servers.
fn writers(group: &Group, iqn: &str) -> Vec<Writer> {
    let portals: Vec<String> = (1..=group.servers() as u16).map(|server| group.portal(server)).collect();
    let writer = |extent: u32| {
        let blocks = Blocks::new(u64::from(extent) * BLOCKS_PER_EXTENT, BLOCKS_PER_EXTENT as usize);
        Writer::new(portals.clone(), iqn, blocks, 4, u64::from(extent) + 1)
    };
    (0..EXTENTS).map(writer).collect()
}

/// Runs writers and moves of their extents while `meanwhile` does what it does. No request may fail or read anything
/// wrong, and in the end all is there.
fn under_load(group: &Group, meanwhile: impl FnOnce(&Mover<'_>)) {
    let iqn = group.create_volume("v1", "24MiB");
    let mut writers = writers(group, &iqn);
    let (mover, stop) = (Mover::new(group, "v1", group.servers() as u16), AtomicBool::new(false));
    let extents: Vec<u32> = (0..EXTENTS).collect();
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        for writer in &mut writers {
            scope.spawn(|| writer.run(&stop));
        }
        scope.spawn(|| mover.run(&extents, 2, None, &stop));
        meanwhile(&mover);
        drop(stop_at_end);
    });
    for (extent, writer) in writers.iter_mut().enumerate() {
        let tally = writer.tally.clone();
        assert_eq!((&tally.wrong, tally.busy, tally.lost), (&None, 0, 0), "extent {extent}: {tally:?}");
        assert!(tally.writes > 0 && tally.reads > 0, "extent {extent}: {tally:?}");
        for server in 1..=group.servers() as u16 {
            assert!(writer.verify(&group.portal(server)).expect("what was written is there") > 0);
        }
    }
}

#[test]
fn servers_that_show_certificates_carry_writes_reads_and_moves_in_both_modes_without_an_error() {
    for mode in ["encrypted", "plain"] {
        let group = Group::start(secured(3).flag(&format!("--peer-data {mode}")));
        under_load(&group, |mover| {
            wait_until("extents move", &group, || mover.moved().values().sum::<u64>() >= 24);
        });
        assert_eq!(warnings(&group), Vec::<String>::new(), "{mode}");
    }
}

#[test]
fn a_bit_flipped_between_servers_ends_the_connection_and_loses_nothing_in_both_modes() {
    const FLIPS: usize = 4;
    for (mode, said) in [("plain", "does not match its tag"), ("encrypted", "cannot decrypt")] {
        let group = Group::start(secured(2).flag(&format!("--peer-data {mode}")).tampered());
        under_load(&group, |_| {
            for flip in 0..FLIPS {
                let before = group.tamper().connections();
                group.tamper().flip_a_bit();
                wait_until("a bit is flipped", &group, || group.tamper().has_flipped());
                wait_until("it is noticed", &group, || count(&warnings(&group), &[said]) == flip + 1);
                wait_until("there is another connection", &group, || {
                    group.tamper().connections() > before
                        && group.evenkeel(&["wait", "--timeout", "1s"]).code == 0
                });
            }
        });
        let warnings = warnings(&group);
        let named = count(&warnings, &["connection with", "ended", said]);
        assert_eq!((named, warnings.len()), (FLIPS, FLIPS), "{mode}: {warnings:#?}");
    }
}

/// A process that takes a server of another group for one of its own: its s1 dials that one's s2.
fn stranger(group: &Group, options: GroupOptions) -> Group {
    let options = options.store_size("256MiB").flag(&format!("--advertise-peer {}", group.tamper().first()));
    let mut stranger = Group::prepare(options);
    stranger.spawn();
    stranger
}

/// Waits until a stranger has tried often; it must not have come in, nor been told of often.
fn is_kept_out(group: &Group, stranger: &Group, reason: &str) {
    let before = group.tamper().connections();
    wait_until("the stranger tries", group, || group.tamper().connections() >= before + TRIES);
    let table = stranger.evenkeel(&["server", "list", "-o", "json"]).ok().json();
    assert_eq!(table["servers"][0]["connected"], serde_json::json!([]), "{table}");
    let refused = count(&warnings(group), &["refused peer connection from 127.0.0.1", reason]);
    assert_eq!(refused, 1, "{reason}: {:#?}", warnings(group));
}

fn join(data: &Path, from: u16, token: &str) -> Ran {
    let data = data.to_str().expect("a readable path");
    let from = format!("127.0.0.1:{from}");
    let args = ["server", "join", "--data", data, "--from", &from, "--token", token];
    run_within(PATIENCE, Group::program().to_str().expect("a readable path"), &args)
}

fn token(group: &Group, words: &[&str]) -> String {
    let args: Vec<&str> = ["group", "token"].iter().chain(words).chain(&["-o", "json"]).copied().collect();
    group.evenkeel(&args).ok().json()["token"].as_str().expect("a token").to_owned()
}

fn certificates(group: &Group) -> Vec<serde_json::Value> {
    let table = group.evenkeel(&["group", "certificates", "-o", "json"]).ok().json();
    table["certificates"].as_array().expect("rows").clone()
}

#[test]
fn a_peer_without_a_certificate_with_one_of_another_group_or_a_revoked_one_is_kept_out_and_logged_once() {
    let group = Group::start(secured(2).tampered());
    let served = |group: &Group| {
        let table = group.evenkeel(&["server", "list", "-o", "json"]).ok().json();
        assert_eq!(table["servers"][0]["connected"], serde_json::json!(["s2"]), "{table}");
    };
    served(&group);

    let without = stranger(&group, GroupOptions::servers(2));
    is_kept_out(&group, &without, "does not speak TLS: it shows no certificate");
    drop(without);

    let foreign = stranger(&group, GroupOptions::servers(2).secured());
    // It is the first to see that the other is of another group.
    is_kept_out(&group, &foreign, "does not accept this server's certificate: UnknownCA");
    assert_eq!(count(&warnings(&foreign), &["no connection with", "did not sign"]), 1, "{}", foreign.log());
    drop(foreign);

    // A machine that has certificates for s1 and s2, too, which are revoked before it uses them.
    let known: Vec<_> = certificates(&group);
    let data = group.folder().join("revoked");
    let _ = join(&data, group.peer_port(1), &token(&group, &["s1", "s2"])).ok();
    let fresh: Vec<_> = certificates(&group).into_iter().filter(|row| !known.contains(row)).collect();
    assert_eq!(fresh.len(), 2, "{fresh:?}");
    for row in &fresh {
        let hash = row["certificate"].as_str().expect("a hash");
        let revoked = group.evenkeel(&["group", "revoke", hash, "-o", "json"]).ok().json();
        assert!(revoked["certificates"][0]["revoked_ms"].as_u64() > Some(0), "{revoked}");
    }
    let revoked =
        stranger(&group, GroupOptions { data: Some(data), ..GroupOptions::servers(2) }.with_secrets());
    is_kept_out(&group, &revoked, "certificate that was revoked");
    assert_eq!(
        count(&warnings(&revoked), &["no connection with", "CertificateRevoked"]),
        1,
        "{}",
        revoked.log()
    );
    drop(revoked);

    served(&group);
    let warnings = warnings(&group);
    assert_eq!(count(&warnings, &["refused peer connection"]), 3, "{warnings:#?}");
    assert_eq!(warnings.len(), 3 + fresh.len(), "{warnings:#?}");
}

#[test]
fn a_revoked_server_stops_its_peers_let_go_of_it_and_go_on() {
    let group = Group::start(secured(3));
    let iqn = group.create_volume("v1", "8MiB");
    let _ = group.evenkeel(&["group", "revoke", "s3"]).ok();
    let row = |n: usize| group.evenkeel(&["server", "list", "-o", "json"]).ok().json()["servers"][n].clone();
    wait_until("s3 stops", &group, || row(2)["state"] == "stopped");
    for (server, other) in [(0, "s2"), (1, "s1")] {
        wait_until("the others let go", &group, || row(server)["connected"] == serde_json::json!([other]));
    }
    let _ = run("iscsi-inq", &[&group.url(1, &iqn)]).ok();
    let warnings = warnings(&group);
    assert_eq!(count(&warnings, &["ERROR", "server 's3' stops", "was revoked"]), 1, "{warnings:#?}");
    assert_eq!(count(&warnings, &["api: the certificate"]), 1, "{warnings:#?}");
    // A peer that hears of it later than s3 finds the connection closed.
    let let_go = count(&warnings, &["gave up the connection with s3", "revoked"]);
    assert!(let_go <= 2 && warnings.len() == 2 + let_go, "{warnings:#?}");
}

#[test]
fn a_call_of_the_api_without_a_token_or_with_a_wrong_one_is_refused_and_logged_once() {
    let group = Group::start(secured(1));
    let calls = |token: Option<&str>, method: &str, path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", group.api_port());
        call(method, &url, token)
    };
    for token in [None, Some("a-token-that-the-group-does-not-have")] {
        for path in ["/v1/servers", "/v1/volumes", "/metrics", "/no/such/path"] {
            for _ in 0..CALLS / 4 {
                let (status, body) = calls(token, "GET", path);
                assert_eq!(status, 401, "{path}: {body}");
                let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                assert!(answer["error"].as_str().is_some_and(|line| line.contains("token")), "{body}");
                assert!(!body.contains('\n'), "{body}");
            }
        }
    }
    let refused = warnings(&group);
    assert_eq!(count(&refused, &["api: refused GET", "127.0.0.1", "shows no token"]), 1, "{refused:#?}");
    assert_eq!(count(&refused, &["api: refused GET", "127.0.0.1", "does not have"]), 1, "{refused:#?}");
    assert_eq!(refused.len(), 2, "{refused:#?}");

    // A token for looking is written beside the other, and counts at once.
    let (file, look) = (group.token_file().expect("a file of tokens"), "a-token-for-the-monitoring");
    let admin = std::fs::read_to_string(&file).expect("the tokens");
    std::fs::write(&file, format!("{admin}{look} read\n")).expect("the file can be written");
    assert_eq!(calls(Some(look), "GET", "/v1/servers").0, 200);
    assert_eq!(calls(Some(look), "DELETE", "/v1/volumes/v1").0, 403);
    assert_eq!(calls(Some(admin.trim()), "DELETE", "/v1/volumes/v1").0, 404);
}

/// Status and body of a call.
fn call(method: &str, url: &str, token: Option<&str>) -> (u16, String) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let agent: ureq::Agent = config.build().into();
    let mut answer = agent.run(request.body(()).expect("a request")).expect("an answer");
    (answer.status().as_u16(), answer.body_mut().read_to_string().expect("a text"))
}

#[test]
fn a_machine_joins_by_a_token_that_is_good_once_and_for_the_group_that_made_it() {
    let group = Group::start(secured(1));
    let other = Group::start(secured(1));
    let at = |name: &str| group.folder().join(name);
    let good = token(&group, &["s4", "s5"]);
    // Shown to another group: that one cannot show the certificate that the token names, and does not get the secret.
    let ran = join(&at("astray"), other.peer_port(1), &good);
    let _ = ran.refusal(1, &["cannot join", "is it the peer port of a server of the group"]);
    assert!(!at("astray").exists());

    let joined = join(&at("new"), group.peer_port(1), &good).ok();
    assert!(joined.stdout.contains("s4, s5"), "{joined:?}");
    let _ = join(&at("late"), group.peer_port(1), &good).refusal(1, &["not good", "evenkeel group token"]);
    assert!(!at("late").exists());
    let names: Vec<_> = certificates(&group).iter().map(|row| row["server"].clone()).collect();
    assert_eq!(names, ["s1", "s4", "s5"]);
    for (file, mode) in
        [("api-token", 0o600), ("server-s4.key", 0o600), ("server-s5.key", 0o600), ("", 0o700)]
    {
        use std::os::unix::fs::PermissionsExt;
        let found = std::fs::metadata(at("new/tls").join(file)).expect(file).permissions().mode();
        assert_eq!(found & 0o777, mode, "{file}");
    }
    let token_file = at("new/tls/api-token");
    let args = ["--token-file", token_file.to_str().expect("a readable path"), "server", "list"];
    let _ = group.evenkeel_with(&args).ok();

    // What the machine may not be it cannot start as.
    let beyond = Group::prepare(
        GroupOptions { data: Some(at("new")), ..GroupOptions::servers(1).store_size("256MiB") }
            .with_secrets(),
    );
    let _ = beyond.start_in_vain().refusal(1, &["server 's1'", "no certificate", "evenkeel group token s1"]);

    let asked = Instant::now();
    let over = token(&group, &["s6", "--expires", "1s"]);
    std::thread::sleep(Duration::from_secs(2).saturating_sub(asked.elapsed()));
    let _ = join(&at("over"), group.peer_port(1), &over).refusal(1, &["not good", "evenkeel group token"]);

    // Without the authority's key nobody comes in, and the token is not used up by the attempt.
    let again = token(&group, &["s7"]);
    let (key, away) = (group.data().join("tls/authority.key"), at("authority.key"));
    std::fs::rename(&key, &away).expect("the key can be taken away");
    let _ = join(&at("keyless"), group.peer_port(1), &again)
        .refusal(1, &["authority's key is not on this machine"]);
    std::fs::rename(&away, &key).expect("the key can be brought back");
    let _ = join(&at("keyless"), group.peer_port(1), &again).ok();
}
