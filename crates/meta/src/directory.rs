//! What every engine of the directory offers.

use crate::txn::{Txn, TxnOutcome, TxnProblem};
use evenkeel_types::Bytes;
use snafu::Snafu;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A position in the directory's history. Each transaction that changes something gets the next one, and all its
/// changes carry it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize,
)]
pub struct Revision(pub u64);

impl Revision {
    /// Before everything; as the revision of a key it says that the key does not exist.
    pub const ZERO: Self = Self(0);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key; keys are ordered by their bytes. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The text of the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Keys from `start` (inclusive) to `end` (exclusive).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRange {
    /// First key of the range.
    pub start: Key,
    /// First key behind the range; `None` for all keys from `start` on.
    pub end: Option<Key>,
}

impl KeyRange {
    /// This key alone.
    #[must_use]
    pub fn key(key: &Key) -> Self {
        Self { start: key.clone(), end: Some(format!("{key}\0").into()) }
    }

    /// All keys that begin with `prefix`, which must end in an ASCII character.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        let mut end = prefix.to_owned();
        let end = end.pop().map(|last| {
            assert!(
                last.is_ascii() && last != '\x7f',
                "the prefix {prefix:?} does not end in an ASCII character"
            );
            // An ASCII character below DEL is followed by an ASCII character.
            end.push(char::from(last as u8 + 1));
            Key::from(end)
        });
        Self { start: prefix.into(), end }
    }

    /// Whether the key lies in the range.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        *key >= self.start && self.end.as_ref().is_none_or(|end| key < end)
    }
}

/// A promise of the directory to keep keys only while their owner renews it. Lower than 2^63, never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseId(pub u64);

/// A key with its value and history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Bytes,
    /// Revision in which the key came into being; a key that was deleted and put again is a new one.
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// Number of puts since the key came into being, from 1.
    pub version: u64,
    /// The lease that the key goes with.
    pub lease: Option<LeaseId>,
}

/// The entries of a range as they were at one revision, in order of their keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// What became of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// Its new entry; `None` if it was deleted.
    pub entry: Option<Entry>,
}

/// All changes of one revision, in order of their keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The revision.
    pub revision: Revision,
    /// The changes; not empty, each key once.
    pub changes: Vec<Change>,
}

/// The store of cluster metadata. Calls block; drivers give them a thread of their own. Everything that was answered
/// is durable, and seen by every later call.
pub trait Directory: Send + Sync {
    /// Evaluates the compares, then runs the one list of operations or the other, all in one step.
    ///
    /// # Errors
    /// [`DirectoryError::Invalid`] before anything is tried; [`DirectoryError::Unavailable`] if it certainly did not
    /// and will not happen; [`DirectoryError::OutcomeUnknown`] if it may have happened or may still happen;
    /// [`DirectoryError::LeaseNotFound`] if a put names a lease that is gone (nothing happened).
    fn transact(&self, txn: &Txn) -> Result<TxnOutcome, DirectoryError>;

    /// The entries of a range, now or at a past revision.
    ///
    /// # Errors
    /// [`DirectoryError::Compacted`] and [`DirectoryError::Future`] for a revision that is not kept any more or does
    /// not exist yet; [`DirectoryError::Unavailable`].
    fn range(&self, range: &KeyRange, at: Option<Revision>) -> Result<Snapshot, DirectoryError>;

    /// Watches the keys that begin with `prefix`: the watch delivers every revision from `from` on (inclusive) that
    /// changes one of them. To follow a snapshot, watch from the revision after it.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`]. A revision that is not kept any more is reported by the watch itself.
    fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, DirectoryError>;

    /// A new lease that lasts for `ttl` from now or from its last renewal.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`], [`DirectoryError::OutcomeUnknown`] (then the lease, if there is one, expires
    /// by itself), [`DirectoryError::LeasesExhausted`].
    fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, DirectoryError>;

    /// Renews a lease.
    ///
    /// # Errors
    /// [`DirectoryError::LeaseNotFound`] if it expired or was revoked; [`DirectoryError::Unavailable`].
    fn keep_alive(&self, lease: LeaseId) -> Result<(), DirectoryError>;

    /// Ends a lease and deletes its keys, all in one revision.
    ///
    /// # Errors
    /// [`DirectoryError::LeaseNotFound`], [`DirectoryError::Unavailable`], [`DirectoryError::OutcomeUnknown`].
    fn revoke_lease(&self, lease: LeaseId) -> Result<(), DirectoryError>;
}

/// A stream of batches in the order of their revisions, without a gap.
pub trait Watch: Send {
    /// The next batch; waits for it for at most `timeout` (zero: not at all), then `None`.
    ///
    /// # Errors
    /// After an error the watch is over: list again and watch from there.
    fn next(&mut self, timeout: Duration) -> Result<Option<Batch>, WatchError>;
}

/// Why the directory did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum DirectoryError {
    /// The directory cannot be reached or has stopped. Nothing happened and nothing will.
    #[snafu(display("the directory is not available: {reason}"))]
    Unavailable {
        /// What is in the way.
        reason: String,
    },
    /// The connection or the disk failed after the request was given away: it may have happened, and over a network
    /// it may still happen. A later read proves nothing; only a compare of what the request would change does.
    #[snafu(display("the outcome of a directory request is unknown: {reason}"))]
    OutcomeUnknown {
        /// What went wrong.
        reason: String,
    },
    /// The revision is older than the history that is kept.
    #[snafu(display("directory revision {wanted} is no longer kept, the oldest is {oldest}"))]
    Compacted {
        /// The revision asked for.
        wanted: Revision,
        /// The oldest that can be read.
        oldest: Revision,
    },
    /// The revision does not exist yet.
    #[snafu(display("directory revision {wanted} does not exist yet, the latest is {latest}"))]
    Future {
        /// The revision asked for.
        wanted: Revision,
        /// The latest that can be read.
        latest: Revision,
    },
    /// The lease expired, was revoked, or never existed.
    #[snafu(display("directory lease {} does not exist (any more)", lease.0))]
    LeaseNotFound {
        /// Which one.
        lease: LeaseId,
    },
    /// There are as many leases as there may be.
    #[snafu(display("the directory has {max} leases, no more are possible"))]
    LeasesExhausted {
        /// The bound.
        max: usize,
    },
    /// The transaction breaks a rule that holds for all transactions.
    #[snafu(display("invalid directory transaction: {problem}"))]
    Invalid {
        /// The rule.
        problem: TxnProblem,
    },
}

/// Why a watch ended.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
#[snafu(context(suffix(WatchSnafu)))]
pub enum WatchError {
    /// Revisions that the watch has not delivered yet are no longer kept.
    #[snafu(display("the watch fell behind: directory revisions up to {compacted} are no longer kept"))]
    Compacted {
        /// The latest revision whose changes are gone.
        compacted: Revision,
    },
    /// The directory cannot be reached or has stopped.
    #[snafu(display("the directory is not available: {reason}"))]
    Disconnected {
        /// What is in the way.
        reason: String,
    },
}
