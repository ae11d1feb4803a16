//! Entries of a journal record: one per operation that changed something. Every value in them is absolute, so that
//! applying an entry says the same whenever it is done; a page's `applied` sequence keeps it from being done twice.

use crate::codec::{Decoder, Encoder};
use crate::layout::NO_UNIT;
use evenkeel_types::geometry::BLOCKS_PER_REGION;
use evenkeel_types::store_op::IDENTITIES_PER_EXTENT_MAX;
use evenkeel_types::{Epoch, ExtentId, Region, ServerId, Version, WriteId};
use smallvec::SmallVec;

/// Replicas of an extent at most.
pub(crate) const REPLICAS_MAX: usize = 3;
/// Bytes of an entry before its sections, at most.
const ENTRY_FIXED_BYTES: usize = 24 + 16 + 2 * 20;
/// Bytes of a section before its checksums.
const SECTION_FIXED_BYTES: usize = 8;
/// Bytes of an identity.
const IDENTITY_BYTES: usize = 20;

const KIND_WRITE: u8 = 1;
const KIND_ACCEPT: u8 = 2;
const KIND_FREE: u8 = 3;
const KIND_FORGET: u8 = 4;
const KIND_INSTALL: u8 = 5;
const WRITE_HAS_IDENTITY: u8 = 1;
const WRITE_HAS_FORGET: u8 = 2;
const ACCEPT_RESERVES_ALL: u8 = 1;
const ACCEPT_HOLDS: u8 = 2;

/// A change of one extent record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) slot: u32,
    pub(crate) extent: ExtentId,
    pub(crate) change: Change,
}

/// What changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Regions get new content and a new version, whose epoch is accepted.
    Write {
        version: Version,
        identity: Option<WriteId>,
        forget_below: Option<WriteId>,
        sections: SmallVec<[Section; 1]>,
    },
    /// An epoch is accepted.
    Accept {
        epoch: Epoch,
        replicas: SmallVec<[ServerId; REPLICAS_MAX]>,
        /// The server holds a copy from now on.
        holds: bool,
        reserve_all: bool,
        forget_below: Vec<WriteId>,
    },
    /// A region becomes what it is at another server. Its version may be of an old epoch.
    Install {
        version: Version,
        region: Region,
        identities: Vec<WriteId>,
        /// All of this region.
        sections: Vec<Section>,
    },
    /// Data and space are given up.
    Free,
    /// The record goes.
    Forget,
}

/// The change of one region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Section {
    pub(crate) region: Region,
    pub(crate) kind: SectionKind,
    /// Blocks of the region that the section is about.
    pub(crate) mask: u16,
    /// The region's unit afterwards; [`NO_UNIT`] for absent blocks, and for a switch to an empty region.
    pub(crate) unit: u32,
    /// One for each block of the mask, in order; none for absent blocks.
    pub(crate) crcs: SmallVec<[u32; BLOCKS_PER_REGION as usize]>,
}

/// How a region changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SectionKind {
    /// The blocks of the mask are in the record's payload and go to their places in the unit later.
    Blocks,
    /// The unit already holds the blocks of the mask, and the region has no others.
    Switch,
    /// The blocks of the mask become absent.
    Absent,
}

impl Entry {
    /// Bytes that an entry with this many sections, checksums and identities takes at most.
    pub(crate) const fn encoded_len_max(sections: usize, checksums: usize, identities: usize) -> usize {
        ENTRY_FIXED_BYTES + sections * SECTION_FIXED_BYTES + checksums * 4 + identities * IDENTITY_BYTES
    }

    /// Blocks that the entry has in its record's payload.
    pub(crate) fn payload_blocks(&self) -> u32 {
        let journaled = self.change.sections().iter().filter(|section| section.kind == SectionKind::Blocks);
        journaled.map(|section| section.mask.count_ones()).sum()
    }

    /// Appends the entry.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let (kind, flags, count) = match &self.change {
            Change::Write { identity, forget_below, sections, .. } => {
                let mut flags = if identity.is_some() { WRITE_HAS_IDENTITY } else { 0 };
                flags |= if forget_below.is_some() { WRITE_HAS_FORGET } else { 0 };
                (KIND_WRITE, flags, sections.len())
            }
            Change::Install { sections, .. } => (KIND_INSTALL, 0, sections.len()),
            Change::Accept { holds, reserve_all, forget_below, .. } => {
                let mut flags = if *reserve_all { ACCEPT_RESERVES_ALL } else { 0 };
                flags |= if *holds { ACCEPT_HOLDS } else { 0 };
                (KIND_ACCEPT, flags, forget_below.len())
            }
            Change::Free => (KIND_FREE, 0, 0),
            Change::Forget => (KIND_FORGET, 0, 0),
        };
        let mut to = Encoder(out);
        to.u32(0);
        to.u8(kind);
        to.u8(flags);
        to.u16(count as u16);
        to.u32(self.slot);
        to.extent(self.extent);
        match &self.change {
            Change::Write { version, identity, forget_below, sections, .. } => {
                to.version(*version);
                identity.iter().chain(forget_below).for_each(|id| to.write_id(*id));
                for section in sections {
                    section.encode(&mut to);
                }
            }
            Change::Install { version, region, identities, sections } => {
                to.version(*version);
                to.u8(region.index() as u8);
                to.u8(identities.len() as u8);
                identities.iter().for_each(|id| to.write_id(*id));
                sections.iter().for_each(|section| section.encode(&mut to));
            }
            Change::Accept { epoch, replicas, forget_below, .. } => {
                to.u64(epoch.0);
                to.u8(replicas.len() as u8);
                replicas.iter().for_each(|replica| to.u32(replica.0));
                forget_below.iter().for_each(|id| to.write_id(*id));
            }
            Change::Free | Change::Forget => {}
        }
        let len = (out.len() - start) as u32;
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Takes an entry from the front; `None` if it makes no sense.
    pub(crate) fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let len = from.u32()? as usize;
        let mut body = Decoder(from.slice(len.checked_sub(4)?)?);
        let (kind, flags, count) = (body.u8()?, body.u8()?, body.u16()? as usize);
        let (slot, extent) = (body.u32()?, body.extent()?);
        let change = match kind {
            KIND_WRITE => Self::decode_write(&mut body, flags, count)?,
            KIND_ACCEPT if count <= IDENTITIES_PER_EXTENT_MAX => {
                let epoch = Epoch(body.u64()?);
                let replica_count = body.u8()? as usize;
                if replica_count > REPLICAS_MAX {
                    return None;
                }
                let replicas =
                    (0..replica_count).map(|_| body.u32().map(ServerId)).collect::<Option<SmallVec<_>>>()?;
                let forget_below = (0..count).map(|_| body.write_id()).collect::<Option<Vec<_>>>()?;
                let (holds, reserve_all) = (flags & ACCEPT_HOLDS != 0, flags & ACCEPT_RESERVES_ALL != 0);
                Change::Accept { epoch, replicas, holds, reserve_all, forget_below }
            }
            KIND_INSTALL => Self::decode_install(&mut body, count)?,
            KIND_FREE => Change::Free,
            KIND_FORGET => Change::Forget,
            _ => return None,
        };
        body.is_empty().then_some(Self { slot, extent, change })
    }

    fn decode_write(body: &mut Decoder<'_>, flags: u8, count: usize) -> Option<Change> {
        let version = body.version()?;
        let identity = if flags & WRITE_HAS_IDENTITY != 0 { Some(body.write_id()?) } else { None };
        let forget_below = if flags & WRITE_HAS_FORGET != 0 { Some(body.write_id()?) } else { None };
        let sections = (0..count).map(|_| Section::decode(body)).collect::<Option<SmallVec<_>>>()?;
        Some(Change::Write { version, identity, forget_below, sections })
    }

    fn decode_install(body: &mut Decoder<'_>, count: usize) -> Option<Change> {
        let version = body.version()?;
        let region = Region::new(body.u8()?)?;
        let named = usize::from(body.u8()?);
        if named > IDENTITIES_PER_EXTENT_MAX {
            return None;
        }
        let identities = (0..named).map(|_| body.write_id()).collect::<Option<Vec<_>>>()?;
        let sections = (0..count).map(|_| Section::decode(body)).collect::<Option<Vec<_>>>()?;
        let of_region = sections.iter().all(|section| section.region == region);
        of_region.then_some(Change::Install { version, region, identities, sections })
    }
}

impl Change {
    /// The regions whose content changes, and how.
    pub(crate) fn sections(&self) -> &[Section] {
        match self {
            Self::Write { sections, .. } => sections,
            Self::Install { sections, .. } => sections,
            Self::Accept { .. } | Self::Free | Self::Forget => &[],
        }
    }
}

impl Section {
    fn encode(&self, to: &mut Encoder<'_>) {
        to.u8(self.region.index() as u8);
        to.u8(match self.kind {
            SectionKind::Blocks => 1,
            SectionKind::Switch => 2,
            SectionKind::Absent => 3,
        });
        to.u16(self.mask);
        to.u32(self.unit);
        self.crcs.iter().for_each(|crc| to.u32(*crc));
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let region = Region::new(from.u8()?)?;
        let kind = match from.u8()? {
            1 => SectionKind::Blocks,
            2 => SectionKind::Switch,
            3 => SectionKind::Absent,
            _ => return None,
        };
        let (mask, unit) = (from.u16()?, from.u32()?);
        let sensible = match kind {
            SectionKind::Blocks => mask != 0 && unit != NO_UNIT,
            SectionKind::Switch => (mask == 0) == (unit == NO_UNIT),
            SectionKind::Absent => mask != 0 && unit == NO_UNIT,
        };
        if !sensible {
            return None;
        }
        let checksums = if kind == SectionKind::Absent { 0 } else { mask.count_ones() };
        let crcs = (0..checksums).map(|_| from.u32()).collect::<Option<SmallVec<_>>>()?;
        Some(Self { region, kind, mask, unit, crcs })
    }

    /// The blocks of the mask within the extent, in order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = u16> + use<> {
        let first = self.region.blocks().first;
        let mask = self.mask;
        (0..BLOCKS_PER_REGION).filter(move |block| mask >> block & 1 == 1).map(move |block| first + block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_types::{Incarnation, VolumeId};

    fn id(number: u64) -> WriteId {
        WriteId { gateway: ServerId(3), incarnation: Incarnation(9), number }
    }

    fn version(sequence: u64) -> Version {
        Version { epoch: Epoch(7), sequence }
    }

    fn samples() -> Vec<Entry> {
        let extent = ExtentId { volume: VolumeId(5), index: 77 };
        let section = |kind, mask: u16, unit, crcs: &[u32]| Section {
            region: Region::new(63).unwrap(),
            kind,
            mask,
            unit,
            crcs: SmallVec::from_slice(crcs),
        };
        let write = Change::Write {
            version: version(8),
            identity: Some(id(4)),
            forget_below: None,
            sections: SmallVec::from_vec(vec![
                section(SectionKind::Blocks, 0b101, 9, &[1, 2]),
                section(SectionKind::Switch, 0, NO_UNIT, &[]),
                section(SectionKind::Absent, 0xffff, NO_UNIT, &[]),
            ]),
        };
        let accept = Change::Accept {
            epoch: Epoch(8),
            replicas: SmallVec::from_slice(&[ServerId(1), ServerId(2)]),
            holds: true,
            reserve_all: true,
            forget_below: vec![id(1)],
        };
        let install = Change::Install {
            version: version(3),
            region: Region::new(63).unwrap(),
            identities: vec![id(5), id(6)],
            sections: vec![
                section(SectionKind::Blocks, 0b11, 9, &[3, 4]),
                section(SectionKind::Absent, 0xfffc, NO_UNIT, &[]),
            ],
        };
        [write, install, accept, Change::Free, Change::Forget]
            .into_iter()
            .map(|change| Entry { slot: 6, extent, change })
            .collect()
    }

    #[test]
    fn entries_read_back_as_written() {
        let mut bytes = Vec::new();
        samples().iter().for_each(|entry| entry.encode(&mut bytes));
        let mut from = Decoder(&bytes);
        for entry in samples() {
            assert_eq!(Entry::decode(&mut from), Some(entry));
        }
        assert!(from.is_empty());
    }

    #[test]
    fn an_entry_cut_anywhere_is_refused_without_panic() {
        for entry in samples() {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            for len in 0..bytes.len() {
                assert_eq!(Entry::decode(&mut Decoder(&bytes[..len])), None);
            }
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 0xff;
                let _ = Entry::decode(&mut Decoder(&changed));
            }
        }
    }
}
