//! Whose store is opened, and when.

use super::harness::*;
use crate::{OpenOptions, Store, StoreFault};

#[test]
fn an_old_copy_is_refused_and_does_not_catch_up_by_being_opened() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 1), pattern(1, 1)).unwrap();
    let old = h.close();
    let present = Harness::open(old.clone()).unwrap();
    let options =
        OpenOptions { incarnation_min: present.store.incarnation(), ..OpenOptions::new(GROUP, SERVER) };
    for _ in 0..3 {
        let refused = Store::open(&mut old.clone(), &options).map(|_| ());
        assert_eq!(refused, Err(StoreFault::OldStore { found: 1, known: 2 }));
    }
    assert!(Store::open(&mut present.close(), &options).is_ok());
}
