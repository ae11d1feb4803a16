//! Taking over: accept, attach, settle, serve; leases and what guards against old ones.

use super::Next;
use crate::message::Message;
use crate::rule::Rule;
use crate::server::{InFlight, Phase, REGIONS, Reign};
use crate::set::{ServerId, Servers};
use crate::state::Flaw;
use crate::step::Step;

impl Next<'_> {
    pub(super) fn reign(&mut self, me: ServerId) {
        self.take_over(me);
        if self.server(me).present_reign(me, self.rules).is_some() {
            for other in self.all_servers().filter(|other| *other != me) {
                if self.can_talk(me, other) {
                    self.attach(me, other);
                    self.give_lease(other, me);
                    self.promise(me, other);
                    self.copy_to(me, other);
                    self.drop_copy(me, other);
                }
            }
            self.begin_serving(me);
        }
        self.time_passes(me);
    }

    /// The view makes this server owner in an epoch that is not its reign's: a reign begins, or begins again with the
    /// writes that are in flight.
    fn take_over(&mut self, me: ServerId) {
        let this = self.server(me);
        let epoch = this.view.epoch(self.rules);
        let begun = this.reign.is_some_and(|reign| reign.epoch == epoch);
        if begun || this.accepted > epoch || !this.owns(me, self.rules) {
            return;
        }
        let mut next = *self.state;
        let mut reign = Reign::new(epoch);
        if !self.have(Rule::EpochOfAllKeys) || !self.have(Rule::RecordAtStart) {
            // Without them an epoch may have several reigns; at least none gives a version of its own twice.
            let own = this.copies.iter().map(|copy| copy.version).filter(|version| version.epoch == epoch);
            reign.sequence = own.map(|version| version.sequence).max().unwrap_or(0);
        }
        if let Some(before) = this.reign {
            let others = this.view.in_sync(self.rules).without(me);
            reign.writes = before.writes.map(|write| Some(InFlight { waits_for: others, ..write? }));
        }
        let this = next.server_mut(me);
        this.accepted = epoch;
        if !self.have(Rule::VersionsKept) {
            for copy in this.copies.iter_mut() {
                copy.version.epoch = epoch;
            }
            for write in reign.writes.iter_mut().flatten() {
                write.version.epoch = epoch;
            }
        }
        this.reign = Some(reign);
        self.found(Step::TakesOver { server: me, epoch }, next);
    }

    /// Whether a message reaches the other server, in the incarnation that the owner's view knows.
    fn can_talk(&self, me: ServerId, other: ServerId) -> bool {
        let to = self.server(other);
        to.alive && to.incarnation == self.server(me).view.member(other).incarnation
    }

    /// A replica answers the owner's attach: it accepts the epoch, ends its own reign, and says which versions it has.
    fn attach(&mut self, me: ServerId, other: ServerId) {
        let (owner, replica) = (self.server(me), self.server(other));
        let Some(reign) = owner.reign else { return };
        let view = &owner.view;
        let target = view.target() == Some(other) && view.is_up(other);
        let takes_part = view.present().contains(other) || target;
        let replaced = view.entry.from == Some(other) && !takes_part;
        let wanted = if takes_part {
            !reign.attached.contains(other) || reign.awaits(other)
        } else {
            replaced && owner.guards.contains(other)
        };
        if !wanted || !self.answers_attach(other, reign.epoch) {
            return;
        }
        let mut next = *self.state;
        let this = next.server_mut(other);
        this.accepted = reign.epoch;
        if self.have(Rule::AttachVoidsPromise) {
            this.promise = None;
        }
        if self.have(Rule::AttachEndsReign) {
            this.reign = None;
        }
        let theirs = replica.copies;
        let ours = owner.copies;
        let this = next.server_mut(me);
        // The answer is the promise of one that owned before.
        this.guards = this.guards.without(other);
        if replaced {
            self.found(Step::AttachesReplaced { owner: me, replaced: other, epoch: reign.epoch }, next);
            return;
        }
        let mut current = [false; REGIONS];
        if let Some(reign) = &mut this.reign {
            reign.attached = reign.attached.with(other);
            reign.copying = reign.copying.filter(|copying| copying.to != other);
            for region in 0..REGIONS {
                current[region] = ours[region].version == theirs[region].version;
                let at = reign.current[region].without(other);
                reign.current[region] = if current[region] { at.with(other) } else { at };
                if current[region] {
                    reign.answered(other, |write| usize::from(write.region) == region);
                }
            }
        }
        let same = |region: usize| ours[region].content == theirs[region].content;
        let held = |region: usize| theirs[region].version.epoch != 0 && ours[region].version.epoch != 0;
        if !self.bound.retries && (0..REGIONS).any(|region| !current[region] && same(region) && held(region))
        {
            next.flaw = Some(Flaw::Version);
        }
        if next != *self.state {
            self.found(Step::Attaches { owner: me, replica: other, epoch: reign.epoch, current }, next);
        }
    }

    fn answers_attach(&self, replica: ServerId, epoch: u8) -> bool {
        let this = self.server(replica);
        let up_under_way =
            |message: &Message| matches!(message, Message::Up { server, .. } if *server == replica);
        let fenced = self.have(Rule::AcceptedFences) && this.accepted > epoch;
        let behind = self.have(Rule::AttachKnowsView) && this.view.epoch(self.rules) > epoch;
        let reigns = this.reign.is_some_and(|reign| reign.epoch >= epoch);
        let undecided = self.have(Rule::UpIsAwaited) && self.state.network.any(up_under_way);
        !fenced && !behind && !reigns && !undecided
    }

    fn give_lease(&mut self, replica: ServerId, owner: ServerId) {
        let (to, from) = (self.server(owner), self.server(replica));
        let Some(reign) = to.reign else { return };
        let needed = to.lease_set(owner, self.rules).contains(replica);
        let held = reign.leases.contains(replica) && from.guards.contains(owner);
        let fenced = self.have(Rule::AcceptedFences) && from.accepted > reign.epoch;
        let old = to.incarnation < from.view.member(owner).incarnation;
        if !needed || held || fenced || old || from.reign.is_some() {
            return;
        }
        let mut next = *self.state;
        if let Some(reign) = &mut next.server_mut(owner).reign {
            reign.leases = reign.leases.with(replica);
        }
        let this = next.server_mut(replica);
        this.guards = this.guards.with(owner);
        self.found(Step::GivesLease { replica, owner }, next);
    }

    /// The owner tells a syncing replica that all regions are current there: from then on none of it is given up
    /// without marking it down.
    fn promise(&mut self, owner: ServerId, to: ServerId) {
        let (this, replica) = (self.server(owner), self.server(to));
        let Some(reign) = this.reign else { return };
        let syncing = this.view.present().contains(to) && !this.view.is_up(to);
        let attached = reign.attached.contains(to) && replica.accepted == reign.epoch;
        let news = replica.promise != Some(reign.epoch) && replica.reign.is_none();
        if reign.phase == Phase::Serving && syncing && attached && reign.all_current(to) && news {
            let mut next = *self.state;
            next.server_mut(to).promise = Some(reign.epoch);
            self.found(Step::Promises { owner, to, epoch: reign.epoch }, next);
        }
    }

    fn begin_serving(&mut self, me: ServerId) {
        let this = self.server(me);
        let Some(reign) = this.reign else { return };
        if reign.phase == Phase::Serving {
            return;
        }
        let in_sync = this.view.in_sync(self.rules).without(me);
        let required =
            if self.have(Rule::SyncingRequired) { this.view.present().without(me) } else { in_sync };
        let guarded = self.have(Rule::GuardWaited) && !this.guards.without(me).is_empty();
        let differs = self.have(Rule::EqualBeforeServing) && !in_sync.iter().all(|at| reign.all_current(at));
        if guarded || differs || !required.minus(reign.attached).is_empty() {
            return;
        }
        let mut next = *self.state;
        if let Some(reign) = &mut next.server_mut(me).reign {
            reign.phase = Phase::Serving;
        }
        self.found(Step::Serves { server: me, epoch: reign.epoch }, next);
    }

    /// Leases run out at the owner, and later at those that gave them.
    fn time_passes(&mut self, me: ServerId) {
        let leases = self.server(me).reign.map_or(Servers::NONE, |reign| reign.leases);
        if !self.is_everything() || self.state.spent.expiries < self.bound.expiries {
            for replica in leases.iter() {
                let mut next = *self.state;
                if let Some(reign) = &mut next.server_mut(me).reign {
                    reign.leases = reign.leases.without(replica);
                }
                if self.is_everything() {
                    next.spent.expiries += 1;
                }
                self.found(Step::LeaseEnds { owner: me, replica }, next);
            }
        }
        for owner in self.server(me).guards.iter() {
            let lease = self.server(owner).reign.is_some_and(|reign| reign.leases.contains(me));
            if !lease || !self.have(Rule::LeaseShorterThanGuard) {
                let mut next = *self.state;
                let this = next.server_mut(me);
                this.guards = this.guards.without(owner);
                self.found(Step::GuardEnds { replica: me, owner }, next);
            }
        }
    }
}
