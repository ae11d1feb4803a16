//! The engine in one file of this process: redb below, the ledger above.
//!
//! The whole directory is in memory; the file holds the same entries and is only read when it is opened. A transaction
//! is applied to the ledger, saved, and only then answered and seen. Transactions that wait while another is being
//! saved are saved together by the one whose turn comes first, in a single commit: a commit costs a flush of the disk,
//! whatever is in it.
//!
//! If saving fails, nobody knows what is in the file. The engine then stops for good, and says so to everybody, until
//! the file is opened again.
//!
//! The history is kept in memory only, bounded by a number of revisions. After a restart it begins anew: watches from
//! before get [`crate::WatchError::Compacted`] and list again. Leases are saved; they begin anew too, since nobody could
//! renew them meanwhile.

mod file;
#[cfg(test)]
mod tests;

use crate::directory::{
    Batch, Directory, DirectoryError, KeyRange, LeaseId, OutcomeUnknownSnafu, Revision, Snapshot,
    UnavailableSnafu, Watch, WatchError,
};
use crate::ledger::{HISTORY_REVISIONS_DEFAULT, Ledger};
use crate::txn::{Txn, TxnOutcome};
use evenkeel_types::Time;
use file::File;
pub use file::OpenError;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Transactions that are saved by one commit at most.
pub const TXNS_PER_COMMIT_MAX: usize = 64;
const _: () = assert!(TXNS_PER_COMMIT_MAX < HISTORY_REVISIONS_DEFAULT);

/// A directory in one file. Servers of one process share it; the file is locked against other processes. Its clock
/// stands still unless [`EmbeddedDirectory::advance`] is called.
#[derive(Debug)]
pub struct EmbeddedDirectory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Transactions that no commit has taken up, in order. Locked for moments only, and never before `state`.
    waiting: Mutex<Waiting>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    next_ticket: u64,
    txns: VecDeque<(u64, Txn)>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    file: Option<File>,
    /// Why there is no file.
    stopped: String,
    /// What became of transactions that another thread saved.
    answers: BTreeMap<u64, Result<TxnOutcome, DirectoryError>>,
    /// Counts commits, for tests and for measuring.
    commits: u64,
}

impl EmbeddedDirectory {
    /// Opens the file, or makes one where there is none.
    ///
    /// # Errors
    /// If the file is in use, damaged, of a newer format, or no directory.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with_history(path, HISTORY_REVISIONS_DEFAULT)
    }

    /// The same, keeping the changes of the latest `revisions` revisions, more than [`TXNS_PER_COMMIT_MAX`].
    ///
    /// # Errors
    /// As [`EmbeddedDirectory::open`].
    pub fn open_with_history(path: &Path, revisions: usize) -> Result<Self, OpenError> {
        assert!(revisions > TXNS_PER_COMMIT_MAX, "what one commit saves must be in the history");
        let (file, ledger) = File::open(path, revisions)?;
        let state =
            State { ledger, file: Some(file), stopped: String::new(), answers: BTreeMap::new(), commits: 0 };
        let shared = Shared { waiting: Mutex::default(), state: Mutex::new(state), changed: Condvar::new() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Tells the time, which must not go back; leases that expired by now end. The driver calls it a few times in each
    /// second.
    ///
    /// # Errors
    /// If the end of a lease cannot be saved; the engine has stopped then.
    pub fn advance(&self, now: Time) -> Result<(), DirectoryError> {
        let mut state = self.shared.lock();
        state.running()?;
        loop {
            // No more at once than the history keeps until they are saved.
            let before = state.ledger.revision();
            let expired = state.ledger.advance(now, TXNS_PER_COMMIT_MAX);
            if expired > 0 {
                self.shared.save(&mut state, before)?;
            }
            if expired < TXNS_PER_COMMIT_MAX {
                return Ok(());
            }
        }
    }

    /// Commits made since the file was opened.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.lock().commits
    }
}

/// Closes the file; watches end.
impl Drop for EmbeddedDirectory {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        "the directory was closed".clone_into(&mut state.stopped);
        state.file = None;
        self.shared.changed.notify_all();
    }
}

impl State {
    fn running(&self) -> Result<(), DirectoryError> {
        if self.file.is_some() { Ok(()) } else { UnavailableSnafu { reason: &self.stopped }.fail() }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the state")
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no thread panics while it holds the queue")
    }

    /// Saves what happened after revision `before`, and all leases. On failure the engine stops.
    fn save(&self, state: &mut State, before: Revision) -> Result<(), DirectoryError> {
        state.running()?;
        let file = state.file.as_mut().expect("a running engine has its file");
        match file.save(&state.ledger, before) {
            Ok(()) => {
                state.commits += 1;
                self.changed.notify_all();
                Ok(())
            }
            Err(error) => {
                state.stopped = format!("saving failed, the process must be restarted: {error}");
                state.file = None;
                self.changed.notify_all();
                OutcomeUnknownSnafu { reason: &state.stopped }.fail()
            }
        }
    }

    /// Runs and saves the transactions that wait, and puts down what became of each.
    fn run_waiting(&self, state: &mut State) {
        let mut waiting = self.waiting();
        let count = waiting.txns.len().min(TXNS_PER_COMMIT_MAX);
        let txns: Vec<(u64, Txn)> = waiting.txns.drain(..count).collect();
        drop(waiting);
        let before = state.ledger.revision();
        let mut answers = Vec::with_capacity(txns.len());
        for (ticket, txn) in &txns {
            let answer = state.running().and_then(|()| state.ledger.transact(txn));
            answers.push((*ticket, answer));
        }
        let saved = if state.ledger.revision() == before { Ok(()) } else { self.save(state, before) };
        for (ticket, answer) in answers {
            // What only read may have read what was not saved, so its answer fails as well.
            let answer = answer.and_then(|outcome| saved.clone().map(|()| outcome));
            state.answers.insert(ticket, answer);
        }
    }
}

impl Directory for EmbeddedDirectory {
    fn transact(&self, txn: &Txn) -> Result<TxnOutcome, DirectoryError> {
        let ticket = {
            let mut waiting = self.shared.waiting();
            waiting.next_ticket += 1;
            let ticket = waiting.next_ticket;
            waiting.txns.push_back((ticket, txn.clone()));
            ticket
        };
        let mut state = self.shared.lock();
        loop {
            if let Some(answer) = state.answers.remove(&ticket) {
                return answer;
            }
            self.shared.run_waiting(&mut state);
        }
    }

    fn range(&self, range: &KeyRange, at: Option<Revision>) -> Result<Snapshot, DirectoryError> {
        let state = self.shared.lock();
        state.running()?;
        state.ledger.range(range, at)
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, DirectoryError> {
        self.shared.lock().running()?;
        let range = KeyRange::prefix(prefix);
        Ok(Box::new(EmbeddedWatch { shared: Arc::clone(&self.shared), range, next: from }))
    }

    fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, DirectoryError> {
        let mut state = self.shared.lock();
        state.running()?;
        let before = state.ledger.revision();
        let lease = state.ledger.grant_lease(ttl)?;
        self.shared.save(&mut state, before).map(|()| lease)
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        let mut state = self.shared.lock();
        state.running()?;
        state.ledger.keep_alive(lease)
    }

    fn revoke_lease(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        let mut state = self.shared.lock();
        state.running()?;
        let before = state.ledger.revision();
        state.ledger.revoke_lease(lease)?;
        self.shared.save(&mut state, before)
    }
}

struct EmbeddedWatch {
    shared: Arc<Shared>,
    range: KeyRange,
    next: Revision,
}

impl EmbeddedWatch {
    fn poll(&mut self, state: &State) -> Result<Option<Batch>, WatchError> {
        if state.file.is_none() {
            return Err(WatchError::Disconnected { reason: state.stopped.clone() });
        }
        state.ledger.next_batch(&self.range, &mut self.next)
    }
}

impl Watch for EmbeddedWatch {
    fn next(&mut self, timeout: Duration) -> Result<Option<Batch>, WatchError> {
        let shared = Arc::clone(&self.shared);
        let state = shared.lock();
        if timeout.is_zero() {
            return self.poll(&state);
        }
        let mut found = Ok(None);
        let (_state, _) = shared
            .changed
            .wait_timeout_while(state, timeout, |state| {
                found = self.poll(state);
                matches!(found, Ok(None))
            })
            .expect("no thread panics while it holds the state");
        found
    }
}
