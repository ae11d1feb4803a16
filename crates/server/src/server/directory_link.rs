//! A server's line to the directory. The directory's calls block, so two threads make them: one carries out
//! transactions in order, one lists and then watches. What they learn comes back to the server's thread as messages.

use evenkeel_meta::{
    Batch, Directory, DirectoryError, KeyRange, Revision, Snapshot, Txn, TxnOutcome, WatchError,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// Transactions that may wait for the directory; the engine and the API of a server never have more under way.
const TRANSACTIONS_MAX: usize = 1024;
/// News that may wait for the server's thread; a slow thread slows the watch down, nothing is lost.
const NEWS_MAX: usize = 1024;
/// How long the watch waits at a time, and so how soon it notices the end.
const WATCH_POLL: Duration = Duration::from_millis(200);
/// Pause before the directory is asked again after it was not available.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// What the directory says.
pub(crate) enum News {
    /// Everything, as of one revision: at the start, and after the watch fell behind.
    Listed(Snapshot),
    /// The next revision.
    Changed(Batch),
    /// How a transaction went.
    Done(u64, Result<TxnOutcome, DirectoryError>),
}

/// The line.
pub(crate) struct DirectoryLink {
    transactions: Option<SyncSender<(u64, Txn)>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl DirectoryLink {
    /// Opens the line; all keys with `prefix` are listed and watched.
    pub(crate) fn open(directory: &Arc<dyn Directory>, prefix: String) -> (Self, mpsc::Receiver<News>) {
        let (news, inbox) = mpsc::channel(NEWS_MAX);
        let (transactions, queue) = sync_channel(TRANSACTIONS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let transactor = {
            let (directory, news) = (Arc::clone(directory), news.clone());
            std::thread::spawn(move || carry_out(&*directory, &queue, &news))
        };
        let watcher = {
            let (directory, stop) = (Arc::clone(directory), Arc::clone(&stop));
            std::thread::spawn(move || follow(&*directory, &prefix, &news, &stop))
        };
        (Self { transactions: Some(transactions), stop, threads: vec![transactor, watcher] }, inbox)
    }

    /// Gives a transaction away; the answer comes as [`News::Done`]. False if too many wait: then it certainly does
    /// not happen.
    #[must_use]
    pub(crate) fn transact(&self, ticket: u64, txn: Txn) -> bool {
        let Some(transactions) = &self.transactions else { return false };
        match transactions.try_send((ticket, txn)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Drop for DirectoryLink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.transactions = None;
        // The threads end by themselves within a poll; nobody has to wait for them.
        self.threads.clear();
    }
}

fn carry_out(directory: &dyn Directory, queue: &Receiver<(u64, Txn)>, news: &mpsc::Sender<News>) {
    while let Ok((ticket, txn)) = queue.recv() {
        let outcome = directory.transact(&txn);
        if news.blocking_send(News::Done(ticket, outcome)).is_err() {
            return;
        }
    }
}

fn follow(directory: &dyn Directory, prefix: &str, news: &mpsc::Sender<News>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let snapshot = match directory.range(&KeyRange::prefix(prefix), None) {
            Ok(snapshot) => snapshot,
            Err(e) => {
                tracing::warn!("cannot list the directory, trying again: {e}");
                std::thread::sleep(RETRY_AFTER);
                continue;
            }
        };
        let from = snapshot.revision.next();
        if news.blocking_send(News::Listed(snapshot)).is_err() {
            return;
        }
        match watch_from(directory, prefix, from, news, stop) {
            Ok(()) => return,
            Err(e) => tracing::warn!("{e}; listing the directory again"),
        }
        std::thread::sleep(RETRY_AFTER);
    }
}

fn watch_from(
    directory: &dyn Directory,
    prefix: &str,
    from: Revision,
    news: &mpsc::Sender<News>,
    stop: &AtomicBool,
) -> Result<(), WatchError> {
    let disconnected = |e: DirectoryError| WatchError::Disconnected { reason: e.to_string() };
    let mut watch = directory.watch(prefix, from).map_err(disconnected)?;
    while !stop.load(Ordering::Relaxed) {
        if let Some(batch) = watch.next(WATCH_POLL)?
            && news.blocking_send(News::Changed(batch)).is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}
