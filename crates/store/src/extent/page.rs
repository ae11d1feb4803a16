//! An extent record as it lies on the disk: one page of 8 KiB, in one of the two places of its slot.

use crate::extent::record::Record;
use crate::journal::entry::REPLICAS_MAX;
use crate::layout::{COUNTER_END, NO_UNIT, PAGE_BYTES};
use crate::superblock::checksum_without;
use evenkeel_types::geometry::{BLOCKS_PER_EXTENT, REGIONS_PER_EXTENT};
use evenkeel_types::store_op::{IDENTITIES_PER_EXTENT_MAX, RememberedWrite};
use evenkeel_types::{
    AlignedBuf, Epoch, ExtentId, Incarnation, Regions, ServerId, Version, VolumeId, WriteId,
};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

const PAGE_MAGIC: [u8; 4] = *b"EVKX";
const STATE_EMPTY: u8 = 0;
const STATE_LIVE: u8 = 1;
const FLAG_HAS_DATA: u8 = 1;
const FLAG_RESERVE_ALL: u8 = 2;
/// Bytes left over at the end of a page.
const SPARE_BYTES: usize = 1232;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawVersion {
    epoch: U64,
    sequence: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawIdentity {
    gateway: U32,
    incarnation: U64,
    number: U64,
    regions: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawPage {
    magic: [u8; 4],
    checksum: U32,
    generation: U64,
    store_id: [u8; 16],
    slot: U32,
    state: u8,
    flags: u8,
    replica_count: u8,
    identity_count: u8,
    volume: U64,
    index: U32,
    reserved: U32,
    accepted: U64,
    applied: U64,
    replicas: [U32; REPLICAS_MAX],
    reserved_2: U32,
    /// Room for the extent that this one was cloned from; zeros in this version.
    parent: [u8; 24],
    versions: [RawVersion; REGIONS_PER_EXTENT],
    units: [U32; REGIONS_PER_EXTENT],
    present: [U16; REGIONS_PER_EXTENT],
    crcs: [U32; BLOCKS_PER_EXTENT as usize],
    identities: [RawIdentity; IDENTITIES_PER_EXTENT_MAX],
    spare: [u8; SPARE_BYTES],
}
const _: () = assert!(size_of::<RawPage>() == PAGE_BYTES);
const CHECKSUM_AT: usize = 4;
const _: () = assert!(std::mem::offset_of!(RawPage, checksum) == CHECKSUM_AT);

/// A page whose checksum, store and slot were verified.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) generation: u64,
    pub(crate) record: Box<Record>,
}

/// The place of a generation within its slot.
pub(crate) const fn place_of(generation: u64) -> u8 {
    (generation % 2) as u8
}

/// Writes a record as a page.
pub(crate) fn encode(record: &Record, store_id: u128, slot: u32, generation: u64, page: &mut [u8]) {
    assert_eq!(page.len(), PAGE_BYTES, "a page has one size");
    let raw = RawPage::mut_from_bytes(page).expect("the page has exactly its size and any alignment will do");
    raw.zero();
    raw.magic = PAGE_MAGIC;
    raw.generation = U64::new(generation);
    raw.store_id = store_id.to_le_bytes();
    raw.slot = U32::new(slot);
    raw.state = if record.live { STATE_LIVE } else { STATE_EMPTY };
    raw.flags = if record.has_data { FLAG_HAS_DATA } else { 0 }
        | if record.reserve_all { FLAG_RESERVE_ALL } else { 0 };
    raw.replica_count = record.replicas.len() as u8;
    raw.identity_count = record.identities.len() as u8;
    raw.volume = U64::new(record.extent.volume.0);
    raw.index = U32::new(record.extent.index);
    raw.accepted = U64::new(record.accepted.0);
    raw.applied = U64::new(record.applied);
    raw.replicas.iter_mut().zip(&record.replicas).for_each(|(to, replica)| *to = U32::new(replica.0));
    raw.versions.iter_mut().zip(&record.versions).for_each(|(to, version)| *to = raw_version(*version));
    raw.units.iter_mut().zip(&record.units).for_each(|(to, unit)| *to = U32::new(*unit));
    raw.present.iter_mut().zip(&record.present).for_each(|(to, present)| *to = U16::new(*present));
    raw.crcs.iter_mut().zip(&record.crcs).for_each(|(to, crc)| *to = U32::new(*crc));
    for (to, remembered) in raw.identities.iter_mut().zip(&record.identities) {
        *to = RawIdentity {
            gateway: U32::new(remembered.id.gateway.0),
            incarnation: U64::new(remembered.id.incarnation.0),
            number: U64::new(remembered.id.number),
            regions: U64::new(remembered.regions.0),
        };
    }
    seal(page);
}

/// Puts in the checksum.
pub(crate) fn seal(page: &mut [u8]) {
    let checksum = checksum_without(page, CHECKSUM_AT);
    page[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// A record as a page in a buffer of its own; the first generation comes with an empty page for the other place, so
/// that from then on an unreadable place always means damage or a torn write, never "not written yet".
pub(crate) fn to_write(record: &Record, store_id: u128, slot: u32, generation: u64) -> (u8, AlignedBuf) {
    if generation > 1 {
        let mut buf = AlignedBuf::zeroed(PAGE_BYTES);
        encode(record, store_id, slot, generation, &mut buf);
        return (place_of(generation), buf);
    }
    assert_eq!((generation, place_of(generation)), (1, 1), "generations count from 1");
    let mut buf = AlignedBuf::zeroed(2 * PAGE_BYTES);
    let (other, first) = buf.split_at_mut(PAGE_BYTES);
    encode(&Record::absent(record.extent), store_id, slot, 0, other);
    encode(record, store_id, slot, generation, first);
    (0, buf)
}

/// Reads a page; `None` if it is not an intact page of this store, slot and place.
pub(crate) fn decode(bytes: &[u8], store_id: u128, slot: u32, place: u8) -> Option<Page> {
    let raw = RawPage::ref_from_bytes(bytes).ok()?;
    let ours =
        raw.magic == PAGE_MAGIC && u128::from_le_bytes(raw.store_id) == store_id && raw.slot.get() == slot;
    if !ours || checksum_without(bytes, CHECKSUM_AT) != raw.checksum.get() {
        return None;
    }
    let (replicas, identities) = (raw.replica_count as usize, raw.identity_count as usize);
    let in_bounds = raw.state <= STATE_LIVE
        && replicas <= REPLICAS_MAX
        && identities <= IDENTITIES_PER_EXTENT_MAX
        && raw.generation.get() < COUNTER_END
        && place_of(raw.generation.get()) == place;
    if !in_bounds {
        return None;
    }
    let extent = ExtentId { volume: VolumeId(raw.volume.get()), index: raw.index.get() };
    let mut record = Record::absent(extent);
    record.live = raw.state == STATE_LIVE;
    record.has_data = raw.flags & FLAG_HAS_DATA != 0;
    record.reserve_all = raw.flags & FLAG_RESERVE_ALL != 0;
    record.accepted = Epoch(raw.accepted.get());
    record.applied = raw.applied.get();
    record.replicas = raw.replicas[..replicas].iter().map(|replica| ServerId(replica.get())).collect();
    record.versions.iter_mut().zip(&raw.versions).for_each(|(to, version)| *to = version_of(*version));
    record.units.iter_mut().zip(&raw.units).for_each(|(to, unit)| *to = unit.get());
    record.present.iter_mut().zip(&raw.present).for_each(|(to, present)| *to = present.get());
    record.crcs.iter_mut().zip(&raw.crcs).for_each(|(to, crc)| *to = crc.get());
    record.identities = raw.identities[..identities].iter().map(identity_of).collect();
    record.rehash();
    Some(Page { generation: raw.generation.get(), record })
}

/// A region with present blocks and no unit: what no program writes, and what a check looks for.
pub(crate) fn presence_without_unit(record: &Record) -> Option<usize> {
    (0..REGIONS_PER_EXTENT).find(|region| record.present[*region] != 0 && record.units[*region] == NO_UNIT)
}

fn raw_version(version: Version) -> RawVersion {
    RawVersion { epoch: U64::new(version.epoch.0), sequence: U64::new(version.sequence) }
}

fn version_of(raw: RawVersion) -> Version {
    Version { epoch: Epoch(raw.epoch.get()), sequence: raw.sequence.get() }
}

fn identity_of(raw: &RawIdentity) -> RememberedWrite {
    let id = WriteId {
        gateway: ServerId(raw.gateway.get()),
        incarnation: Incarnation(raw.incarnation.get()),
        number: raw.number.get(),
    };
    RememberedWrite { id, regions: Regions(raw.regions.get()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_record_reads_back_as_written_and_a_flipped_bit_is_noticed() {
        let mut record = Record::absent(ExtentId { volume: VolumeId(3), index: 4 });
        record.live = true;
        record.has_data = true;
        record.accepted = Epoch(9);
        record.applied = 12;
        record.replicas = [ServerId(1), ServerId(2), ServerId(3)].into_iter().collect();
        record.versions[63] = Version { epoch: Epoch(9), sequence: 5 };
        record.units[63] = 77;
        record.present[63] = 0x8001;
        record.crcs[1023] = 0xdead_beef;
        let id = WriteId { gateway: ServerId(1), incarnation: Incarnation(2), number: 3 };
        record.identities =
            vec![RememberedWrite { id, regions: Regions(1 << 63 | 5) }; IDENTITIES_PER_EXTENT_MAX];
        record.rehash();
        let (place, mut page) = to_write(&record, 42, 6, 2);
        assert_eq!(place, 0);
        let read = decode(&page, 42, 6, 0).unwrap();
        assert_eq!((read.generation, &read.record), (2, &record));
        assert!(decode(&page, 43, 6, 0).is_none(), "another store's page");
        assert!(decode(&page, 42, 7, 0).is_none(), "another slot's page");
        assert!(decode(&page, 42, 6, 1).is_none(), "a page of the other place");
        page[5000] ^= 1;
        assert!(decode(&page, 42, 6, 0).is_none());
    }

    #[test]
    fn the_first_generation_initialises_both_places() {
        let record = Record::absent(ExtentId { volume: VolumeId(3), index: 4 });
        let (place, pages) = to_write(&record, 42, 6, 1);
        assert_eq!((place, pages.len()), (0, 2 * PAGE_BYTES));
        assert_eq!(decode(&pages[..PAGE_BYTES], 42, 6, 0).unwrap().generation, 0);
        assert_eq!(decode(&pages[PAGE_BYTES..], 42, 6, 1).unwrap().generation, 1);
    }
}
