//! Asking the others, being asked, and the end of a barrier.

use super::{Asked, Wait};
use crate::config::BARRIERS_MAX;
use crate::engine::Engine;
use crate::event::{BarrierId, Output};
use evenkeel_meta::{MemberState, Revision};
use evenkeel_peer::{Barrier, BarrierDone, Message};
use evenkeel_types::ServerId;

impl Engine {
    /// Another server asks whether this one is done.
    pub(crate) fn handle_barrier_asked(&mut self, by: ServerId, barrier: Barrier) {
        let Some(session) = self.core.session(by) else { return };
        let asked = &mut self.barriers.asked;
        asked.retain(|earlier| {
            earlier.by != by || earlier.session == session && earlier.number != barrier.number
        });
        if asked.iter().filter(|asked| asked.by == by).count() >= BARRIERS_MAX {
            // No server of this group asks so much at once.
            self.core.out.push_back(Output::Disconnect { server: by });
            self.handle_peer_down(by);
            return;
        }
        self.barriers.asked.push(Asked {
            by,
            session,
            number: barrier.number,
            volume: barrier.volume,
            revision: Revision(barrier.revision),
            view: Revision(barrier.view),
            seen: None,
        });
    }

    /// Another server is done.
    pub(crate) fn handle_barrier_answered(&mut self, from: ServerId, answer: BarrierDone) {
        let session = self.core.session(from);
        let Some(wait) = self.barriers.own.get_mut(&BarrierId(answer.number)) else { return };
        if let Some((asked_in, view)) = wait.asked.get(&from)
            && Some(*asked_in) == session
        {
            wait.answered.insert(from, *view);
        }
    }

    /// Answers what can be answered, and asks who has to be asked.
    pub(crate) fn continue_barriers(&mut self) {
        if self.barriers.is_idle() {
            return;
        }
        self.answer_barriers();
        let ids: Vec<BarrierId> = self.barriers.own.keys().copied().collect();
        for id in ids {
            // Taken out, as to look whether this server is done needs all of it.
            let Some(mut wait) = self.barriers.own.remove(&id) else { continue };
            if self.has_passed(id, &mut wait) {
                self.core.out.push_back(Output::BarrierDone { id, passed: true });
            } else {
                self.barriers.own.insert(id, wait);
            }
        }
    }

    fn answer_barriers(&mut self) {
        for mut asked in std::mem::take(&mut self.barriers.asked) {
            if self.core.session(asked.by) != Some(asked.session) {
                // It asks again over its next connection.
                continue;
            }
            if asked.seen.is_none() && self.view_has(asked.view.max(asked.revision)) {
                asked.seen = Some(self.core.now);
            }
            match asked.seen {
                Some(seen) if self.is_quiet(asked.volume, asked.revision, seen) => {
                    self.core.send(asked.by, Message::BarrierDone(BarrierDone { number: asked.number }));
                }
                _ => self.barriers.asked.push(asked),
            }
        }
    }

    /// Whether all servers that are not down are done; asks those that are to be asked.
    fn has_passed(&mut self, id: BarrierId, wait: &mut Wait) -> bool {
        let Some(view) = &self.core.view else { return false };
        if view.revision() < wait.revision {
            return false;
        }
        let now = self.core.now;
        let seen = *wait.seen.get_or_insert(now);
        let (me, at) = (self.core.config.me, view.revision());
        // Whoever answers must know of all that are down by now: it may apply something of them else.
        let marks = view
            .members()
            .filter(|(_, kept)| kept.record.state == MemberState::Down)
            .map(|(_, kept)| kept.revision);
        let needed = marks.max().unwrap_or_default().max(wait.revision);
        let others: Vec<ServerId> = view
            .members()
            .filter(|(server, kept)| *server != me && kept.record.state != MemberState::Down)
            .map(|(server, _)| server)
            .collect();
        let mut have_all = true;
        for server in others {
            if wait.answered.get(&server).is_some_and(|view| *view >= needed) {
                continue;
            }
            have_all = false;
            let Some(session) = self.core.session(server) else { continue };
            let is_asked = |(asked_in, view): &(u64, Revision)| *asked_in == session && *view >= needed;
            if !wait.asked.get(&server).is_some_and(is_asked) {
                wait.asked.insert(server, (session, at));
                let (number, volume, revision) = (id.0, wait.volume, wait.revision.0);
                self.core.send(server, Message::Barrier(Barrier { number, volume, revision, view: at.0 }));
            }
        }
        have_all && self.is_quiet(wait.volume, wait.revision, seen)
    }
}
