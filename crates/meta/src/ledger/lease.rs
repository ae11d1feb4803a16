//! Leases: keys that live only while their owner renews them.

use super::Ledger;
use crate::directory::{DirectoryError, Entry, Key, LeaseId, LeaseNotFoundSnafu, LeasesExhaustedSnafu};
use evenkeel_types::Time;
use snafu::{OptionExt, ensure};
use std::collections::BTreeSet;
use std::time::Duration;

/// Leases of a directory at most.
pub const LEASES_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Lease {
    ttl: Duration,
    expires: Time,
    keys: BTreeSet<Key>,
}

impl Ledger {
    /// See [`crate::Directory::grant_lease`].
    ///
    /// # Errors
    /// `LeasesExhausted`.
    pub fn grant_lease(&mut self, ttl: Duration) -> Result<LeaseId, DirectoryError> {
        ensure!(self.leases.len() < LEASES_MAX, LeasesExhaustedSnafu { max: LEASES_MAX });
        self.last_lease = LeaseId(self.last_lease.0 + 1);
        self.leases.insert(self.last_lease, Lease { ttl, expires: self.now + ttl, keys: BTreeSet::new() });
        Ok(self.last_lease)
    }

    /// See [`crate::Directory::keep_alive`].
    ///
    /// # Errors
    /// `LeaseNotFound`.
    pub fn keep_alive(&mut self, lease: LeaseId) -> Result<(), DirectoryError> {
        let now = self.now;
        let held = self.leases.get_mut(&lease).context(LeaseNotFoundSnafu { lease })?;
        held.expires = now + held.ttl;
        Ok(())
    }

    /// See [`crate::Directory::revoke_lease`].
    ///
    /// # Errors
    /// `LeaseNotFound`.
    pub fn revoke_lease(&mut self, lease: LeaseId) -> Result<(), DirectoryError> {
        let held = self.leases.remove(&lease).context(LeaseNotFoundSnafu { lease })?;
        let mut fates = Vec::new();
        for key in held.keys {
            let before = self.entries.get(&key).cloned();
            assert!(before.is_some(), "a lease names only keys that exist");
            self.set(&key, before, None, &mut fates);
        }
        self.record(fates);
        Ok(())
    }

    /// Tells the time; leases that expired by now end, each in a revision of its own, at most `max` of them. Returns how
    /// many: if it is `max`, there may be more.
    pub fn advance(&mut self, now: Time, max: usize) -> usize {
        self.now = self.now.max(now);
        let expired = self.leases.iter().filter(|(_, lease)| lease.expires <= self.now).map(|(id, _)| *id);
        let expired: Vec<LeaseId> = expired.take(max).collect();
        for lease in &expired {
            self.revoke_lease(*lease).expect("the lease was just found");
        }
        expired.len()
    }

    /// All leases and how long they last.
    pub(crate) fn leases(&self) -> std::collections::BTreeMap<LeaseId, Duration> {
        self.leases.iter().map(|(id, lease)| (*id, lease.ttl)).collect()
    }

    /// The lease that was granted last; ids of leases are not given twice.
    #[cfg(feature = "embedded")]
    pub(crate) const fn last_lease(&self) -> LeaseId {
        self.last_lease
    }

    /// Leases of before a restart begin anew: their owners could not renew them meanwhile.
    pub(super) fn restore_leases(&mut self, leases: std::collections::BTreeMap<LeaseId, Duration>) {
        for (id, ttl) in leases {
            let keys = self.entries.values().filter(|entry| entry.lease == Some(id));
            let keys = keys.map(|entry| entry.key.clone()).collect();
            self.leases.insert(id, Lease { ttl, expires: self.now + ttl, keys });
        }
    }

    pub(super) fn attach(&mut self, entry: &Entry) {
        if let Some(lease) = entry.lease {
            let held = self.leases.get_mut(&lease).expect("a put names a lease that exists");
            held.keys.insert(entry.key.clone());
        }
    }

    pub(super) fn detach(&mut self, entry: Option<&Entry>) {
        if let Some((entry, lease)) = entry.and_then(|entry| Some((entry, entry.lease?)))
            && let Some(held) = self.leases.get_mut(&lease)
        {
            held.keys.remove(&entry.key);
        }
    }
}
