//! Transactions: compares, and what to do if all of them hold or if one does not.

use crate::directory::{Entry, Key, KeyRange, LeaseId, Revision};
use evenkeel_types::Bytes;
use snafu::{Snafu, ensure};

/// Compares, and operations of either list, of a transaction at most. etcd's default limit.
pub const TXN_OPERATIONS_MAX: usize = 128;
/// Bytes of keys and values of a transaction at most; etcd takes requests of 1.5 MiB.
pub const TXN_BYTES_MAX: usize = 1 << 20;

/// A transaction. The builder methods read like sentences:
/// `Txn::default().when(a).when(b).then(put).or_else(read)`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Txn {
    /// What must hold; with no compares the transaction succeeds.
    pub compares: Vec<Compare>,
    /// What to do if all compares hold.
    pub success: Vec<Operation>,
    /// What to do otherwise.
    pub failure: Vec<Operation>,
}

/// A condition on one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compare {
    /// The key.
    pub key: Key,
    /// What about the key must stand in the relation to what. A key that does not exist has revisions and version 0,
    /// and no relation holds for its value.
    pub subject: Subject,
    /// The relation: the key's is equal to, less than, ... the given.
    pub relation: Relation,
}

/// What about a key is compared, and with what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// The revision in which the key came into being.
    CreateRevision(Revision),
    /// The revision of the last put.
    ModRevision(Revision),
    /// The number of puts since the key came into being.
    Version(u64),
    /// The value, byte by byte.
    Value(Bytes),
}

/// How the key's side relates to the given side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// The same.
    Equal,
    /// Not the same.
    NotEqual,
    /// The key's side is lower.
    Less,
    /// The key's side is higher.
    Greater,
}

/// One step of a transaction. Steps run in order and see the effects of the steps before them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Set a key.
    Put {
        /// The key.
        key: Key,
        /// Its new value.
        value: Bytes,
        /// The lease that the key goes with from now on.
        lease: Option<LeaseId>,
    },
    /// Delete all keys of a range.
    Delete(KeyRange),
    /// Read all keys of a range.
    Range(KeyRange),
}

/// How a transaction went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnOutcome {
    /// Whether all compares held.
    pub succeeded: bool,
    /// The directory's revision after the transaction: its own one if it changed something.
    pub revision: Revision,
    /// An answer to each operation of the list that ran.
    pub responses: Vec<Response>,
}

/// The answer to one operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// To a put.
    Put,
    /// To a delete: how many keys there were.
    Deleted(u64),
    /// To a range.
    Entries(Vec<Entry>),
}

/// A rule that a transaction breaks.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
pub enum TxnProblem {
    /// Too long.
    #[snafu(display("{count} compares or operations, at most {TXN_OPERATIONS_MAX} are possible"))]
    TooManyOperations {
        /// The longest list.
        count: usize,
    },
    /// Too big.
    #[snafu(display("{bytes} bytes, at most {TXN_BYTES_MAX} are possible"))]
    TooManyBytes {
        /// Keys and values together.
        bytes: usize,
    },
    /// A list changes a key in two ways, so that it would have two fates in one revision.
    #[snafu(display("key {key} is changed twice"))]
    ChangedTwice {
        /// The key.
        key: Key,
    },
    /// A put without a key.
    #[snafu(display("an empty key"))]
    EmptyKey,
}

impl Txn {
    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds what to do if all conditions hold.
    #[must_use]
    pub fn then(mut self, operation: Operation) -> Self {
        self.success.push(operation);
        self
    }

    /// Adds what to do if one does not.
    #[must_use]
    pub fn or_else(mut self, operation: Operation) -> Self {
        self.failure.push(operation);
        self
    }

    /// Checks the rules that hold for all transactions; every engine calls it first, so that all refuse the same.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), TxnProblem> {
        let count = self.compares.len().max(self.success.len()).max(self.failure.len());
        ensure!(count <= TXN_OPERATIONS_MAX, TooManyOperationsSnafu { count });
        let compared = self.compares.iter().map(Compare::bytes).sum::<usize>();
        let bytes = compared + self.success.iter().chain(&self.failure).map(Operation::bytes).sum::<usize>();
        ensure!(bytes <= TXN_BYTES_MAX, TooManyBytesSnafu { bytes });
        check_list(&self.success)?;
        check_list(&self.failure)
    }
}

fn check_list(operations: &[Operation]) -> Result<(), TxnProblem> {
    for (n, operation) in operations.iter().enumerate() {
        let Operation::Put { key, .. } = operation else { continue };
        ensure!(!key.as_str().is_empty(), EmptyKeySnafu);
        let again = operations.iter().enumerate().any(|(m, other)| match other {
            Operation::Put { key: other, .. } => m > n && other == key,
            Operation::Delete(range) => range.contains(key),
            Operation::Range(_) => false,
        });
        ensure!(!again, ChangedTwiceSnafu { key: key.clone() });
    }
    Ok(())
}

impl Compare {
    /// The key exists and was last put in this revision.
    #[must_use]
    pub fn unchanged(key: Key, since: Revision) -> Self {
        assert!(since > Revision::ZERO, "revision 0 would compare for absence");
        Self { key, subject: Subject::ModRevision(since), relation: Relation::Equal }
    }

    /// The key does not exist.
    #[must_use]
    pub fn absent(key: Key) -> Self {
        Self { key, subject: Subject::CreateRevision(Revision::ZERO), relation: Relation::Equal }
    }

    /// The key as it was read: last put in this revision, or absent if `None`.
    #[must_use]
    pub fn as_read(key: Key, revision: Option<Revision>) -> Self {
        match revision {
            Some(revision) => Self::unchanged(key, revision),
            None => Self::absent(key),
        }
    }

    /// Whether the condition holds for the key's present entry. Part of the engines' common semantics.
    #[must_use]
    pub fn holds(&self, entry: Option<&Entry>) -> bool {
        let ordering = match &self.subject {
            Subject::CreateRevision(given) => entry.map_or(Revision::ZERO, |e| e.create_revision).cmp(given),
            Subject::ModRevision(given) => entry.map_or(Revision::ZERO, |e| e.mod_revision).cmp(given),
            Subject::Version(given) => entry.map_or(0, |e| e.version).cmp(given),
            Subject::Value(given) => match entry {
                Some(entry) => entry.value.cmp(given),
                None => return false,
            },
        };
        match self.relation {
            Relation::Equal => ordering.is_eq(),
            Relation::NotEqual => ordering.is_ne(),
            Relation::Less => ordering.is_lt(),
            Relation::Greater => ordering.is_gt(),
        }
    }

    fn bytes(&self) -> usize {
        self.key.as_str().len() + if let Subject::Value(value) = &self.subject { value.len() } else { 0 }
    }
}

impl Operation {
    /// Set a key that goes with no lease.
    #[must_use]
    pub fn put(key: Key, value: impl Into<Bytes>) -> Self {
        Self::Put { key, value: value.into(), lease: None }
    }

    /// Delete one key.
    #[must_use]
    pub fn delete(key: &Key) -> Self {
        Self::Delete(KeyRange::key(key))
    }

    /// Read one key.
    #[must_use]
    pub fn read(key: &Key) -> Self {
        Self::Range(KeyRange::key(key))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.as_str().len() + value.len(),
            Self::Delete(range) | Self::Range(range) => {
                range.start.as_str().len() + range.end.as_ref().map_or(0, |end| end.as_str().len())
            }
        }
    }
}

impl TxnOutcome {
    /// The entry of `key` among what the operations read.
    #[must_use]
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.responses.iter().find_map(|response| match response {
            Response::Entries(entries) => entries.iter().find(|entry| entry.key == *key),
            _ => None,
        })
    }
}
