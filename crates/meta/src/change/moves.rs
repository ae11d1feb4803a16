//! The steps of a move that are decided by the directory.

use super::{
    Actor, BadMoveSnafu, ChangeError, NoIntentSnafu, NotOwnerSnafu, OtherEpochSnafu, acting, guarded,
};
use crate::directory::Revision;
use crate::records::{
    Keyspace, MOVE_REASON_BYTES_MAX, MOVES_KEPT_PER_SERVER, MoveId, MoveIntent, MoveRecord, MoveState,
    RecordError, RouteEntry, encode_json,
};
use crate::route::Route;
use crate::txn::{Compare, Operation, Txn, TxnOutcome};
use crate::view::{Kept, View};
use evenkeel_types::geometry::EXTENTS_PER_RUN;
use evenkeel_types::{Epoch, ExtentId, ServerId};
use snafu::{OptionExt, ensure};

/// Records of old moves that a new one takes away at most.
const PRUNED_PER_MOVE_MAX: usize = 4;

/// A move to be begun.
#[derive(Clone, PartialEq, Debug)]
pub struct PrepareMove {
    /// What is moved.
    pub extent: ExtentId,
    /// The epoch in which the owner serves it.
    pub epoch: Epoch,
    /// The server that gets a copy.
    pub to: ServerId,
    /// The replica whose place it takes.
    pub replaces: ServerId,
    /// Names the move.
    pub id: MoveId,
    /// The time, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Who asked for it and why, for people.
    pub reason: serde_json::Value,
}

/// Writes the intent of a move into the route entry; this raises the extent's epoch. `from` of an earlier move is
/// cleared. The move's record is written with it, and the oldest records beyond the bound go.
///
/// Compares: all keys that the route is computed from (the entry, or its absence and the volume; the members of all
/// replicas), and the target's member record, which must be up. Since the view is a prefix of the directory's history,
/// "as in the view" says the same as "no revision above the epoch", and a deleted key is caught too.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::OtherEpoch`], [`ChangeError::NotOwner`], [`ChangeError::BadMove`],
/// [`ChangeError::BadRecord`] for a reason that is too long.
pub fn prepare_move(view: &View, by: Actor, new: &PrepareMove) -> Result<Txn, ChangeError> {
    let PrepareMove { extent, to, replaces, .. } = *new;
    let route = owned_route(view, by, extent, new.epoch)?;
    let refuse = |why| BadMoveSnafu { extent, replaces, to, why }.fail();
    if route.intent.is_some() {
        return refuse("another move is under way");
    }
    if route.replicas.contains(&to) {
        return refuse("the target holds a copy already");
    }
    if !route.replicas.contains(&replaces) {
        return refuse("the server to be replaced holds no copy");
    }
    if !view.member(to).is_some_and(|kept| kept.record.takes_extents()) {
        return refuse("the target is not up, or is being drained");
    }
    let intent = MoveIntent { to, replaces, id: new.id };
    let entry = RouteEntry { replicas: route.replicas, from: None, intent: Some(intent) };
    let record = MoveRecord {
        extent,
        from: replaces,
        to,
        state: MoveState::Copying,
        started_unix_ms: new.started_unix_ms,
        ended_unix_ms: None,
        reason: new.reason.clone(),
    };
    check_reason(&record)?;
    let mut compares = vec![acting(view, by)?];
    compares.extend(compare_route(view, extent, &route));
    compares.extend(compare_member(view, to));
    let keys = view.keys();
    let mut operations = vec![
        Operation::put(keys.route(extent), entry.encode()),
        Operation::put(keys.moved(new.id), encode_json(&record)),
    ];
    operations
        .extend(superfluous_moves(view, by.server, new.id).map(|id| Operation::delete(&keys.moved(id))));
    Ok(guarded(compares, operations))
}

/// Puts the target in the place of the replica that it replaces, and clears the intent. `from` is set if that replica
/// was the owner, so that the new owner attaches it too. The move's record becomes `moved`.
///
/// Compares: all keys that the route is computed from: the entry, the members of all replicas, and the target's; since
/// any of them may have made somebody else owner, to compare some of them is not enough.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::OtherEpoch`], [`ChangeError::NotOwner`], [`ChangeError::NoIntent`],
/// [`ChangeError::BadMove`] if the target is not up any more.
pub fn propose_move(
    view: &View,
    by: Actor,
    extent: ExtentId,
    epoch: Epoch,
    unix_ms: u64,
) -> Result<Txn, ChangeError> {
    let route = owned_route(view, by, extent, epoch)?;
    let intent = route.intent.context(NoIntentSnafu { extent })?;
    let MoveIntent { to, replaces, .. } = intent;
    let up = view.member(to).is_some_and(|kept| kept.record.is_up());
    ensure!(up, BadMoveSnafu { extent, replaces, to, why: "the target is not up" });
    let replicas =
        route.replicas.replace(replaces, to).expect("a sound intent replaces a replica by another server");
    let from = (route.owner() == Some(replaces)).then_some(replaces);
    let entry = RouteEntry { replicas, from, intent: None };
    let mut compares = vec![acting(view, by)?];
    compares.extend(compare_route(view, extent, &route));
    let mut operations = vec![Operation::put(view.keys().route(extent), entry.encode())];
    operations.extend(end_record(view, intent.id, MoveState::Moved, unix_ms));
    Ok(guarded(compares, operations))
}

/// Gives a move up: clears the intent. The replicas stay, and the move's record becomes `aborted`.
///
/// It also settles a Propose without an answer: both change the same entry as it was when the Propose was made, so
/// exactly one of them can happen. See [`clear_outcome`].
///
/// Compares: the acting server's record, and the entry as in the view; no other key, so that a failure on the entry
/// has one meaning.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::NoIntent`].
pub fn clear_intent(view: &View, by: Actor, extent: ExtentId, unix_ms: u64) -> Result<Txn, ChangeError> {
    let kept = view.entry(extent).context(NoIntentSnafu { extent })?;
    let intent = kept.record.intent.context(NoIntentSnafu { extent })?;
    let key = view.keys().route(extent);
    let entry = RouteEntry::settled(kept.record.replicas);
    let mut operations = vec![Operation::put(key.clone(), entry.encode())];
    operations.extend(end_record(view, intent.id, MoveState::Aborted, unix_ms));
    Ok(guarded(vec![acting(view, by)?, Compare::unchanged(key, kept.revision)], operations))
}

/// Writes the record of a move that has ended anew, with what was found out since about its effect. For people: no
/// route depends on it.
///
/// Compares: the acting server's record, and the move's record as it was read.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::BadRecord`] for a reason that is too long.
pub fn annotate_move(
    view: &View,
    by: Actor,
    id: MoveId,
    read: Revision,
    record: &MoveRecord,
) -> Result<Txn, ChangeError> {
    check_reason(record)?;
    let key = view.keys().moved(id);
    let compares = vec![acting(view, by)?, Compare::unchanged(key.clone(), read)];
    Ok(guarded(compares, vec![Operation::put(key, encode_json(record))]))
}

fn check_reason(record: &MoveRecord) -> Result<(), ChangeError> {
    let bytes = record.reason.to_string().len();
    if bytes > MOVE_REASON_BYTES_MAX {
        let what = format!("a reason of {bytes} bytes, at most {MOVE_REASON_BYTES_MAX} are possible");
        return Err(RecordError { what }.into());
    }
    Ok(())
}

/// What the answer to a [`clear_intent`] says about the move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClearOutcome {
    /// The intent is cleared: the move did not happen and never will.
    Cleared,
    /// The entry is not what it was: whoever changed it decided (a Propose that was taken, or a successor that
    /// cleared). The watch brings it.
    EntryChanged,
    /// The entry is what it was, but the acting server may not act any more. Nothing is known about a Propose.
    NotAllowed,
}

/// Interprets the answer to a [`clear_intent`] that was made on this view's entry.
#[must_use]
pub fn clear_outcome(keys: &Keyspace, extent: ExtentId, txn: &Txn, outcome: &TxnOutcome) -> ClearOutcome {
    let key = keys.route(extent);
    let compare = txn.compares.iter().find(|compare| compare.key == key);
    let compare = compare.expect("clearing an intent compares the route entry");
    if outcome.succeeded {
        ClearOutcome::Cleared
    } else if compare.holds(outcome.entry(&key)) {
        ClearOutcome::NotAllowed
    } else {
        ClearOutcome::EntryChanged
    }
}

fn owned_route(view: &View, by: Actor, extent: ExtentId, epoch: Epoch) -> Result<Route, ChangeError> {
    let route = view.route(extent);
    let found = route.map(|route| route.epoch);
    let route = route.filter(|route| route.epoch == epoch);
    let route = route.context(OtherEpochSnafu { extent, asked: epoch, found })?;
    ensure!(route.owner() == Some(by.server), NotOwnerSnafu { extent, server: by.server });
    Ok(route)
}

/// All keys that the route is computed from, as the view has them.
fn compare_route<'a>(
    view: &'a View,
    extent: ExtentId,
    route: &Route,
) -> impl Iterator<Item = Compare> + use<'a> {
    let keys = view.keys();
    let entry = Compare::as_read(keys.route(extent), route.entry_revision);
    // Without an entry of its own the run's counts, and without that one the volume's placement.
    let run = route.entry_revision.is_none().then(|| {
        Compare::as_read(keys.run(extent.volume, extent.index / EXTENTS_PER_RUN), route.run_revision)
    });
    let volume = view.volume(extent.volume).filter(|_| route.is_placed());
    let volume = volume.map(|kept| Compare::unchanged(keys.volume(extent.volume), kept.revision));
    let (replicas, target) = (route.replicas, route.intent.map(|intent| intent.to));
    let members = (0..replicas.len()).map(move |n| replicas[n]).chain(target);
    [entry]
        .into_iter()
        .chain(run)
        .chain(volume)
        .chain(members.filter_map(|server| compare_member(view, server)))
}

fn compare_member(view: &View, server: ServerId) -> Option<Compare> {
    let Kept { revision, .. } = view.member(server)?;
    Some(Compare::unchanged(view.keys().member(server), *revision))
}

fn end_record(view: &View, id: MoveId, state: MoveState, unix_ms: u64) -> Option<Operation> {
    Some(put_ended(view.keys(), id, view.move_under_way(id)?, state, unix_ms))
}

pub(super) fn put_ended(
    keys: &Keyspace,
    id: MoveId,
    record: &MoveRecord,
    state: MoveState,
    unix_ms: u64,
) -> Operation {
    let record = MoveRecord { state, ended_unix_ms: Some(unix_ms), ..record.clone() };
    Operation::put(keys.moved(id), encode_json(&record))
}

/// The oldest records of moves that the server began, as far as there are too many with the new one.
fn superfluous_moves(view: &View, server: ServerId, new: MoveId) -> impl Iterator<Item = MoveId> + '_ {
    let own = move || view.moves().filter(move |id| id.server() == server && *id != new);
    let surplus = (own().count() + 1).saturating_sub(MOVES_KEPT_PER_SERVER);
    own().filter(|id| view.move_under_way(*id).is_none()).take(surplus.min(PRUNED_PER_MOVE_MAX))
}
