//! Messages arrive, or are lost.

use super::Next;
use crate::directory::{Intent, MemberState};
use crate::history::History;
use crate::message::{Change, Message, Proposal, Route};
use crate::rule::Rule;
use crate::server::RegionCopy;
use crate::set::ServerId;
use crate::state::State;
use crate::step::Step;

impl Next<'_> {
    pub(super) fn deliver(&mut self) {
        for (at, message) in self.state.network.iter() {
            let mut next = *self.state;
            next.network.take(at);
            match message {
                Message::Write { route, change, write } => self.apply_write(next, route, change, write),
                Message::Copy { route, change, content } => self.apply_copy(next, route, change, content),
                Message::Up { .. } | Message::Propose { .. } | Message::Switch { .. }
                    if !self.may_write() => {}
                Message::Up { server, record } => self.decide_up(next, server, record),
                Message::Propose { proposal, to, replaces } => {
                    self.decide_propose(next, proposal, Intent { to, replaces });
                }
                Message::Switch { proposal, to, replicas } => {
                    self.decide_switch(next, proposal, to, replicas);
                }
            }
            // A message that never arrives is lost; that a place becomes free by it matters for repair only.
            if !self.is_everything() {
                let (from, to) = (message.sender(), message.receiver());
                self.found(Step::IsLost { from, to }, next);
            }
        }
    }

    /// Whether a replica takes a write or a copy.
    fn takes(&self, route: Route, change: Change) -> bool {
        let to = self.server(route.to);
        let fenced = route.incarnation < to.view.member(route.from).incarnation;
        let stale = self.have(Rule::AcceptedFences) && route.epoch < to.accepted;
        let previous = to.copies[usize::from(change.region)].version;
        let follows = !self.have(Rule::NamesPrevious) || previous == change.previous;
        to.alive && to.reign.is_none() && !fenced && !stale && follows
    }

    /// The change becomes durable at the replica.
    fn change(&self, next: &mut State, route: Route, change: Change, content: impl Fn(History) -> History) {
        let durable = self.have(Rule::DurableAnswers);
        let to = next.server_mut(route.to);
        to.accepted = to.accepted.max(route.epoch);
        let copy = &mut to.copies[usize::from(change.region)];
        if !durable {
            to.fragile = Some((change.region, *copy));
        }
        *copy = RegionCopy { version: change.version, content: content(copy.content) };
    }

    fn apply_write(&mut self, mut next: State, route: Route, change: Change, write: u8) {
        if !self.takes(route, change) {
            return;
        }
        let step =
            |answered| Step::AppliesWrite { server: route.to, write, version: change.version, answered };
        self.change(&mut next, route, change, |content| content.then(write));
        if self.bound.lost_answers {
            self.found(step(false), next);
        }
        let names_version = self.have(Rule::AnswerNamesVersion);
        let here = next.version_of(route.from, usize::from(change.region));
        if let Some(reign) = hearing_reign(&mut next, route)
            && reign.attached.contains(route.to)
        {
            let current = &mut reign.current[usize::from(change.region)];
            if here == change.version {
                *current = current.with(route.to);
            }
            reign.answered(route.to, |open| {
                open.region == change.region && (!names_version || open.version == change.version)
            });
        }
        self.found(step(true), next);
    }

    fn apply_copy(&mut self, mut next: State, route: Route, change: Change, content: History) {
        if !self.takes(route, change) {
            return;
        }
        let Change { region, version, .. } = change;
        let step = |answered| Step::AppliesCopy { server: route.to, region, version, answered };
        if !self.have(Rule::IdentitiesTravel) {
            let to = next.server_mut(route.to);
            let at = usize::from(region);
            let known = to.copies[at].content.set().minus(to.nameless[at]);
            to.nameless[at] = content.set().minus(known);
        }
        self.change(&mut next, route, change, |_| content);
        if self.bound.lost_answers {
            self.found(step(false), next);
        }
        let here = next.version_of(route.from, usize::from(region));
        let counts = !self.have(Rule::AnswerNamesVersion) || here == version;
        if let Some(reign) = hearing_reign(&mut next, route)
            && reign.copying.is_some_and(|copying| copying.to == route.to && copying.region == region)
            && counts
        {
            reign.copying = None;
            let current = &mut reign.current[usize::from(region)];
            *current = current.with(route.to);
            reign.answered(route.to, |open| open.region == region);
        }
        self.found(step(true), next);
    }

    fn decide_up(&mut self, mut next: State, server: ServerId, record: u8) {
        let taken = next.directory.member(server).revision == record;
        if taken {
            let revision = next.directory.next_revision();
            let member = next.directory.member_mut(server);
            member.state = MemberState::Up;
            member.revision = revision;
        }
        if next.is_present(server) {
            next.server_mut(server).promise = None;
            next.follow(server, self.rules);
        }
        self.found(Step::UpDecided { server, taken }, next);
    }

    fn decide_propose(&mut self, mut next: State, proposal: Proposal, intent: Intent) {
        let unchanged = next.directory.entry.revision == proposal.entry;
        let all = next.directory.epoch(self.rules) == proposal.epoch;
        let taken = unchanged && (all || !self.have(Rule::ProposeComparesAll));
        let rebuild = intent.replaces != proposal.by;
        if taken {
            let revision = next.directory.next_revision();
            next.directory.replace(intent);
            let entry = &mut next.directory.entry;
            entry.from = (!rebuild).then_some(proposal.by);
            entry.intent = None;
            entry.revision = revision;
        }
        let step = |answered| Step::Proposed { by: proposal.by, taken, answered, rebuild };
        self.decided(next, proposal, step, taken);
    }

    fn decide_switch(
        &mut self,
        mut next: State,
        proposal: Proposal,
        to: ServerId,
        replicas: [Option<ServerId>; 3],
    ) {
        let taken = next.directory.entry.revision == proposal.entry || !self.have(Rule::SwitchComparesEntry);
        if taken {
            let revision = next.directory.next_revision();
            let entry = &mut next.directory.entry;
            entry.replicas = replicas;
            entry.intent = None;
            entry.from = Some(proposal.by);
            entry.revision = revision;
            next.directory.put_first(to);
        }
        let step = |answered| Step::Switched { by: proposal.by, to, taken, answered };
        self.decided(next, proposal, step, taken);
    }

    /// The directory's answer to a transaction on the entry is lost, or reaches the reign that sent it.
    fn decided(&mut self, next: State, proposal: Proposal, step: impl Fn(bool) -> Step, taken: bool) {
        // A transaction that was refused and whose answer is lost might as well be on its way for ever.
        if taken {
            self.found(step(false), next);
        }
        let by = next.server(proposal.by);
        let hears = by.alive
            && by.incarnation == proposal.incarnation
            && by.reign.is_some_and(|reign| {
                reign.epoch == proposal.epoch || reign.proposed && !self.have(Rule::AnswerNamesPropose)
            });
        if hears {
            let mut next = next;
            if let Some(reign) = &mut next.server_mut(proposal.by).reign {
                reign.proposed = false;
            }
            next.follow(proposal.by, self.rules);
            self.found(step(true), next);
        }
    }
}

/// The reign that a replica's answer reaches: the one that the message came from, if it goes on.
fn hearing_reign(next: &mut State, route: Route) -> Option<&mut crate::server::Reign> {
    let from = next.server_mut(route.from);
    let same = from.alive && from.incarnation == route.incarnation;
    from.reign.as_mut().filter(|reign| same && reign.epoch == route.epoch)
}
