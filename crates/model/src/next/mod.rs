//! What can happen next, by subject.

mod copy;
mod deliver;
mod directory;
mod fault;
mod moves;
mod reign;
mod write;

use crate::bound::Bound;
use crate::rule::{Rule, Rules};
use crate::server::Server;
use crate::set::ServerId;
use crate::state::State;
use crate::step::Step;

/// Which events are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freedom {
    /// All that the bound allows.
    Everything,
    /// What a group does by itself when faults have ended and clients ask for nothing new.
    Repair {
        /// Crashed servers come back.
        restarts: bool,
    },
}

/// The states that follow from one.
pub(crate) struct Next<'a> {
    state: &'a State,
    bound: &'a Bound,
    rules: Rules,
    freedom: Freedom,
    found: &'a mut Vec<(Step, State)>,
}

/// Adds each event that is possible in a state, with the state after it.
pub(crate) fn successors(
    state: &State,
    bound: &Bound,
    rules: Rules,
    freedom: Freedom,
    found: &mut Vec<(Step, State)>,
) {
    let mut next = Next { state, bound, rules, freedom, found };
    for server in next.all_servers() {
        if !state.server(server).alive {
            next.start(server);
            continue;
        }
        next.follow_directory(server);
        next.reign(server);
        next.serve_clients(server);
        next.change_members(server);
        next.moves(server);
        next.let_go(server);
        next.fail(server);
    }
    next.deliver();
}

impl<'a> Next<'a> {
    fn have(&self, rule: Rule) -> bool {
        self.rules.have(rule)
    }

    fn all_servers(&self) -> impl Iterator<Item = ServerId> + use<> {
        (0..self.bound.servers).map(ServerId)
    }

    fn is_everything(&self) -> bool {
        self.freedom == Freedom::Everything
    }

    /// Whether the bound has another revision of the directory.
    fn may_write(&self) -> bool {
        !self.is_everything() || self.state.directory.revision < self.bound.revisions
    }

    fn server(&self, server: ServerId) -> &'a Server {
        self.state.server(server)
    }

    fn found(&mut self, step: Step, mut state: State) {
        state.reduce(self.bound, self.rules);
        self.found.push((step, state));
    }
}
