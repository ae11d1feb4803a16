//! The directory of cluster metadata: the trait, its records, and its embedded and in-memory engines.
//!
//! The directory is the one place where the group agrees on something: who is a member and in which state, which
//! volumes exist, who may use them, and where moved extents are. It is small and changes rarely; nothing per request
//! is in it. Its shape is that of etcd version 3, so that etcd can stand behind the same trait: one revision counter
//! for all keys, transactions of compares and operations, reads of a past revision, and watches that deliver whole
//! revisions in order.
//!
//! * [`directory`], [`txn`]: what every engine offers ([`Directory`], [`Watch`]) and what it is asked to do ([`Txn`]).
//! * [`memory`], `embedded` (feature `embedded`): the engines of this crate; [`ledger`] is the state that both keep.
//! * [`conformance`]: one suite that every engine passes.
//! * [`records`]: the keys, and the values under them.
//! * [`change`]: the transactions that several crates need, each with what it compares.
//! * [`place`]: the computed route of everything that was never moved.
//! * [`presence`]: a server's hint of life and the planner's role. [`restore`]: going on with a directory from a backup.
//! * [`route`]: epochs and routes. [`view`]: one server's picture of the directory, from which routes are read.
//!
//! Three rules hold this together. An extent's epoch is the highest revision among the keys that its route is computed
//! from, so it grows with each change of any of them. A view is always a prefix of the directory's history: all keys
//! of a revision appear in it at once. And every transaction of a server compares its own member record and the
//! records that it reasoned from, so that what was decided on an old picture does not happen.

pub mod change;
pub mod conformance;
pub mod directory;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod ledger;
pub mod memory;
pub mod place;
pub mod presence;
pub mod records;
pub mod restore;
pub mod route;
pub mod txn;
pub mod view;

pub use directory::{
    Batch, Change, Directory, DirectoryError, Entry, Key, KeyRange, LeaseId, Revision, Snapshot, Watch,
    WatchError,
};
#[cfg(feature = "embedded")]
pub use embedded::EmbeddedDirectory;
pub use memory::MemoryDirectory;
pub use place::{Place, PlacedServer};
pub use records::{Keyspace, MemberState, MoveId, MoveIntent, Replicas, RouteEntry};
pub use route::{Route, epoch_of};
pub use txn::{Compare, Operation, Relation, Response, Subject, Txn, TxnOutcome};
pub use view::{Changes, Owners, Spread, View, ViewError};
