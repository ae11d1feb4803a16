//! Members of the group: starts, views, marks, and the way back to `up`.

use super::{Freedom, Next};
use crate::directory::MemberState;
use crate::message::Message;
use crate::rule::Rule;
use crate::server::Phase;
use crate::set::ServerId;
use crate::state::DOWN_AT_START;
use crate::step::Step;

impl Next<'_> {
    /// A crashed server starts: a higher incarnation; `up` stays `up`, everything else becomes `syncing`.
    pub(super) fn start(&mut self, server: ServerId) {
        let gone = self.is_everything() && self.bound.one_gone && server == DOWN_AT_START;
        if self.freedom == (Freedom::Repair { restarts: false }) || gone || !self.may_write() {
            return;
        }
        let mut next = *self.state;
        let stays_up = next.directory.is_up(server);
        let written = !stays_up || self.have(Rule::RecordAtStart);
        let revision = if written { next.directory.next_revision() } else { 0 };
        let member = next.directory.member_mut(server);
        member.incarnation += 1;
        if written {
            member.revision = revision;
        }
        if !stays_up {
            member.state = MemberState::Syncing;
        }
        let (incarnation, state) = (member.incarnation, member.state);
        let view = next.directory;
        let this = next.server_mut(server);
        this.alive = true;
        this.incarnation = incarnation;
        this.view = view;
        self.found(Step::Starts { server, incarnation, state }, next);
    }

    /// A server sees the directory's latest revision, or finds itself down and registers anew.
    pub(super) fn follow_directory(&mut self, server: ServerId) {
        let directory = &self.state.directory;
        let view = &self.server(server).view;
        if view != directory {
            let mut next = *self.state;
            next.follow(server, self.rules);
            self.found(Step::Sees { server, revision: directory.revision }, next);
        }
        let record = view.member(server);
        if record.state == MemberState::Down && directory.member(server) == record && self.may_write() {
            let mut next = *self.state;
            let revision = next.directory.next_revision();
            let member = next.directory.member_mut(server);
            member.incarnation += 1;
            member.state = MemberState::Syncing;
            member.revision = revision;
            let incarnation = member.incarnation;
            let view = next.directory;
            let this = next.server_mut(server);
            this.reign = None;
            this.promise = None;
            this.incarnation = incarnation;
            this.view = view;
            self.found(Step::Returns { server, incarnation }, next);
        }
    }

    pub(super) fn change_members(&mut self, server: ServerId) {
        for other in self.all_servers().filter(|other| *other != server) {
            self.mark_down(server, other);
        }
        self.become_up(server);
    }

    /// One transaction that compares the record of the server that is marked, and of the one that marks.
    fn mark_down(&mut self, by: ServerId, server: ServerId) {
        let state = self.state;
        let known = self.server(by).view.member(server);
        let concerned = state.directory.names(server);
        if !concerned || known.state == MemberState::Down || known != state.directory.member(server) {
            return;
        }
        let allowed = if self.is_everything() {
            let suspected = !self.bound.marks_dead_only || !state.server(server).alive;
            state.spent.marks < self.bound.marks && suspected
        } else {
            !state.is_present(server)
        };
        let record = state.directory.member(by);
        let owns = state.directory.owner(self.rules) == Some(by) && record.state != MemberState::Down;
        let present =
            record.incarnation == self.server(by).incarnation && (state.directory.is_up(by) || owns);
        if !allowed || !present || !self.may_write() {
            return;
        }
        let mut next = *state;
        let revision = next.directory.next_revision();
        let member = next.directory.member_mut(server);
        if member.state == MemberState::Up || !self.have(Rule::LeftOnLeavingUp) {
            member.left = revision;
        }
        member.state = MemberState::Down;
        member.revision = revision;
        if self.is_everything() {
            next.spent.marks += 1;
        }
        next.follow(by, self.rules);
        self.found(Step::MarksDown { by, server, revision }, next);
    }

    /// A syncing server becomes up by a transaction on its own record, unchanged since it registered.
    fn become_up(&mut self, server: ServerId) {
        let state = self.state;
        let this = self.server(server);
        let record = state.directory.member(server);
        let registered = record.state == MemberState::Syncing && record.incarnation == this.incarnation;
        if !registered || !self.may_write() {
            return;
        }
        let promised = match this.promise {
            Some(epoch) => epoch == this.accepted || !self.have(Rule::AttachVoidsPromise),
            None => !self.have(Rule::UpNeedsPromise),
        };
        let reigns = this
            .present_reign(server, self.rules)
            .is_some_and(|reign| reign.phase == Phase::Serving && reign.epoch == this.accepted);
        let apart = !state.directory.replica_set().contains(server);
        let alone = !self.have(Rule::LastUp) && this.view.up().is_empty() && this.view.names(server);
        if !(promised || reigns || apart || alone) {
            return;
        }
        let slow = self.bound.slow_up && self.is_everything() && !apart;
        if slow {
            let under_way =
                state.network.any(|message| matches!(message, Message::Up { server: s, .. } if *s == server));
            if state.network.has_room() && !under_way {
                let mut next = *state;
                next.network.send(Message::Up { server, record: record.revision });
                self.found(Step::SendsUp { server }, next);
            }
            return;
        }
        let mut next = *state;
        let revision = next.directory.next_revision();
        let member = next.directory.member_mut(server);
        member.state = MemberState::Up;
        member.revision = revision;
        next.server_mut(server).promise = None;
        next.follow(server, self.rules);
        let alone = alone && !(promised || reigns || apart);
        self.found(Step::BecomesUp { server, alone }, next);
    }
}
