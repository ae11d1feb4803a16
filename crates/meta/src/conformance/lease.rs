//! Leases.

use super::{Specimen, brief, pairs};
use crate::directory::{DirectoryError, LeaseId, Revision};
use crate::txn::{Operation, Txn};

fn grant(s: &dyn Specimen) -> LeaseId {
    s.directory().grant_lease(s.lease_ttl()).expect("the directory is available")
}

fn put(s: &dyn Specimen, rest: &str, lease: Option<LeaseId>) -> Result<Revision, DirectoryError> {
    let put = Operation::Put { key: s.key(rest), value: "x".into(), lease };
    s.directory().transact(&Txn::default().then(put)).map(|outcome| outcome.revision)
}

pub(super) fn an_expired_lease_takes_its_keys_in_one_revision(s: &dyn Specimen) {
    let lease = grant(s);
    s.put("stays", "x");
    put(s, "a", Some(lease)).expect("the lease lives");
    let last = put(s, "b", Some(lease)).expect("the lease lives");
    assert_eq!(s.get("b").and_then(|entry| entry.lease), Some(lease));
    let mut watch = s.directory().watch(s.prefix(), last.next()).expect("available");
    s.elapse(s.lease_ttl() * 3);
    assert_eq!(brief(s, &s.all(None).entries), pairs(&[("stays", "x")]));
    let batch = watch.next(s.lease_ttl()).expect("the watch goes on").expect("the keys were deleted");
    let gone: Vec<_> = batch.changes.iter().map(|change| (&change.key, &change.entry)).collect();
    assert_eq!(gone, [(&s.key("a"), &None), (&s.key("b"), &None)]);
    assert_eq!(s.directory().keep_alive(lease), Err(DirectoryError::LeaseNotFound { lease }));
}

pub(super) fn a_lease_that_is_renewed_lives_on(s: &dyn Specimen) {
    let lease = grant(s);
    put(s, "a", Some(lease)).expect("the lease lives");
    for _ in 0..6 {
        s.elapse(s.lease_ttl() / 2);
        s.directory().keep_alive(lease).expect("the lease was renewed in time");
    }
    assert!(s.get("a").is_some());
}

pub(super) fn a_revoked_lease_takes_its_keys(s: &dyn Specimen) {
    let (lease, other) = (grant(s), grant(s));
    assert_ne!(lease, other);
    put(s, "a", Some(lease)).expect("the lease lives");
    put(s, "b", Some(other)).expect("the lease lives");
    s.directory().revoke_lease(lease).expect("the lease lives");
    assert_eq!(brief(s, &s.all(None).entries), pairs(&[("b", "x")]));
    s.directory().revoke_lease(other).expect("the lease lives");
}

pub(super) fn a_key_leaves_its_lease_when_it_is_put_without(s: &dyn Specimen) {
    let (first, second) = (grant(s), grant(s));
    put(s, "plain", Some(first)).expect("the lease lives");
    put(s, "plain", None).expect("available");
    put(s, "passed on", Some(first)).expect("the lease lives");
    put(s, "passed on", Some(second)).expect("the lease lives");
    put(s, "made anew", Some(first)).expect("the lease lives");
    s.delete("made anew");
    put(s, "made anew", None).expect("available");
    s.directory().revoke_lease(first).expect("the lease lives");
    assert_eq!(s.all(None).entries.len(), 3);
    s.directory().revoke_lease(second).expect("the lease lives");
    assert_eq!(brief(s, &s.all(None).entries), pairs(&[("made anew", "x"), ("plain", "x")]));
}

pub(super) fn a_lease_that_is_gone_is_refused(s: &dyn Specimen) {
    let lease = grant(s);
    s.directory().revoke_lease(lease).expect("the lease lives");
    let gone = Err(DirectoryError::LeaseNotFound { lease });
    let before = s.put("a", "old");
    assert_eq!(put(s, "a", Some(lease)), Err(DirectoryError::LeaseNotFound { lease }));
    assert_eq!(s.all(None).revision, before);
    assert_eq!(s.directory().keep_alive(lease), gone);
    assert_eq!(s.directory().revoke_lease(lease), gone);
}
