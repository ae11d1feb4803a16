//! The owner of an extent: it orders all reads and writes.
//!
//! What holds while an extent is served:
//! * **One owner.** A reign belongs to one epoch, and each epoch has one owner. It serves only after every earlier owner
//!   has promised or lost its lease ([`takeover`]), and it ends when the view names another owner or a successor
//!   attaches in a higher epoch.
//! * **Order.** Range locks ([`locks`]) let conflicting operations through one after the other, in order of arrival. So
//!   a read waits for the writes in flight in its range, and sees all of a write or nothing.
//! * **Versions.** A write gets its version when nothing keeps it from going to all copies at once ([`write`]). Each
//!   write names the versions that it replaces. If the store refuses one, those behind it in the chain are refused
//!   too; then the regions are held until the chain is known again, and the writes get new versions.
//! * **Whole.** A block that cannot be read is mended from another copy ([`mend`]); only if it is good nowhere, the reader
//!   is told.
//! * **Entered.** Where another place of the volume is to come that would re-route the extent, it gets a route entry of its
//!   own before anything is read from it or written to it ([`entry`]).
//! * **Once.** A write that other gateways may retry leaves its identity with its version ([`identities`]). A retry is
//!   answered with what became of the first.

mod compare_and_write;
mod entry;
mod foreground;
mod identities;
pub(crate) mod locks;
mod mend;
mod merge;
mod read;
mod reign;
mod repair;
mod takeover;
mod write;

pub(crate) use foreground::Foreground;
pub(crate) use identities::Floors;
pub(crate) use mend::{Damage, Mending};
pub(crate) use reign::{Phase, Reign};

use crate::core::Core;
use crate::extent::Extent;
use crate::operation::{Operation, Stage};
use crate::slots::Key;
use evenkeel_peer::{PieceOp, ReplyOutcome};
use evenkeel_types::store_op::{Content, StoreError, StoreOutcome};
use evenkeel_types::{Bytes, Time};

impl Extent {
    /// Begins an operation; the reign serves.
    pub(crate) fn begin(&mut self, core: &mut Core, key: Key) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(operation) = core.operations.get_mut(key) else {
            return;
        };
        if reign.lost {
            let offset = operation.op.range().offset as u32;
            self.end(core, key, ReplyOutcome::Medium { offset });
            return;
        }
        if self.answer_duplicate(core, key) {
            return;
        }
        let (Some(reign), Some(operation)) = (&mut self.reign, core.operations.get_mut(key)) else {
            return;
        };
        if let (Some(identity), true) = (operation.identity, operation.op.is_write()) {
            reign.open_writes.insert(identity, key);
        }
        operation.stage = Stage::Locking;
        reign.running += 1;
        if reign.locks.request(key, operation.blocks, operation.op.is_write()) {
            self.run(core, key);
        }
    }

    /// Runs an operation that has its lock.
    pub(crate) fn run(&mut self, core: &mut Core, key: Key) {
        let Some(operation) = core.operations.get_mut(key) else {
            return;
        };
        let at = operation.op.range();
        match &operation.op {
            PieceOp::Read { .. } => read_blocks(core, key, 0),
            PieceOp::Zero { .. } => self.block(core, key, Content::Absent),
            PieceOp::Write { data, .. } if at.is_block_aligned() => {
                let content = Content::Data(data.clone());
                self.block(core, key, content);
            }
            PieceOp::Write { .. } => merge::read_edges(core, key),
            PieceOp::CompareAndWrite { .. } => read_blocks(core, key, 0),
        }
    }

    /// The new content is known: the write waits for nothing but its turn.
    pub(crate) fn block(&mut self, core: &mut Core, key: Key, content: Content) {
        if let Some(operation) = core.operations.get_mut(key) {
            operation.stage = Stage::Blocked { content };
            self.sequence(core, key);
        }
    }

    /// An operation's blocks came from the store.
    pub(crate) fn handle_blocks(&mut self, core: &mut Core, key: Key, part: u8, outcome: StoreOutcome) {
        let Some(operation) = core.operations.get(key) else {
            return;
        };
        let payload = match outcome {
            Ok(evenkeel_types::store_op::StoreReply::Data(payload)) => payload,
            Ok(_) => unreachable!("a store answers a read with data or an error"),
            Err(error) => {
                let mut outcome = refused(operation, error);
                if let StoreError::BadBlock { block } = error {
                    if self.mend_block(core, key, block) {
                        return;
                    }
                    if self.reign.as_ref().is_some_and(|reign| reign.phase == Phase::Draining) {
                        // Other copies may have it.
                        outcome = self.moved_or_deleted(core, self.successor_epoch(core));
                    }
                }
                self.finish(core, key, outcome);
                return;
            }
        };
        match &operation.op {
            PieceOp::Read { .. } => self.handle_read(core, key, &payload),
            PieceOp::CompareAndWrite { .. } => self.handle_compare(core, key, &payload.into_bytes()),
            PieceOp::Write { .. } => self.handle_edge(core, key, part, payload.into_bytes()),
            PieceOp::Zero { .. } => unreachable!("zeroing whole blocks reads nothing"),
        }
    }

    /// Ends an operation that was begun: its lock goes to those who wait for it.
    pub(crate) fn finish(&mut self, core: &mut Core, key: Key, outcome: ReplyOutcome) {
        let Some(operation) = core.operations.get(key) else {
            return;
        };
        let identity = operation.identity;
        self.release_space(core, key, true);
        let Some(reign) = &mut self.reign else {
            self.end(core, key, outcome);
            return;
        };
        if let Some(identity) = identity
            && reign.open_writes.get(&identity) == Some(&key)
        {
            reign.open_writes.remove(&identity);
        }
        reign.blocked.retain(|blocked| *blocked != key);
        reign.running -= 1;
        let granted = reign.locks.release(key);
        reign.granted.extend(granted);
        self.end(core, key, outcome);
        self.run_granted(core);
        if self.reign.as_ref().is_some_and(|reign| reign.phase == Phase::Draining && reign.running == 0) {
            core.wake(self.id);
        }
    }

    /// Runs the operations that have got their lock. One that ends at once gives its lock to others: they are run here,
    /// in a loop, and not within its end, for there may be as many as an extent may have.
    fn run_granted(&mut self, core: &mut Core) {
        match &mut self.reign {
            Some(reign) if !reign.granting => reign.granting = true,
            _ => return,
        }
        while let Some(next) = self.reign.as_mut().and_then(|reign| reign.granted.pop_front()) {
            self.run(core, next);
        }
        if let Some(reign) = &mut self.reign {
            reign.granting = false;
        }
    }

    /// Tries again whatever could not go on for a reason that may be gone.
    pub(crate) fn unblock(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        for key in std::mem::take(&mut reign.blocked) {
            match core.operations.get(key).map(|operation| &operation.stage) {
                Some(Stage::Blocked { .. }) => self.sequence(core, key),
                Some(Stage::Leasing { .. }) => self.answer_read(core, key),
                Some(Stage::Writing(_)) => self.consider_write(core, key),
                _ => {}
            }
        }
    }
}

/// Asks the store for all blocks of an operation.
fn read_blocks(core: &mut Core, key: Key, part: u8) {
    let Some(operation) = core.operations.get_mut(key) else {
        return;
    };
    operation.stage = Stage::Reading { left: 1, old: [const { None::<Bytes> }; 2] };
    let op = evenkeel_types::store_op::StoreOp::Read { extent: operation.extent, blocks: operation.blocks };
    core.store(crate::core::Pending::Read { operation: key, part }, op);
}

/// How an operation ends whose store refused it before anything changed.
fn refused(operation: &Operation, error: StoreError) -> ReplyOutcome {
    match error {
        StoreError::BadBlock { block } => {
            let first = u32::from(block) * evenkeel_types::geometry::BLOCK_BYTES;
            ReplyOutcome::Medium { offset: first.max(operation.op.range().offset as u32) }
        }
        StoreError::NoSpace => ReplyOutcome::NoSpace,
        _ => ReplyOutcome::Busy,
    }
}

/// Whether the initiator of a write was known to live a short time ago.
pub(crate) fn is_proven(now: Time, operation: &Operation) -> bool {
    now.since(operation.proof_at) <= crate::config::PROOF_AGE_MAX
}
