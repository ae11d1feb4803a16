//! What a change needs before it can enter the journal: aligned content, checksums, and whole regions written out of
//! place to free units, durably.

use crate::disk::{IoKind, IoPieces};
use crate::io::Purpose;
use crate::layout::{BLOCK, NO_UNIT, UNIT_BLOCKS};
use crate::op::MutationKind;
use crate::store::Store;
use crate::units::Room;
use evenkeel_types::aligned_buf::BUFFER_ALIGNMENT;
use evenkeel_types::checksum::crc32c;
use evenkeel_types::geometry::{BLOCKS_PER_REGION, REGION_BYTES};
use evenkeel_types::store_op::Content;
use evenkeel_types::{AlignedBuf, Bytes, Payload, Region};

/// The bytes in memory that a disk can write from: themselves, or a copy.
pub(crate) fn aligned(data: Bytes) -> Bytes {
    if (data.as_ptr() as usize).is_multiple_of(BUFFER_ALIGNMENT) {
        data
    } else {
        AlignedBuf::copy_of(&data).freeze()
    }
}

impl Store {
    /// Prepares a change; its `writes_left` says what must still end.
    pub(crate) fn prepare(&mut self, key: u32) {
        let mutation = self.ops.mutation_mut(key);
        match &mut mutation.kind {
            MutationKind::Write(write) => {
                let Content::Data(data) = &mut write.content else { return };
                assert_eq!(data.len(), write.blocks.len_bytes() as usize, "content is as long as its blocks");
                *data = aligned(std::mem::take(data));
                mutation.crcs = data.chunks_exact(BLOCK).map(crc32c).collect();
                self.prepare_again(key);
            }
            MutationKind::Install { present, bad, data, .. } => {
                assert_eq!(
                    data.len(),
                    present.count_ones() as usize * BLOCK,
                    "an image holds its present blocks"
                );
                *data = aligned(std::mem::take(data));
                let blocks = (0..16).filter(|block| *present >> block & 1 == 1);
                let with_crc = data.chunks_exact(BLOCK).zip(blocks).map(|(content, block)| {
                    // A checksum that the content does not have: the block cannot be read.
                    let flip = if *bad >> block & 1 == 1 { u32::MAX } else { 0 };
                    crc32c(content) ^ flip
                });
                mutation.crcs = with_crc.collect();
                self.prepare_again(key);
            }
            MutationKind::Accept { .. }
            | MutationKind::Reserve { .. }
            | MutationKind::Unreserve { .. }
            | MutationKind::Free
            | MutationKind::Forget => {}
        }
    }

    /// Writes whole regions out of place for which there was no unit before.
    pub(crate) fn prepare_again(&mut self, key: u32) {
        let mutation = self.ops.mutation(key);
        match &mutation.kind {
            MutationKind::Write(write)
                if matches!(write.content, Content::Data(_)) && write.blocks.count >= BLOCKS_PER_REGION =>
            {
                self.prepare_write(key);
            }
            MutationKind::Install { present, .. } if *present != 0 && mutation.prepared.is_empty() => {
                self.prepare_install(key);
            }
            _ => {}
        }
    }

    /// Whole regions of a write go to free units, neighbours in one request.
    fn prepare_write(&mut self, key: u32) {
        let mutation = self.ops.mutation(key);
        let MutationKind::Write(write) = &mutation.kind else { unreachable!("called for writes") };
        let Content::Data(data) = &write.content else { unreachable!("called for content") };
        let (slot, data, blocks) = (mutation.slot, data.clone(), write.blocks);
        let mut run: Option<(u32, Bytes)> = None;
        for (number, piece) in blocks.split_by_region() {
            if piece.count < BLOCKS_PER_REGION {
                continue;
            }
            let region = Region::new(number).expect("a block range lies within its extent");
            let mutation = self.ops.mutation(key);
            if mutation.prepared.iter().any(|(prepared, _)| *prepared == region) {
                continue;
            }
            let Some(unit) = self.take_unit_early(slot, region) else { continue };
            let mutation = self.ops.mutation_mut(key);
            mutation.prepared.push((region, unit));
            let start = usize::from(piece.first - blocks.first) * BLOCK;
            let end = start + REGION_BYTES as usize;
            run = match run {
                Some((first, bytes)) if follows(&data, &bytes, start) && first + units_of(&bytes) == unit => {
                    let from = start - bytes.len();
                    Some((first, data.slice(from..end)))
                }
                other => {
                    self.write_content(key, other);
                    Some((unit, data.slice(start..end)))
                }
            };
        }
        self.write_content(key, run);
    }

    fn write_content(&mut self, key: u32, run: Option<(u32, Bytes)>) {
        if let Some((unit, bytes)) = run {
            self.write_content_pieces(key, unit, IoPieces::from_iter([bytes]));
        }
    }

    fn write_content_pieces(&mut self, key: u32, unit: u32, pieces: IoPieces) {
        let offset = self.geometry.unit_block(unit, 0);
        self.io.issue(IoKind::Write { offset, pieces, durable: true }, Purpose::Content { op: key });
        let mutation = self.ops.mutation_mut(key);
        mutation.writes_left += 1;
    }

    /// A region's image goes to a free unit as it will lie there, with zeros where blocks are absent.
    fn prepare_install(&mut self, key: u32) {
        let mutation = self.ops.mutation(key);
        let MutationKind::Install { region, present, data, .. } = &mutation.kind else {
            unreachable!("called for images")
        };
        let (slot, region, present, data) = (mutation.slot, *region, *present, data.clone());
        let Some(unit) = self.take_unit_early(slot, region) else { return };
        let mutation = self.ops.mutation_mut(key);
        mutation.prepared.push((region, unit));
        let mut image = Payload::default();
        let (mut block, mut at) = (0, 0);
        while block < UNIT_BLOCKS {
            let bit = present >> block & 1;
            let run = (block..UNIT_BLOCKS).take_while(|next| present >> next & 1 == bit).count();
            if bit == 1 {
                image.push(data.slice(at..at + run * BLOCK));
                at += run * BLOCK;
            } else {
                image.push_zeros(run * BLOCK);
            }
            block += run as u32;
        }
        self.write_content_pieces(key, unit, image.pieces().cloned().collect());
    }

    /// A unit for content that is written before its turn in the journal; none if it would have to wait: then the
    /// content goes through the journal.
    fn take_unit_early(&mut self, slot: u32, region: Region) -> Option<u32> {
        let reserved = self.table.slot(slot).reserved >> region.index() & 1 == 1;
        let room = if reserved { self.units.room(0, 1) } else { self.units.room(1, 0) };
        (room == Room::Now).then(|| self.take_unit(slot, region))
    }

    /// Takes a unit for a region, from the extent's reservation if it has one. The caller has asked for room.
    pub(crate) fn take_unit(&mut self, slot: u32, region: Region) -> u32 {
        let held = self.table.slot_mut(slot);
        let bit = 1u64 << region.index();
        let unit = self.units.take(held.hints(region.index()), region.index());
        if held.reserved & bit != 0 {
            held.reserved &= !bit;
            self.units.unreserve(1);
        }
        held.note_home(region.index(), unit);
        assert!(unit != NO_UNIT, "a store has fewer units than that");
        unit
    }

    /// An extent for which all space is reserved has a unit, or a reservation of one, for each region.
    pub(crate) fn renew_reservation(&mut self, slot: u32) {
        let held = self.table.slot_mut(slot);
        if held.reserve_all {
            let missing = !held.mapped & !held.reserved;
            if self.units.reserve(missing.count_ones()) {
                held.reserved |= missing;
            }
        }
    }

    /// A content write is durable.
    pub(crate) fn content_done(&mut self, key: u32) {
        let mutation = self.ops.mutation_mut(key);
        mutation.writes_left -= 1;
        if mutation.writes_left == 0 {
            let slot = mutation.slot;
            self.dispatch(slot);
        }
    }
}

fn units_of(bytes: &Bytes) -> u32 {
    bytes.len() as u32 / REGION_BYTES
}

/// Whether a run of content ends where the next region's content starts.
fn follows(data: &Bytes, run: &Bytes, start: usize) -> bool {
    run.as_ptr() as usize + run.len() == data.as_ptr() as usize + start
}
