//! Reads and writes of clients.

use super::Next;
use crate::message::{Change, Message, Route};
use crate::rule::Rule;
use crate::server::{InFlight, Phase, REGIONS, Version};
use crate::set::{ServerId, Servers};
use crate::state::{Flaw, State};
use crate::step::Step;

impl Next<'_> {
    pub(super) fn serve_clients(&mut self, me: ServerId) {
        if self.is_everything() && self.server(me).serves(me, self.rules) {
            for region in 0..REGIONS {
                self.take_write(me, region);
                self.take_retries(me, region);
                self.read(me, region);
            }
        }
        self.acknowledge(me);
    }

    /// Whether a write to the region can get its version now.
    fn takes_writes(&self, me: ServerId, region: usize) -> bool {
        let Some(reign) = &self.server(me).reign else { return false };
        let held = reign.copying.is_some_and(|copying| usize::from(copying.region) == region);
        !held && reign.in_flight().count() < usize::from(self.bound.in_flight)
    }

    fn take_write(&mut self, me: ServerId, region: usize) {
        let clients = &self.state.clients;
        let elsewhere = self.bound.one_region && region > 0;
        if clients.begun >= self.bound.writes || elsewhere || !self.takes_writes(me, region) {
            return;
        }
        let mut next = *self.state;
        let write = clients.begun + 1;
        next.clients.begun = write;
        next.clients.region_of[usize::from(write)] = region as u8;
        let version = self.sequence(&mut next, me, region, write);
        self.found(Step::Writes { owner: me, write, region: region as u8, version }, next);
    }

    /// Gives a write its version, applies it here, and sends it to each copy that has the region current.
    fn sequence(&self, next: &mut State, me: ServerId, region: usize, write: u8) -> Version {
        let have = |rule| self.have(rule);
        let this = next.server_mut(me);
        let (view, incarnation) = (this.view, this.incarnation);
        let Some(reign) = &mut this.reign else { return Version::default() };
        reign.sequence += 1;
        let version = Version { epoch: reign.epoch, sequence: reign.sequence };
        let copy = &mut this.copies[region];
        let previous = copy.version;
        copy.version = version;
        copy.content = copy.content.then(write);
        let current = reign.current[region].common(reign.attached);
        let mut waits_for = view.in_sync(self.rules).and(current).without(me);
        if reign.proposed
            && let Some(intent) = view.entry.intent
        {
            if have(Rule::TargetAcknowledges) {
                waits_for = waits_for.with(intent.to);
            } else if !view.replica_set().contains(intent.to) {
                waits_for = waits_for.without(intent.to);
            }
            if !have(Rule::ReplacedStaysRequired) {
                waits_for = waits_for.without(intent.replaces);
            }
        }
        if !have(Rule::AcknowledgedByAll) {
            waits_for = Servers::NONE;
        }
        let in_flight =
            InFlight { write, region: region as u8, version, previous, waits_for, durable: false };
        if let Some(place) = reign.writes.iter_mut().find(|place| place.is_none()) {
            *place = Some(in_flight);
        }
        let epoch = reign.epoch;
        let change = Change { region: region as u8, version, previous };
        for to in current.iter() {
            let route = Route { from: me, to, epoch, incarnation };
            next.network.send(Message::Write { route, change, write });
        }
        version
    }

    /// A gateway that was not answered sends its write again, once.
    fn take_retries(&mut self, me: ServerId, region: usize) {
        let state = self.state;
        if !self.bound.retries {
            return;
        }
        for write in 1..=state.clients.begun {
            let here = usize::from(state.clients.region_of[usize::from(write)]) == region;
            let answered = state.clients.acknowledged[region].contains(write);
            let this = self.server(me);
            let open = this.reign.is_some_and(|reign| reign.in_flight().any(|open| open.write == write));
            if !here || answered || open || state.clients.retried.contains(write) {
                continue;
            }
            let mut next = *state;
            next.clients.retried = next.clients.retried.with(write);
            let known = this.copies[region].content.contains(write) && !this.nameless[region].contains(write);
            let found = self.have(Rule::RetryIsFound) && known;
            if found {
                next.clients.acknowledged[region] = next.clients.acknowledged[region].with(write);
            } else if self.takes_writes(me, region) {
                self.sequence(&mut next, me, region, write);
            } else {
                continue;
            }
            self.found(Step::Retries { owner: me, write, found }, next);
        }
    }

    fn read(&mut self, me: ServerId, region: usize) {
        let this = self.server(me);
        let waits = this.reign.is_some_and(|reign| reign.in_flight_to(region));
        if waits && self.have(Rule::ReadWaits) {
            return;
        }
        let clients = &self.state.clients;
        let content = this.copies[region].content;
        let sound = clients.seen[region].is_prefix_of(content)
            && clients.acknowledged[region].is_subset_of(content.set());
        if sound && clients.seen[region] == content {
            return;
        }
        let mut next = *self.state;
        next.clients.seen[region] = content;
        if !sound {
            next.flaw = Some(Flaw::Read);
        }
        self.found(Step::Reads { owner: me, region: region as u8, content }, next);
    }

    /// A write that is durable everywhere where it has to be is acknowledged.
    fn acknowledge(&mut self, me: ServerId) {
        let this = self.server(me);
        let Some(reign) = this.present_reign(me, self.rules) else { return };
        if reign.phase != Phase::Serving {
            return;
        }
        let mut counted = reign.attached;
        counted = counted.and(if self.have(Rule::SyncingRequired) {
            this.view.present()
        } else {
            this.view.in_sync(self.rules)
        });
        if reign.proposed && self.have(Rule::TargetAcknowledges) {
            counted = this.view.target().map_or(counted, |target| counted.with(target));
        }
        for (at, write) in reign.writes.iter().enumerate() {
            let Some(write) = write.filter(|write| write.waits_for.common(counted).is_empty()) else {
                continue;
            };
            let mut next = *self.state;
            let region = usize::from(write.region);
            next.clients.acknowledged[region] = next.clients.acknowledged[region].with(write.write);
            if let Some(reign) = &mut next.server_mut(me).reign {
                for earlier in reign.writes[..at].iter_mut().flatten() {
                    earlier.durable = true;
                }
                reign.end_write(at);
            }
            self.found(Step::Acknowledges { owner: me, write: write.write }, next);
        }
    }
}
