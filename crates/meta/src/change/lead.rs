//! Records that go with a lease: hints of life and elections.

use super::{Actor, ChangeError, acting, guarded};
use crate::directory::LeaseId;
use crate::records::{LeadRecord, LiveRecord, Role, encode_json};
use crate::txn::{Compare, Operation, Txn};
use crate::view::View;

/// Puts the acting server's `live` record under its lease.
///
/// Compares: its own member record.
///
/// # Errors
/// [`ChangeError::NotPresent`].
pub fn announce(view: &View, by: Actor, lease: LeaseId) -> Result<Txn, ChangeError> {
    let value = encode_json(&LiveRecord { incarnation: by.incarnation });
    let put = Operation::Put { key: view.keys().live(by.server), value, lease: Some(lease) };
    Ok(guarded(vec![acting(view, by)?], vec![put]))
}

/// Takes a role that nobody has.
///
/// Compares: its own member record; that the role is free.
///
/// # Errors
/// [`ChangeError::NotPresent`].
pub fn campaign(view: &View, by: Actor, role: Role, lease: LeaseId) -> Result<Txn, ChangeError> {
    let key = view.keys().lead(role);
    let value = encode_json(&LeadRecord { server: by.server, incarnation: by.incarnation });
    let put = Operation::Put { key: key.clone(), value, lease: Some(lease) };
    Ok(guarded(vec![acting(view, by)?, Compare::absent(key)], vec![put]))
}

/// Gives up a role; `None` if the view does not say that the acting server has it.
///
/// Compares: the role's record as in the view. Not its own member record: a server that is down may give up a role.
#[must_use]
pub fn resign(view: &View, by: Actor, role: Role) -> Option<Txn> {
    let kept = view.leader(role)?;
    let mine = kept.record.server == by.server && kept.record.incarnation == by.incarnation;
    let key = view.keys().lead(role);
    mine.then(|| guarded(vec![Compare::unchanged(key.clone(), kept.revision)], vec![Operation::delete(&key)]))
}
