//! Another place for a volume, in steps none of which moves data.
//!
//! Extents without a route entry are where the volume's place says. Another place is first *published*, beside the volume's
//! record. From then on owners give route entries to what it would re-route: to all extents that were written to, and to
//! others before anybody may use them. Each server of the present place *confirms* when that is so for all it owns. When
//! all have, the place is *swapped* in: what it re-routes then was never written to, and nobody serves it.

use super::{Actor, ChangeError, NoVolumeSnafu, acting, clear_intent, guarded};
use crate::directory::KeyRange;
use crate::place::Place;
use crate::records::{CounterName, NextPlaceRecord, PlacedRecord, RouteEntry, VolumeRecord, encode_json};
use crate::txn::{Compare, Operation, Txn};
use crate::view::View;
use evenkeel_types::geometry::EXTENTS_PER_RUN;
use evenkeel_types::{ExtentId, VolumeId};
use snafu::OptionExt;

/// Volumes that get another place at the same time; others wait for their turn.
pub const PLACES_PUBLISHED_MAX: usize = 4;
/// Extents and runs together that get entries in one transaction: each is compared and put.
pub const ENTERED_PER_TXN_MAX: usize = 48;
/// Transactions about what is lost that the planner asks for at once.
const LOST_TXNS_MAX: usize = 8;

/// Publishes the place that a volume is to get. No route and no epoch changes by it.
///
/// Compares: the acting server's record; the volume's record; that no place is published; and the counter of server ids,
/// which every change of who belongs to the group touches.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::NoVolume`].
pub fn publish_place(view: &View, by: Actor, volume: VolumeId, place: &Place) -> Result<Txn, ChangeError> {
    let kept = view.volume(volume).context(NoVolumeSnafu { volume })?;
    let keys = view.keys();
    let next = keys.next_place(volume);
    let compares = vec![
        acting(view, by)?,
        Compare::unchanged(keys.volume(volume), kept.revision),
        Compare::as_read(next.clone(), view.next_place(volume).map(|kept| kept.revision)),
        members_as_read(view),
    ];
    let record = NextPlaceRecord { place: place.clone() };
    let operations = vec![
        Operation::Delete(KeyRange::prefix(&keys.all_placed(volume))),
        Operation::put(next, encode_json(&record)),
    ];
    Ok(guarded(compares, operations))
}

/// Takes a published place back.
///
/// Compares: the acting server's record, and the publication.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::NoNextPlace`].
pub fn withdraw_place(view: &View, by: Actor, volume: VolumeId) -> Result<Txn, ChangeError> {
    let compares = vec![acting(view, by)?, published(view, volume)?];
    Ok(guarded(compares, forget_publication(view, volume)))
}

/// Gives route entries that say what the volume's present place says to extents and to whole runs: they stay where they
/// are when another place comes. For all together at most [`ENTERED_PER_TXN_MAX`].
///
/// Compares: the acting server's record; the volume's record; that neither the extents nor their runs have entries.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::NoVolume`].
pub fn enter(
    view: &View,
    by: Actor,
    volume: VolumeId,
    extents: &[u32],
    runs: &[u32],
) -> Result<Txn, ChangeError> {
    assert!(extents.len() + runs.len() <= ENTERED_PER_TXN_MAX, "entries go in steps");
    let kept = view.volume(volume).context(NoVolumeSnafu { volume })?;
    let keys = view.keys();
    let record = &kept.record;
    let mut compares = vec![acting(view, by)?, Compare::unchanged(keys.volume(volume), kept.revision)];
    let mut operations = Vec::new();
    let entry = |run| RouteEntry::settled(record.place.locate(record.seed, run, record.replicas)).encode();
    for index in extents {
        let (key, run) = (keys.route(ExtentId { volume, index: *index }), index / EXTENTS_PER_RUN);
        compares.extend([Compare::absent(key.clone()), Compare::absent(keys.run(volume, run))]);
        operations.push(Operation::put(key, entry(run)));
    }
    for run in runs {
        let key = keys.run(volume, *run);
        compares.push(Compare::absent(key.clone()));
        operations.push(Operation::put(key, entry(*run)));
    }
    Ok(guarded(compares, operations))
}

/// Says that the acting server is ready for the place that a volume is to get, as of the view.
///
/// Compares: the acting server's record, and the publication.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::NoNextPlace`].
pub fn confirm_place(view: &View, by: Actor, volume: VolumeId) -> Result<Txn, ChangeError> {
    let publication = view.next_place(volume).context(super::NoNextPlaceSnafu { volume })?.revision;
    let record = PlacedRecord { publication, members: view.placing_members(volume) };
    let compares = vec![acting(view, by)?, published(view, volume)?];
    let key = view.keys().placed(volume, by.server);
    Ok(guarded(compares, vec![Operation::put(key, encode_json(&record))]))
}

/// Puts the published place into the volume's record. The epochs of its extents without an entry grow by it. What was
/// confirmed stays so, whatever becomes of the servers meanwhile: nothing more is written to without an entry.
///
/// Compares: the acting server's record, the publication, and the volume's record.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::NoVolume`], [`ChangeError::NoNextPlace`],
/// [`ChangeError::PlaceNotConfirmed`].
pub fn swap_place(view: &View, by: Actor, volume: VolumeId) -> Result<Txn, ChangeError> {
    let kept = view.volume(volume).context(NoVolumeSnafu { volume })?;
    let next = view.next_place(volume).context(super::NoNextPlaceSnafu { volume })?;
    let is_any_lost = view.lost_runs(volume).next().is_some();
    let is_ready = view.is_place_confirmed(volume) && !is_any_lost && view.are_present(&next.record.place);
    snafu::ensure!(is_ready, super::PlaceNotConfirmedSnafu { volume });
    let record = VolumeRecord { place: next.record.place.clone(), ..kept.record.clone() };
    record.check()?;
    let key = view.keys().volume(volume);
    let compares =
        vec![acting(view, by)?, published(view, volume)?, Compare::unchanged(key.clone(), kept.revision)];
    let mut operations = forget_publication(view, volume);
    operations.push(Operation::put(key, encode_json(&record)));
    Ok(guarded(compares, operations))
}

/// What is to be done next so that volumes are placed over the servers that are to stay; nothing if nothing is, or if it is
/// others' turn.
///
/// While a server of a volume's present place is down, no other place is published, and one that was is withdrawn: owners
/// do not wait for the directory longer than they have to. So it is while one of the place to come is down: what was never
/// written to would be routed to a server that is not there.
#[must_use]
pub fn next_placing(view: &View, by: Actor) -> Vec<Txn> {
    let mut published = view.next_places().count();
    for (volume, _) in view.volumes() {
        let wanted = view.wanted_place(volume);
        let made = match (view.next_place(volume), wanted) {
            (None, None) => continue,
            (None, Some(wanted))
                if !view.is_place_present(volume)
                    || !view.are_present(&wanted)
                    || published >= PLACES_PUBLISHED_MAX =>
            {
                continue;
            }
            (None, Some(wanted)) => {
                published += 1;
                publish_place(view, by, volume, &wanted)
            }
            (Some(next), wanted)
                if wanted.as_ref() != Some(&next.record.place)
                    || !view.is_place_present(volume)
                    || !view.are_present(&next.record.place) =>
            {
                withdraw_place(view, by, volume)
            }
            (Some(_), _) => {
                let lost: Vec<u32> =
                    view.lost_runs(volume).take(ENTERED_PER_TXN_MAX * LOST_TXNS_MAX).collect();
                if lost.is_empty() {
                    swap_place(view, by, volume)
                } else {
                    let steps = lost.chunks(ENTERED_PER_TXN_MAX);
                    return steps.filter_map(|runs| enter(view, by, volume, &[], runs).ok()).collect();
                }
            }
        };
        if let Ok(txn) = made {
            return vec![txn];
        }
    }
    Vec::new()
}

/// Ends the moves of extents that are lost: nobody owns them who would, and their targets wait for them, and could never be
/// emptied.
#[must_use]
pub fn end_lost_moves(view: &View, by: Actor, unix_ms: u64) -> Vec<Txn> {
    let of_lost = view
        .moves_under_way()
        .map(|(_, record)| record.extent)
        .filter(|extent| view.route(*extent).is_some_and(|route| route.is_lost && route.intent.is_some()));
    of_lost.take(LOST_TXNS_MAX).filter_map(|extent| clear_intent(view, by, extent, unix_ms).ok()).collect()
}

/// What goes with a publication.
pub(super) fn forget_publication(view: &View, volume: VolumeId) -> Vec<Operation> {
    let keys = view.keys();
    vec![
        Operation::delete(&keys.next_place(volume)),
        Operation::Delete(KeyRange::prefix(&keys.all_placed(volume))),
    ]
}

/// The compare of who belongs to the group: the counter of server ids is put with each registration and each end.
pub(super) fn members_as_read(view: &View) -> Compare {
    let key = view.keys().counter(CounterName::Server);
    Compare::as_read(key, view.counter(CounterName::Server).1)
}

fn published(view: &View, volume: VolumeId) -> Result<Compare, ChangeError> {
    let kept = view.next_place(volume).context(super::NoNextPlaceSnafu { volume })?;
    Ok(Compare::unchanged(view.keys().next_place(volume), kept.revision))
}
