//! An operation at an extent's owner, from its arrival to its end.

use crate::event::{Arrival, RequestId};
use evenkeel_meta::Revision;
use evenkeel_peer::{PieceOp, ReplyOutcome};
use evenkeel_types::geometry::{BLOCK_BYTES, REGION_BYTES};
use evenkeel_types::store_op::{Content, StoreWrite};
use evenkeel_types::{BlockRange, ByteRange, Bytes, Epoch, ExtentId, Regions, ServerId, Time, WriteId};
use smallvec::SmallVec;

/// Who is told how an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// A piece of a request of a front end here.
    Local { id: RequestId, piece: u16 },
    /// A request of another gateway.
    Remote { server: ServerId, session: u64, number: u64 },
    /// Nobody any more.
    Gone,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) origin: Origin,
    pub(crate) extent: ExtentId,
    pub(crate) op: PieceOp,
    pub(crate) identity: Option<WriteId>,
    /// The epoch by which it was sent here.
    pub(crate) epoch: Epoch,
    /// The revision of its volume's access record by which its gateway admitted it.
    pub(crate) admitted: Revision,
    /// When it came here.
    pub(crate) since: Time,
    /// When its initiator's connection was last known to live.
    pub(crate) proof_at: Time,
    /// The blocks that it touches, which are also the range that it locks.
    pub(crate) blocks: BlockRange,
    pub(crate) stage: Stage,
    /// The route changed after it had resolved here.
    pub(crate) crossed_cut_over: bool,
    /// It has been counted as one that waited for a region in motion.
    pub(crate) counted_as_waiting: bool,
    /// Space for it is set aside, or asked for.
    pub(crate) reserved: bool,
    /// It does a part of what was asked for: the rest is for another try.
    pub(crate) is_part: bool,
}

/// How far an operation is.
///
/// ```text
///             ┌───────────────── read ───────────────▶ Leasing ─▶ end
///  Waiting ─▶ Locking ─▶ Reading ─┐
///                 │      (merge)  ▼
///                 └── write ──▶ Blocked ◀─▶ Reserving ─▶ Writing ─▶ end
/// ```
/// Up to `Reserving` an operation can still be given up: it has no version, and no copy has heard of it.
#[derive(Debug)]
pub(crate) enum Stage {
    /// For the extent to be served here.
    Waiting,
    /// For its range.
    Locking,
    /// For blocks from the store: `left` answers are to come; `old` are the edges of a merge that came.
    Reading { left: u8, old: [Option<Bytes>; 2] },
    /// For whatever keeps it from being sequenced, with its new content.
    Blocked { content: Content },
    /// For space.
    Reserving { content: Content },
    /// It has its version and is on its way to the copies.
    Writing(WriteInFlight),
    /// It is known what was read, and may be told as soon as the lease is good.
    Leasing { outcome: ReplyOutcome },
}

/// A write that has its version.
#[derive(Clone, Debug)]
pub(crate) struct WriteInFlight {
    pub(crate) regions: Regions,
    /// The write itself, in case a copy has to get it again or its version has to be given anew.
    pub(crate) write: StoreWrite,
    /// Space for it was set aside.
    pub(crate) reserved: bool,
    /// Whether it is durable here.
    pub(crate) local: bool,
    /// Messages to copies that are not answered.
    pub(crate) unanswered: u32,
    /// Regions that have to become current at a copy, or are to be asked about, before the write may be answered.
    pub(crate) behind: SmallVec<[(ServerId, Regions); 2]>,
}

impl WriteInFlight {
    /// What it writes to a block of the extent; none if that is no data, or none of its blocks.
    pub(crate) fn content_of(&self, block: u16) -> Option<Bytes> {
        let blocks = self.write.blocks;
        let Content::Data(data) = &self.write.content else { return None };
        let at = usize::from(block.checked_sub(blocks.first)?) * BLOCK_BYTES as usize;
        (block < blocks.end()).then(|| data.slice(at..at + BLOCK_BYTES as usize))
    }

    /// A copy has not taken these regions of the write.
    pub(crate) fn owe(&mut self, server: ServerId, regions: Regions) {
        if regions.is_empty() {
            return;
        }
        match self.behind.iter_mut().find(|(owing, _)| *owing == server) {
            Some((_, owed)) => *owed = owed.union(regions),
            None => self.behind.push((server, regions)),
        }
    }
}

impl Operation {
    /// Leaves of a write over several regions only the first run of neighbours among these.
    pub(crate) fn narrow_to(&mut self, regions: Regions) {
        let first = regions.0.trailing_zeros();
        let count = (regions.0 >> first).trailing_ones();
        let run = ByteRange::new(u64::from(first) * u64::from(REGION_BYTES), count * REGION_BYTES);
        let whole = self.op.range();
        let (start, end) = (whole.offset.max(run.offset), whole.end().min(run.end()));
        let at = ByteRange::new(start, (end - start) as u32);
        match &mut self.op {
            PieceOp::Write { at: range, data } => {
                let from = (start - whole.offset) as usize;
                *data = data.slice(from..from + at.len as usize);
                *range = at;
            }
            PieceOp::Zero { at: range } => *range = at,
            // Within one region.
            PieceOp::Read { .. } | PieceOp::CompareAndWrite { .. } => return,
        }
        self.blocks = at.touched_blocks();
        self.is_part = Regions::touched_by(self.blocks) != regions;
    }

    /// Whether it can still be given up with certainty.
    pub(crate) const fn is_sequenced(&self) -> bool {
        matches!(self.stage, Stage::Writing(_))
    }
}

/// The owner's part of the load of an operation that has just arrived. Zeroing costs the disk no data: only records
/// change.
pub(crate) const fn owner_load(extent: ExtentId, op: &PieceOp, remote: bool) -> Arrival {
    let at = op.range();
    let len = if matches!(op, PieceOp::Zero { .. }) { 0 } else { at.len };
    Arrival::Owner { extent, write: op.is_write(), at: ByteRange { offset: at.offset, len }, remote }
}
