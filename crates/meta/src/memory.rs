//! The engine in memory: deterministic, for the simulator and for tests.

use crate::directory::{
    Batch, Directory, DirectoryError, KeyRange, LeaseId, Revision, Snapshot, Watch, WatchError,
};
use crate::ledger::{HISTORY_REVISIONS_DEFAULT, LEASES_MAX, Ledger};
use crate::txn::{Txn, TxnOutcome};
use evenkeel_types::Time;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// A directory that lives as long as its value. Its clock is the one that [`MemoryDirectory::advance`] tells it; a
/// watch that is polled with a timeout of zero never waits, so one thread can drive everything.
#[derive(Clone, Debug)]
pub struct MemoryDirectory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    changed: Condvar,
}

impl Default for MemoryDirectory {
    fn default() -> Self {
        Self::with_history(HISTORY_REVISIONS_DEFAULT)
    }
}

impl MemoryDirectory {
    /// An empty directory that keeps the changes of the latest `revisions` revisions.
    #[must_use]
    pub fn with_history(revisions: usize) -> Self {
        let ledger = Mutex::new(Ledger::new(revisions));
        Self { shared: Arc::new(Shared { ledger, changed: Condvar::new() }) }
    }

    /// Another directory that is as this one is now, as one that is restored from a backup of this moment would be: leases
    /// begin anew, and what watches saw of this one's history is not kept. Neither knows of the other.
    #[must_use]
    pub fn restored(&self, now: Time) -> Self {
        let ledger = Mutex::new(self.shared.lock().restored(now));
        Self { shared: Arc::new(Shared { ledger, changed: Condvar::new() }) }
    }

    /// Tells the time: leases that expired by now end.
    pub fn advance(&self, now: Time) {
        self.change(|ledger| ledger.advance(now, LEASES_MAX));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.shared.lock();
        let before = ledger.revision();
        let result = change(&mut ledger);
        if ledger.revision() != before {
            self.shared.changed.notify_all();
        }
        result
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no thread panics while it holds the ledger")
    }
}

impl Directory for MemoryDirectory {
    fn transact(&self, txn: &Txn) -> Result<TxnOutcome, DirectoryError> {
        self.change(|ledger| ledger.transact(txn))
    }

    fn range(&self, range: &KeyRange, at: Option<Revision>) -> Result<Snapshot, DirectoryError> {
        self.shared.lock().range(range, at)
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, DirectoryError> {
        let range = KeyRange::prefix(prefix);
        Ok(Box::new(MemoryWatch { shared: Arc::clone(&self.shared), range, next: from }))
    }

    fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, DirectoryError> {
        self.change(|ledger| ledger.grant_lease(ttl))
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        self.change(|ledger| ledger.keep_alive(lease))
    }

    fn revoke_lease(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        self.change(|ledger| ledger.revoke_lease(lease))
    }
}

struct MemoryWatch {
    shared: Arc<Shared>,
    range: KeyRange,
    next: Revision,
}

impl Watch for MemoryWatch {
    fn next(&mut self, timeout: Duration) -> Result<Option<Batch>, WatchError> {
        let ledger = self.shared.lock();
        if timeout.is_zero() {
            return ledger.next_batch(&self.range, &mut self.next);
        }
        let mut found = Ok(None);
        let (_ledger, _) = self
            .shared
            .changed
            .wait_timeout_while(ledger, timeout, |ledger| {
                found = ledger.next_batch(&self.range, &mut self.next);
                matches!(found, Ok(None))
            })
            .expect("no thread panics while it holds the ledger");
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, Specimen};
    use crate::directory::Key;
    use crate::txn::Operation;

    struct InMemory {
        directory: MemoryDirectory,
        now: Mutex<Time>,
    }

    impl Specimen for InMemory {
        fn directory(&self) -> &dyn Directory {
            &self.directory
        }

        fn prefix(&self) -> &'static str {
            "/case/"
        }

        fn elapse(&self, time: Duration) {
            let mut now = self.now.lock().unwrap();
            *now = *now + time;
            self.directory.advance(*now);
        }

        fn compact(&self, revision: Revision) {
            while self.directory.shared.lock().compacted() < revision {
                let txn = Txn::default().then(Operation::put("/elsewhere".into(), ""));
                self.directory.transact(&txn).unwrap();
            }
        }
    }

    #[test]
    fn a_restored_directory_is_as_it_was_at_the_backup_and_knows_nothing_of_the_other() {
        let directory = MemoryDirectory::with_history(100);
        let lease = directory.grant_lease(Duration::from_secs(5)).unwrap();
        let put = |directory: &MemoryDirectory, key: &str, lease| {
            let key = Key::from(key);
            let txn = Txn::default().then(Operation::Put { key, value: "".into(), lease });
            directory.transact(&txn).unwrap().revision
        };
        put(&directory, "/a", None);
        let saved = put(&directory, "/b", Some(lease));
        directory.advance(Time::ZERO + Duration::from_secs(4));
        let backup = directory.restored(Time::ZERO);
        put(&directory, "/c", None);
        let now = Time::ZERO + Duration::from_secs(60);
        let restored = backup.restored(now);
        let all = |directory: &MemoryDirectory| {
            let found = directory.range(&KeyRange::prefix("/"), None).unwrap();
            (found.revision, found.entries.iter().map(|entry| entry.key.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(all(&restored), (saved, vec!["/a".to_owned(), "/b".to_owned()]));
        let mut watch = restored.watch("/", saved).unwrap();
        assert!(matches!(watch.next(Duration::ZERO), Err(WatchError::Compacted { .. })));
        // The lease of the backup's time lasts once more, and nobody renews it.
        restored.advance(now + Duration::from_secs(4));
        assert_eq!(all(&restored).1.len(), 2);
        restored.advance(now + Duration::from_secs(6));
        assert_eq!(all(&restored), (saved.next(), vec!["/a".to_owned()]));
        assert_eq!(all(&directory).1.len(), 3, "the other one goes on as it was");
    }

    #[test]
    fn the_engine_in_memory_conforms() {
        conformance::run_all(|_| InMemory {
            directory: MemoryDirectory::with_history(100),
            now: Mutex::new(Time::ZERO),
        });
    }
}
