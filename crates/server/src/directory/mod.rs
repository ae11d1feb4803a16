//! The directory on etcd, version 3.4 or newer.
//!
//! One store of etcd is one directory, so the trait's words are etcd's own, and each call is one request: compares and
//! operations go over one to one, and revisions come back as they are. What a network adds is decided here:
//!
//! * **Never twice.** A transaction leaves once. If no answer comes, or one that says nothing for certain, the outcome is
//!   unknown; only what certainly came to nothing (no connection, refused before it was proposed) goes to another member.
//!   What only reads is asked again by itself.
//! * **Given away only to who answers.** A connection is used after a linearizable read over it was answered, and given up
//!   with the first request that is not. So while etcd is away one transaction at most has an unknown outcome; all others
//!   are told that the directory is not available, which is certain.
//! * **Never an older state.** A store whose revision is below one that was seen before is refused: it was restored from a
//!   backup, and whoever goes on with what it knew would take decisions back.
//! * **Whole revisions.** See `watch`.
//!
//! The trait's calls block; the requests are made by a runtime on a thread of its own.

mod address;
mod connection;
mod convert;
mod members;
mod watch;
mod wire;

pub use address::{EtcdAddress, EtcdTls};

use crate::error::{ServeError, error};
use connection::{Failed, PAGE_ENTRIES};
use evenkeel_meta::{
    Directory, DirectoryError, KeyRange, LeaseId, Operation, Revision, Snapshot, Txn, TxnOutcome, Watch,
    WatchError,
};
use members::{Members, REQUEST_WITHIN, RETRY_AFTER};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Lists that a compaction overtakes are begun again, so many times.
const LISTS_MAX: usize = 4;

/// The directory in an etcd.
pub struct EtcdDirectory {
    members: Arc<Members>,
    runtime: Handle,
    /// Ends the runtime's thread when it goes.
    thread: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl EtcdDirectory {
    /// The directory at an address, once one of its members answers.
    ///
    /// # Errors
    /// One line: a file for TLS is wrong, or no member answers within `patience`.
    pub fn open(address: &EtcdAddress, tls: &EtcdTls, patience: Duration) -> Result<Self, ServeError> {
        let members = Arc::new(Members::new(address, tls)?);
        let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = built.map_err(|e| error(format!("cannot start a runtime: {e}")))?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let looked_after = Arc::clone(&members);
        let thread = std::thread::Builder::new().name("directory".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = looked_after.look_after() => {}
                    _ = ended => {}
                }
            });
        });
        let thread = thread.map_err(|e| error(format!("no thread for the directory: {e}")))?;
        let directory = Self { members, runtime: handle, thread: Some((end, thread)) };
        directory.await_member(patience).map_err(|why| error(format!("directory '{address}': {why}")))?;
        Ok(directory)
    }

    fn await_member(&self, patience: Duration) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let members = Arc::clone(&self.members);
            let found = self.run(async move { members.connection().await.map(drop) });
            match found.unwrap_or_else(|| Err("its runtime ended".to_owned())) {
                Ok(()) => return Ok(()),
                Err(why) if began.elapsed() >= patience => return Err(why),
                Err(_) => std::thread::sleep(RETRY_AFTER),
            }
        }
    }

    /// Has the runtime do something and waits for it; `None` if the runtime has ended.
    fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (done, result) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let _ = done.send(work.await);
        });
        result.recv().ok()
    }

    /// The same, for a request.
    fn request<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failed>> + Send + 'static,
    ) -> Result<T, Failed> {
        let ended = || Err(Failed::Unknown { reason: "the runtime of the directory ended".to_owned() });
        self.run(work).unwrap_or_else(ended)
    }

    fn write<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Failed>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        let members = Arc::clone(&self.members);
        self.request(async move { members.write(path, &question).await })
    }

    fn read<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Failed>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        let members = Arc::clone(&self.members);
        self.request(async move { members.read(path, &question).await })
    }

    /// All pages of a range, at one revision.
    fn list(&self, range: &KeyRange, at: Option<Revision>) -> Result<Snapshot, Failed> {
        let (mut key, range_end) = convert::bounds(range);
        let (mut at, mut entries) = (at, Vec::new());
        loop {
            let revision = at.map_or(0, convert::signed_revision);
            let (key_now, range_end) = (key.clone(), range_end.clone());
            let question =
                wire::RangeRequest { key: key_now, range_end, limit: PAGE_ENTRIES as i64, revision };
            let page: wire::RangeResponse = self.read(wire::RANGE, question)?;
            let now = page.header.map_or(0, |header| header.revision);
            self.members.saw(now);
            let revision = *at.get_or_insert(convert::revision(now));
            let last = page.kvs.last().map(|kv| kv.key.clone());
            entries.extend(page.kvs.into_iter().filter_map(convert::entry));
            match last {
                Some(last) if page.more => key = [&last[..], b"\0"].concat().into(),
                _ => return Ok(Snapshot { revision, entries }),
            }
        }
    }

    /// The oldest revision that is kept, as far as a watch from an older one is told.
    fn oldest_kept(&self, wanted: Revision) -> Revision {
        let mut watch = watch::EtcdWatch::open(&self.runtime, &self.members, "/", wanted);
        match watch.next(REQUEST_WITHIN) {
            Err(WatchError::Compacted { compacted }) => compacted,
            _ => wanted.next(),
        }
    }
}

/// What became of a request that changes something, and names a lease or none.
fn outcome_of(failed: Failed, lease: Option<LeaseId>) -> DirectoryError {
    match (failed, lease) {
        (Failed::Unknown { reason }, _) => DirectoryError::OutcomeUnknown { reason },
        (Failed::LeaseNotFound, Some(lease)) => DirectoryError::LeaseNotFound { lease },
        (failed, _) => DirectoryError::Unavailable { reason: failed.reason() },
    }
}

/// The lease that etcd means when it says that there is none: transactions name one at most.
fn named_lease(txn: &Txn) -> Option<LeaseId> {
    txn.success.iter().chain(&txn.failure).find_map(|operation| match operation {
        Operation::Put { lease, .. } => *lease,
        _ => None,
    })
}

impl Drop for EtcdDirectory {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.thread.take() {
            let _ = end.send(());
            let _ = thread.join();
        }
    }
}

impl Directory for EtcdDirectory {
    fn transact(&self, txn: &Txn) -> Result<TxnOutcome, DirectoryError> {
        txn.validate().map_err(|problem| DirectoryError::Invalid { problem })?;
        let answer = self.write::<_, wire::TxnResponse>(wire::TXN, convert::txn_request(txn));
        let answer = answer.map_err(|failed| match failed {
            Failed::LeaseNotFound => outcome_of(failed, named_lease(txn)),
            failed => outcome_of(failed, None),
        })?;
        let outcome = convert::txn_outcome(answer)
            .map_err(|what| DirectoryError::OutcomeUnknown { reason: format!("etcd answered {what}") })?;
        self.members.saw(convert::signed_revision(outcome.revision));
        Ok(outcome)
    }

    fn range(&self, range: &KeyRange, at: Option<Revision>) -> Result<Snapshot, DirectoryError> {
        for attempt in 1.. {
            let failed = match self.list(range, at) {
                Ok(snapshot) => return Ok(snapshot),
                Err(failed) => failed,
            };
            match (failed, at) {
                (Failed::Compacted, Some(wanted)) => {
                    return Err(DirectoryError::Compacted { wanted, oldest: self.oldest_kept(wanted) });
                }
                (Failed::Future, Some(wanted)) => {
                    let latest = convert::revision(self.members.highest());
                    return Err(DirectoryError::Future { wanted, latest });
                }
                // The present was asked for, and what was the present at the first page is kept no longer.
                (Failed::Compacted, None) if attempt < LISTS_MAX => {}
                (failed, _) => return Err(DirectoryError::Unavailable { reason: failed.reason() }),
            }
        }
        unreachable!("the attempts end with an answer")
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, DirectoryError> {
        Ok(Box::new(watch::EtcdWatch::open(&self.runtime, &self.members, prefix, from)))
    }

    fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, DirectoryError> {
        // etcd counts whole seconds; one that lasts a little longer is no matter.
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let question = wire::LeaseGrantRequest { ttl: i64::try_from(seconds).unwrap_or(i64::MAX) };
        let answer = self.write::<_, wire::LeaseGrantResponse>(wire::LEASE_GRANT, question);
        let answer = answer.map_err(|failed| outcome_of(failed, None))?;
        if answer.id > 0 && answer.error.is_empty() {
            return Ok(LeaseId(answer.id.unsigned_abs()));
        }
        Err(DirectoryError::Unavailable { reason: format!("etcd grants no lease: {}", answer.error) })
    }

    fn keep_alive(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        let members = Arc::clone(&self.members);
        let renewed = self.request(async move { renew(&members, convert::lease_number(lease)).await });
        renewed.map_err(|failed| match failed {
            Failed::LeaseNotFound => DirectoryError::LeaseNotFound { lease },
            failed => DirectoryError::Unavailable { reason: failed.reason() },
        })
    }

    fn revoke_lease(&self, lease: LeaseId) -> Result<(), DirectoryError> {
        let question = wire::LeaseRevokeRequest { id: convert::lease_number(lease) };
        let answer = self.write::<_, wire::LeaseRevokeResponse>(wire::LEASE_REVOKE, question);
        answer.map(drop).map_err(|failed| outcome_of(failed, Some(lease)))
    }
}

/// Renews a lease. Renewing twice does no harm, so it is asked again where no answer came.
async fn renew(members: &Members, lease: i64) -> Result<(), Failed> {
    let mut is_second = false;
    loop {
        let connection = members.connection().await;
        let connection = connection.map_err(|reason| Failed::NotDone { reason, broken: false })?;
        let question = tokio_stream::once(wire::LeaseKeepAliveRequest { id: lease });
        let renewed = async {
            let mut answers = connection
                .stream::<_, wire::LeaseKeepAliveResponse>(wire::LEASE_KEEP_ALIVE, question, REQUEST_WITHIN)
                .await?;
            match answers.message().await {
                Ok(Some(answer)) => Ok(answer.ttl > 0),
                Ok(None) => {
                    Err(Failed::Unknown { reason: "etcd ended the stream without an answer".to_owned() })
                }
                Err(status) => Err(connection::judge(&status)),
            }
        };
        let no_answer = |_| Failed::Unknown { reason: format!("no answer in {REQUEST_WITHIN:?}") };
        let failed = match tokio::time::timeout(REQUEST_WITHIN, renewed).await.map_err(no_answer).flatten() {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Failed::LeaseNotFound),
            Err(failed) => failed.of(&connection.member),
        };
        if !failed.broke_the_connection() || is_second {
            return Err(failed);
        }
        members.give_up(&connection, &failed.reason()).await;
        is_second = true;
    }
}
