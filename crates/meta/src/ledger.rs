//! The state of a directory: entries, recent history, leases. Engines add locking, waiting and durability.

mod lease;
#[cfg(test)]
mod tests;

use crate::directory::{
    Batch, Change, CompactedSnafu, DirectoryError, Entry, FutureSnafu, InvalidSnafu, Key, KeyRange, LeaseId,
    LeaseNotFoundSnafu, Revision, Snapshot, WatchError,
};
use crate::txn::{Operation, Response, Txn, TxnOutcome};
use evenkeel_types::Time;
pub use lease::LEASES_MAX;
use lease::Lease;
use snafu::ensure;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// Revisions whose changes are kept for watches and for reads of the past, unless an engine is told otherwise.
pub const HISTORY_REVISIONS_DEFAULT: usize = 10_000;

/// The fate of one key in one revision.
#[derive(Clone, Debug)]
struct Fate {
    key: Key,
    before: Option<Entry>,
    after: Option<Entry>,
}

/// Entries, the changes of the latest revisions, and leases.
///
/// The history is a list of revisions without a gap that ends in the present one; the past is read by taking changes
/// back, newest first. A revision whose changes were dropped cannot be watched any more.
#[derive(Debug)]
pub struct Ledger {
    revision: Revision,
    entries: BTreeMap<Key, Entry>,
    history: VecDeque<(Revision, Vec<Fate>)>,
    history_max: usize,
    compacted: Revision,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: LeaseId,
    now: Time,
}

impl Ledger {
    /// An empty directory that keeps the changes of the latest `history_max` revisions.
    #[must_use]
    pub fn new(history_max: usize) -> Self {
        assert!(history_max > 0, "a directory without history cannot be watched");
        Self {
            revision: Revision(1),
            entries: BTreeMap::new(),
            history: VecDeque::new(),
            history_max,
            compacted: Revision::ZERO,
            leases: BTreeMap::new(),
            last_lease: LeaseId(0),
            now: Time::ZERO,
        }
    }

    /// A directory as it was saved; it has no history from before.
    #[cfg(feature = "embedded")]
    pub(crate) fn restore(
        history_max: usize,
        revision: Revision,
        entries: BTreeMap<Key, Entry>,
        leases: BTreeMap<LeaseId, std::time::Duration>,
        last_lease: LeaseId,
    ) -> Self {
        let mut ledger =
            Self { revision, entries, last_lease, compacted: revision, ..Self::new(history_max) };
        ledger.restore_leases(leases);
        ledger
    }

    /// What a backup brings back: everything as it was at this revision, without the history before it; leases begin anew.
    #[must_use]
    pub fn restored(&self, now: Time) -> Self {
        let mut ledger = Self {
            revision: self.revision,
            entries: self.entries.clone(),
            last_lease: self.last_lease,
            compacted: self.revision,
            now,
            ..Self::new(self.history_max)
        };
        ledger.restore_leases(self.leases());
        ledger
    }

    /// The latest revision. An empty directory has revision 1, as in etcd.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The latest revision whose changes are not kept.
    #[must_use]
    pub const fn compacted(&self) -> Revision {
        self.compacted
    }

    /// See [`crate::Directory::transact`].
    ///
    /// # Errors
    /// `Invalid`, `LeaseNotFound`; nothing changed then.
    pub fn transact(&mut self, txn: &Txn) -> Result<TxnOutcome, DirectoryError> {
        txn.validate().map_err(|problem| InvalidSnafu { problem }.build())?;
        let succeeded = txn.compares.iter().all(|compare| compare.holds(self.entries.get(&compare.key)));
        let operations = if succeeded { &txn.success } else { &txn.failure };
        for operation in operations {
            if let Operation::Put { lease: Some(lease), .. } = operation {
                ensure!(self.leases.contains_key(lease), LeaseNotFoundSnafu { lease: *lease });
            }
        }
        let revision = self.revision.next();
        let mut fates = Vec::new();
        let responses = operations.iter().map(|op| self.run(op, revision, &mut fates)).collect();
        self.record(fates);
        Ok(TxnOutcome { succeeded, revision: self.revision, responses })
    }

    /// See [`crate::Directory::range`].
    ///
    /// # Errors
    /// `Compacted`, `Future`.
    pub fn range(&self, range: &KeyRange, at: Option<Revision>) -> Result<Snapshot, DirectoryError> {
        let revision = at.unwrap_or(self.revision);
        ensure!(revision <= self.revision, FutureSnafu { wanted: revision, latest: self.revision });
        ensure!(revision >= self.compacted, CompactedSnafu { wanted: revision, oldest: self.compacted });
        if revision == self.revision {
            return Ok(Snapshot { revision, entries: self.entries_of(range).cloned().collect() });
        }
        let mut entries: BTreeMap<Key, Entry> =
            self.entries_of(range).map(|entry| (entry.key.clone(), entry.clone())).collect();
        for (_, fates) in self.history.iter().rev().take_while(|(later, _)| *later > revision) {
            for fate in fates.iter().filter(|fate| range.contains(&fate.key)) {
                match &fate.before {
                    Some(before) => entries.insert(fate.key.clone(), before.clone()),
                    None => entries.remove(&fate.key),
                };
            }
        }
        Ok(Snapshot { revision, entries: entries.into_values().collect() })
    }

    /// The first batch from revision `next` on that has a key of the range. Without one, `next` is set behind the
    /// present, so that the same revisions are not searched again.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] if `next` is not kept any more.
    pub fn next_batch(&self, range: &KeyRange, next: &mut Revision) -> Result<Option<Batch>, WatchError> {
        if *next <= self.compacted && self.compacted > Revision::ZERO {
            return Err(WatchError::Compacted { compacted: self.compacted });
        }
        let first = self.history.front().map_or(0, |(revision, _)| revision.0);
        let skip = usize::try_from(next.0.saturating_sub(first)).unwrap_or(usize::MAX);
        for (revision, fates) in self.history.iter().skip(skip) {
            let changes: Vec<Change> = fates
                .iter()
                .filter(|fate| range.contains(&fate.key))
                .map(|fate| Change { key: fate.key.clone(), entry: fate.after.clone() })
                .collect();
            if !changes.is_empty() {
                *next = revision.next();
                return Ok(Some(Batch { revision: *revision, changes }));
            }
        }
        *next = (*next).max(self.revision.next());
        Ok(None)
    }

    /// What became of which keys after revision `since`, in order; all of it must still be kept.
    #[cfg(feature = "embedded")]
    pub(crate) fn changes_since(&self, since: Revision) -> impl Iterator<Item = (&Key, Option<&Entry>)> {
        assert!(since >= self.compacted, "the changes to save are kept until they are saved");
        let later = self.history.iter().filter(move |(revision, _)| *revision > since);
        later.flat_map(|(_, fates)| fates.iter().map(|fate| (&fate.key, fate.after.as_ref())))
    }

    fn entries_of<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a Entry> {
        let empty = range.end.as_ref().is_some_and(|end| *end <= range.start);
        let end = match &range.end {
            _ if empty => Bound::Included(&range.start),
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        };
        let start = if empty { Bound::Excluded(&range.start) } else { Bound::Included(&range.start) };
        // An excluded and an included bound at the same key are an empty range.
        self.entries.range::<Key, _>((start, end)).map(|(_, entry)| entry)
    }

    fn run(&mut self, operation: &Operation, revision: Revision, fates: &mut Vec<Fate>) -> Response {
        match operation {
            Operation::Put { key, value, lease } => {
                let before = self.entries.get(key).cloned();
                let entry = Entry {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: before.as_ref().map_or(revision, |entry| entry.create_revision),
                    mod_revision: revision,
                    version: before.as_ref().map_or(1, |entry| entry.version + 1),
                    lease: *lease,
                };
                self.set(key, before, Some(entry), fates);
                Response::Put
            }
            Operation::Delete(range) => {
                let gone: Vec<Entry> = self.entries_of(range).cloned().collect();
                let count = gone.len() as u64;
                for entry in gone {
                    self.set(&entry.key.clone(), Some(entry), None, fates);
                }
                Response::Deleted(count)
            }
            Operation::Range(range) => Response::Entries(self.entries_of(range).cloned().collect()),
        }
    }

    fn set(&mut self, key: &Key, before: Option<Entry>, after: Option<Entry>, fates: &mut Vec<Fate>) {
        self.detach(before.as_ref());
        match &after {
            Some(entry) => {
                self.attach(entry);
                self.entries.insert(key.clone(), entry.clone());
            }
            None => {
                self.entries.remove(key);
            }
        }
        fates.push(Fate { key: key.clone(), before, after });
    }

    /// Makes the changes the next revision, if there are any.
    fn record(&mut self, mut fates: Vec<Fate>) {
        if fates.is_empty() {
            return;
        }
        fates.sort_by(|a, b| a.key.cmp(&b.key));
        assert!(fates.windows(2).all(|pair| pair[0].key != pair[1].key), "a key has one fate in a revision");
        self.revision = self.revision.next();
        self.history.push_back((self.revision, fates));
        if self.history.len() > self.history_max {
            let dropped = self.history.pop_front();
            self.compacted = dropped.map_or(self.compacted, |(revision, _)| revision);
        }
    }
}
