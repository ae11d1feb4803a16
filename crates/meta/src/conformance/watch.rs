//! Watches.

use super::Specimen;
use crate::directory::{Batch, Entry, Key, Revision, Watch, WatchError};
use crate::txn::{Operation, Txn};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time after which a change that is not there will not come; only waited for in full when nothing is to come.
const PATIENCE: Duration = Duration::from_secs(10);
const NOTHING_COMES: Duration = Duration::from_millis(100);

fn watch(s: &dyn Specimen, from: Revision) -> Box<dyn Watch> {
    s.directory().watch(s.prefix(), from).expect("the directory is available")
}

fn next(watch: &mut dyn Watch) -> Batch {
    watch.next(PATIENCE).expect("the watch goes on").expect("a batch comes")
}

fn assert_quiet(watch: &mut dyn Watch) {
    assert_eq!(watch.next(Duration::ZERO), Ok(None));
    assert_eq!(watch.next(NOTHING_COMES), Ok(None));
}

pub(super) fn a_watch_delivers_whole_revisions_in_order(s: &dyn Specimen) {
    let start = s.put("c", "0");
    let mut watch = watch(s, start.next());
    let both = Txn::default()
        .then(Operation::put(s.key("b"), "1"))
        .then(Operation::delete(&s.key("c")))
        .then(Operation::put(s.key("a"), "1"));
    let first = s.transact(&both).revision;
    let second = s.put("a", "2");
    let batch = next(&mut *watch);
    assert_eq!(batch.revision, first);
    let keys: Vec<&Key> = batch.changes.iter().map(|change| &change.key).collect();
    assert_eq!(keys, [&s.key("a"), &s.key("b"), &s.key("c")]);
    let values: Vec<Option<&[u8]>> =
        batch.changes.iter().map(|change| change.entry.as_ref().map(|entry| &entry.value[..])).collect();
    assert_eq!(values, [Some(&b"1"[..]), Some(b"1"), None]);
    let batch = next(&mut *watch);
    assert_eq!(batch.revision, second);
    assert_eq!(batch.changes[0].entry, s.get("a"));
    assert_quiet(&mut *watch);
}

pub(super) fn a_watch_sees_its_prefix_only(s: &dyn Specimen) {
    let start = s.put("x", "0");
    let inside = format!("{}in/", s.prefix());
    let mut watch = s.directory().watch(&inside, start.next()).expect("available");
    s.put("in", "no");
    s.put("in0", "no");
    let mixed =
        Txn::default().then(Operation::put(s.key("in/a"), "yes")).then(Operation::put(s.key("out"), "no"));
    let revision = s.transact(&mixed).revision;
    s.put("out", "no");
    let batch = next(&mut *watch);
    assert_eq!((batch.revision, batch.changes.len()), (revision, 1));
    assert_eq!(batch.changes[0].key, s.key("in/a"));
    assert_quiet(&mut *watch);
}

pub(super) fn a_watch_begins_in_the_past_or_in_the_future(s: &dyn Specimen) {
    let first = s.put("a", "1");
    let second = s.put("a", "2");
    let mut past = watch(s, first);
    assert_eq!(next(&mut *past).revision, first);
    assert_eq!(next(&mut *past).revision, second);
    let mut future = watch(s, Revision(second.0 + 2));
    assert_quiet(&mut *future);
    s.put("a", "3");
    assert_quiet(&mut *future);
    let fourth = s.put("a", "4");
    assert_eq!(next(&mut *future).revision, fourth);
}

pub(super) fn a_watch_wakes_up_for_a_change(s: &dyn Specimen) {
    let start = s.put("a", "0");
    let mut watch = watch(s, start.next());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || next(&mut *watch));
        std::thread::sleep(NOTHING_COMES);
        let directory = s.directory();
        let outcome = directory.transact(&Txn::default().then(Operation::put(s.key("a"), "1")));
        let revision = outcome.expect("the directory is available").revision;
        assert_eq!(waiting.join().expect("the watch goes on").revision, revision);
    });
}

pub(super) fn a_watch_from_a_compacted_revision_says_so(s: &dyn Specimen) {
    let old = s.put("a", "1");
    let mut early = watch(s, old);
    let kept = s.put("a", "2");
    s.compact(kept);
    let mut late = watch(s, old);
    assert!(matches!(late.next(PATIENCE), Err(WatchError::Compacted { .. })));
    // A watch that already has what is compacted goes on; one that fell behind is told, or got it in time.
    match early.next(PATIENCE) {
        Ok(Some(batch)) => assert_eq!(batch.revision, old),
        other => assert!(matches!(other, Err(WatchError::Compacted { .. })), "{other:?}"),
    }
    let listed = s.all(None);
    let mut again = watch(s, listed.revision.next());
    let third = s.put("a", "3");
    assert_eq!(next(&mut *again).revision, third);
}

pub(super) fn a_snapshot_and_its_watch_have_no_gap(s: &dyn Specimen) {
    const CHANGES: u32 = 60;
    let directory = s.directory();
    let change = |n: u32| {
        let key = s.key(&format!("{}", n % 7));
        let operation = if n % 5 == 4 { Operation::delete(&key) } else { Operation::put(key, n.to_string()) };
        directory.transact(&Txn::default().then(operation)).expect("available");
    };
    change(0);
    let snapshot = s.all(None);
    let mut copy: BTreeMap<Key, Entry> =
        snapshot.entries.iter().map(|entry| (entry.key.clone(), entry.clone())).collect();
    let mut watch = watch(s, snapshot.revision.next());
    (1..CHANGES).for_each(change);
    let last = s.put("end", "");
    loop {
        let batch = next(&mut *watch);
        for change in batch.changes {
            match change.entry {
                Some(entry) => copy.insert(change.key, entry),
                None => copy.remove(&change.key),
            };
        }
        let then = s.all(Some(batch.revision));
        assert_eq!(copy.values().cloned().collect::<Vec<_>>(), then.entries);
        if batch.revision == last {
            break;
        }
    }
}
