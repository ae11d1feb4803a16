//! Watches: whole revisions, in order, without a gap, whatever happens to connections.
//!
//! etcd sends the changes of a revision together, large ones in parts of which all but the last are marked; the parts are
//! joined here. Where a connection ends, the watch goes on from the revision after the last one that was whole, over the
//! next connection; nothing is told about it, since etcd keeps the history. If it does not any more, that is told, and
//! the watch is over.
//!
//! A watch asks for the changes from one revision earlier than it is to deliver. When etcd forgets the history up to a
//! revision, it forgets the deletions of that very revision too, and still takes a watch that begins with it: only one
//! that begins earlier is told.

use super::connection::{Connection, judge};
use super::members::{Members, REQUEST_WITHIN, RETRY_AFTER};
use super::{convert, wire};
use evenkeel_meta::{Batch, Change, KeyRange, Revision, Watch, WatchError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Batches that wait for whoever watches; with more, etcd waits.
const BATCHES_MAX: usize = 256;

/// See the module's head. Dropping it ends the watch.
pub(super) struct EtcdWatch {
    batches: Receiver<Result<Batch, WatchError>>,
    /// Room for batches that nobody has taken yet.
    room: Arc<Semaphore>,
    task: AbortHandle,
    over: Option<WatchError>,
}

impl EtcdWatch {
    pub(super) fn open(runtime: &Handle, members: &Arc<Members>, prefix: &str, from: Revision) -> Self {
        let (batches, inbox) = channel();
        let room = Arc::new(Semaphore::new(BATCHES_MAX));
        let follower = Follower {
            members: Arc::clone(members),
            range: KeyRange::prefix(prefix),
            joined: Joined::new(from),
            batches,
            room: Arc::clone(&room),
        };
        let task = runtime.spawn(follower.follow()).abort_handle();
        Self { batches: inbox, room, task, over: None }
    }
}

impl Watch for EtcdWatch {
    fn next(&mut self, timeout: Duration) -> Result<Option<Batch>, WatchError> {
        if let Some(why) = &self.over {
            return Err(why.clone());
        }
        let next = if timeout.is_zero() {
            self.batches.try_recv().map_err(|e| e == TryRecvError::Disconnected)
        } else {
            self.batches.recv_timeout(timeout).map_err(|e| e == RecvTimeoutError::Disconnected)
        };
        let why = match next {
            Ok(Ok(batch)) => {
                self.room.add_permits(1);
                return Ok(Some(batch));
            }
            Err(false) => return Ok(None),
            Ok(Err(why)) => why,
            Err(true) => WatchError::Disconnected { reason: "the directory was closed".to_owned() },
        };
        self.over = Some(why.clone());
        Err(why)
    }
}

impl Drop for EtcdWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The side of a watch that runs.
struct Follower {
    members: Arc<Members>,
    range: KeyRange,
    joined: Joined,
    batches: Sender<Result<Batch, WatchError>>,
    room: Arc<Semaphore>,
}

/// Why a stream of changes ended.
enum Ended {
    /// The watch goes on elsewhere.
    Broken(String),
    /// The watch is over.
    Over(WatchError),
    /// Nobody watches any more.
    Unwatched,
}

impl Follower {
    async fn follow(mut self) {
        loop {
            if let Ok(connection) = self.members.connection().await {
                match self.follow_over(&connection).await {
                    Ended::Broken(why) => {
                        tracing::debug!("a watch of the directory goes on elsewhere: {why}");
                    }
                    Ended::Over(why) => {
                        let _ = self.batches.send(Err(why));
                        return;
                    }
                    Ended::Unwatched => return,
                }
            }
            sleep(RETRY_AFTER).await;
        }
    }

    async fn follow_over(&mut self, connection: &Connection) -> Ended {
        self.joined.begin_anew();
        // The sender stays until the end: without it the stream of questions, and with it the watch, would end.
        let (asking, questions) = mpsc::channel(1);
        let (key, range_end) = convert::bounds(&self.range);
        let start_revision = convert::signed_revision(self.joined.ask_from());
        let create = wire::WatchCreate { key, range_end, start_revision, fragment: true };
        let question = wire::WatchRequest { request: Some(wire::WatchRequestKind::Create(create)) };
        if asking.send(question).await.is_err() {
            return Ended::Broken("the stream took no question".to_owned());
        }
        let questions = ReceiverStream::new(questions);
        let opened = connection.stream(wire::WATCH, questions, REQUEST_WITHIN).await;
        let mut answers: Streaming<wire::WatchResponse> = match opened {
            Ok(answers) => answers,
            Err(failed) => {
                let failed = failed.of(&connection.member);
                if failed.broke_the_connection() {
                    self.members.give_up(connection, &failed.reason()).await;
                }
                return Ended::Broken(failed.reason());
            }
        };
        loop {
            let answer = tokio::select! {
                answer = answers.message() => answer,
                () = connection.gone.cancelled() => return Ended::Broken("the connection was given up".to_owned()),
            };
            match answer {
                Ok(Some(answer)) => {
                    if let Err(ended) = self.take(answer).await {
                        return ended;
                    }
                }
                Ok(None) => return Ended::Broken("etcd ended the watch".to_owned()),
                Err(status) => {
                    let failed = judge(&status).of(&connection.member);
                    self.members.give_up(connection, &failed.reason()).await;
                    return Ended::Broken(failed.reason());
                }
            }
        }
    }

    async fn take(&mut self, answer: wire::WatchResponse) -> Result<(), Ended> {
        if answer.compact_revision != 0 {
            let compacted = convert::revision(answer.compact_revision);
            return Err(Ended::Over(WatchError::Compacted { compacted }));
        }
        if answer.canceled {
            return Err(Ended::Broken(format!("etcd cancelled the watch: {}", answer.cancel_reason)));
        }
        self.members.saw(answer.header.map_or(0, |header| header.revision));
        self.joined.take(answer);
        while let Some(batch) = self.joined.next() {
            let permit = self.room.acquire().await.map_err(|_| Ended::Unwatched)?;
            permit.forget();
            self.batches.send(Ok(batch)).map_err(|_| Ended::Unwatched)?;
        }
        Ok(())
    }
}

/// Joins what etcd sends to whole revisions.
struct Joined {
    /// The first revision that has not been delivered.
    next: Revision,
    /// What has come since, in order of revisions.
    pending: VecDeque<(Revision, Change)>,
    /// The last revision of it may go on.
    is_open: bool,
}

impl Joined {
    const fn new(from: Revision) -> Self {
        Self { next: from, pending: VecDeque::new(), is_open: false }
    }

    /// What came in parts over a connection that ended comes again over the next one.
    fn begin_anew(&mut self) {
        self.pending.clear();
        self.is_open = false;
    }

    /// See the module's head. Revision 0 would be the present; revision 1 is the empty store's.
    fn ask_from(&self) -> Revision {
        Revision(self.next.0.saturating_sub(1).max(1))
    }

    fn take(&mut self, answer: wire::WatchResponse) {
        let changes = answer.events.into_iter().filter_map(convert::change);
        self.pending.extend(changes.filter(|(revision, _)| *revision >= self.next));
        self.is_open = answer.fragment;
    }

    /// The next revision, if it is whole.
    fn next(&mut self) -> Option<Batch> {
        let (revision, _) = *self.pending.front()?;
        let count = self.pending.iter().take_while(|(of, _)| *of == revision).count();
        if count == self.pending.len() && self.is_open {
            return None;
        }
        let mut changes: Vec<Change> = self.pending.drain(..count).map(|(_, change)| change).collect();
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        self.next = revision.next();
        Some(Batch { revision, changes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, revision: i64) -> wire::Event {
        let kv = wire::KeyValue {
            key: key.to_owned().into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            ..wire::KeyValue::default()
        };
        wire::Event { kind: wire::EventKind::Put as i32, kv: Some(kv) }
    }

    fn answer(fragment: bool, events: Vec<wire::Event>) -> wire::WatchResponse {
        wire::WatchResponse { fragment, events, ..wire::WatchResponse::default() }
    }

    fn all(joined: &mut Joined) -> Vec<(u64, Vec<String>)> {
        let keys = |batch: Batch| batch.changes.iter().map(|change| change.key.to_string()).collect();
        std::iter::from_fn(|| joined.next()).map(|batch| (batch.revision.0, keys(batch))).collect()
    }

    fn keys(of: &[&str]) -> Vec<String> {
        of.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn a_revision_in_parts_is_delivered_whole() {
        let mut joined = Joined::new(Revision(4));
        joined.take(answer(true, vec![put("c", 4), put("b", 5), put("d", 5)]));
        assert_eq!(all(&mut joined), [(4, keys(&["c"]))]);
        joined.take(answer(true, vec![put("e", 5)]));
        assert_eq!(all(&mut joined), []);
        joined.take(answer(false, vec![put("a", 5)]));
        assert_eq!(all(&mut joined), [(5, keys(&["a", "b", "d", "e"]))]);
    }

    #[test]
    fn a_part_of_before_a_new_connection_is_not_delivered_twice() {
        let mut joined = Joined::new(Revision(4));
        joined.take(answer(true, vec![put("a", 4), put("b", 5)]));
        assert_eq!(all(&mut joined), [(4, keys(&["a"]))]);
        joined.begin_anew();
        assert_eq!(joined.ask_from(), Revision(4));
        joined.take(answer(false, vec![put("a", 4), put("b", 5), put("c", 5)]));
        assert_eq!(all(&mut joined), [(5, keys(&["b", "c"]))]);
    }

    #[test]
    fn a_watch_asks_from_one_revision_earlier_but_never_for_the_present() {
        assert_eq!(Joined::new(Revision(9)).ask_from(), Revision(8));
        assert_eq!(Joined::new(Revision(1)).ask_from(), Revision(1));
        assert_eq!(Joined::new(Revision(0)).ask_from(), Revision(1));
    }
}
