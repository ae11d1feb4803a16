use super::*;
use crate::txn::Operation;
use std::time::Duration;

fn put(ledger: &mut Ledger, key: &str, value: &'static str) -> Revision {
    let txn = Txn::default().then(Operation::put(key.into(), value));
    ledger.transact(&txn).unwrap().revision
}

#[test]
fn the_history_is_bounded_and_what_is_gone_is_named() {
    let mut ledger = Ledger::new(3);
    let revisions: Vec<Revision> = (0..5).map(|_| put(&mut ledger, "k", "v")).collect();
    assert_eq!(ledger.compacted(), revisions[1]);
    let all = KeyRange::prefix("k");
    assert!(ledger.range(&all, Some(revisions[1])).is_ok());
    let refused = ledger.range(&all, Some(revisions[0]));
    assert_eq!(refused, Err(DirectoryError::Compacted { wanted: revisions[0], oldest: revisions[1] }));
    let mut next = revisions[1];
    let gone = Err(WatchError::Compacted { compacted: revisions[1] });
    assert_eq!(ledger.next_batch(&all, &mut next), gone);
    next = revisions[2];
    assert_eq!(ledger.next_batch(&all, &mut next).unwrap().unwrap().revision, revisions[2]);
}

#[test]
fn a_watch_of_quiet_keys_skips_what_it_has_seen_and_is_not_left_behind() {
    let mut ledger = Ledger::new(2);
    let quiet = KeyRange::prefix("quiet/");
    let mut next = ledger.revision().next();
    for _ in 0..10 {
        put(&mut ledger, "busy", "v");
        assert_eq!(ledger.next_batch(&quiet, &mut next), Ok(None));
        assert_eq!(next, ledger.revision().next());
    }
}

#[test]
fn leases_end_in_portions_and_their_number_is_bounded() {
    let mut ledger = Ledger::new(10);
    for _ in 0..LEASES_MAX {
        ledger.grant_lease(Duration::from_secs(1)).unwrap();
    }
    let refused = ledger.grant_lease(Duration::from_secs(1));
    assert_eq!(refused, Err(DirectoryError::LeasesExhausted { max: LEASES_MAX }));
    let later = Time::ZERO + Duration::from_secs(1);
    assert_eq!(ledger.advance(later, 64), 64);
    assert_eq!(ledger.advance(later, LEASES_MAX), LEASES_MAX - 64);
    assert_eq!(ledger.advance(later, LEASES_MAX), 0);
    assert!(ledger.grant_lease(Duration::from_secs(1)).is_ok());
}

#[test]
fn time_that_goes_back_ends_no_lease_and_prolongs_none() {
    let mut ledger = Ledger::new(10);
    ledger.advance(Time::ZERO + Duration::from_secs(10), 1);
    let lease = ledger.grant_lease(Duration::from_secs(2)).unwrap();
    ledger.advance(Time::ZERO, 1);
    ledger.keep_alive(lease).unwrap();
    assert_eq!(ledger.advance(Time::ZERO + Duration::from_secs(12), 1), 1);
}
