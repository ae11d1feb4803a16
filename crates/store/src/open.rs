//! Opening a store: replay, a complete checkpoint, and a new mount. What was read is made durable before anything is
//! answered from it, so a crash at any point of opening only means to open again.

use crate::disk::Disk;
use crate::extent::page;
use crate::extent::record::Record;
use crate::extent::table::Table;
use crate::fault::{
    DiskSnafu, ExtentTwiceSnafu, ForeignGroupSnafu, ForeignServerSnafu, OldStoreSnafu, StoreFault,
};
use crate::layout::BLOCK;
use crate::recover::{Image, Source};
use crate::store::{CACHE_BYTES_DEFAULT, OVERLAY_BYTES_MAX, Parts, READ_CACHE_BYTES_DEFAULT, Store};
use crate::superblock::Superblock;
use evenkeel_types::{AlignedBuf, Incarnation, ServerId};
use snafu::{ResultExt, ensure};

/// Blocks carried from the journal to their places at once (16 MiB).
const CARRY_BLOCKS: usize = 4096;
/// Blocks in one request while carrying (1 MiB).
const CARRY_RUN_BLOCKS: usize = 256;

/// How to open a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenOptions {
    /// The group that the store must belong to.
    pub group: String,
    /// The server that the store must belong to.
    pub server: ServerId,
    /// The incarnation that the server is known to have reached: a store that is behind is an old copy. Judged here,
    /// before anything is written: each open raises the store's incarnation, and an old copy must not catch up by it.
    pub incarnation_min: Incarnation,
    /// Memory for extent records, in bytes.
    pub cache_bytes: u64,
    /// Memory for blocks that were read lately, in bytes; 0 where the disk is memory anyway.
    pub read_cache_bytes: u64,
    /// Memory for journaled blocks that are not in their places yet, in bytes.
    pub overlay_bytes_max: u64,
}

impl OpenOptions {
    /// The usual sizes.
    #[must_use]
    pub fn new(group: impl Into<String>, server: ServerId) -> Self {
        let (cache_bytes, overlay_bytes_max) = (CACHE_BYTES_DEFAULT, OVERLAY_BYTES_MAX);
        let incarnation_min = Incarnation(0);
        let read_cache_bytes = READ_CACHE_BYTES_DEFAULT;
        Self {
            group: group.into(),
            server,
            incarnation_min,
            cache_bytes,
            read_cache_bytes,
            overlay_bytes_max,
        }
    }
}

/// What opening found and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenReport {
    /// The store was closed properly.
    pub clean: bool,
    /// Journal records read again.
    pub records_replayed: u64,
    /// Bytes of the journal that they take.
    pub journal_bytes_replayed: u64,
    /// Blocks carried from the journal into their places.
    pub blocks_carried: u64,
    /// An unfinished record was found at the journal's end, and dropped: nothing in it was acknowledged.
    pub torn_tail: bool,
    /// One copy of the superblock was damaged, and is mended.
    pub superblock_mended: bool,
    /// The incarnation of this start.
    pub incarnation: Incarnation,
    /// How often the store was opened, with this time.
    pub mount: u64,
    /// Extents with a record.
    pub extents: u64,
}

impl Store {
    /// Opens a store: replays its journal, raises mount number and incarnation, all durably.
    ///
    /// # Errors
    /// See [`StoreFault`]; after one nothing of the store was given up.
    pub fn open(disk: &mut dyn Disk, options: &OpenOptions) -> Result<(Self, OpenReport), StoreFault> {
        let (superblock, mended) = Superblock::choose(Superblock::read_copies(disk)?, disk.len())?;
        let (found, expected) = (&superblock.group, &options.group);
        ensure!(found == expected, ForeignGroupSnafu { found, expected });
        let (found, expected) = (superblock.server, options.server);
        ensure!(found == expected, ForeignServerSnafu { found, expected });
        let (found, known) = (superblock.incarnation.0, options.incarnation_min.0);
        ensure!(found >= known, OldStoreSnafu { found, known });
        let clean = superblock.clean;
        let mut image = Image::load(disk, superblock, &mut Err)?;
        let mut report = OpenReport {
            clean,
            records_replayed: image.records_replayed,
            journal_bytes_replayed: image.journal_blocks_replayed * BLOCK as u64,
            blocks_carried: image.sources.len() as u64,
            torn_tail: image.torn_tail,
            superblock_mended: mended,
            incarnation: Incarnation(image.superblock.incarnation.0 + 1),
            mount: image.superblock.mount + 1,
            extents: 0,
        };
        carry_blocks(disk, &image)?;
        disk.flush().context(DiskSnafu { doing: "writing replayed data" })?;
        write_pages(disk, &mut image)?;
        disk.flush().context(DiskSnafu { doing: "writing extent records" })?;
        image.superblock.mount = report.mount;
        image.superblock.incarnation = report.incarnation;
        image.superblock.tail = image.head;
        image.superblock.known_durable = image.head.sequence - 1;
        image.superblock.slots_used = image.slots.len() as u32;
        image.superblock.clean = false;
        // Both copies, so that losing either loses neither the mount number nor the incarnation.
        for _ in 0..2 {
            image.superblock.generation += 1;
            image.superblock.write(disk)?;
        }
        let limit = image.superblock.geometry.slots;
        let table = Table::new(image.slots, limit)
            .map_err(|(extent, slot)| ExtentTwiceSnafu { extent, slot }.build())?;
        report.extents = table.extents() as u64;
        let store = Self::from_parts(Parts {
            superblock: image.superblock,
            table,
            units: image.units,
            cache_bytes: options.cache_bytes,
            read_cache_bytes: options.read_cache_bytes,
            overlay_bytes_max: options.overlay_bytes_max,
        });
        Ok((store, report))
    }
}

/// Writes every journaled block into its place. Sorted both ways, so that neighbours go together.
fn carry_blocks(disk: &mut dyn Disk, image: &Image) -> Result<(), StoreFault> {
    let geometry = image.superblock.geometry;
    let target = |(key, source): &(&(u32, u16), &Source)| {
        let within = u32::from(key.1) % crate::layout::UNIT_BLOCKS;
        (geometry.unit_block(source.unit, within), source.position)
    };
    let mut all: Vec<(u64, u32)> = image.sources.iter().map(|pair| target(&pair)).collect();
    all.sort_unstable();
    for batch in all.chunks(CARRY_BLOCKS) {
        let mut data = AlignedBuf::zeroed(batch.len() * BLOCK);
        let mut by_position: Vec<(u32, usize)> =
            batch.iter().zip(0..).map(|((_, from), at)| (*from, at)).collect();
        by_position.sort_unstable();
        for run in runs(&by_position, |(position, _)| u64::from(*position)) {
            let mut buf = AlignedBuf::zeroed(run.len() * BLOCK);
            let offset = geometry.journal_block(run[0].0);
            disk.read_at(offset, &mut buf).context(DiskSnafu { doing: "reading the journal" })?;
            for ((_, at), block) in run.iter().zip(buf.chunks_exact(BLOCK)) {
                data[at * BLOCK..(at + 1) * BLOCK].copy_from_slice(block);
            }
        }
        let mut at = 0;
        for run in runs(batch, |(offset, _)| offset / BLOCK as u64) {
            let bytes = AlignedBuf::copy_of(&data[at..at + run.len() * BLOCK]);
            disk.write_at(run[0].0, &bytes).context(DiskSnafu { doing: "writing replayed data" })?;
            at += bytes.len();
        }
    }
    Ok(())
}

/// Cuts sorted items into runs of neighbours.
fn runs<T>(items: &[T], place: impl Fn(&T) -> u64) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let first = place(rest.first()?);
        let len = (first..)
            .zip(rest)
            .take(CARRY_RUN_BLOCKS)
            .take_while(|(expected, item)| place(item) == *expected);
        let (run, left) = rest.split_at(len.count());
        rest = left;
        Some(run)
    })
}

/// Writes every changed record to its other place, and an empty page to each slot that has none.
fn write_pages(disk: &mut dyn Disk, image: &mut Image) -> Result<(), StoreFault> {
    let doing = "writing extent records";
    for number in 0..image.slots.len() as u32 {
        let fresh = number >= image.superblock.slots_used;
        let touched = image.touched.get(&number);
        let slot = &mut image.slots[number as usize];
        if touched.is_none() && !fresh {
            continue;
        }
        let absent;
        let record = match touched {
            Some(touched) => &touched.record,
            None => {
                absent = Record::absent(slot.extent);
                &absent
            }
        };
        slot.generation = touched.map_or(0, |touched| touched.generation) + 1;
        let (place, buf) = page::to_write(record, image.superblock.store_id, number, slot.generation);
        disk.write_at(image.superblock.geometry.page(number, place), &buf).context(DiskSnafu { doing })?;
    }
    Ok(())
}
