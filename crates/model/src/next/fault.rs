//! Crashes.

use super::Next;
use crate::directory::Directory;
use crate::rule::Rule;
use crate::server::{InFlight, Server};
use crate::set::{ServerId, Servers};
use crate::state::State;
use crate::step::Step;

impl Next<'_> {
    /// A server crashes. What it has answered is durable; of its own writes in flight the last ones may be lost.
    pub(super) fn fail(&mut self, server: ServerId) {
        if !self.is_everything() || self.state.spent.crashes >= self.bound.crashes {
            return;
        }
        let this = self.server(server);
        let writes: Vec<InFlight> = this.reign.iter().flat_map(|reign| reign.writes).flatten().collect();
        let undoable = writes.iter().rev().take_while(|write| !write.durable).count();
        let most = if self.bound.own_loss { undoable } else { 0 };
        for lost in 0..=most {
            let mut next = self.crashed(server);
            let this = next.server_mut(server);
            for write in writes.iter().rev().take(lost) {
                let copy = &mut this.copies[usize::from(write.region)];
                assert_eq!(copy.content.last(), write.write, "an owner's copy has its own writes last");
                copy.version = write.previous;
                copy.content = copy.content.without_last();
            }
            self.found(Step::Crashes { server, lost: lost as u8, undone: false }, next);
        }
        if let Some((region, before)) = this.fragile {
            let mut next = self.crashed(server);
            next.server_mut(server).copies[usize::from(region)] = before;
            self.found(Step::Crashes { server, lost: 0, undone: true }, next);
        }
    }

    fn crashed(&self, server: ServerId) -> State {
        let mut next = *self.state;
        next.spent.crashes += 1;
        // What was sent to it is lost with its connections.
        next.network.retain(|message| message.receiver() != Some(server));
        let this = next.server_mut(server);
        *this = Server {
            alive: false,
            reign: None,
            promise: None,
            fragile: None,
            // A crashed server has no view; one that all of them share makes their states equal.
            view: Directory::default(),
            guards: if self.have(Rule::GuardSurvivesStart) { this.guards } else { Servers::NONE },
            ..*this
        };
        next
    }
}
