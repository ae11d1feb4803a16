//! Disk requests: those to be handed out, and what the ones under way are for.

use crate::checkpoint::NamedBlocks;
use crate::disk::{DiskIo, IoId, IoKind};
use std::collections::{BTreeMap, VecDeque};

/// What a disk request is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// The group commit under way.
    Journal,
    /// Content of a change, written out of place.
    Content { op: u32 },
    /// A part of a read.
    Read { op: u32, part: u32 },
    /// A record that is needed in the cache.
    Load { slot: u32 },
    /// Journaled blocks, written into their places: block and journal sequence of each.
    InPlace { slot: u32, blocks: NamedBlocks },
    /// A metadata page.
    Page { slot: u32, generation: u64 },
    /// A flush of the checkpoint.
    CheckpointFlush,
    /// The superblock of the checkpoint.
    Superblock,
}

impl Purpose {
    /// In words, for people.
    pub(crate) const fn doing(&self) -> &'static str {
        match self {
            Self::Journal => "writing the journal",
            Self::Content { .. } => "writing content",
            Self::Read { .. } => "reading content",
            Self::Load { .. } => "reading an extent record",
            Self::InPlace { .. } => "writing journaled blocks to their places",
            Self::Page { .. } => "writing an extent record",
            Self::CheckpointFlush => "flushing the disk",
            Self::Superblock => "writing the superblock",
        }
    }
}

/// The requests of one store.
#[derive(Default, Debug)]
pub(crate) struct IoQueue {
    next: u64,
    ready: VecDeque<DiskIo>,
    /// What each request is for, and its first byte on the disk.
    in_flight: BTreeMap<IoId, (Purpose, Option<u64>)>,
}

impl IoQueue {
    pub(crate) fn issue(&mut self, kind: IoKind, purpose: Purpose) -> IoId {
        let id = IoId(self.next);
        self.next += 1;
        self.in_flight.insert(id, (purpose, kind.offset()));
        self.ready.push_back(DiskIo { id, kind });
        id
    }

    /// The id that the next request will have.
    pub(crate) const fn next_id(&self) -> IoId {
        IoId(self.next)
    }

    pub(crate) fn poll(&mut self) -> Option<DiskIo> {
        self.ready.pop_front()
    }

    /// What a completed request was for, and its first byte on the disk.
    pub(crate) fn complete(&mut self, id: IoId) -> Option<(Purpose, Option<u64>)> {
        self.in_flight.remove(&id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Drops what was not handed out; completions of the rest are still expected.
    pub(crate) fn cancel(&mut self) {
        for io in self.ready.drain(..) {
            self.in_flight.remove(&io.id);
        }
    }
}
