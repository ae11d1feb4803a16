//! Writes to all copies.

use super::link::SentWrite;
use super::{LinkState, Role};
use crate::core::Core;
use crate::event::{Arrival, Output};
use crate::extent::Extent;
use crate::operation::Stage;
use crate::owner::Reign;
use crate::slots::Key;
use evenkeel_peer::{CopyOutcome, Message, Refusal, ReplicaWrite, Voided, Written};
use evenkeel_types::store_op::{Content, StoreWrite};
use evenkeel_types::{BlockRange, Bytes, Region, Regions, ServerId};

impl Reign {
    /// Sends a write to all copies as far as its regions are current there; how many messages that took.
    pub(crate) fn mirror(&mut self, core: &mut Core, operation: Key, write: &StoreWrite) -> u32 {
        let regions = Regions::touched_by(write.blocks);
        let is_copying = self.mover.as_ref().is_some_and(|mover| mover.is_copying());
        let mut messages = 0;
        for link in &mut self.links {
            let LinkState::Attached(attached) = &mut link.state else {
                if link.role == Role::Target && is_copying {
                    link.count(&mut core.counters, |sum| sum.writes_not_yet_copied += 1);
                }
                continue;
            };
            let mirrored = attached.current.intersection(regions);
            let attachment = attached.attachment;
            if write.content.is_absent() {
                // Their units are given back; data will need space again.
                attached.space = attached.space.minus(mirrored);
            }
            for (blocks, part) in runs(write.blocks, mirrored) {
                link.next_tag += 1;
                let (version, sent_at) = (write.version, core.now);
                let sent = SentWrite { operation, regions: part, version, sent_at };
                attached.writes.insert(link.next_tag, sent);
                let replaced =
                    regions.iter().zip(&write.replaces).filter(|(region, _)| part.contains(*region));
                let data = content_of(write, blocks);
                core.out.push_back(Output::Arrived(Arrival::Copy {
                    extent: write.extent,
                    bytes: data.len() as u32,
                    received: false,
                }));
                let message = ReplicaWrite {
                    extent: write.extent,
                    epoch: self.epoch,
                    attachment,
                    tag: link.next_tag,
                    blocks,
                    has_data: matches!(write.content, Content::Data(_)),
                    version: write.version,
                    replaces: replaced.map(|(_, version)| *version).collect(),
                    identity: write.identity,
                    forget_below: write.forget_below,
                    data,
                };
                core.send(link.server, Message::Write(message));
                messages += 1;
            }
            link.count(&mut core.counters, |sum| {
                sum.writes_mirrored += u64::from(!mirrored.is_empty());
                sum.writes_not_yet_copied += u64::from(mirrored != regions);
            });
        }
        messages
    }

    /// A write was refused here: whether the copies have it or not, its regions there are not what they are here.
    pub(crate) fn forget_write(&mut self, operation: Key, regions: Regions) {
        for attached in self.links.iter_mut().filter_map(|link| link.attached_mut()) {
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
    /// A copy answered a write.
    pub(crate) fn handle_written_there(&mut self, core: &mut Core, from: ServerId, answer: &Written) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let required = reign.is_required(from);
        let Some(attached) = reign.link_mut(from).and_then(|link| link.attached_mut()) else {
            return;
        };
        if attached.attachment != answer.attachment {
            return;
        }
        if let CopyOutcome::Refused(refusal) = answer.outcome {
            // The write is still unanswered when the link is dropped, which settles it like all others.
            self.handle_link_refused(core, from, answer.attachment, refusal);
            return;
        }
        if (required || attached.promised) && !matches!(answer.outcome, CopyOutcome::Applied) {
            // A copy that has to have everything, or was told that it has, has missed a write before this one: a new attach
            // finds which, and voids the promise.
            self.handle_link_refused(core, from, answer.attachment, Refusal::NotAttached);
            return;
        }
        let Some(write) = attached.writes.remove(&answer.tag) else {
            return;
        };
        core.note_write_answered(from, write.sent_at);
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
            in_flight.owe(from, behind);
        }
        self.consider_write(core, write.operation);
        if !behind.is_empty() {
            self.progress_reign(core);
        }
    }

    /// A server gives leases again, except for the attachments that it names.
    pub(crate) fn handle_voided(&mut self, from: ServerId, void: &Voided) {
        let link = self.reign.as_mut().and_then(|reign| reign.link_mut(from));
        if let Some(attached) = link.and_then(|link| link.attached_mut())
            && attached.attachment == void.attachment
        {
            attached.voided = true;
        }
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
