//! One suite that every engine of the directory passes.
//!
//! Each case is a function over a [`Specimen`]; an engine's tests run [`CASES`] with a fresh specimen each. Revisions
//! are compared with each other, never with fixed numbers, and keys lie under the specimen's prefix, so that an engine
//! that is shared with others can be tested too. A case panics if the engine does not conform.

mod lease;
mod txn;
mod watch;

use crate::directory::{Directory, Entry, Key, KeyRange, Revision, Snapshot};
use crate::txn::{Compare, Operation, Txn, TxnOutcome};
use std::time::Duration;

/// An engine to be tested.
pub trait Specimen {
    /// The engine.
    fn directory(&self) -> &dyn Directory;

    /// What the keys of this case begin with; nobody else changes such keys.
    fn prefix(&self) -> &str;

    /// Lets time pass: tells an engine that is told the time, sleeps for one with a clock of its own.
    fn elapse(&self, time: Duration);

    /// How long a lease is to last: long enough that an engine with a clock of its own is asked in time, short enough to
    /// wait for its end.
    fn lease_ttl(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Makes the engine forget the history up to `revision`; it may make changes outside of the prefix to do so.
    fn compact(&self, revision: Revision);
}

/// A case and its name, which says what holds.
pub type Case = (&'static str, fn(&dyn Specimen));

/// All cases.
pub const CASES: &[Case] = &[
    ("a put creates a key and then changes it", txn::a_put_creates_a_key_and_then_changes_it),
    ("a key that is put again after a deletion is new", txn::a_key_that_is_put_again_after_a_deletion_is_new),
    ("compares see every side of a key", txn::compares_see_every_side_of_a_key),
    ("compares see an absent key as revision 0", txn::compares_see_an_absent_key_as_revision_0),
    ("a failed compare runs the other list", txn::a_failed_compare_runs_the_other_list),
    ("all changes of a transaction have one revision", txn::all_changes_of_a_transaction_have_one_revision),
    ("operations see those before them", txn::operations_see_those_before_them),
    (
        "a transaction that changes nothing has no revision",
        txn::a_transaction_that_changes_nothing_has_no_revision,
    ),
    ("invalid transactions are refused whole", txn::invalid_transactions_are_refused_whole),
    ("of two writers that compare, one wins", txn::of_two_writers_that_compare_one_wins),
    ("a range reads the past", txn::a_range_reads_the_past),
    ("ranges are sorted and end before their end", txn::ranges_are_sorted_and_end_before_their_end),
    ("a revision that does not exist yet is refused", txn::a_revision_that_does_not_exist_yet_is_refused),
    ("a compacted revision is refused", txn::a_compacted_revision_is_refused),
    ("a watch delivers whole revisions in order", watch::a_watch_delivers_whole_revisions_in_order),
    ("a watch sees its prefix only", watch::a_watch_sees_its_prefix_only),
    ("a watch begins in the past or in the future", watch::a_watch_begins_in_the_past_or_in_the_future),
    ("a watch wakes up for a change", watch::a_watch_wakes_up_for_a_change),
    ("a watch from a compacted revision says so", watch::a_watch_from_a_compacted_revision_says_so),
    ("a snapshot and its watch have no gap", watch::a_snapshot_and_its_watch_have_no_gap),
    (
        "an expired lease takes its keys in one revision",
        lease::an_expired_lease_takes_its_keys_in_one_revision,
    ),
    ("a lease that is renewed lives on", lease::a_lease_that_is_renewed_lives_on),
    ("a revoked lease takes its keys", lease::a_revoked_lease_takes_its_keys),
    ("a key leaves its lease when it is put without", lease::a_key_leaves_its_lease_when_it_is_put_without),
    ("a lease that is gone is refused", lease::a_lease_that_is_gone_is_refused),
];

/// Runs all cases, each with a specimen of its own from `make`, which is told the case's number.
pub fn run_all<S: Specimen>(mut make: impl FnMut(usize) -> S) {
    for (number, (name, case)) in CASES.iter().enumerate() {
        let specimen = make(number);
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&specimen)));
        assert!(passed.is_ok(), "the engine does not conform: {name}");
    }
}

/// What the cases do again and again.
impl dyn Specimen + '_ {
    fn key(&self, rest: &str) -> Key {
        format!("{}{rest}", self.prefix()).into()
    }

    fn transact(&self, txn: &Txn) -> TxnOutcome {
        self.directory().transact(txn).expect("the directory is available")
    }

    fn put(&self, rest: &str, value: &'static str) -> Revision {
        let outcome = self.transact(&Txn::default().then(Operation::put(self.key(rest), value)));
        assert!(outcome.succeeded, "a transaction without compares succeeds");
        outcome.revision
    }

    fn delete(&self, rest: &str) -> Revision {
        self.transact(&Txn::default().then(Operation::delete(&self.key(rest)))).revision
    }

    fn holds(&self, compare: Compare) -> bool {
        self.transact(&Txn::default().when(compare)).succeeded
    }

    fn get(&self, rest: &str) -> Option<Entry> {
        let mut snapshot = self.list(&KeyRange::key(&self.key(rest)), None);
        assert!(snapshot.entries.len() <= 1, "a range of one key has one entry at most");
        snapshot.entries.pop()
    }

    fn list(&self, range: &KeyRange, at: Option<Revision>) -> Snapshot {
        self.directory().range(range, at).expect("the revision is kept")
    }

    fn all(&self, at: Option<Revision>) -> Snapshot {
        self.list(&KeyRange::prefix(self.prefix()), at)
    }
}

/// The part of a key behind the specimen's prefix, and its value: enough to compare most lists.
fn brief(specimen: &dyn Specimen, entries: &[Entry]) -> Vec<(String, String)> {
    let text = |entry: &Entry| {
        let key = entry.key.as_str().strip_prefix(specimen.prefix()).expect("the key is the specimen's");
        (key.to_owned(), String::from_utf8_lossy(&entry.value).into_owned())
    };
    entries.iter().map(text).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
