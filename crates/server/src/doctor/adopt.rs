//! Volumes that were made after the backup: the stores have their extents, and the directory gets a record of them again.
//!
//! Their numbers, their extents and who holds them are in the stores' records; name, size and who may use them are not, and
//! are said by whoever adopts them. What the volume was placed by is lost too: that decides only where extents go that were
//! never written.

use crate::clock;
use crate::entropy::random_u64;
use crate::error::{ServeError, error};
use evenkeel_api::AdoptedVolume;
use evenkeel_meta::records::{AccessRecord, VolumeRecord, encode_json};
use evenkeel_meta::restore::{Missing, StoreList};
use evenkeel_meta::{Compare, Operation, Spread, Txn, View};
use evenkeel_types::VolumeId;
use evenkeel_types::geometry::EXTENT_BYTES;
use std::collections::BTreeMap;

/// Bytes of a logical block of every volume.
const LOGICAL_BLOCK_BYTES: u32 = 512;

/// A volume that the stores hold and the directory does not know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adopt {
    /// Its number, as a first run without adopting names it.
    pub number: u64,
    /// The name that it gets: the one that it had, so that its target name is the same.
    pub name: String,
    /// Its size; absent: up to the end of its last extent that the stores hold.
    pub size_bytes: Option<u64>,
}

/// The record of an adopted volume, and the transaction that writes it. The servers that may take extents are known by now.
///
/// # Errors
/// One line: the stores hold no such volume that the directory does not know, or the name or size is wrong.
pub(super) fn adopt(
    view: &View,
    missing: &BTreeMap<VolumeId, Missing>,
    lists: &[StoreList],
    wanted: &Adopt,
    allow: &AccessRecord,
) -> Result<(AdoptedVolume, Txn), ServeError> {
    let Adopt { number, name, size_bytes } = wanted;
    let wrong = |what: String| error(format!("volume {number} cannot be adopted as '{name}': {what}"));
    let volume = VolumeId(*number);
    let found = missing.get(&volume).ok_or_else(|| {
        let known: Vec<String> = missing.keys().map(|volume| volume.0.to_string()).collect();
        wrong(match &known[..] {
            [] => "the directory knows all that the stores hold".to_owned(),
            known => format!("those that the directory does not know are {}", known.join(", ")),
        })
    })?;
    let held = (u64::from(found.extents.last().copied().unwrap_or(0)) + 1) * EXTENT_BYTES as u64;
    let size_bytes = size_bytes.unwrap_or(held);
    if size_bytes + EXTENT_BYTES as u64 <= held {
        return Err(wrong(format!("{size_bytes} bytes are less than the {held} that the stores hold")));
    }
    if view.volume_named(name).is_some() {
        return Err(wrong("there is a volume of this name".to_owned()));
    }
    let records = lists.iter().flat_map(|list| &list.extents);
    let copies = records.filter(|held| held.extent.volume == volume && held.has_data);
    let replicas = copies.map(|held| held.replicas.len()).max().unwrap_or(1).max(1) as u8;
    let place = |spread| view.place_for_new_volume(spread).map_err(|e| wrong(e.to_string()));
    let apart = place(Spread::Domains)?;
    let place = if apart.domains() >= usize::from(replicas) { apart } else { place(Spread::Servers)? };
    let record = VolumeRecord {
        name: name.clone(),
        size_bytes,
        logical_block_bytes: LOGICAL_BLOCK_BYTES,
        replicas,
        seed: random_u64().map_err(|e| error(format!("no random numbers: {e}")))?,
        place,
        created_unix_ms: clock::wall_ms(),
    };
    record.check().map_err(|e| wrong(e.to_string()))?;
    let keys = view.keys();
    let (by_name, by_number) = (keys.name(name), keys.volume(volume));
    let txn = Txn::default()
        .when(Compare::absent(by_name.clone()))
        .when(Compare::absent(by_number.clone()))
        .then(Operation::put(by_name, encode_json(&volume)))
        .then(Operation::put(by_number, encode_json(&record)))
        .then(Operation::put(keys.access(volume), encode_json(allow)));
    Ok((AdoptedVolume { volume: *number, name: name.clone(), size_bytes, replicas }, txn))
}
