//! The directory on a real etcd: what every engine does, and what only a network can do to one.

use evenkeel_meta::conformance::{self, Specimen};
use evenkeel_meta::{
    Batch, Compare, Directory, DirectoryError, Entry, Key, KeyRange, Operation, Revision, Txn, Watch,
    WatchError,
};
use evenkeel_server::directory::{EtcdAddress, EtcdDirectory, EtcdTls};
use evenkeel_tests::{Etcd, Line, StopAtEnd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// For what must come at some time.
const WITHIN: Duration = Duration::from_secs(60);

fn open(address: &str) -> EtcdDirectory {
    let address = EtcdAddress::parse(address).expect("an address");
    EtcdDirectory::open(&address, &EtcdTls::default(), WITHIN).expect("etcd answers")
}

fn open_through(line: &Line) -> EtcdDirectory {
    open(&format!("etcd://127.0.0.1:{}", line.port()))
}

struct OnEtcd<'a> {
    etcd: &'a Etcd,
    directory: EtcdDirectory,
    prefix: String,
}

impl Specimen for OnEtcd<'_> {
    fn directory(&self) -> &dyn Directory {
        &self.directory
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn elapse(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Renewed every other second, on a machine that has other things to do.
    fn lease_ttl(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn compact(&self, revision: Revision) {
        self.etcd.compact(revision.0);
    }
}

fn conforms(members: u16) {
    let etcd = Etcd::start(members);
    conformance::run_all(|number| OnEtcd {
        etcd: &etcd,
        directory: open(&etcd.address()),
        prefix: format!("/case-{number}/"),
    });
}

#[test]
fn one_member_conforms() {
    conforms(1);
}

#[test]
fn three_members_conform() {
    conforms(3);
}

fn put(key: &str, value: &str) -> Txn {
    Txn::default().then(Operation::put(key.into(), value.to_owned()))
}

fn get(directory: &EtcdDirectory, key: &str) -> Option<Entry> {
    directory.range(&KeyRange::key(&key.into()), None).expect("the directory is available").entries.pop()
}

/// Makes the change again until it is certain that it was made.
fn put_surely(directory: &EtcdDirectory, key: &str, value: &str) -> Revision {
    let began = Instant::now();
    loop {
        match directory.transact(&put(key, value)) {
            Ok(outcome) => return outcome.revision,
            Err(DirectoryError::Unavailable { .. } | DirectoryError::OutcomeUnknown { .. }) => {}
            Err(e) => panic!("{e}"),
        }
        assert!(began.elapsed() < WITHIN, "the directory does not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn next(watch: &mut dyn Watch) -> Batch {
    watch.next(WITHIN).expect("the watch goes on").expect("a batch comes")
}

/// Counts up at one key until told to stop; gives how often an outcome was unknown, and how often there was certainly none.
fn count_up(directory: &EtcdDirectory, count: &AtomicU64, stop: &AtomicBool) -> (u64, u64) {
    let (mut unknown, mut unavailable) = (0, 0);
    let mut began = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        assert!(began.elapsed() < WITHIN, "the count stands at {count:?}");
        // What is known is read: after an unknown outcome it may be either.
        let Ok(snapshot) = directory.range(&KeyRange::key(&"/n".into()), None) else { continue };
        let (entry, known) = (&snapshot.entries[0], count.load(Ordering::Relaxed));
        let value: u64 =
            std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse().ok()).expect("a number");
        assert!(value == known || value == known + 1, "the count went from {known} to {value}");
        if value != known {
            count.store(value, Ordering::Relaxed);
            began = Instant::now();
        }
        let txn = put("/n", &(value + 1).to_string());
        match directory.transact(&txn.when(Compare::unchanged("/n".into(), entry.mod_revision))) {
            // If one before this was unknown, it may come late, and this one fails.
            Ok(outcome) => assert!(outcome.succeeded || unknown > 0, "nobody else counts"),
            Err(DirectoryError::OutcomeUnknown { .. }) => unknown += 1,
            Err(DirectoryError::Unavailable { .. }) => unavailable += 1,
            Err(e) => panic!("{e}"),
        }
    }
    (unknown, unavailable)
}

#[test]
fn with_the_leader_killed_over_and_over_nothing_is_lost_or_done_twice() {
    const KILLS: u16 = 4;
    const STEP: u64 = 40;
    let mut etcd = Etcd::start(3);
    let directory = open(&etcd.address());
    let mut watch = directory.watch("/", Revision(1)).expect("a watch");
    let _ = put_surely(&directory, "/n", "0");
    let (count, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let counter = scope.spawn(|| {
            let _stop = StopAtEnd(&stop);
            count_up(&directory, &count, &stop)
        });
        let stop_at_end = StopAtEnd(&stop);
        let goes_on = || {
            let target = count.load(Ordering::Relaxed) + STEP;
            while count.load(Ordering::Relaxed) < target && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        for _ in 0..KILLS {
            goes_on();
            let leader = etcd.leader();
            etcd.kill(leader);
            goes_on();
            etcd.spawn(leader);
            etcd.wait();
        }
        goes_on();
        drop(stop_at_end);
        let (unknown, unavailable) = counter.join().expect("the count is right");
        println!(
            "counted to {count:?} over {KILLS} kills: {unknown} outcomes unknown, {unavailable} unavailable"
        );
    });
    let counted = count.into_inner();
    assert!(counted >= u64::from(2 * KILLS) * STEP, "counted to {counted}");
    // The watch saw every number once, in order, whatever connections it went over.
    for expected in 0..=counted {
        let batch = next(&mut *watch);
        let entry = batch.changes[0].entry.as_ref().expect("the key stays");
        assert_eq!(entry.value, expected.to_string());
        assert_eq!(entry.version, expected + 1, "a number was counted twice");
    }
}

#[test]
fn of_what_is_asked_while_all_members_stand_still_one_outcome_is_unknown_and_the_rest_certain() {
    let etcd = Etcd::start(3);
    let directory = open(&etcd.address());
    let mut watch = directory.watch("/", Revision(1)).expect("a watch");
    let _ = put_surely(&directory, "/before", "x");
    etcd.pause();
    let given_away = directory.transact(&put("/a", "given away"));
    assert!(matches!(given_away, Err(DirectoryError::OutcomeUnknown { .. })), "{given_away:?}");
    for n in 0..3 {
        let refused = directory.transact(&put(&format!("/never{n}"), "x"));
        assert!(matches!(refused, Err(DirectoryError::Unavailable { .. })), "{refused:?}");
    }
    let read = directory.range(&KeyRange::prefix("/"), None);
    assert!(matches!(read, Err(DirectoryError::Unavailable { .. })), "{read:?}");
    let lease = directory.grant_lease(Duration::from_secs(5));
    assert!(matches!(lease, Err(DirectoryError::Unavailable { .. })), "{lease:?}");
    etcd.resume();
    let after = put_surely(&directory, "/c", "x");
    // What was unavailable never happens; what was given away may have happened, but once.
    let all = directory.range(&KeyRange::prefix("/"), Some(after)).expect("available").entries;
    assert!(all.iter().all(|entry| !entry.key.as_str().starts_with("/never")), "{all:?}");
    let late = get(&directory, "/a");
    assert!(late.is_none_or(|entry| entry.version == 1));
    // The watch goes on where it was.
    assert_eq!(next(&mut *watch).changes[0].key, Key::from("/before"));
    let mut batch = next(&mut *watch);
    if batch.changes[0].key == Key::from("/a") {
        batch = next(&mut *watch);
    }
    assert_eq!((batch.revision, &batch.changes[0].key), (after, &Key::from("/c")));
}

#[test]
fn a_reply_lost_after_the_commit_is_an_unknown_outcome_of_a_change_made_once() {
    const TIMES: u64 = 5;
    let etcd = Etcd::start(1);
    let line = Line::to(etcd.port(0));
    let (directory, beside) = (open_through(&line), open(&etcd.address()));
    for time in 1..=TIMES {
        let _ = put_surely(&directory, "/other", "x");
        line.hold_answers(true);
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| directory.transact(&put("/n", "x")));
            let began = Instant::now();
            while get(&beside, "/n").map_or(0, |entry| entry.version) < time {
                assert!(began.elapsed() < WITHIN, "the change does not arrive");
            }
            // It is committed, and its answer waits in the line.
            line.cut();
            let outcome = asked.join().expect("no panic");
            assert!(matches!(outcome, Err(DirectoryError::OutcomeUnknown { .. })), "{outcome:?}");
        });
        line.mend();
        // Whatever the client does to get on, it does not make the change again.
        let _ = put_surely(&directory, "/other", "y");
        assert_eq!(get(&directory, "/n").map(|entry| entry.version), Some(time));
    }
    assert_eq!(get(&beside, "/n").map(|entry| entry.version), Some(TIMES));
}

#[test]
fn a_request_lost_before_it_arrived_is_an_unknown_outcome_and_one_without_a_connection_is_certain() {
    let etcd = Etcd::start(1);
    let line = Line::to(etcd.port(0));
    let (directory, beside) = (open_through(&line), open(&etcd.address()));
    let _ = put_surely(&directory, "/other", "x");
    line.hold_questions(true);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| directory.transact(&put("/n", "x")));
        std::thread::sleep(Duration::from_millis(300));
        line.cut();
        let outcome = asked.join().expect("no panic");
        assert!(matches!(outcome, Err(DirectoryError::OutcomeUnknown { .. })), "{outcome:?}");
    });
    let refused = directory.transact(&put("/n", "x"));
    assert!(matches!(refused, Err(DirectoryError::Unavailable { .. })), "{refused:?}");
    line.mend();
    let _ = put_surely(&directory, "/other", "y");
    assert_eq!(get(&beside, "/n"), None);
}

#[test]
fn a_watch_that_a_compaction_overtook_says_so_and_one_that_is_up_to_date_goes_on() {
    let etcd = Etcd::start(1);
    let line = Line::to(etcd.port(0));
    let (cut_off, directory) = (open_through(&line), open(&etcd.address()));
    let first = put_surely(&directory, "/a", "1");
    let mut behind = cut_off.watch("/", first).expect("a watch");
    let mut ahead = directory.watch("/", first).expect("a watch");
    assert_eq!(next(&mut *behind).revision, first);
    line.cut();
    let mut last = first;
    for n in 2..6 {
        last = put_surely(&directory, "/a", &n.to_string());
    }
    for _ in 1..6 {
        let _ = next(&mut *ahead);
    }
    etcd.compact(last.0);
    line.mend();
    let told = behind.next(WITHIN);
    assert_eq!(told, Err(WatchError::Compacted { compacted: last }));
    assert_eq!(behind.next(Duration::ZERO), told, "a watch that is over stays over");
    let listed = cut_off.range(&KeyRange::prefix("/"), None).expect("available");
    let mut again = cut_off.watch("/", listed.revision.next()).expect("a watch");
    let after = put_surely(&directory, "/a", "6");
    assert_eq!(next(&mut *again).revision, after);
    assert_eq!(next(&mut *ahead).revision, after);
}

/// etcd forgets the deletions of the revision that it compacts to, and takes a watch from there all the same.
#[test]
fn a_watch_from_the_revision_that_was_compacted_to_misses_no_deletion() {
    let etcd = Etcd::start(1);
    let directory = open(&etcd.address());
    let _ = put_surely(&directory, "/a", "1");
    let delete = Txn::default().then(Operation::delete(&"/a".into()));
    let deleted = directory.transact(&delete).expect("available").revision;
    etcd.compact(deleted.0);
    let _ = put_surely(&directory, "/b", "1");
    let mut watch = directory.watch("/", deleted).expect("a watch");
    assert_eq!(watch.next(WITHIN), Err(WatchError::Compacted { compacted: deleted }));
}

#[test]
fn a_list_of_many_pages_is_of_one_revision_and_a_large_revision_is_one_batch() {
    const ENTRIES: usize = 9_000;
    const PER_TXN: usize = 100;
    let etcd = Etcd::start(1);
    let directory = open(&etcd.address());
    // Long, so that the names alone of all of them are more than a message of etcd's holds.
    let key = |n: usize| format!("/many/{n:06}{}", "k".repeat(300));
    let value = vec![b'v'; 1 << 10];
    for first in (0..ENTRIES).step_by(PER_TXN) {
        let puts = (first..first + PER_TXN).map(|n| Operation::put(key(n).into(), value.clone()));
        let made = directory.transact(&Txn { success: puts.collect(), ..Txn::default() });
        assert!(made.expect("available").succeeded);
    }
    let full = directory.range(&KeyRange::prefix("/many/"), None).expect("available");
    assert_eq!(full.entries.len(), ENTRIES);
    assert!(full.entries.windows(2).all(|pair| pair[0].key < pair[1].key));
    // While others change it, a list is of one revision: each change is of two keys that are far apart.
    let change = |n: u64| {
        let pair = [key(0), key(ENTRIES - 1)].map(|key| Operation::put(key.into(), n.to_string()));
        directory.transact(&Txn { success: pair.into(), ..Txn::default() }).expect("available")
    };
    let _ = change(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        let changer =
            scope.spawn(|| (1..).take_while(|_| !stop.load(Ordering::Relaxed)).map(&change).count());
        for _ in 0..5 {
            let listed = directory.range(&KeyRange::prefix("/many/"), None).expect("available");
            let (first, last) = (&listed.entries[0], &listed.entries[ENTRIES - 1]);
            assert_eq!(first.mod_revision, last.mod_revision, "the list is torn");
            assert!(first.mod_revision <= listed.revision);
        }
        drop(stop_at_end);
        assert!(changer.join().expect("no panic") > 5, "nothing changed meanwhile");
    });
    // A revision that is larger than a message of etcd's.
    let now = directory.range(&KeyRange::key(&"/none".into()), None).expect("available").revision;
    let mut watch = directory.watch("/many/", now.next()).expect("a watch");
    let gone = Txn::default().then(Operation::Delete(KeyRange::prefix("/many/")));
    let revision = directory.transact(&gone).expect("available").revision;
    let batch = next(&mut *watch);
    assert_eq!((batch.revision, batch.changes.len()), (revision, ENTRIES));
    let again = directory.range(&KeyRange::prefix("/many/"), Some(now)).expect("still kept");
    assert_eq!(again.entries.len(), ENTRIES);
}

#[test]
fn an_etcd_without_room_says_what_to_do_and_takes_changes_again_when_it_was_done() {
    let etcd = Etcd::start_with(1, &["--quota-backend-bytes", "4194304"]);
    let directory = open(&etcd.address());
    let big = vec![b'b'; 200 << 10];
    let began = Instant::now();
    let refused = loop {
        assert!(began.elapsed() < WITHIN, "the quota is not reached");
        let txn = Txn::default().then(Operation::put("/big".into(), big.clone()));
        match directory.transact(&txn) {
            Ok(outcome) => assert!(outcome.succeeded),
            Err(e) => break e,
        }
    };
    let DirectoryError::Unavailable { reason } = refused else { panic!("{refused:?}") };
    assert!(reason.contains("database space exceeded") && reason.contains("defragment"), "{reason}");
    // What is there can be read.
    let entry = get(&directory, "/big").expect("the key was put");
    etcd.compact(entry.mod_revision.0);
    let _ = etcd.ctl(&["defrag"]).ok();
    let _ = etcd.ctl(&["alarm", "disarm"]).ok();
    let _ = put_surely(&directory, "/small", "x");
    assert_eq!(get(&directory, "/big").map(|entry| entry.value.len()), Some(200 << 10));
}

#[test]
fn with_tls_both_sides_show_certificates_and_others_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [group, stranger] = ["group", "stranger"].map(|name| Authority::new(folder.path(), name));
    let text = |path: &Path| path.to_str().expect("a readable path").to_owned();
    let (cert, key) = group.sign("etcd");
    let flags =
        ["--client-cert-auth", "--trusted-ca-file", &text(&group.certificate), "--cert-file", &text(&cert)];
    let etcd = Etcd::start_tls(1, &[&flags[..], &["--key-file", &text(&key)]].concat(), &{
        let (cert, key) = group.sign("etcdctl");
        [
            "--cacert".to_owned(),
            text(&group.certificate),
            "--cert".to_owned(),
            text(&cert),
            "--key".to_owned(),
            text(&key),
        ]
    });
    let address = EtcdAddress::parse(&etcd.address()).expect("an address");
    let open = |ca: &Authority, client: Option<&Authority>| {
        let identity = client.map(|authority| authority.sign("client"));
        let tls = EtcdTls { ca: Some(ca.certificate.clone()), identity };
        EtcdDirectory::open(&address, &tls, Duration::ZERO)
    };
    let directory = open(&group, Some(&group)).expect("etcd answers");
    let _ = put_surely(&directory, "/a", "x");
    let mut watch = directory.watch("/", Revision(1)).expect("a watch");
    assert_eq!(next(&mut *watch).changes[0].key, Key::from("/a"));
    // An etcd that another authority signed, a client of another one, and one without a certificate.
    for (ca, client) in [(&stranger, Some(&group)), (&group, Some(&stranger)), (&group, None)] {
        let line = match open(ca, client) {
            Ok(_) => panic!("admitted"),
            Err(e) => e.to_string(),
        };
        assert!(line.contains("etcds://127.0.0.1") && !line.contains('\n'), "{line}");
    }
}

/// An authority for certificates, and those that it signed, in files.
struct Authority {
    folder: PathBuf,
    certificate: PathBuf,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).expect("the folder can be made");
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new([]).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = folder.join("ca.pem");
        std::fs::write(&certificate, params.self_signed(&key).expect("a certificate").pem())
            .expect("written");
        Self { folder, certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = [("pem", signed.pem()), ("key", key.serialize_pem())];
        let [cert, key] = files.map(|(kind, text)| {
            let path = self.folder.join(format!("{name}.{kind}"));
            std::fs::write(&path, text).expect("written");
            path
        });
        (cert, key)
    }
}

#[test]
fn an_etcd_that_was_set_back_is_refused() {
    let mut etcd = Etcd::start(1);
    let line = Line::to(etcd.port(0));
    let directory = open_through(&line);
    for n in 0..10 {
        let _ = put_surely(&directory, "/a", &n.to_string());
    }
    // Another store at the same address, with less history: what a restore from a backup looks like.
    line.cut();
    etcd.kill(0);
    let older = Etcd::start(1);
    line.lead_to(older.port(0));
    line.mend();
    let began = Instant::now();
    let why = loop {
        match directory.transact(&put("/b", "x")) {
            Err(DirectoryError::Unavailable { reason }) if reason.contains("restored") => break reason,
            Err(DirectoryError::Unavailable { .. }) => {}
            other => panic!("given to a store that was set back: {other:?}"),
        }
        assert!(began.elapsed() < WITHIN, "never refused for it");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(why.contains("fell from"), "{why}");
    assert_eq!(get(&open(&older.address()), "/b"), None);
}
