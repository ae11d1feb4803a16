use super::*;
use crate::conformance::{self, Specimen};
use crate::directory::Key;
use crate::txn::{Compare, Operation};
use std::path::PathBuf;
use std::sync::Barrier;
use tempfile::TempDir;

struct InFile {
    directory: EmbeddedDirectory,
    now: Mutex<Time>,
    _dir: TempDir,
}

impl Specimen for InFile {
    fn directory(&self) -> &dyn Directory {
        &self.directory
    }

    fn prefix(&self) -> &'static str {
        "/case/"
    }

    fn elapse(&self, time: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = *now + time;
        self.directory.advance(*now).unwrap();
    }

    fn compact(&self, revision: Revision) {
        while self.directory.shared.lock().ledger.compacted() < revision {
            put(&self.directory, "/elsewhere", "");
        }
    }
}

fn scratch() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("directory.redb");
    (dir, path)
}

fn put(directory: &dyn Directory, key: &str, value: &str) -> Revision {
    let txn = Txn::default().then(Operation::put(Key::from(key), value.to_owned()));
    directory.transact(&txn).unwrap().revision
}

fn all(directory: &dyn Directory) -> Snapshot {
    directory.range(&KeyRange::prefix("/"), None).unwrap()
}

fn refusal(path: &Path) -> String {
    EmbeddedDirectory::open(path).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_embedded_engine_conforms() {
    conformance::run_all(|_| {
        let (dir, path) = scratch();
        let directory = EmbeddedDirectory::open_with_history(&path, 100).unwrap();
        InFile { directory, now: Mutex::new(Time::ZERO), _dir: dir }
    });
}

#[test]
fn reopening_keeps_revisions_entries_and_leases() {
    let (_dir, path) = scratch();
    let directory = EmbeddedDirectory::open(&path).unwrap();
    put(&directory, "/a", "1");
    put(&directory, "/a", "2");
    put(&directory, "/b", "1");
    let lease = directory.grant_lease(Duration::from_secs(5)).unwrap();
    let leased = Operation::Put { key: "/leased".into(), value: "x".into(), lease: Some(lease) };
    directory.transact(&Txn::default().then(leased).then(Operation::delete(&"/b".into()))).unwrap();
    let before = all(&directory);
    drop(directory);

    let directory = EmbeddedDirectory::open(&path).unwrap();
    assert_eq!(all(&directory), before);
    assert_ne!(directory.grant_lease(Duration::from_secs(5)).unwrap(), lease);
    assert_eq!(put(&directory, "/c", "1"), before.revision.next());
    directory.advance(Time::ZERO + Duration::from_secs(5)).unwrap();
    assert!(!all(&directory).entries.iter().any(|entry| entry.lease.is_some()));
    let after = all(&directory);
    drop(directory);
    assert_eq!(all(&EmbeddedDirectory::open(&path).unwrap()), after);
}

#[test]
fn a_watch_from_before_a_restart_is_told_to_list_again() {
    let (_dir, path) = scratch();
    let directory = EmbeddedDirectory::open(&path).unwrap();
    let old = put(&directory, "/a", "1");
    let mut open = directory.watch("/", old.next()).unwrap();
    drop(directory);
    assert!(matches!(open.next(Duration::from_secs(5)), Err(WatchError::Disconnected { .. })));
    let directory = EmbeddedDirectory::open(&path).unwrap();
    let mut late = directory.watch("/", old).unwrap();
    assert_eq!(late.next(Duration::ZERO), Err(WatchError::Compacted { compacted: old }));
    let mut next = directory.watch("/", old.next()).unwrap();
    let new = put(&directory, "/a", "2");
    assert_eq!(next.next(Duration::ZERO).unwrap().unwrap().revision, new);
}

/// What a killed process leaves behind is the file as it is at that moment, without an orderly close.
#[test]
fn a_crash_after_any_answer_keeps_what_was_answered() {
    let (dir, path) = scratch();
    let directory = EmbeddedDirectory::open(&path).unwrap();
    for n in 0..20 {
        put(&directory, &format!("/{}", n % 3), &n.to_string());
        let copy = dir.path().join("crashed.redb");
        std::fs::copy(&path, &copy).unwrap();
        let crashed = EmbeddedDirectory::open(&copy).unwrap();
        assert_eq!(all(&crashed), all(&directory));
        drop(crashed);
        std::fs::remove_file(copy).unwrap();
    }
}

#[test]
fn a_second_opening_is_refused_while_the_first_lasts() {
    let (_dir, path) = scratch();
    let first = EmbeddedDirectory::open(&path).unwrap();
    assert!(refusal(&path).contains("the directory is in use by another process"), "{}", refusal(&path));
    drop(first);
    assert!(EmbeddedDirectory::open(&path).is_ok());
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let (_dir, path) = scratch();
    drop(EmbeddedDirectory::open(&path).unwrap());
    file::write_format_for_tests(&path, 2);
    assert!(refusal(&path).contains("has format 2"), "{}", refusal(&path));
    file::write_format_for_tests(&path, 1);
    assert!(EmbeddedDirectory::open(&path).is_ok());
}

#[test]
fn damaged_files_and_other_files_give_one_clear_error() {
    let (_dir, path) = scratch();
    let directory = EmbeddedDirectory::open(&path).unwrap();
    for n in 0..200 {
        put(&directory, &format!("/{n}"), &"x".repeat(300));
    }
    drop(directory);
    let whole = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        refusal(&path)
    };
    let text = refused(b"this was never a directory");
    assert!(text.contains("damaged or is no directory"), "{text}");
    for len in [1, 100, 4096, whole.len() / 2, whole.len() - 4096] {
        let text = refused(&whole[..len]);
        assert!(text.contains("damaged or is no directory"), "{len}: {text}");
    }
    let mut flipped = whole.clone();
    flipped[..64].fill(0xa5);
    assert!(refused(&flipped).contains("damaged or is no directory"));
    let missing = path.with_file_name("no such place").join("directory.redb");
    assert!(matches!(EmbeddedDirectory::open(&missing), Err(OpenError::Io { .. })));
    std::fs::write(&path, &whole).unwrap();
    assert!(EmbeddedDirectory::open(&path).is_ok());
}

/// Whatever bytes are damaged, opening ends with an error or with the entries as they were written; never otherwise.
#[test]
fn no_flipped_byte_is_believed() {
    let (_dir, path) = scratch();
    let directory = EmbeddedDirectory::open(&path).unwrap();
    for n in 0..50 {
        put(&directory, &format!("/{n}"), &"x".repeat(100));
    }
    let expected = all(&directory);
    drop(directory);
    let whole = std::fs::read(&path).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    for at in used.iter().step_by(used.len() / 150) {
        let mut flipped = whole.clone();
        flipped[*at] ^= 0x10;
        std::fs::write(&path, &flipped).unwrap();
        if let Ok(opened) = EmbeddedDirectory::open(&path) {
            let found = all(&opened);
            assert!(found == expected, "a flipped byte at {at} went unnoticed");
        }
    }
}

#[test]
fn writers_at_the_same_time_share_commits_and_all_are_kept() {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let (_dir, path) = scratch();
    let directory = EmbeddedDirectory::open(&path).unwrap();
    let barrier = Barrier::new(WRITERS);
    let started = directory.commits();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (directory, barrier) = (&directory, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for n in 0..EACH {
                    let key = Key::from(format!("/{writer}/{n}"));
                    let txn =
                        Txn::default().when(Compare::absent(key.clone())).then(Operation::put(key, "x"));
                    assert!(directory.transact(&txn).unwrap().succeeded);
                }
            });
        }
    });
    let commits = directory.commits() - started;
    assert!(commits < (WRITERS * EACH) as u64, "{commits} commits for {} transactions", WRITERS * EACH);
    drop(directory);
    let snapshot = all(&EmbeddedDirectory::open(&path).unwrap());
    assert_eq!(snapshot.entries.len(), WRITERS * EACH);
}
