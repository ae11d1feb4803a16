//! Requests are admitted by a record, and anew by the next one.

use crate::engine::Engine;
use crate::event::{Output, RequestId};
use crate::slots::Key;
use evenkeel_meta::{Revision, View};
use evenkeel_peer::ReplyOutcome;
use evenkeel_types::VolumeId;
use std::collections::BTreeSet;

impl Engine {
    /// The revision by which this server's front ends admit requests to a volume at present.
    pub(crate) fn admits_by(&self, volume: VolumeId) -> Revision {
        let of_view = || self.core.view.as_ref().map_or(Revision(0), |view| view.access_revision(volume));
        self.barriers.unjudged.get(&volume).copied().unwrap_or_else(of_view)
    }

    /// The directory was listed anew: whatever differs from the view before has changed.
    pub(crate) fn compare_access(&mut self, before: Option<&View>) {
        let Some(before) = before else { return };
        let known = self
            .gateway
            .volumes()
            .chain(self.core.operations.values().map(|operation| operation.extent.volume));
        let volumes: BTreeSet<VolumeId> = known.chain(before.volumes().map(|(volume, _)| volume)).collect();
        for volume in volumes {
            self.change_access(volume, before.access_revision(volume));
        }
    }

    /// The view has another record of who may do what with a volume than the one of this revision.
    pub(crate) fn change_access(&mut self, volume: VolumeId, before: Revision) {
        let revision = self.core.view.as_ref().map_or(Revision(0), |view| view.access_revision(volume));
        if revision == before {
            return;
        }
        self.barriers.unjudged.entry(volume).or_insert(before);
        self.core.out.push_back(Output::Admit { volume, revision });
        self.refuse_admitted_before(volume, revision);
    }

    /// What was admitted before and is not sequenced goes back to its gateway.
    fn refuse_admitted_before(&mut self, volume: VolumeId, revision: Revision) {
        let is_old = |operation: &&crate::operation::Operation| {
            operation.extent.volume == volume && operation.admitted < revision && !operation.is_sequenced()
        };
        let old: Vec<Key> = self
            .core
            .operations
            .entries()
            .filter(|(_, operation)| is_old(operation))
            .map(|(key, _)| key)
            .collect();
        for key in old {
            let Some(extent) = self.core.operations.get(key).map(|operation| operation.extent) else {
                continue;
            };
            self.give_up(extent, key, ReplyOutcome::Readmit { revision: revision.0 });
        }
    }

    /// The front ends have judged their open requests to a volume by this revision.
    pub(crate) fn handle_admitted(&mut self, volume: VolumeId, revision: Revision) {
        let is_newest = self.core.view.as_ref().is_some_and(|view| view.access_revision(volume) == revision);
        if !is_newest {
            // They are asked again.
            return;
        }
        self.barriers.unjudged.remove(&volume);
        let readmitted: Vec<RequestId> = self.gateway.readmit(volume, revision);
        for id in readmitted {
            self.retry_request(id);
        }
    }
}
