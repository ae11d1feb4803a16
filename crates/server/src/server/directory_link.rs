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
    /// A thread of the line ended, which it does not do while the server runs: there will be no more news of its kind.
    Ended(&'static str),
}

/// Tells the end of a thread, be it by a panic: without this nobody would notice.
struct End(&'static str, mpsc::Sender<News>);

impl Drop for End {
    fn drop(&mut self) {
        // A server that has stopped takes no news.
        let _ = self.1.blocking_send(News::Ended(self.0));
    }
}

/// The line.
pub(crate) struct DirectoryLink {
    transactions: Option<SyncSender<(u64, Txn)>>,
    stop: Arc<AtomicBool>,
    list_again: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl DirectoryLink {
    /// Opens the line; all keys with `prefix` are listed and watched.
    pub(crate) fn open(directory: &Arc<dyn Directory>, prefix: String) -> (Self, mpsc::Receiver<News>) {
        let (news, inbox) = mpsc::channel(NEWS_MAX);
        let (transactions, queue) = sync_channel(TRANSACTIONS_MAX);
        let (stop, list_again) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let transactor = {
            let (directory, end) = (Arc::clone(directory), End("line for transactions", news.clone()));
            std::thread::spawn(move || carry_out(&*directory, &queue, &end.1))
        };
        let watcher = {
            let follower = Follower {
                directory: Arc::clone(directory),
                prefix,
                stop: Arc::clone(&stop),
                list_again: Arc::clone(&list_again),
            };
            let end = End("watch of the directory", news);
            std::thread::spawn(move || follower.follow(&end.1))
        };
        let threads = vec![transactor, watcher];
        (Self { transactions: Some(transactions), stop, list_again, threads }, inbox)
    }

    /// Has everything listed anew: what the watch delivered does not fit.
    pub(crate) fn list_again(&self) {
        self.list_again.store(true, Ordering::Relaxed);
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

/// The thread that lists and watches.
struct Follower {
    directory: Arc<dyn Directory>,
    prefix: String,
    stop: Arc<AtomicBool>,
    list_again: Arc<AtomicBool>,
}

impl Follower {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn follow(&self, news: &mpsc::Sender<News>) {
        let mut is_away = false;
        while !self.is_over() {
            // What is listed from here on is newer than anything that was found not to fit.
            self.list_again.store(false, Ordering::Relaxed);
            let snapshot = match self.directory.range(&KeyRange::prefix(&self.prefix), None) {
                Ok(snapshot) => snapshot,
                Err(e) => {
                    // Once, not at every attempt.
                    if !is_away {
                        tracing::warn!("cannot list the directory, trying again until it answers: {e}");
                    }
                    is_away = true;
                    std::thread::sleep(RETRY_AFTER);
                    continue;
                }
            };
            if is_away {
                tracing::info!("the directory was listed again");
            }
            is_away = false;
            let from = snapshot.revision.next();
            if news.blocking_send(News::Listed(snapshot)).is_err() {
                return;
            }
            match self.watch_from(from, news) {
                Ok(()) if self.list_again.load(Ordering::Relaxed) => {}
                Ok(()) => return,
                Err(e) => tracing::warn!("{e}; listing the directory again"),
            }
            std::thread::sleep(RETRY_AFTER);
        }
    }

    /// Watches until it is to end, or to list again.
    fn watch_from(&self, from: Revision, news: &mpsc::Sender<News>) -> Result<(), WatchError> {
        let disconnected = |e: DirectoryError| WatchError::Disconnected { reason: e.to_string() };
        let mut watch = self.directory.watch(&self.prefix, from).map_err(disconnected)?;
        while !self.is_over() && !self.list_again.load(Ordering::Relaxed) {
            if let Some(batch) = watch.next(WATCH_POLL)?
                && news.blocking_send(News::Changed(batch)).is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }
}
