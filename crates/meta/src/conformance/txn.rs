//! Transactions and ranges.

use super::{Specimen, brief, pairs};
use crate::directory::{DirectoryError, KeyRange, Revision};
use crate::txn::{
    Compare, Operation, Relation, Response, Subject, TXN_BYTES_MAX, TXN_OPERATIONS_MAX, Txn, TxnProblem,
};

pub(super) fn a_put_creates_a_key_and_then_changes_it(s: &dyn Specimen) {
    let first = s.put("a", "1");
    let second = s.put("a", "2");
    assert_eq!(second, first.next());
    let entry = s.get("a").expect("the key was put");
    assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (first, second, 2));
    assert_eq!((&entry.value[..], entry.lease), (&b"2"[..], None));
}

pub(super) fn a_key_that_is_put_again_after_a_deletion_is_new(s: &dyn Specimen) {
    s.put("a", "1");
    s.delete("a");
    assert_eq!(s.get("a"), None);
    let again = s.put("a", "1");
    let entry = s.get("a").expect("the key was put");
    assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (again, again, 1));
}

pub(super) fn compares_see_every_side_of_a_key(s: &dyn Specimen) {
    let created = s.put("a", "m");
    let changed = s.put("a", "m");
    let below = |revision: Revision| Revision(revision.0 - 1);
    let subjects: [[Subject; 3]; 4] = [
        [below(created), created, created.next()].map(Subject::CreateRevision),
        [below(changed), changed, changed.next()].map(Subject::ModRevision),
        [1, 2, 3].map(Subject::Version),
        ["l", "m", "ma"].map(|value| Subject::Value(value.into())),
    ];
    for [lower, same, higher] in subjects {
        let holds = |subject: &Subject| {
            [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater]
                .map(|relation| s.holds(Compare { key: s.key("a"), subject: subject.clone(), relation }))
        };
        assert_eq!(holds(&lower), [false, true, false, true], "{lower:?}");
        assert_eq!(holds(&same), [true, false, false, false], "{same:?}");
        assert_eq!(holds(&higher), [false, true, true, false], "{higher:?}");
    }
}

pub(super) fn compares_see_an_absent_key_as_revision_0(s: &dyn Specimen) {
    let compare = |subject, relation| s.holds(Compare { key: s.key("absent"), subject, relation });
    assert!(s.holds(Compare::absent(s.key("absent"))));
    assert!(compare(Subject::ModRevision(Revision(0)), Relation::Equal));
    assert!(compare(Subject::ModRevision(Revision(1)), Relation::Less));
    assert!(compare(Subject::Version(0), Relation::Equal));
    assert!(!compare(Subject::Value("".into()), Relation::Equal));
    assert!(!compare(Subject::Value("x".into()), Relation::NotEqual));
    let revision = s.put("a", "1");
    assert!(!s.holds(Compare::absent(s.key("a"))));
    s.delete("a");
    assert!(s.holds(Compare::absent(s.key("a"))));
    assert!(!s.holds(Compare::unchanged(s.key("a"), revision)));
}

pub(super) fn a_failed_compare_runs_the_other_list(s: &dyn Specimen) {
    let revision = s.put("a", "1");
    let txn = Txn::default()
        .when(Compare::unchanged(s.key("a"), revision))
        .when(Compare::absent(s.key("a")))
        .then(Operation::put(s.key("a"), "2"))
        .or_else(Operation::read(&s.key("a")))
        .or_else(Operation::put(s.key("b"), "3"));
    let outcome = s.transact(&txn);
    assert!(!outcome.succeeded);
    assert_eq!(outcome.entry(&s.key("a")).map(|entry| &entry.value[..]), Some(&b"1"[..]));
    assert_eq!(brief(s, &s.all(None).entries), pairs(&[("a", "1"), ("b", "3")]));
}

pub(super) fn all_changes_of_a_transaction_have_one_revision(s: &dyn Specimen) {
    s.put("gone", "x");
    let txn = Txn::default()
        .then(Operation::put(s.key("b"), "1"))
        .then(Operation::put(s.key("a"), "1"))
        .then(Operation::delete(&s.key("gone")));
    let outcome = s.transact(&txn);
    assert_eq!(outcome.responses, [Response::Put, Response::Put, Response::Deleted(1)]);
    let snapshot = s.all(None);
    assert_eq!(snapshot.revision, outcome.revision);
    assert_eq!(brief(s, &snapshot.entries), pairs(&[("a", "1"), ("b", "1")]));
    assert!(snapshot.entries.iter().all(|entry| entry.mod_revision == outcome.revision));
}

pub(super) fn operations_see_those_before_them(s: &dyn Specimen) {
    s.put("a", "old");
    let txn = Txn::default()
        .then(Operation::put(s.key("a"), "new"))
        .then(Operation::read(&s.key("a")))
        .then(Operation::Delete(KeyRange::prefix(&format!("{}none/", s.prefix()))));
    let outcome = s.transact(&txn);
    assert_eq!(outcome.entry(&s.key("a")).map(|entry| &entry.value[..]), Some(&b"new"[..]));
    assert_eq!(outcome.responses.last(), Some(&Response::Deleted(0)));
}

pub(super) fn a_transaction_that_changes_nothing_has_no_revision(s: &dyn Specimen) {
    let revision = s.put("a", "1");
    let idle = Txn::default().then(Operation::read(&s.key("a"))).then(Operation::delete(&s.key("none")));
    assert_eq!(s.transact(&idle).revision, revision);
    assert_eq!(s.all(None).revision, revision);
    // A put of the same value is a change.
    assert_eq!(s.put("a", "1"), revision.next());
}

pub(super) fn invalid_transactions_are_refused_whole(s: &dyn Specimen) {
    let before = s.put("a", "1");
    let put = |rest: &str| Operation::put(s.key(rest), "x");
    let twice = Txn::default().then(put("b")).then(put("a")).then(put("b"));
    let both = Txn::default().then(put("a")).then(Operation::Delete(KeyRange::prefix(s.prefix())));
    let many = Txn { success: vec![put("a"); TXN_OPERATIONS_MAX + 1], ..Txn::default() };
    let big = Txn::default().then(Operation::put(s.key("a"), vec![0; TXN_BYTES_MAX]));
    let problem = |txn: &Txn| match s.directory().transact(txn) {
        Err(DirectoryError::Invalid { problem }) => problem,
        other => panic!("an invalid transaction gave {other:?}"),
    };
    assert_eq!(problem(&twice), TxnProblem::ChangedTwice { key: s.key("b") });
    assert_eq!(problem(&both), TxnProblem::ChangedTwice { key: s.key("a") });
    assert_eq!(problem(&many), TxnProblem::TooManyOperations { count: TXN_OPERATIONS_MAX + 1 });
    assert!(matches!(problem(&big), TxnProblem::TooManyBytes { .. }));
    assert_eq!(s.all(None).revision, before);
}

pub(super) fn of_two_writers_that_compare_one_wins(s: &dyn Specimen) {
    const WRITERS: u64 = 4;
    const INCREMENTS: u64 = 25;
    s.put("n", "0");
    let key = s.key("n");
    let directory = s.directory();
    let increment = || {
        loop {
            let snapshot = directory.range(&KeyRange::key(&key), None).expect("available");
            let entry = &snapshot.entries[0];
            let text = std::str::from_utf8(&entry.value).expect("a number");
            let next = text.parse::<u64>().expect("a number") + 1;
            let txn = Txn::default()
                .when(Compare::unchanged(key.clone(), entry.mod_revision))
                .then(Operation::put(key.clone(), next.to_string()));
            if directory.transact(&txn).expect("available").succeeded {
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| (0..INCREMENTS).for_each(|_| increment()));
        }
    });
    let entry = s.get("n").expect("the key was put");
    assert_eq!(entry.value, (WRITERS * INCREMENTS).to_string());
    assert_eq!(entry.version, WRITERS * INCREMENTS + 1);
}

pub(super) fn a_range_reads_the_past(s: &dyn Specimen) {
    let mut history = Vec::new();
    let keep = |s: &dyn Specimen, history: &mut Vec<_>| {
        let snapshot = s.all(None);
        history.push(snapshot);
    };
    s.put("a", "1");
    keep(s, &mut history);
    s.put("b", "1");
    keep(s, &mut history);
    s.put("a", "2");
    keep(s, &mut history);
    s.delete("b");
    keep(s, &mut history);
    s.put("b", "3");
    keep(s, &mut history);
    for snapshot in &history {
        assert_eq!(s.all(Some(snapshot.revision)), *snapshot);
    }
    let only_b = s.list(&KeyRange::key(&s.key("b")), Some(history[2].revision));
    assert_eq!(brief(s, &only_b.entries), pairs(&[("b", "1")]));
}

pub(super) fn ranges_are_sorted_and_end_before_their_end(s: &dyn Specimen) {
    for rest in ["b/2", "c", "b/10", "a", "b", "b0"] {
        s.put(rest, "");
    }
    let names = |range: &KeyRange| -> Vec<String> {
        brief(s, &s.list(range, None).entries).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(names(&KeyRange::prefix(&format!("{}b/", s.prefix()))), ["b/10", "b/2"]);
    assert_eq!(names(&KeyRange { start: s.key("b"), end: Some(s.key("c")) }), ["b", "b/10", "b/2", "b0"]);
    assert_eq!(names(&KeyRange::key(&s.key("b"))), ["b"]);
    assert_eq!(names(&KeyRange { start: s.key("c"), end: Some(s.key("a")) }), Vec::<String>::new());
    assert_eq!(names(&KeyRange { start: s.key("b"), end: Some(s.key("b")) }), Vec::<String>::new());
}

pub(super) fn a_revision_that_does_not_exist_yet_is_refused(s: &dyn Specimen) {
    let latest = s.put("a", "1");
    let range = KeyRange::prefix(s.prefix());
    let far = Revision(latest.0 + 1_000_000);
    assert!(matches!(s.directory().range(&range, Some(far)), Err(DirectoryError::Future { .. })));
}

pub(super) fn a_compacted_revision_is_refused(s: &dyn Specimen) {
    let old = s.put("a", "1");
    let kept = s.put("a", "2");
    s.compact(kept);
    let range = KeyRange::prefix(s.prefix());
    assert!(matches!(s.directory().range(&range, Some(old)), Err(DirectoryError::Compacted { .. })));
    assert_eq!(brief(s, &s.all(None).entries), pairs(&[("a", "2")]));
}
