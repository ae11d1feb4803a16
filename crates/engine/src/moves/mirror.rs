//! Writes to both copies.

use super::state::MirroredWrite;
use super::{Link, Mover, Step};
use crate::core::Core;
use crate::event::{Arrival, Output};
use crate::extent::Extent;
use crate::operation::Stage;
use crate::slots::Key;
use evenkeel_peer::{CopyOutcome, Message, Refusal, ReplicaWrite, Written};
use evenkeel_types::store_op::{Content, StoreWrite};
use evenkeel_types::{BlockRange, Bytes, Region, Regions, ServerId};

impl Mover {
    /// Sends a write to the target as far as its regions are current there; how many messages that took.
    pub(crate) fn mirror(&mut self, core: &mut Core, operation: Key, write: &StoreWrite) -> u32 {
        let regions = Regions::touched_by(write.blocks);
        let Link::Attached(attached) = &mut self.link else {
            self.counters.writes_not_yet_copied += u64::from(matches!(self.step, Step::Copying { .. }));
            return 0;
        };
        let mirrored = attached.current.intersection(regions);
        self.counters.writes_mirrored += u64::from(!mirrored.is_empty());
        self.counters.writes_not_yet_copied += u64::from(mirrored != regions);
        let mut messages = 0;
        for (blocks, part) in runs(write.blocks, mirrored) {
            self.next_tag += 1;
            let (version, sent_at) = (write.version, core.now);
            let sent = MirroredWrite { operation, regions: part, version, sent_at };
            attached.writes.insert(self.next_tag, sent);
            let replaced = regions.iter().zip(&write.replaces).filter(|(region, _)| part.contains(*region));
            let data = content_of(write, blocks);
            core.out.push_back(Output::Arrived(Arrival::Copy {
                extent: self.extent,
                bytes: data.len() as u32,
                received: false,
            }));
            let message = ReplicaWrite {
                extent: self.extent,
                epoch: write.version.epoch,
                attachment: attached.attachment,
                tag: self.next_tag,
                blocks,
                has_data: matches!(write.content, Content::Data(_)),
                version: write.version,
                replaces: replaced.map(|(_, version)| *version).collect(),
                identity: write.identity,
                forget_below: write.forget_below,
                data,
            };
            core.send(self.to, Message::Write(message));
            messages += 1;
        }
        messages
    }

    /// A write was refused here: whether the target has it or not, its regions there are not what they are here.
    pub(crate) fn forget_write(&mut self, operation: Key, regions: Regions) {
        if let Link::Attached(attached) = &mut self.link {
            attached.writes.retain(|_, write| write.operation != operation);
            attached.current = attached.current.minus(regions);
        }
    }
}

/// Cuts a range of blocks into runs of neighbours whose regions are all in the set.
fn runs(blocks: BlockRange, regions: Regions) -> Vec<(BlockRange, Regions)> {
    let mut runs: Vec<(BlockRange, Regions)> = Vec::new();
    for (number, piece) in blocks.split_by_region() {
        let Some(region) = Region::new(number).filter(|region| regions.contains(*region)) else {
            continue;
        };
        match runs.last_mut() {
            Some((run, set)) if run.end() == piece.first => {
                run.count += piece.count;
                *set = set.with(region);
            }
            _ => runs.push((piece, Regions::NONE.with(region))),
        }
    }
    runs
}

/// The part of a write's data that belongs to some of its blocks.
fn content_of(write: &StoreWrite, blocks: BlockRange) -> Bytes {
    match &write.content {
        Content::Absent => Bytes::new(),
        Content::Data(data) => {
            let start = (blocks.bytes().offset - write.blocks.bytes().offset) as usize;
            data.slice(start..start + blocks.len_bytes() as usize)
        }
    }
}

impl Extent {
    /// The target answered a mirrored write.
    pub(crate) fn handle_written_there(&mut self, core: &mut Core, from: ServerId, answer: &Written) {
        let Some(mover) =
            self.reign.as_mut().and_then(|reign| reign.mover.as_mut()).filter(|mover| mover.to == from)
        else {
            return;
        };
        let required = mover.is_required();
        let Link::Attached(attached) = &mut mover.link else {
            return;
        };
        if attached.attachment != answer.attachment {
            return;
        }
        if let CopyOutcome::Refused(refusal) = answer.outcome {
            // The write is still unanswered when the link is dropped, which settles it like all others.
            self.handle_target_refused(core, answer.attachment, refusal);
            return;
        }
        if required && !matches!(answer.outcome, CopyOutcome::Applied) {
            // A required target has missed a write before this one: a new attach finds which.
            self.handle_target_refused(core, answer.attachment, Refusal::NotAttached);
            return;
        }
        let Some(write) = attached.writes.remove(&answer.tag) else {
            return;
        };
        // The answer counts for the version that it names, and for no other.
        let names_it = answer.version == write.version;
        let mut behind = Regions::NONE;
        match answer.outcome {
            CopyOutcome::Applied if names_it => {
                for region in write.regions.iter() {
                    attached.theirs[region.index()] = write.version;
                }
            }
            CopyOutcome::Mismatch { region, found } => {
                // A region that was copied after this write was sent has it by that copy.
                behind = write
                    .regions
                    .iter()
                    .filter(|region| attached.copied[region.index()] < write.version)
                    .fold(Regions::NONE, Regions::with);
                if behind.contains(region) {
                    attached.theirs[region.index()] = found;
                }
                attached.current = attached.current.minus(behind);
            }
            _ => behind = write.regions,
        }
        if let Some(Stage::Writing(in_flight)) =
            core.operations.get_mut(write.operation).map(|operation| &mut operation.stage)
        {
            in_flight.unanswered -= 1;
            if required {
                in_flight.behind = in_flight.behind.union(behind);
            }
        }
        if !behind.is_empty() && matches!(mover.step, Step::Remembering { .. }) {
            mover.step = Step::Copying { propose_at: core.now };
        }
        self.consider_write(core, write.operation);
        if !behind.is_empty() {
            self.continue_move(core);
        }
    }

    /// The target gives leases again, or gives none for this attachment any more.
    pub(crate) fn handle_lease(&mut self, core: &mut Core, voided: &[evenkeel_peer::Voided]) {
        let id = self.id;
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        if let Link::Attached(attached) = &mut mover.link {
            let names_this =
                |void: &evenkeel_peer::Voided| void.extent == id && void.attachment == attached.attachment;
            if voided.iter().any(names_this) {
                attached.voided = true;
            }
        }
        self.unblock(core);
    }

    /// A refusal under the present attachment, for messages that carry nothing else.
    pub(crate) fn handle_remember_refused(&mut self, core: &mut Core, attachment: u64, refusal: Refusal) {
        self.handle_target_refused(core, attachment, refusal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_over_current_and_other_regions_is_cut_into_runs_of_current_ones() {
        let set = [0u8, 1, 3].into_iter().fold(Regions::NONE, |set, n| set.with(Region::new(n).unwrap()));
        let runs = runs(BlockRange::new(8, 56).unwrap(), set);
        let shown: Vec<_> =
            runs.iter().map(|(blocks, regions)| (blocks.first, blocks.count, regions.0)).collect();
        assert_eq!(shown, [(8, 24, 0b11), (48, 16, 0b1000)]);
    }
}
