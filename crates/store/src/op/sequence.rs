//! A change's turn in the journal: it is checked against the record as all changes before it leave it, and becomes an
//! entry, or an error with nothing changed.

use crate::extent::record::Record;
use crate::journal::entry::{Change, Entry, Section, SectionKind};
use crate::layout::{BLOCK, NO_UNIT};
use crate::op::{Mutation, MutationKind};
use crate::store::Store;
use crate::units::Room;
use evenkeel_types::Region;
use evenkeel_types::geometry::BLOCKS_PER_REGION;
use evenkeel_types::store_op::{Content, IDENTITIES_PER_EXTENT_MAX, StoreError, StoreWrite};
use smallvec::SmallVec;

/// How a change's turn ended.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It is an entry now; the change's own blocks that go into the payload are those of its sections.
    Entry(Entry),
    /// It needs no entry.
    Nothing,
    /// It is refused.
    Refused(StoreError),
    /// It needs units that the next checkpoint frees.
    Stalled,
}

impl Store {
    /// Makes an entry of a change. Only units are taken; the record is not changed yet.
    pub(crate) fn sequence(&mut self, key: u32) -> Turn {
        let mutation = self.ops.mutation(key);
        let slot = mutation.slot;
        let record = &self.cache.get(self.table.slot(slot).cached).record;
        let entry = |change| Turn::Entry(Entry { slot, extent: self.table.slot(slot).extent, change });
        match &mutation.kind {
            MutationKind::Write(write) => match check_write(record, write) {
                Err(error) => Turn::Refused(error),
                Ok(()) => self.sequence_write(key),
            },
            MutationKind::Install { region, replaces, identities, .. } => {
                let found = record.versions[region.index()];
                if !record.live {
                    Turn::Refused(StoreError::NoRecord)
                } else if found != *replaces {
                    Turn::Refused(StoreError::VersionMismatch { region: *region, found })
                } else if record.identities_with_region(*region, identities) > IDENTITIES_PER_EXTENT_MAX {
                    Turn::Refused(StoreError::IdentitiesFull)
                } else {
                    self.sequence_install(key)
                }
            }
            MutationKind::Accept { epoch, replicas, holds, reserve_all, forget_below } => {
                if *epoch < record.accepted {
                    return Turn::Refused(StoreError::StaleEpoch { accepted: record.accepted });
                }
                let held = self.table.slot(slot);
                let missing = if *reserve_all { !held.mapped & !held.reserved } else { 0 };
                let change = Change::Accept {
                    epoch: *epoch,
                    replicas: replicas.clone(),
                    holds: *holds,
                    reserve_all: *reserve_all,
                    forget_below: forget_below.clone(),
                };
                let turn = entry(change);
                if !self.units.reserve(missing.count_ones()) {
                    return Turn::Refused(StoreError::NoSpace);
                }
                self.table.slot_mut(slot).reserved |= missing;
                turn
            }
            MutationKind::Reserve { blocks } => {
                let blocks = *blocks;
                self.reserve(slot, blocks).map_or_else(Turn::Refused, |()| Turn::Nothing)
            }
            MutationKind::Unreserve { regions } => {
                let regions = *regions;
                self.unreserve(slot, regions);
                Turn::Nothing
            }
            MutationKind::Free if !record.live => Turn::Nothing,
            MutationKind::Forget if !record.live => Turn::Nothing,
            MutationKind::Free => entry(Change::Free),
            MutationKind::Forget => entry(Change::Forget),
        }
    }

    /// The turn of a change that cannot have units for these regions now; none if it can.
    fn without_room(&self, slot: u32, regions: &[Region]) -> Option<Turn> {
        let reserved = self.table.slot(slot).reserved;
        let promised = regions.iter().filter(|region| reserved >> region.index() & 1 == 1).count() as u32;
        match self.units.room(regions.len() as u32 - promised, promised) {
            Room::Now => None,
            Room::AfterCheckpoint => Some(Turn::Stalled),
            Room::Never => Some(Turn::Refused(StoreError::NoSpace)),
        }
    }

    fn sequence_write(&mut self, key: u32) -> Turn {
        let mutation = self.ops.mutation(key);
        let MutationKind::Write(write) = &mutation.kind else { unreachable!("called for writes") };
        let (slot, blocks) = (mutation.slot, write.blocks);
        let is_data = matches!(write.content, Content::Data(_));
        let record = &self.cache.get(self.table.slot(slot).cached).record;
        let mut sections: SmallVec<[Section; 1]> = SmallVec::new();
        let mut without_unit: SmallVec<[Region; 4]> = SmallVec::new();
        for (number, piece) in blocks.split_by_region() {
            let region = Region::new(number).expect("a block range lies within its extent");
            let mask = mask_of(piece.first % BLOCKS_PER_REGION, piece.count);
            if !is_data {
                let (kind, unit) = (SectionKind::Absent, NO_UNIT);
                sections.push(Section { region, kind, mask, unit, crcs: SmallVec::new() });
                continue;
            }
            let from = usize::from(piece.first - blocks.first);
            let crcs = SmallVec::from_slice(&mutation.crcs[from..from + usize::from(piece.count)]);
            let (kind, unit) = match prepared_unit(mutation, region) {
                Some(unit) => (SectionKind::Switch, unit),
                None => (SectionKind::Blocks, record.units[region.index()]),
            };
            if unit == NO_UNIT {
                without_unit.push(region);
            }
            sections.push(Section { region, kind, mask, unit, crcs });
        }
        let (version, identity, forget_below) = (write.version, write.identity, write.forget_below);
        if let Some(turn) = self.without_room(slot, &without_unit) {
            return turn;
        }
        if is_data {
            for section in &mut sections {
                if section.unit == NO_UNIT {
                    section.unit = self.take_unit(slot, section.region);
                }
            }
        }
        let change = Change::Write { version, identity, forget_below, sections };
        Turn::Entry(Entry { slot, extent: self.table.slot(slot).extent, change })
    }

    fn sequence_install(&mut self, key: u32) -> Turn {
        let mutation = self.ops.mutation(key);
        let MutationKind::Install { region, version, present, bad, identities, .. } = &mutation.kind else {
            unreachable!("called for images")
        };
        let (region, version, present, bad) = (*region, *version, *present, *bad);
        let identities = identities.clone();
        let slot = mutation.slot;
        let crcs = SmallVec::from_slice(&mutation.crcs);
        let mut sections = Vec::new();
        let mapped = self.cache.get(self.table.slot(slot).cached).record.units[region.index()];
        match prepared_unit(mutation, region) {
            _ if present == 0 => {
                let kind = SectionKind::Switch;
                sections.push(Section { region, kind, mask: 0, unit: NO_UNIT, crcs });
            }
            Some(unit) => {
                sections.push(Section { region, kind: SectionKind::Switch, mask: present, unit, crcs });
            }
            // Through the journal blocks would come that have no right checksum, and be read from memory until then.
            None if bad != 0 => return Turn::Stalled,
            None => {
                if mapped == NO_UNIT
                    && let Some(turn) = self.without_room(slot, &[region])
                {
                    return turn;
                }
                let unit = if mapped == NO_UNIT { self.take_unit(slot, region) } else { mapped };
                sections.push(Section { region, kind: SectionKind::Blocks, mask: present, unit, crcs });
                if present != u16::MAX {
                    let (kind, unit) = (SectionKind::Absent, NO_UNIT);
                    sections.push(Section { region, kind, mask: !present, unit, crcs: SmallVec::new() });
                }
            }
        }
        let change = Change::Install { version, region, identities, sections };
        Turn::Entry(Entry { slot, extent: self.table.slot(slot).extent, change })
    }
}

/// Bounds of what a change adds to a group commit: bytes of its entry, and blocks of payload.
pub(crate) fn footprint(mutation: &Mutation) -> (usize, u32) {
    match &mutation.kind {
        MutationKind::Write(write) => {
            let sections = usize::from(write.blocks.count / BLOCKS_PER_REGION) + 2;
            let payload = mutation.crcs.len() - mutation.prepared.len() * usize::from(BLOCKS_PER_REGION);
            (Entry::encoded_len_max(sections, mutation.crcs.len(), 0), payload as u32)
        }
        MutationKind::Install { identities, .. } => {
            let payload = if mutation.prepared.is_empty() { mutation.crcs.len() } else { 0 };
            (Entry::encoded_len_max(2, mutation.crcs.len(), identities.len()), payload as u32)
        }
        MutationKind::Accept { forget_below, .. } => (Entry::encoded_len_max(0, 0, forget_below.len()), 0),
        MutationKind::Reserve { .. }
        | MutationKind::Unreserve { .. }
        | MutationKind::Free
        | MutationKind::Forget => (Entry::encoded_len_max(0, 0, 0), 0),
    }
}

/// Where the content of a block of a change lies in its data, in bytes.
pub(crate) fn content_offset(mutation: &Mutation, block: u16) -> usize {
    match &mutation.kind {
        MutationKind::Write(write) => usize::from(block - write.blocks.first) * BLOCK,
        MutationKind::Install { region, present, .. } => {
            let before = mask_of(0, block - region.blocks().first);
            (present & before).count_ones() as usize * BLOCK
        }
        _ => unreachable!("only writes and images have content"),
    }
}

fn prepared_unit(mutation: &Mutation, region: Region) -> Option<u32> {
    mutation.prepared.iter().find(|(prepared, _)| *prepared == region).map(|(_, unit)| *unit)
}

fn mask_of(first: u16, count: u16) -> u16 {
    (((1u32 << count) - 1) << first) as u16
}

fn check_write(record: &Record, write: &StoreWrite) -> Result<(), StoreError> {
    if write.version.epoch < record.accepted {
        return Err(StoreError::StaleEpoch { accepted: record.accepted });
    }
    let mut replaces = write.replaces.iter();
    for (number, _) in write.blocks.split_by_region() {
        let region = Region::new(number).expect("a block range lies within its extent");
        let found = record.versions[region.index()];
        if replaces.next() != Some(&found) {
            return Err(StoreError::VersionMismatch { region, found });
        }
    }
    if record.identities_with(write.identity, write.forget_below) > IDENTITIES_PER_EXTENT_MAX {
        return Err(StoreError::IdentitiesFull);
    }
    Ok(())
}
