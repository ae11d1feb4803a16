//! A server whose directory does what a directory must not do.

use super::*;
use crate::ask::ASKS_MAX;
use crate::membership;
use evenkeel_meta::records::{FORMAT_VERSION, FormatRecord, Role, ServerRecord};
use evenkeel_meta::{
    Batch, DirectoryError, KeyRange, LeaseId, MemoryDirectory, Operation, Revision, Snapshot, Txn,
    TxnOutcome, Watch, WatchError,
};
use evenkeel_types::ServerId;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

/// Longest time for something to show.
const SHOWS_WITHIN: Duration = Duration::from_secs(60);

/// What the watch does with the next batch.
#[derive(Clone, Copy)]
enum Mischief {
    /// Loses it, and delivers an old revision in its place.
    Reorder,
    /// Panics.
    Panic,
}

/// A directory whose watches do mischief once when told to, and which does not answer while it is away.
#[derive(Clone, Default)]
struct Wayward {
    inner: MemoryDirectory,
    next: Arc<Mutex<Option<Mischief>>>,
    is_away: Arc<AtomicBool>,
}

struct WaywardWatch {
    inner: Box<dyn Watch>,
    next: Arc<Mutex<Option<Mischief>>>,
}

impl Watch for WaywardWatch {
    fn next(&mut self, timeout: Duration) -> Result<Option<Batch>, WatchError> {
        let Some(batch) = self.inner.next(timeout)? else { return Ok(None) };
        let mischief = self.next.lock().unwrap().take();
        match mischief {
            None => Ok(Some(batch)),
            Some(Mischief::Reorder) => Ok(Some(Batch { revision: Revision(1), ..batch })),
            Some(Mischief::Panic) => panic!("planted panic of the watch"),
        }
    }
}

impl Directory for Wayward {
    fn transact(&self, txn: &Txn) -> Result<TxnOutcome, DirectoryError> {
        self.inner.transact(txn)
    }

    fn range(&self, range: &KeyRange, at: Option<Revision>) -> Result<Snapshot, DirectoryError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(DirectoryError::Unavailable { reason: "away".to_owned() });
        }
        self.inner.range(range, at)
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, DirectoryError> {
        let inner = self.inner.watch(prefix, from)?;
        Ok(Box::new(WaywardWatch { inner, next: Arc::clone(&self.next) }))
    }

    fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, DirectoryError> {
        self.inner.grant_lease(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        self.inner.keep_alive(lease)
    }

    fn revoke_lease(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        self.inner.revoke_lease(lease)
    }
}

/// A server on a thread of its own.
struct Lone {
    directory: Wayward,
    keys: Keyspace,
    asks: mpsc::Sender<Ask>,
    stopped: Arc<OnceLock<String>>,
    thread: JoinHandle<Result<(), ServeError>>,
    /// The start that the directory knew when the store was open.
    recorded_when_open: u64,
    _folder: TempDir,
}

impl Lone {
    /// Starts it and waits until it serves.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = ServeConfig::equal_servers(folder.path(), 1, any, any, any);
        config.servers[0].size = Some("256MiB".to_owned());
        let directory = Wayward::default();
        let keys = Keyspace::new("lab").unwrap();
        let group_id = membership::begin_group(&directory, &keys, "lab").unwrap();
        let listen = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let stopped = Arc::new(OnceLock::new());
        let launched = launch(Launch {
            identity: None,
            server: config.servers[0].clone(),
            names: TargetNames::new(&config.iqn_prefix, "lab"),
            config,
            directory: Arc::new(directory.clone()),
            keys: keys.clone(),
            mark: 0,
            group_id,
            portal: listen(),
            peer: listen(),
            asked,
            stopped: Arc::clone(&stopped),
        });
        let launched = launched.unwrap();
        let view = membership::read(&directory, &keys).unwrap();
        let recorded_when_open = view.member(ServerId(1)).map_or(0, |kept| kept.record.incarnation.0);
        let Begun { thread, .. } = launched.begin().unwrap();
        let lone = Self { directory, keys, asks, stopped, thread, recorded_when_open, _folder: folder };
        lone.until("it serves", |lone| {
            let view = membership::read(&lone.directory, &lone.keys).unwrap();
            let is_elected = view.leader(Role::Planner).is_some();
            is_elected && lone.ask(Ask::Status).is_some_and(|status| status.waiting_for.is_none())
        });
        lone
    }

    fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.asks.blocking_send(question(answer)).ok()?;
        answered.blocking_recv().ok()
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < SHOWS_WITHIN, "not within {SHOWS_WITHIN:?}: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn be_wayward(&self, mischief: Mischief) {
        *self.directory.next.lock().unwrap() = Some(mischief);
    }

    /// Puts a key of the group.
    fn put(&self, key: evenkeel_meta::Key, value: Vec<u8>) {
        let put = Operation::Put { key, value: value.into(), lease: None };
        let txn = Txn { success: vec![put], ..Txn::default() };
        assert!(self.directory.transact(&txn).unwrap().succeeded);
    }

    fn format(&self, version: u32) -> Vec<u8> {
        let format = FormatRecord { version, group: "lab".to_owned(), group_id: 1, generation: 0 };
        serde_json::to_vec(&format).unwrap()
    }

    /// The line that it ended with.
    fn end(self) -> String {
        self.until("it stops", |lone| lone.thread.is_finished());
        let line = self.thread.join().unwrap().expect_err("it stopped by itself").to_string();
        assert_eq!(self.stopped.get(), Some(&line), "whoever asks is told the same");
        assert!(self.asks.is_closed() && !line.contains('\n'), "{line}");
        line
    }
}

/// From its start on all wait for a server that comes back, so nothing that takes time may be left then.
#[test]
fn a_start_is_recorded_only_behind_the_opening_of_the_store() {
    assert_eq!(Lone::start().recorded_when_open, 0);
}

#[test]
fn news_out_of_order_have_the_directory_listed_again() {
    let lone = Lone::start();
    lone.be_wayward(Mischief::Reorder);
    // The only news of the member's new address is lost.
    let id = ServerId(1);
    let record = membership::read(&lone.directory, &lone.keys).unwrap().server(id).unwrap().record.clone();
    let moved = ServerRecord { name: "renamed".to_owned(), ..record };
    lone.put(lone.keys.server(id), serde_json::to_vec(&moved).unwrap());
    lone.until("its view has what the watch lost", |lone| {
        let table = lone.ask(Ask::Load).expect("it goes on");
        table.servers.iter().any(|row| row.server == "renamed")
    });
}

#[test]
fn a_newer_format_of_the_directory_stops_the_server_in_one_line() {
    let lone = Lone::start();
    let newer = FORMAT_VERSION + 1;
    lone.put(lone.keys.format(), lone.format(newer));
    let line = lone.end();
    assert!(line.starts_with("server 's1' stops:") && line.contains(&format!("format {newer}")), "{line}");
    assert!(line.contains("upgrade it"), "it says what to do: {line}");
}

#[test]
fn a_watch_that_panics_stops_the_server() {
    let lone = Lone::start();
    lone.be_wayward(Mischief::Panic);
    lone.put(lone.keys.format(), lone.format(FORMAT_VERSION));
    let line = lone.end();
    assert!(line.contains("its watch of the directory ended"), "{line}");
}

/// Its name is free: as a new server it would get another id, and count copies as its own that are given up.
#[test]
fn while_the_directory_does_not_answer_nobody_takes_a_server_that_is_gone_for_good_for_a_new_one() {
    let (directory, keys) = (Wayward::default(), Keyspace::new("lab").unwrap());
    let _ = membership::begin_group(&directory, &keys, "lab").unwrap();
    let actors = fixture::join(&directory, &keys, &["s1", "s2"]);
    let gone = |name: &str, mark| membership::gone_for_good(&directory, &keys, name, mark);
    assert_eq!(gone("s2", 7).unwrap(), None);
    let view = membership::read(&directory, &keys).unwrap();
    let txn = evenkeel_meta::change::forget_server(&view, actors[0], actors[1].server, true).unwrap();
    assert!(directory.transact(&txn).unwrap().succeeded);
    assert!(gone("s2", 7).unwrap().is_some_and(|why| why.contains("removed from the group 'lab'")));
    assert_eq!((gone("s2", 8).unwrap(), gone("s1", 7).unwrap()), (None, None), "others");
    directory.is_away.store(true, Ordering::Relaxed);
    assert!(gone("s2", 7).is_err());
}
