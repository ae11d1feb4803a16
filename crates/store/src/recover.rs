//! What a disk holds: superblock, extent records and journal, put together in memory. Nothing is written here; open
//! goes on from it, and so does the offline check.
//!
//! Problems go to a judge: open's refuses at the first, check's collects them and goes on.

use crate::disk::Disk;
use crate::extent::page::{self, Page};
use crate::extent::record::Record;
use crate::extent::table::{Slot, Table};
use crate::fault::{
    BadPageSnafu, DiskSnafu, JournalCorruptSnafu, JournalInvalidSnafu, PresenceWithoutUnitSnafu, StoreFault,
    UnitNamedTwiceSnafu, UnitOutOfRangeSnafu,
};
use crate::journal::entry::{Entry, Section};
use crate::journal::reader::{Found, Reader, sections};
use crate::layout::{NO_UNIT, PAGE_BYTES, SLOT_BYTES};
use crate::superblock::{JournalPoint, Superblock};
use crate::units::Units;
use evenkeel_types::AlignedBuf;
use evenkeel_types::store_op::IDENTITIES_PER_EXTENT_MAX;
use snafu::ResultExt;
use std::collections::BTreeMap;

/// Slots read at once (4 MiB).
const SCAN_SLOTS: u32 = 256;

/// Decides whether to go on after a problem.
pub(crate) type Judge<'a> = &'a mut dyn FnMut(StoreFault) -> Result<(), StoreFault>;

/// A record that the journal changes.
pub(crate) struct Touched {
    pub(crate) record: Box<Record>,
    /// Generation of the page that it came from; 0 for none.
    pub(crate) generation: u64,
    /// What the page already has.
    base: u64,
}

/// A journaled block that may not be in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    /// Where the journal has it.
    pub(crate) position: u32,
    /// Where it belongs.
    pub(crate) unit: u32,
    pub(crate) crc: u32,
}

/// All metadata of a store, as of the last durable record.
pub(crate) struct Image {
    pub(crate) superblock: Superblock,
    pub(crate) slots: Vec<Slot>,
    pub(crate) units: Units,
    pub(crate) touched: BTreeMap<u32, Touched>,
    /// By slot and block.
    pub(crate) sources: BTreeMap<(u32, u16), Source>,
    /// Behind the last record.
    pub(crate) head: JournalPoint,
    pub(crate) records_replayed: u64,
    /// Blocks of the ring that they take.
    pub(crate) journal_blocks_replayed: u64,
    /// Something that is not a record was found behind the last one.
    pub(crate) torn_tail: bool,
    /// Slots of which one place cannot be read.
    suspicious: Vec<u32>,
}

impl Image {
    /// Reads everything.
    pub(crate) fn load(
        disk: &dyn Disk,
        superblock: Superblock,
        judge: Judge<'_>,
    ) -> Result<Self, StoreFault> {
        let mut image = Self {
            slots: Vec::with_capacity(superblock.slots_used as usize),
            units: Units::new(superblock.geometry.units),
            touched: BTreeMap::new(),
            sources: BTreeMap::new(),
            head: superblock.tail,
            records_replayed: 0,
            journal_blocks_replayed: 0,
            torn_tail: false,
            suspicious: Vec::new(),
            superblock,
        };
        image.scan_table(disk, judge)?;
        if !image.superblock.clean {
            image.replay(disk, judge)?;
        }
        image.settle(judge)?;
        Ok(image)
    }

    /// Reads the newer page of each slot that was ever used.
    fn scan_table(&mut self, disk: &dyn Disk, judge: Judge<'_>) -> Result<(), StoreFault> {
        let geometry = self.superblock.geometry;
        let used = self.superblock.slots_used;
        let mut buf = AlignedBuf::zeroed(SCAN_SLOTS.min(used.max(1)) as usize * SLOT_BYTES as usize);
        for first in (0..used).step_by(SCAN_SLOTS as usize) {
            let count = SCAN_SLOTS.min(used - first);
            let bytes = &mut buf[..count as usize * SLOT_BYTES as usize];
            let doing = "reading extent records";
            disk.read_at(geometry.page(first, 0), bytes).context(DiskSnafu { doing })?;
            for (number, places) in (first..).zip(bytes.chunks_exact(SLOT_BYTES as usize)) {
                self.scan_slot(number, places, judge)?;
            }
        }
        Ok(())
    }

    fn scan_slot(&mut self, number: u32, places: &[u8], judge: Judge<'_>) -> Result<(), StoreFault> {
        let mut slot = Table::unused_slot();
        let (newest, damaged) = newest(places, self.superblock.store_id, number);
        if damaged {
            self.suspicious.push(number);
        }
        match newest {
            None => judge(BadPageSnafu { slot: number }.build())?,
            Some(page) => {
                slot.restore(&page.record);
                slot.generation = page.generation;
                mark_units(&mut self.units, number, &page.record, judge)?;
            }
        }
        self.slots.push(slot);
        Ok(())
    }

    fn replay(&mut self, disk: &dyn Disk, judge: Judge<'_>) -> Result<(), StoreFault> {
        let mut reader = Reader::new(disk, &self.superblock);
        let mut durable = self.superblock.known_durable;
        while let Some(found) = reader.next(self.head)? {
            durable = durable.max(found.known_durable).max(found.sequence);
            self.head = found.next;
            self.records_replayed += 1;
            self.journal_blocks_replayed += u64::from(found.blocks);
            self.replay_record(disk, &found, judge)?;
        }
        let sequence = self.head.sequence;
        if let Some(beyond) = reader.highest_beyond(sequence)? {
            durable = durable.max(beyond - 1);
        }
        if durable >= sequence {
            return judge(JournalCorruptSnafu { sequence, durable }.build());
        }
        let claims = |found: Option<u64>| found == Some(sequence);
        self.torn_tail = claims(reader.sequence_at(self.head.position)?) || claims(reader.sequence_at(0)?);
        Ok(())
    }

    fn replay_record(&mut self, disk: &dyn Disk, found: &Found, judge: Judge<'_>) -> Result<(), StoreFault> {
        let sequence = found.sequence;
        let Some(entries) = &found.entries else {
            return judge(JournalInvalidSnafu { sequence, what: "an entry that makes no sense" }.build());
        };
        let mut payload = found.payload;
        for entry in entries {
            let blocks = entry.payload_blocks();
            match self.replay_entry(disk, entry, sequence, payload)? {
                Ok(()) => {}
                Err(what) => judge(JournalInvalidSnafu { sequence, what }.build())?,
            }
            payload += blocks;
        }
        Ok(())
    }

    /// Applies an entry unless the page already has it; says what is wrong with it.
    fn replay_entry(
        &mut self,
        disk: &dyn Disk,
        entry: &Entry,
        sequence: u64,
        payload: u32,
    ) -> Result<Result<(), &'static str>, StoreFault> {
        let geometry = self.superblock.geometry;
        if entry.slot >= geometry.slots {
            return Ok(Err("a slot beyond the table's end"));
        }
        let is_beyond = |section: &Section| section.unit != NO_UNIT && section.unit >= geometry.units;
        if entry.change.sections().iter().any(is_beyond) {
            return Ok(Err("a unit beyond the store's end"));
        }
        self.touch(disk, entry.slot)?;
        let touched = self.touched.get_mut(&entry.slot).expect("just touched");
        if sequence > touched.base {
            let record = &mut touched.record;
            if record.live && record.extent != entry.extent {
                return Ok(Err("a slot that another extent has"));
            }
            if record.identities_after(&entry.change) > IDENTITIES_PER_EXTENT_MAX {
                return Ok(Err("more identities than a record holds"));
            }
            record.extent = entry.extent;
            record.apply(&entry.change, sequence);
        }
        self.note_sources(entry, payload);
        Ok(Ok(()))
    }

    /// Where the newest journaled content of each block is. Independent of the pages: a page may have a change whose
    /// blocks are still in the journal only. What no record names any more is dropped in the end.
    fn note_sources(&mut self, entry: &Entry, payload: u32) {
        let mut position = payload;
        for section in sections(entry) {
            for (block, crc) in section.blocks().zip(&section.crcs) {
                let source = Source { position, unit: section.unit, crc: *crc };
                self.sources.insert((entry.slot, block), source);
                position += 1;
            }
        }
    }

    /// Takes a record in hand; its units are marked again when all changes are known.
    fn touch(&mut self, disk: &dyn Disk, number: u32) -> Result<(), StoreFault> {
        if self.touched.contains_key(&number) {
            return Ok(());
        }
        while self.slots.len() <= number as usize {
            self.slots.push(Table::unused_slot());
        }
        let slot = &self.slots[number as usize];
        let mut touched =
            Touched { record: Record::absent(slot.extent), generation: slot.generation, base: 0 };
        if slot.generation > 0 {
            let mut places = AlignedBuf::zeroed(SLOT_BYTES as usize);
            let offset = self.superblock.geometry.page(number, 0);
            disk.read_at(offset, &mut places).context(DiskSnafu { doing: "reading an extent record" })?;
            if let (Some(page), _) = newest(&places, self.superblock.store_id, number) {
                touched.base = page.record.applied;
                touched.record = page.record;
            }
            for unit in touched.record.units {
                self.units.unmark(unit);
            }
        }
        self.touched.insert(number, touched);
        Ok(())
    }

    /// Brings slots and units up to the final records.
    fn settle(&mut self, judge: Judge<'_>) -> Result<(), StoreFault> {
        for (number, touched) in &self.touched {
            self.slots[*number as usize].restore(&touched.record);
            mark_units(&mut self.units, *number, &touched.record, judge)?;
        }
        // A torn page belongs to a checkpoint that did not finish, and then the journal still has its changes.
        for slot in std::mem::take(&mut self.suspicious) {
            if !self.touched.contains_key(&slot) {
                judge(BadPageSnafu { slot }.build())?;
            }
        }
        // Only data that the final metadata still names is written: with the same checksum, into the same unit.
        let touched = &self.touched;
        self.sources.retain(|(slot, block), source| {
            touched.get(slot).is_some_and(|touched| {
                let record = &touched.record;
                record.live
                    && record.is_present(*block)
                    && record.place_of(*block).0 == source.unit
                    && record.crcs[*block as usize] == source.crc
            })
        });
        Ok(())
    }
}

/// The newer of a slot's two pages, and whether one cannot be read.
pub(crate) fn newest(places: &[u8], store_id: u128, slot: u32) -> (Option<Page>, bool) {
    let (first, second) = places.split_at(PAGE_BYTES);
    match (page::decode(first, store_id, slot, 0), page::decode(second, store_id, slot, 1)) {
        (Some(a), Some(b)) => (Some(if a.generation > b.generation { a } else { b }), false),
        (one, other) => (one.or(other), true),
    }
}

fn mark_units(units: &mut Units, slot: u32, record: &Record, judge: Judge<'_>) -> Result<(), StoreFault> {
    if page::presence_without_unit(record).is_some() {
        judge(PresenceWithoutUnitSnafu { slot, extent: record.extent }.build())?;
    }
    for unit in record.units.iter().copied().filter(|unit| *unit != NO_UNIT) {
        if unit >= units.count() {
            judge(UnitOutOfRangeSnafu { unit, slot }.build())?;
        } else if !units.mark(unit) {
            judge(UnitNamedTwiceSnafu { unit, slot }.build())?;
        }
    }
    Ok(())
}
