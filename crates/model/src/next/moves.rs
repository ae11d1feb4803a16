//! Moves, rebuilds, and the switch of the owner.

use super::Next;
use crate::directory::{Directory, Intent};
use crate::message::{Message, Proposal};
use crate::rule::Rule;
use crate::server::{Phase, Reign};
use crate::set::ServerId;
use crate::step::Step;

impl Next<'_> {
    pub(super) fn moves(&mut self, me: ServerId) {
        let Some(reign) = self.server(me).present_reign(me, self.rules).copied() else { return };
        let serves = self.server(me).serves(me, self.rules);
        match self.server(me).view.entry.intent {
            None if serves && self.is_everything() => {
                self.prepare(me, &reign);
                self.switch(me, &reign);
            }
            None => {}
            Some(intent) => {
                self.propose(me, &reign, intent);
                self.read_entry(me, &reign);
                self.clear(me, &reign, intent);
            }
        }
    }

    /// Writes the intent: any server that is up and holds no copy may take the place of any replica, whether that is up,
    /// syncing or down.
    fn prepare(&mut self, me: ServerId, reign: &Reign) {
        let state = self.state;
        let view = &self.server(me).view;
        let done = state.spent.moves >= self.bound.moves || !self.may_write();
        if done || !self.is_unchanged(reign.epoch) {
            return;
        }
        let replicas = view.replicas().collect::<Vec<_>>();
        for to in self.all_servers().filter(|to| !replicas.contains(to)) {
            if !view.is_up(to) || state.directory.member(to) != view.member(to) {
                continue;
            }
            let wanted = |replaces: &ServerId| !self.bound.rebuilds_only || !view.is_up(*replaces);
            for replaces in replicas.iter().copied().filter(wanted).collect::<Vec<_>>() {
                let mut next = *state;
                next.spent.moves += 1;
                let revision = next.directory.next_revision();
                let entry = &mut next.directory.entry;
                entry.intent = Some(Intent { to, replaces });
                entry.from = None;
                entry.revision = revision;
                next.follow(me, self.rules);
                self.found(Step::Prepares { owner: me, to, replaces }, next);
            }
        }
    }

    /// Whether no key of the route has changed since the epoch. Without the rule for epochs, the entry alone tells.
    fn is_unchanged(&self, epoch: u8) -> bool {
        self.state.directory.epoch(self.rules) == epoch
    }

    fn proposal(&self, by: ServerId, reign: &Reign, view: &Directory) -> Proposal {
        let incarnation = self.server(by).incarnation;
        Proposal { by, incarnation, epoch: reign.epoch, entry: view.entry.revision }
    }

    /// All regions are current at the target: from here until the outcome is known it is required.
    fn propose(&mut self, me: ServerId, reign: &Reign, intent: Intent) {
        let Intent { to, replaces } = intent;
        let view = &self.server(me).view;
        let ready = reign.phase == Phase::Serving && reign.attached.contains(to) && reign.all_current(to);
        let out = reign.proposed || !self.state.network.has_room();
        if !self.is_everything() || !ready || out || !view.is_up(to) {
            return;
        }
        let mut next = *self.state;
        let proposal = self.proposal(me, reign, view);
        next.network.send(Message::Propose { proposal, to, replaces });
        if let Some(reign) = &mut next.server_mut(me).reign {
            reign.proposed = true;
            if !self.have(Rule::TargetAcknowledges) {
                reign.answered(to, |_| true);
            }
            if !self.have(Rule::ReplacedStaysRequired) {
                reign.answered(replaces, |_| true);
            }
        }
        self.found(Step::Proposes { owner: me, to, replaces }, next);
    }

    /// The owner hears nothing and concludes from an unchanged entry that the Propose did not happen.
    fn read_entry(&mut self, me: ServerId, reign: &Reign) {
        if !reign.proposed || self.have(Rule::OutcomeNotRead) {
            return;
        }
        let mut next = *self.state;
        if let Some(reign) = &mut next.server_mut(me).reign {
            reign.proposed = false;
        }
        let moved = next.directory.entry.revision != self.server(me).view.entry.revision;
        next.follow(me, self.rules);
        self.found(Step::ReadsEntry { owner: me, moved }, next);
    }

    /// Clears the intent, or finds that the entry has changed. Either settles a Propose.
    fn clear(&mut self, me: ServerId, reign: &Reign, intent: Intent) {
        let state = self.state;
        let view = &self.server(me).view;
        let hopeless = reign.phase == Phase::Serving && (!view.is_up(intent.to) || !self.is_everything());
        let acts = state.directory.member(me) == view.member(me);
        if !acts || !(reign.proposed || hopeless) || !self.may_write() {
            return;
        }
        let mut next = *state;
        let taken = state.directory.entry.revision == view.entry.revision;
        if taken {
            let revision = next.directory.next_revision();
            next.directory.entry.intent = None;
            next.directory.entry.revision = revision;
        }
        if let Some(reign) = &mut next.server_mut(me).reign {
            reign.proposed = false;
        }
        next.follow(me, self.rules);
        self.found(Step::Clears { owner: me, taken }, next);
    }

    /// Asks the directory to make another in-sync replica the owner. No copy changes, and both stay required whatever
    /// becomes of it.
    fn switch(&mut self, me: ServerId, reign: &Reign) {
        let state = self.state;
        let view = &self.server(me).view;
        let under_way =
            |message: &Message| matches!(message, Message::Switch { proposal, .. } if proposal.by == me);
        let out = state.network.any(under_way) || !state.network.has_room();
        if state.spent.switches >= self.bound.switches || out {
            return;
        }
        for to in view.up().without(me).iter() {
            let mut next = *state;
            next.spent.switches += 1;
            let proposal = self.proposal(me, reign, view);
            let replicas = view.entry.replicas;
            next.network.send(Message::Switch { proposal, to, replicas });
            self.found(Step::Switches { owner: me, to }, next);
        }
    }
}
