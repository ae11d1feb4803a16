//! Creating, deleting and sharing volumes.

use super::moves::put_ended;
use super::{
    Actor, ChangeError, NoVolumeSnafu, TooFewDomainsSnafu, VolumeNameTakenSnafu, acting, guarded, placing,
};
use crate::directory::KeyRange;
use crate::place::Place;
use crate::records::{
    AccessRecord, CounterName, MoveState, TombstoneRecord, VolumeRecord, encode_counter, encode_json,
};
use crate::txn::{Compare, Operation, TXN_OPERATIONS_MAX, Txn};
use crate::view::View;
use evenkeel_types::VolumeId;
use snafu::{OptionExt, ensure};

/// A volume to be created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewVolume {
    /// Its name, unique in the group.
    pub name: String,
    /// Its size, a multiple of the logical block.
    pub size_bytes: u64,
    /// Bytes of a logical block: 512 or 4096.
    pub logical_block_bytes: u32,
    /// Copies of each extent, 1 to 3, in distinct failure domains.
    pub replicas: u8,
    /// Drawn at random by the caller.
    pub seed: u64,
    /// Over which servers; see [`View::place_for_new_volume`].
    pub place: Place,
    /// Who may use it.
    pub access: AccessRecord,
    /// The time, in milliseconds since 1970.
    pub created_unix_ms: u64,
}

/// Creates a volume and gives it an id.
///
/// Compares: the acting server's record; the counter of volume ids; that the name is free; and the counter of server ids,
/// which every change of who belongs to the group touches.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::BadRecord`], [`ChangeError::VolumeNameTaken`],
/// [`ChangeError::TooFewDomains`].
pub fn create_volume(view: &View, by: Actor, new: &NewVolume) -> Result<(VolumeId, Txn), ChangeError> {
    let record = VolumeRecord {
        name: new.name.clone(),
        size_bytes: new.size_bytes,
        logical_block_bytes: new.logical_block_bytes,
        replicas: new.replicas,
        seed: new.seed,
        place: new.place.clone(),
        created_unix_ms: new.created_unix_ms,
    };
    record.check()?;
    new.access.check()?;
    let domains = new.place.domains();
    ensure!(usize::from(new.replicas) <= domains, TooFewDomainsSnafu { replicas: new.replicas, domains });
    ensure!(view.volume_named(&new.name).is_none(), VolumeNameTakenSnafu { name: new.name.clone() });
    let keys = view.keys();
    let (next, revision) = view.counter(CounterName::Volume);
    let id = VolumeId(next);
    let (counter, name) = (keys.counter(CounterName::Volume), keys.name(&new.name));
    let compares = vec![
        acting(view, by)?,
        Compare::as_read(counter.clone(), revision),
        Compare::absent(name.clone()),
        // Nobody in the place is gone for good by then.
        placing::members_as_read(view),
    ];
    let puts = vec![
        Operation::put(counter, encode_counter(next + 1)),
        Operation::put(name, encode_json(&id)),
        Operation::put(keys.volume(id), encode_json(&record)),
        Operation::put(keys.access(id), encode_json(&new.access)),
    ];
    Ok((id, guarded(compares, puts)))
}

/// Deletes a volume for ever: its record, name, rights and route entries go, and a tombstone comes, on which servers
/// give up their copies. Moves under way are recorded as aborted.
///
/// Compares: the acting server's record; the volume's record as in the view.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::NoVolume`].
pub fn delete_volume(view: &View, by: Actor, volume: VolumeId, unix_ms: u64) -> Result<Txn, ChangeError> {
    let kept = view.volume(volume).context(NoVolumeSnafu { volume })?;
    let keys = view.keys();
    let tombstone = TombstoneRecord { name: kept.record.name.clone(), deleted_unix_ms: unix_ms };
    let mut operations = vec![
        Operation::put(keys.tombstone(volume), encode_json(&tombstone)),
        Operation::delete(&keys.volume(volume)),
        Operation::delete(&keys.name(&kept.record.name)),
        Operation::delete(&keys.access(volume)),
        Operation::Delete(KeyRange::prefix(&keys.routes(volume))),
    ];
    operations.extend(placing::forget_publication(view, volume));
    let room = TXN_OPERATIONS_MAX - operations.len();
    let under_way = view.moves_under_way().filter(|(_, record)| record.extent.volume == volume);
    operations.extend(
        under_way.take(room).map(|(id, record)| put_ended(keys, id, record, MoveState::Aborted, unix_ms)),
    );
    let compares = vec![acting(view, by)?, Compare::unchanged(keys.volume(volume), kept.revision)];
    Ok(guarded(compares, operations))
}

/// Says anew who may do what with a volume. No epoch grows by it; the change is in force when servers have heard of it.
///
/// Compares: the acting server's record; that the volume exists and that its rights are as in the view.
///
/// # Errors
/// [`ChangeError::NotPresent`], [`ChangeError::NoVolume`], [`ChangeError::BadRecord`].
pub fn set_access(
    view: &View,
    by: Actor,
    volume: VolumeId,
    access: &AccessRecord,
) -> Result<Txn, ChangeError> {
    access.check()?;
    let kept = view.volume(volume).context(NoVolumeSnafu { volume })?;
    let keys = view.keys();
    let before = view.access(volume).map(|kept| kept.revision);
    let compares = vec![
        acting(view, by)?,
        Compare::unchanged(keys.volume(volume), kept.revision),
        Compare::as_read(keys.access(volume), before),
    ];
    Ok(guarded(compares, vec![Operation::put(keys.access(volume), encode_json(access))]))
}
