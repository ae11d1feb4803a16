//! News of the directory.

use crate::core::TxnFor;
use crate::engine::Engine;
use crate::event::{DirectoryEvent, EngineEvent, Output, TxnTicket};
use evenkeel_meta::records::ParsedKey;
use evenkeel_meta::{Batch, Changes, DirectoryError, MemberState, Revision, TxnOutcome, View};
use evenkeel_types::{ExtentId, ServerId, VolumeId};
use std::collections::{BTreeMap, BTreeSet};

impl Engine {
    pub(crate) fn handle_directory(&mut self, event: DirectoryEvent) {
        match event {
            DirectoryEvent::Snapshot(view) => self.handle_snapshot(view),
            DirectoryEvent::Batch(batch) => self.handle_batch(&batch),
            DirectoryEvent::TxnDone { ticket, outcome } => self.handle_txn(ticket, outcome),
        }
    }

    fn handle_snapshot(&mut self, view: Box<View>) {
        let me = self.core.me();
        let mut moving = Vec::new();
        for (volume, _) in view.volumes() {
            let own = view
                .entries(volume)
                .filter(|(_, kept)| kept.record.intent.is_some())
                .map(|(index, _)| ExtentId { volume, index });
            moving.extend(own.filter(|id| view.route(*id).is_some_and(|route| route.owner() == Some(me))));
        }
        let before = self.own_record();
        let revision = view.ownership_revision(me);
        let earlier = self.core.view.replace(view);
        self.compare_access(earlier.as_deref());
        self.note_members();
        self.note_ownership(revision);
        self.compare_own_record(before);
        self.renew_resyncs(|_| true);
        for id in moving {
            self.extent_mut(id);
        }
        self.wake_all();
        self.sweep.begin(&mut self.core);
        self.retry_parked();
    }

    fn handle_batch(&mut self, batch: &Batch) {
        let Some(view) = &mut self.core.view else {
            return;
        };
        let before = view.member(self.core.config.me).map(|kept| (kept.revision, kept.record.state));
        let access = batch.changes.iter().filter_map(|change| match view.keys().parse(&change.key) {
            ParsedKey::Access(volume) | ParsedKey::Tombstone(volume) => {
                Some((volume, view.access_revision(volume)))
            }
            _ => None,
        });
        let access: BTreeMap<VolumeId, Revision> = access.collect();
        match view.apply(batch) {
            Ok(changes) => {
                for (volume, before) in access {
                    self.change_access(volume, before);
                }
                self.handle_changes(&changes);
                self.compare_own_record(before);
            }
            Err(why) => self.core.event(EngineEvent::ViewGap { why }),
        }
    }

    fn handle_changes(&mut self, changes: &Changes) {
        if changes.all
            || !changes.members.is_empty()
            || !changes.volumes.is_empty()
            || !changes.next_places.is_empty()
            || !changes.runs.is_empty()
            || !changes.tombstones.is_empty()
        {
            self.wake_all();
        }
        let me = self.core.me();
        // Whoever is named by a changed route, or anybody at all if a member has changed, has to hear from all owners anew
        // that its copies are good. Owner and copy see it by the same revision.
        let routes = changes.extents.iter().filter_map(|id| self.core.route(*id));
        let named: BTreeSet<ServerId> = routes.flat_map(|route| route.replicas.to_vec()).collect();
        if changes.all
            || !changes.members.is_empty()
            || !changes.volumes.is_empty()
            || !changes.runs.is_empty()
        {
            self.note_members();
            self.note_ownership(changes.revision);
            self.renew_resyncs(|_| true);
        } else if !named.is_empty() {
            if named.contains(&me) {
                self.note_ownership(changes.revision);
            }
            self.extend_resyncs(&named, &changes.extents, changes.revision);
        }
        self.shorten_resyncs();
        for id in &changes.extents {
            let route = self.core.route(*id);
            if route.is_some_and(|route| route.owner() == Some(me) && route.intent.is_some()) {
                self.extent_mut(*id);
            }
            self.core.wake(*id);
            let is_known = self.extents.get(id).is_some_and(|extent| extent.may_hold);
            if !is_known && route.is_some_and(|route| !route.names(me)) {
                // Only the store knows whether a copy is here that has to go.
                self.sweep.add_extent(&mut self.core, *id);
            }
        }
        for volume in changes.tombstones.iter().chain(&changes.volumes) {
            self.sweep.add_volume(&mut self.core, *volume);
        }
        for server in &changes.members {
            if self.is_down(*server) {
                self.note_mark();
            }
            // A life that the directory has ended does not speak here any more.
            let ended = self.core.peers.get(server).filter(|peer| peer.up).map(|peer| peer.incarnation);
            if ended.is_some_and(|incarnation| incarnation < self.core.known_incarnation(*server)) {
                self.core.out.push_back(Output::Disconnect { server: *server });
                self.handle_peer_down(*server);
            }
        }
        self.continue_placing();
        self.retry_parked();
    }

    fn own_record(&self) -> Option<(Revision, MemberState)> {
        let own = self.core.view.as_ref()?.member(self.core.config.me)?;
        Some((own.revision, own.record.state))
    }

    fn compare_own_record(&mut self, before: Option<(Revision, MemberState)>) {
        if self.own_record().map(|(revision, _)| revision) != before.map(|(revision, _)| revision) {
            self.note_own_record(before.map(|(_, state)| state));
        }
    }

    /// Whether a server has been there and is down. One that was just let in has yet to start: nobody marked it.
    fn is_down(&self, server: ServerId) -> bool {
        let member = self.core.view.as_ref().and_then(|view| view.member(server));
        member.is_some_and(|kept| kept.record.state == MemberState::Down && kept.record.incarnation.0 > 0)
    }

    fn wake_all(&mut self) {
        let ids: Vec<ExtentId> = self.extents.keys().copied().collect();
        for id in ids {
            self.core.wake(id);
        }
    }

    fn handle_txn(&mut self, ticket: TxnTicket, outcome: Result<TxnOutcome, DirectoryError>) {
        match self.core.txns.remove(&ticket) {
            Some(TxnFor::Prepare { extent }) => {
                self.with_extent(extent, |extent, core| extent.handle_prepared(core, outcome));
            }
            Some(TxnFor::Propose { extent }) => {
                self.with_extent(extent, |extent, core| extent.handle_proposed(core, ticket, outcome));
            }
            Some(TxnFor::MarkDown { server, silence }) => {
                self.handle_marked(server, silence, outcome.is_ok_and(|outcome| outcome.succeeded));
            }
            Some(TxnFor::Enter) => self.handle_entered(&outcome),
            Some(TxnFor::ConfirmPlace) => self.handle_confirmed(),
            Some(TxnFor::BecomeUp) => self.handle_became_up(ticket, &outcome),
            Some(TxnFor::Clear { extent, txn }) => {
                self.with_extent(extent, |extent, core| extent.handle_cleared(core, &txn, outcome));
            }
            None => {}
        }
    }
}
