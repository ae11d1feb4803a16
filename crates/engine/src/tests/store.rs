//! A store that keeps everything in memory, and carries operations out when it is told to.

use evenkeel_types::geometry::{BLOCK_BYTES, BLOCKS_PER_REGION, REGIONS_PER_EXTENT};
use evenkeel_types::store_op::{
    Content, ExtentDescription, IDENTITIES_PER_EXTENT_MAX, InventoryEntry, RegionImage, RememberedWrite,
    StoreError, StoreOp, StoreOutcome, StoreReply, StoreTicket, StoreWrite,
};
use evenkeel_types::{
    BlockRange, Bytes, Epoch, ExtentId, Payload, Region, Regions, ServerId, Version, WriteId,
};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) accepted: Epoch,
    pub(super) replicas: SmallVec<[ServerId; 3]>,
    pub(super) has_data: bool,
    pub(super) versions: [Version; REGIONS_PER_EXTENT],
    pub(super) blocks: BTreeMap<u16, Bytes>,
    pub(super) identities: Vec<RememberedWrite>,
}

impl Record {
    fn new() -> Self {
        Self {
            accepted: Epoch::ZERO,
            replicas: SmallVec::new(),
            has_data: true,
            versions: [Version::NONE; REGIONS_PER_EXTENT],
            blocks: BTreeMap::new(),
            identities: Vec::new(),
        }
    }

    fn remember(&mut self, id: WriteId, regions: Regions) {
        match self.identities.iter_mut().find(|known| known.id == id) {
            Some(known) => known.regions = known.regions.union(regions),
            None => self.identities.push(RememberedWrite { id, regions }),
        }
        assert!(self.identities.len() <= IDENTITIES_PER_EXTENT_MAX);
    }

    fn set_identities_of(&mut self, region: Region, ids: &[WriteId]) {
        for known in &mut self.identities {
            known.regions = known.regions.without(region);
        }
        for id in ids {
            self.remember(*id, Regions::NONE.with(region));
        }
        self.identities.retain(|known| !known.regions.is_empty());
    }

    fn allocated(&self) -> Regions {
        let present = self.blocks.keys().filter_map(|block| Region::new((block / BLOCKS_PER_REGION) as u8));
        present.fold(Regions::NONE, Regions::with)
    }

    pub(super) fn versions_hash(&self) -> u64 {
        let mut hash = 0u64;
        for (n, version) in self.versions.iter().enumerate().filter(|(_, version)| **version != Version::NONE)
        {
            let one = version.epoch.0.wrapping_mul(0x9e37_79b9) ^ version.sequence ^ (n as u64) << 32;
            hash ^= one.wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(n as u32);
        }
        hash
    }

    fn clear(&mut self) {
        self.versions = [Version::NONE; REGIONS_PER_EXTENT];
        self.blocks.clear();
        self.identities.clear();
    }
}

#[derive(Default, Debug)]
pub(super) struct MemStore {
    pub(super) records: BTreeMap<ExtentId, Record>,
    pub(super) queue: VecDeque<(StoreTicket, StoreOp)>,
    /// Writes that are refused for want of space, counted down.
    pub(super) refuse_writes: u32,
    pub(super) no_space_for_copies: bool,
    /// There is no room for a region that comes.
    pub(super) no_space_for_regions: bool,
    /// Records that are refused for want of room, counted down.
    pub(super) refuse_records: u32,
    /// The store has stopped.
    pub(super) stopped: bool,
    /// Nothing more can be set aside.
    pub(super) no_space_to_reserve: bool,
    /// Blocks that cannot be read until they are written again.
    pub(super) bad: BTreeSet<(ExtentId, u16)>,
    /// Regions for which space is set aside.
    pub(super) reserved: BTreeMap<ExtentId, Regions>,
    /// Images of regions are read at once, and answered when the test says so.
    pub(super) slow_images: bool,
    /// Pages of records that were asked for.
    pub(super) lists: usize,
    pub(super) images: VecDeque<(StoreTicket, StoreOutcome)>,
}

impl MemStore {
    /// Carries the next operation out.
    pub(super) fn step(&mut self) -> Option<(StoreTicket, StoreOutcome)> {
        let (ticket, op) = self.queue.pop_front()?;
        if self.slow_images && matches!(op, StoreOp::ReadRegion { .. }) {
            let outcome = self.execute(op);
            self.images.push_back((ticket, outcome));
            return None;
        }
        Some((ticket, self.execute(op)))
    }

    fn execute(&mut self, op: StoreOp) -> StoreOutcome {
        if self.stopped {
            return Err(StoreError::Stopped);
        }
        match op {
            StoreOp::Read { extent, blocks } => match self.first_bad(extent, blocks) {
                Some(block) => Err(StoreError::BadBlock { block }),
                None => Ok(StoreReply::Data(self.read(extent, blocks))),
            },
            StoreOp::Write(write) => self.write(&write),
            StoreOp::ReadRegion { extent, region } => Ok(StoreReply::Image(self.image(extent, region))),
            StoreOp::InstallRegion { .. } if self.no_space_for_regions => Err(StoreError::NoSpace),
            StoreOp::InstallRegion { extent, region, replaces, image } => {
                let record = self.records.get_mut(&extent).ok_or(StoreError::NoRecord)?;
                let found = record.versions[region.index()];
                if found != replaces {
                    return Err(StoreError::VersionMismatch { region, found });
                }
                let blocks = region.blocks();
                self.bad.retain(|(of, block)| *of != extent || !(blocks.first..blocks.end()).contains(block));
                let bad = (0..BLOCKS_PER_REGION).filter(|block| image.bad >> block & 1 == 1);
                self.bad.extend(bad.map(|block| (extent, blocks.first + block)));
                record.versions[region.index()] = image.version;
                record.set_identities_of(region, &image.identities);
                let data = image.data.into_bytes();
                let mut at = 0;
                for block in 0..BLOCKS_PER_REGION {
                    let number = region.blocks().first + block;
                    if image.present >> block & 1 == 1 {
                        record.blocks.insert(number, data.slice(at..at + BLOCK_BYTES as usize));
                        at += BLOCK_BYTES as usize;
                    } else {
                        record.blocks.remove(&number);
                    }
                }
                Ok(StoreReply::Done)
            }
            StoreOp::Accept { extent, epoch, replicas, live, reserve_all, forget_below } => {
                let known = self.records.get(&extent).map_or(Epoch::ZERO, |record| record.accepted);
                if known > epoch {
                    return Err(StoreError::StaleEpoch { accepted: known });
                }
                if reserve_all && self.no_space_for_copies {
                    return Err(StoreError::NoSpace);
                }
                if self.refuse_records > 0 && !self.records.contains_key(&extent) {
                    self.refuse_records -= 1;
                    return Err(StoreError::NoSpace);
                }
                let record =
                    self.records.entry(extent).or_insert_with(|| Record { has_data: false, ..Record::new() });
                record.has_data |= live;
                record.accepted = epoch;
                record.replicas = replicas;
                for floor in forget_below {
                    record.identities.retain(|known| !known.id.is_below(floor));
                }
                Ok(StoreReply::Done)
            }
            StoreOp::Reserve { extent, blocks } if self.no_space_to_reserve => {
                let mapped = self.records.get(&extent).map_or(Regions::NONE, Record::allocated);
                let missing = Regions::touched_by(blocks).minus(mapped);
                if missing.is_empty() { Ok(StoreReply::Done) } else { Err(StoreError::NoSpace) }
            }
            StoreOp::Reserve { extent, blocks } => {
                let reserved = self.reserved.entry(extent).or_insert(Regions::NONE);
                *reserved = reserved.union(Regions::touched_by(blocks));
                Ok(StoreReply::Done)
            }
            StoreOp::Unreserve { extent, regions } => {
                if let Some(reserved) = self.reserved.get_mut(&extent) {
                    *reserved = reserved.minus(regions);
                }
                Ok(StoreReply::Done)
            }
            StoreOp::Describe { extent } => Ok(StoreReply::Description(self.describe(extent))),
            StoreOp::Free { extent } => {
                if let Some(record) = self.records.get_mut(&extent) {
                    record.clear();
                    record.has_data = false;
                }
                Ok(StoreReply::Done)
            }
            StoreOp::Forget { extent } => {
                self.records.remove(&extent);
                Ok(StoreReply::Done)
            }
            StoreOp::List { from, max } => {
                self.lists += 1;
                let entries = self.records.range(from..).take(max as usize);
                let entry = |(extent, record): (&ExtentId, &Record)| InventoryEntry {
                    extent: *extent,
                    accepted: record.accepted,
                    replicas: record.replicas.to_vec(),
                    has_data: record.has_data,
                    units: 0,
                    versions_hash: record.versions_hash(),
                };
                Ok(StoreReply::Inventory(entries.map(entry).collect()))
            }
        }
    }

    fn write(&mut self, write: &StoreWrite) -> StoreOutcome {
        if self.refuse_writes > 0 {
            self.refuse_writes -= 1;
            return Err(StoreError::NoSpace);
        }
        let record = self.records.entry(write.extent).or_insert_with(Record::new);
        if record.accepted > write.version.epoch {
            return Err(StoreError::StaleEpoch { accepted: record.accepted });
        }
        let regions = Regions::touched_by(write.blocks);
        for (region, replaced) in regions.iter().zip(&write.replaces) {
            let found = record.versions[region.index()];
            if found != *replaced {
                return Err(StoreError::VersionMismatch { region, found });
            }
        }
        let blocks = write.blocks.first..write.blocks.end();
        self.bad.retain(|(of, block)| *of != write.extent || !blocks.contains(block));
        if let Some(floor) = write.forget_below {
            record.identities.retain(|known| !known.id.is_below(floor));
        }
        if let Some(id) = write.identity {
            if record.identities.len() >= IDENTITIES_PER_EXTENT_MAX {
                return Err(StoreError::IdentitiesFull);
            }
            record.remember(id, regions);
        }
        if let (Content::Data(_), Some(reserved)) = (&write.content, self.reserved.get_mut(&write.extent)) {
            *reserved = reserved.minus(regions);
        }
        record.has_data = true;
        record.accepted = write.version.epoch;
        for region in regions.iter() {
            record.versions[region.index()] = write.version;
        }
        for (n, block) in (write.blocks.first..write.blocks.end()).enumerate() {
            match &write.content {
                Content::Data(data) => {
                    let start = n * BLOCK_BYTES as usize;
                    record.blocks.insert(block, data.slice(start..start + BLOCK_BYTES as usize));
                }
                Content::Absent => {
                    record.blocks.remove(&block);
                }
            }
        }
        Ok(StoreReply::Done)
    }

    fn first_bad(&self, extent: ExtentId, blocks: BlockRange) -> Option<u16> {
        (blocks.first..blocks.end()).find(|block| self.bad.contains(&(extent, *block)))
    }

    pub(super) fn read(&self, extent: ExtentId, blocks: BlockRange) -> Payload {
        let mut payload = Payload::default();
        for block in blocks.first..blocks.end() {
            match self.records.get(&extent).and_then(|record| record.blocks.get(&block)) {
                Some(data) => payload.push(data.clone()),
                None => payload.push_zeros(BLOCK_BYTES as usize),
            }
        }
        payload
    }

    fn image(&self, extent: ExtentId, region: Region) -> RegionImage {
        let (mut present, mut bad, mut data) = (0, 0, Payload::default());
        let record = self.records.get(&extent);
        for block in 0..BLOCKS_PER_REGION {
            if let Some(bytes) = record.and_then(|record| record.blocks.get(&(region.blocks().first + block)))
            {
                present |= 1 << block;
                if self.bad.contains(&(extent, region.blocks().first + block)) {
                    bad |= 1 << block;
                    data.push_zeros(BLOCK_BYTES as usize);
                } else {
                    data.push(bytes.clone());
                }
            }
        }
        let version = record.map_or(Version::NONE, |record| record.versions[region.index()]);
        let identities = record.map_or_else(Vec::new, |record| {
            let of_region = record.identities.iter().filter(|known| known.regions.contains(region));
            of_region.map(|known| known.id).collect()
        });
        RegionImage { version, present, bad, data, identities }
    }

    fn describe(&self, extent: ExtentId) -> Option<ExtentDescription> {
        let record = self.records.get(&extent)?;
        Some(ExtentDescription {
            accepted: record.accepted,
            replicas: record.replicas.clone(),
            has_data: record.has_data,
            versions: record.versions.to_vec().into_boxed_slice(),
            allocated: record.allocated(),
            identities: record.identities.clone(),
        })
    }
}
