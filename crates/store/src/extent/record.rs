//! An extent record in memory, and the one place where journal entries change it: the writer and replay share it.

use crate::journal::entry::{Change, REPLICAS_MAX, Section, SectionKind};
use crate::layout::{NO_UNIT, UNIT_BLOCKS};
use evenkeel_types::geometry::{BLOCKS_PER_EXTENT, BLOCKS_PER_REGION, REGIONS_PER_EXTENT};
use evenkeel_types::store_op::{IDENTITIES_PER_EXTENT_MAX, RememberedWrite};
use evenkeel_types::{Epoch, ExtentId, Region, Regions, ServerId, Version, WriteId};
use smallvec::SmallVec;

/// What an extent record holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) extent: ExtentId,
    /// False before the record is created and after it is forgotten.
    pub(crate) live: bool,
    pub(crate) has_data: bool,
    pub(crate) reserve_all: bool,
    pub(crate) accepted: Epoch,
    pub(crate) replicas: SmallVec<[ServerId; REPLICAS_MAX]>,
    /// Sequence of the last journal record applied.
    pub(crate) applied: u64,
    pub(crate) versions: [Version; REGIONS_PER_EXTENT],
    pub(crate) units: [u32; REGIONS_PER_EXTENT],
    pub(crate) present: [u16; REGIONS_PER_EXTENT],
    pub(crate) crcs: [u32; BLOCKS_PER_EXTENT as usize],
    /// Oldest first.
    pub(crate) identities: Vec<RememberedWrite>,
    /// Combines all versions; not on the disk.
    pub(crate) versions_hash: u64,
}

/// Units that a change stopped naming, by region.
pub(crate) type Released = SmallVec<[(Region, u32); 2]>;

impl Record {
    /// A record that does not exist yet.
    pub(crate) fn absent(extent: ExtentId) -> Box<Self> {
        Box::new(Self {
            extent,
            live: false,
            has_data: false,
            reserve_all: false,
            accepted: Epoch::ZERO,
            replicas: SmallVec::new(),
            applied: 0,
            versions: [Version::NONE; REGIONS_PER_EXTENT],
            units: [NO_UNIT; REGIONS_PER_EXTENT],
            present: [0; REGIONS_PER_EXTENT],
            crcs: [0; BLOCKS_PER_EXTENT as usize],
            identities: Vec::new(),
            versions_hash: 0,
        })
    }

    /// Regions that have a unit, as a bit set.
    pub(crate) fn mapped(&self) -> u64 {
        (0..REGIONS_PER_EXTENT)
            .fold(0, |set, region| set | u64::from(self.units[region] != NO_UNIT) << region)
    }

    /// Whether a block is present.
    pub(crate) const fn is_present(&self, block: u16) -> bool {
        self.present[(block / BLOCKS_PER_REGION) as usize] >> (block % BLOCKS_PER_REGION) & 1 == 1
    }

    /// The unit and the block within it that hold a present block.
    pub(crate) const fn place_of(&self, block: u16) -> (u32, u32) {
        (self.units[(block / BLOCKS_PER_REGION) as usize], block as u32 % UNIT_BLOCKS)
    }

    /// Applies a change of the journal record `sequence`.
    pub(crate) fn apply(&mut self, change: &Change, sequence: u64) -> Released {
        let mut released = Released::new();
        self.applied = sequence;
        match change {
            Change::Write { version, identity, forget_below, sections } => {
                self.live = true;
                self.has_data = true;
                self.accepted = self.accepted.max(version.epoch);
                self.forget(forget_below.as_slice());
                if let Some(id) = identity {
                    let touched = sections.iter().map(|section| section.region);
                    self.remember(*id, touched.fold(Regions::NONE, Regions::with));
                }
                for section in sections {
                    self.apply_section(section, *version, &mut released);
                }
            }
            Change::Install { version, region, identities, sections } => {
                self.live = true;
                self.has_data = true;
                self.set_identities_of(*region, identities);
                for section in sections {
                    self.apply_section(section, *version, &mut released);
                }
            }
            Change::Accept { epoch, replicas, holds, reserve_all, forget_below } => {
                self.live = true;
                self.has_data |= *holds;
                self.accepted = self.accepted.max(*epoch);
                self.replicas.clone_from(replicas);
                self.reserve_all = *reserve_all;
                self.forget(forget_below);
            }
            Change::Free => self.clear(&mut released),
            Change::Forget => {
                self.clear(&mut released);
                self.live = false;
                self.accepted = Epoch::ZERO;
                self.replicas.clear();
            }
        }
        assert!(self.identities.len() <= IDENTITIES_PER_EXTENT_MAX, "room for identities was checked before");
        released
    }

    fn forget(&mut self, below: &[WriteId]) {
        for below in below {
            self.identities.retain(|remembered| !remembered.id.is_below(*below));
        }
    }

    fn remember(&mut self, id: WriteId, regions: Regions) {
        match self.identities.iter_mut().find(|remembered| remembered.id == id) {
            Some(remembered) => remembered.regions = remembered.regions.union(regions),
            None => self.identities.push(RememberedWrite { id, regions }),
        }
    }

    /// The region has the content of these writes, and of no other that is remembered.
    fn set_identities_of(&mut self, region: Region, ids: &[WriteId]) {
        for remembered in &mut self.identities {
            remembered.regions = remembered.regions.without(region);
        }
        for id in ids {
            self.remember(*id, Regions::NONE.with(region));
        }
        self.identities.retain(|remembered| !remembered.regions.is_empty());
    }

    /// How many identities there are after a change.
    pub(crate) fn identities_after(&self, change: &Change) -> usize {
        match change {
            Change::Write { identity, forget_below, .. } => self.identities_with(*identity, *forget_below),
            Change::Install { region, identities, .. } => self.identities_with_region(*region, identities),
            Change::Accept { .. } => self.identities.len(),
            Change::Free | Change::Forget => 0,
        }
    }

    /// How many identities there are after a write.
    pub(crate) fn identities_with(&self, identity: Option<WriteId>, below: Option<WriteId>) -> usize {
        let stays = |id: WriteId| below.is_none_or(|below| !id.is_below(below));
        let kept = self.identities.iter().filter(|remembered| stays(remembered.id)).count();
        let known = identity.is_none_or(|id| stays(id) && self.remembers(id));
        kept + usize::from(!known)
    }

    /// How many identities there are after a region was put there with these.
    pub(crate) fn identities_with_region(&self, region: Region, ids: &[WriteId]) -> usize {
        let stays = |remembered: &&RememberedWrite| {
            !remembered.regions.without(region).is_empty() || ids.contains(&remembered.id)
        };
        let kept = self.identities.iter().filter(stays).count();
        kept + ids.iter().filter(|id| !self.remembers(**id)).count()
    }

    fn apply_section(&mut self, section: &Section, version: Version, released: &mut Released) {
        let index = section.region.index();
        let old = self.units[index];
        match section.kind {
            SectionKind::Blocks => {
                self.present[index] |= section.mask;
                self.units[index] = section.unit;
            }
            SectionKind::Switch => {
                self.present[index] = section.mask;
                self.units[index] = section.unit;
            }
            SectionKind::Absent => {
                self.present[index] &= !section.mask;
                if self.present[index] == 0 {
                    self.units[index] = NO_UNIT;
                }
            }
        }
        if old != NO_UNIT && old != self.units[index] {
            released.push((section.region, old));
        }
        for (block, crc) in section.blocks().zip(&section.crcs) {
            self.crcs[block as usize] = *crc;
        }
        self.set_version(index, version);
    }

    fn set_version(&mut self, region: usize, version: Version) {
        self.versions_hash ^= version_hash(region, self.versions[region]) ^ version_hash(region, version);
        self.versions[region] = version;
    }

    fn clear(&mut self, released: &mut Released) {
        for region in Region::all() {
            let unit = std::mem::replace(&mut self.units[region.index()], NO_UNIT);
            if unit != NO_UNIT {
                released.push((region, unit));
            }
        }
        self.present = [0; REGIONS_PER_EXTENT];
        self.versions = [Version::NONE; REGIONS_PER_EXTENT];
        self.versions_hash = 0;
        self.identities.clear();
        self.has_data = false;
        self.reserve_all = false;
    }

    /// Whether a write is remembered.
    pub(crate) fn remembers(&self, id: WriteId) -> bool {
        self.identities.iter().any(|remembered| remembered.id == id)
    }

    /// The remembered writes whose content a region has.
    pub(crate) fn identities_of(&self, region: Region) -> Vec<WriteId> {
        let of_region = self.identities.iter().filter(|remembered| remembered.regions.contains(region));
        of_region.map(|remembered| remembered.id).collect()
    }

    /// Computes what is not on the disk.
    pub(crate) fn rehash(&mut self) {
        self.versions_hash = (0..REGIONS_PER_EXTENT)
            .fold(0, |hash, region| hash ^ version_hash(region, self.versions[region]));
    }
}

/// A region's part of the hash over all versions: zero for a region never written, so that an empty record has 0.
fn version_hash(region: usize, version: Version) -> u64 {
    if version == Version::NONE {
        return 0;
    }
    let seeded = mix(version.epoch.0 ^ mix(region as u64 + 1));
    mix(seeded ^ version.sequence)
}

/// A bijection that spreads every input bit over all output bits (the finaliser of SplitMix64).
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
