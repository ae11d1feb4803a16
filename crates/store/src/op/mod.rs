//! Operations under way, and how those on one extent wait for each other.
//!
//! Changes of an extent enter the journal in the order of submission; what they need before (a cached record, data
//! written out of place) is prepared for all of them at once. A read waits only for earlier changes of the blocks it
//! reads, until they are durable.

pub(crate) mod mutate;
pub(crate) mod prepare;
pub(crate) mod read;
pub(crate) mod sequence;

use crate::slab::Slab;
use evenkeel_types::geometry::BlockRange;
use evenkeel_types::store_op::StoreTicket;
use evenkeel_types::store_op::StoreWrite;
use evenkeel_types::{Bytes, Epoch, Region, Regions, ServerId, Version, WriteId};
use read::ReadOp;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// An operation that could not be answered at once.
#[derive(Debug)]
pub(crate) enum Op {
    Read(Box<ReadOp>),
    Mutation(Box<Mutation>),
}

impl Slab<Op> {
    /// The change under a key that is known to be one.
    pub(crate) fn mutation(&self, key: u32) -> &Mutation {
        match self.get(key) {
            Op::Mutation(mutation) => mutation,
            Op::Read(_) => unreachable!("only changes have a turn in the journal"),
        }
    }

    pub(crate) fn mutation_mut(&mut self, key: u32) -> &mut Mutation {
        match self.get_mut(key) {
            Op::Mutation(mutation) => mutation,
            Op::Read(_) => unreachable!("only changes have a turn in the journal"),
        }
    }
}

/// A change of an extent.
#[derive(Debug)]
pub(crate) struct Mutation {
    pub(crate) ticket: StoreTicket,
    pub(crate) slot: u32,
    pub(crate) kind: MutationKind,
    /// CRC-32C of each block of the content, in order.
    pub(crate) crcs: SmallVec<[u32; 16]>,
    /// Regions that are written out of place, with their new units, in order.
    pub(crate) prepared: SmallVec<[(Region, u32); 1]>,
    /// Writes out of place that are not durable yet.
    pub(crate) writes_left: u32,
    /// Content found no room on the disk: the change is refused when its turn comes.
    pub(crate) no_room: bool,
    /// Checkpoints that it waited for.
    pub(crate) stalls: u32,
}

/// What a change does.
#[derive(Debug)]
pub(crate) enum MutationKind {
    Write(StoreWrite),
    Install {
        region: Region,
        replaces: Version,
        version: Version,
        present: u16,
        /// Blocks that cannot be read where the image comes from, and not here either.
        bad: u16,
        data: Bytes,
        identities: Vec<WriteId>,
    },
    Accept {
        epoch: Epoch,
        replicas: SmallVec<[ServerId; 3]>,
        holds: bool,
        reserve_all: bool,
        forget_below: Vec<WriteId>,
    },
    Reserve {
        blocks: BlockRange,
    },
    Unreserve {
        regions: Regions,
    },
    Free,
    Forget,
}

impl MutationKind {
    /// The blocks whose content changes.
    pub(crate) fn conflict(&self) -> Option<BlockRange> {
        match self {
            Self::Write(write) => Some(write.blocks),
            Self::Install { region, .. } => Some(region.blocks()),
            Self::Free | Self::Forget => Some(BlockRange::ALL),
            Self::Accept { .. } | Self::Reserve { .. } | Self::Unreserve { .. } => None,
        }
    }

    /// Whether the change makes a record where there is none, or holds a slot for one.
    pub(crate) const fn creates(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Accept { .. } | Self::Reserve { .. })
    }
}

/// A change in the queue of its extent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) op: u32,
    pub(crate) number: u64,
    pub(crate) conflict: Option<BlockRange>,
}

/// What goes on with one extent.
#[derive(Default, Debug)]
pub(crate) struct Active {
    /// Changes that are not durable yet, in order; the first `dispatched` are on their way into the journal.
    pub(crate) mutations: VecDeque<Pending>,
    pub(crate) dispatched: usize,
    /// The first change waits for space, and all behind it with it.
    pub(crate) stalled: bool,
    /// Reads that wait for the change with this number.
    pub(crate) reads_behind: Vec<(u64, u32)>,
    /// Reads that wait for the record.
    pub(crate) reads_loading: Vec<u32>,
    /// The record is being loaded, or waits for room in the cache.
    pub(crate) loading: bool,
}

impl Active {
    /// Whether nothing goes on any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.mutations.is_empty()
            && self.reads_behind.is_empty()
            && self.reads_loading.is_empty()
            && !self.loading
    }

    /// The number of the last change that a read of these blocks must wait for; of any change, without blocks.
    pub(crate) fn last_conflict(&self, blocks: Option<BlockRange>) -> Option<u64> {
        let conflicts = |pending: &&Pending| match (blocks, pending.conflict) {
            (Some(read), Some(changed)) => read.overlaps(changed),
            (Some(_), None) => false,
            (None, _) => true,
        };
        self.mutations.iter().rev().find(conflicts).map(|pending| pending.number)
    }
}
