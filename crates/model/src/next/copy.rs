//! Copies of regions, the giving up of copies, and what a server forgets of them.

use super::Next;
use crate::message::{Change, Message, Route};
use crate::rule::Rule;
use crate::server::{Copying, REGIONS, RegionCopy};
use crate::set::ServerId;
use crate::step::Step;

impl Next<'_> {
    /// The owner sends a region that is not current to an attached copy. While it is on its way, writes to it wait.
    pub(super) fn copy_to(&mut self, owner: ServerId, to: ServerId) {
        let this = self.server(owner);
        let Some(reign) = this.reign else { return };
        if !reign.attached.contains(to) || reign.copying.is_some() || !self.state.network.has_room() {
            return;
        }
        for region in 0..REGIONS {
            let waits = !self.have(Rule::CopyCarriesWrites) && reign.in_flight_to(region);
            if reign.is_current(region, to) || waits {
                continue;
            }
            let mut next = *self.state;
            if let Some(reign) = &mut next.server_mut(owner).reign {
                reign.copying = Some(Copying { to, region: region as u8 });
            }
            let route = Route { from: owner, to, epoch: reign.epoch, incarnation: this.incarnation };
            let RegionCopy { version, content } = this.copies[region];
            let change =
                Change { region: region as u8, version, previous: self.state.version_of(to, region) };
            next.network.send(Message::Copy { route, change, content });
            self.found(Step::SendsCopy { owner, to, region: region as u8 }, next);
        }
    }

    /// The owner drops the target of a move, which is allowed as long as no Propose is out. It never drops a replica.
    pub(super) fn drop_copy(&mut self, owner: ServerId, other: ServerId) {
        let this = self.server(owner);
        let Some(reign) = this.reign else { return };
        let replica = this.view.replica_set().contains(other);
        let allowed = if replica {
            !self.have(Rule::SyncingRequired) && !this.view.is_up(other)
        } else {
            !(reign.proposed && self.have(Rule::TargetAcknowledges))
        };
        if self.is_everything() && allowed && reign.attached.contains(other) {
            let mut next = *self.state;
            if let Some(reign) = &mut next.server_mut(owner).reign {
                reign.drop_replica(other);
            }
            self.found(Step::Drops { owner, replica: other }, next);
        }
    }

    /// A server that its view names neither replica nor target frees its copy, and later forgets the epoch.
    pub(super) fn let_go(&mut self, me: ServerId) {
        let this = self.server(me);
        if !self.is_everything() || this.reign.is_some() || this.view.names(me) {
            return;
        }
        let reached = this.view.epoch(self.rules) >= this.accepted;
        if self.bound.frees && this.has_copy() && (reached || !self.have(Rule::FreeOnNewView)) {
            let mut next = *self.state;
            let this = next.server_mut(me);
            this.copies = [RegionCopy::NONE; REGIONS];
            this.fragile = None;
            self.found(Step::Frees { server: me }, next);
        }
        let forgets = reached || !self.have(Rule::AcceptedOutlivesCopy);
        if self.bound.forgets && this.accepted != 0 && forgets {
            let mut next = *self.state;
            next.server_mut(me).accepted = 0;
            self.found(Step::Forgets { server: me }, next);
        }
    }
}
