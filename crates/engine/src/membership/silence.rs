//! Marking a silent server down.

use crate::config::{
    LINK_CUT_PATIENCE, MARK_AGAIN_AFTER, MARK_PATIENCE, PROBE_PATIENCE, REACHED_WITHIN, SILENCE_MAX,
    START_PATIENCE, STORE_SLOW_MAX, STORE_STALL_MAX,
};
use crate::core::TxnFor;
use crate::engine::Engine;
use crate::event::EngineEvent;
use crate::owner::Phase;
use evenkeel_meta::MemberState;
use evenkeel_meta::change::mark_down;
use evenkeel_peer::{Message, Probe, Probed};
use evenkeel_types::{ServerId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Others are asked whether they reach a server.
#[derive(Debug)]
pub(super) struct Asking {
    number: u64,
    server: ServerId,
    since: Time,
    waiting: BTreeSet<ServerId>,
    answers: BTreeMap<ServerId, bool>,
}

impl Engine {
    /// A heartbeat that was sent at that time was answered.
    pub(crate) fn note_answer(&mut self, from: ServerId, sent_at: Time) {
        let answered = self.membership.answered.entry(from).or_insert(sent_at);
        *answered = (*answered).max(sent_at);
    }

    /// The view has changed: notes new lives and new marks.
    pub(crate) fn note_members(&mut self) {
        let Some(view) = &self.core.view else {
            return;
        };
        let now = self.core.now;
        for (server, kept) in view.members() {
            let life = kept.record.incarnation;
            let seen = self.membership.seen.entry(server).or_insert((life, now));
            if seen.0 != life {
                *seen = (life, now);
                self.membership.answered.remove(&server);
            }
        }
        let lives: Vec<ServerId> = view.members().map(|(server, _)| server).collect();
        for server in lives {
            // A life that has ended retries nothing: its writes need not be remembered.
            let incarnation = self.core.known_incarnation(server);
            self.core.raise_floor(server, incarnation, 0);
        }
        self.note_down();
    }

    /// The view shows that a server went down.
    pub(crate) fn note_mark(&mut self) {
        self.membership.last_mark = Some(self.core.now);
    }

    /// Looks for servers that do not answer.
    pub(crate) fn watch_silence(&mut self) {
        let now = self.core.now;
        self.membership.marking.take_if(|since| now.since(*since) >= MARK_PATIENCE);
        if self.membership.marking.is_some() || !self.may_mark() {
            self.membership.asking = None;
            return;
        }
        let silent = self.longest_silent();
        let is_decided = self
            .membership
            .asking
            .as_ref()
            .is_some_and(|asking| asking.waiting.is_empty() || now.since(asking.since) >= PROBE_PATIENCE);
        match (silent, &self.membership.asking) {
            (None, _) => self.membership.asking = None,
            (Some((server, since)), Some(asking)) if asking.server == server => {
                if is_decided {
                    self.judge(server, now.since(since));
                }
            }
            (Some((server, since)), _) => self.ask_about(server, now.since(since)),
        }
    }

    /// Whether this server may mark others: it is up, or owns something for want of one that is, and could take over.
    fn may_mark(&self) -> bool {
        // Where all disks are slow at once, whoever notices first is no better than the others. And behind such a time each
        // is to hear first how the others are: nobody answers heartbeats that ask for no lease.
        let gave_up = self.core.leases_after.is_some_and(|after| self.core.now.since(after) < SILENCE_MAX);
        if gave_up || self.has_store_waited(STORE_SLOW_MAX) {
            return false;
        }
        let me = self.core.me();
        let Some(own) = self.core.view.as_ref().and_then(|view| view.member(me)) else {
            return false;
        };
        let reigns = || {
            let mut reigns = self.extents.values().filter_map(|extent| extent.reign.as_ref());
            reigns.any(|reign| reign.phase != Phase::Draining)
        };
        own.record.incarnation == self.core.config.incarnation
            && match own.record.state {
                MemberState::Up => true,
                MemberState::Syncing => reigns(),
                MemberState::Down => false,
            }
    }

    /// The server that has been silent for longest, if that is too long, and since when.
    fn longest_silent(&self) -> Option<(ServerId, Time)> {
        let view = self.core.view.as_ref()?;
        let now = self.core.now;
        let others = view.members().filter(|(server, kept)| {
            *server != self.core.me()
                && kept.record.state != MemberState::Down
                && kept.record.incarnation.0 > 0
        });
        let silent = others.filter_map(|(server, _)| {
            let seen = self.membership.seen.get(&server).map_or(now, |(_, at)| *at);
            let (since, patience) = match self.membership.answered.get(&server) {
                // It says so itself.
                answered if self.has_given_up(server) => (answered.copied().unwrap_or(now), Duration::ZERO),
                Some(answered) => (*answered, SILENCE_MAX),
                None => (seen.max(self.core.config.started), START_PATIENCE),
            };
            (now.since(since) >= patience).then_some((since, server))
        });
        let mut silent: Vec<(Time, ServerId)> = silent.collect();
        silent.sort_unstable();
        // A server that alone has what it holds is waited for.
        silent
            .into_iter()
            .find(|(_, server)| view.has_shared_extents(*server))
            .map(|(since, server)| (server, since))
    }

    /// Whether a server said over its present connection that others are to go on without it.
    fn has_given_up(&self, server: ServerId) -> bool {
        self.core.peers.get(&server).is_some_and(|peer| peer.up && peer.gives_up)
    }

    /// The up servers beside this one and another.
    fn others_up(&self, except: ServerId) -> Vec<ServerId> {
        let me = self.core.me();
        let members = self.core.view.iter().flat_map(|view| view.members());
        members
            .filter(|(server, kept)| *server != me && *server != except && kept.record.is_up())
            .map(|(server, _)| server)
            .collect()
    }

    fn ask_about(&mut self, server: ServerId, silence: Duration) {
        self.membership.next_probe += 1;
        let number = self.membership.next_probe;
        let others = self.others_up(server);
        let reached = others.into_iter().filter(|other| self.core.session(*other).is_some());
        let waiting: BTreeSet<ServerId> = reached.collect();
        for other in &waiting {
            self.core.send(*other, Message::Probe(Probe { number, server }));
        }
        let asked = !waiting.is_empty();
        let (since, answers) = (self.core.now, BTreeMap::new());
        self.membership.asking = Some(Asking { number, server, since, waiting, answers });
        if !asked {
            self.judge(server, silence);
        }
    }

    /// A peer asks whether this server reaches another one.
    pub(crate) fn handle_probe(&mut self, from: ServerId, probe: Probe) {
        if self.core.gives_up {
            // What it knows of others is old.
            return;
        }
        let answered = self.membership.answered.get(&probe.server);
        let reached = !self.has_given_up(probe.server)
            && answered.is_some_and(|at| self.core.now.since(*at) <= REACHED_WITHIN);
        let Probe { number, server } = probe;
        self.core.send(from, Message::Probed(Probed { number, server, reached }));
    }

    /// A peer says whether it reaches the silent server.
    pub(crate) fn handle_probed(&mut self, from: ServerId, probed: Probed) {
        let Some(asking) = self.membership.asking.as_mut().filter(|asking| asking.number == probed.number)
        else {
            return;
        };
        if asking.waiting.remove(&from) {
            asking.answers.insert(from, probed.reached);
        }
        if asking.waiting.is_empty() {
            self.watch_silence();
        }
    }

    /// All that can be known about a silent server is known: marks it down, or asks again later.
    fn judge(&mut self, server: ServerId, silence: Duration) {
        let Some(asking) = self.membership.asking.take() else {
            return;
        };
        let reach = asking.answers.values().filter(|reached| **reached).count();
        let answered = asking.answers.len();
        let others = self.others_up(server);
        let now = self.core.now;
        let recently = self.membership.last_mark.is_some_and(|at| now.since(at) < MARK_AGAIN_AFTER);
        let has_hint = self.core.view.as_ref().is_some_and(|view| view.live(server).is_some());
        let all_up = others.len() + 2;
        let agree = answered - reach + 1;
        let is_alone = answered == 0 && !others.is_empty();
        let marks = if recently && has_hint && all_up > 2 {
            2 * agree > all_up
        } else if is_alone {
            // Others may be on the right side of a cut, and are to come first.
            silence >= LINK_CUT_PATIENCE
        } else if 2 * (answered - reach) >= answered {
            true
        } else {
            // Only the link between the two is cut: the one with fewer links goes, or the higher number.
            let (mine, theirs) = (answered, reach);
            silence >= LINK_CUT_PATIENCE && (theirs < mine || theirs == mine && server > self.core.me())
        };
        if marks {
            self.mark(server, silence);
        }
    }

    fn mark(&mut self, server: ServerId, silence: Duration) {
        let made = self.core.view.as_ref().map(|view| mark_down(view, self.core.actor(), server));
        if let Some(Ok(txn)) = made {
            self.membership.marking = Some(self.core.now);
            self.core.transact(TxnFor::MarkDown { server, silence }, txn);
        }
    }

    /// The directory answered a mark.
    pub(crate) fn handle_marked(&mut self, server: ServerId, silence: Duration, succeeded: bool) {
        self.membership.marking = None;
        if succeeded {
            self.core.counters.marked_down += 1;
            self.core.event(EngineEvent::MarkedDown { server, silence });
        }
    }

    /// Whether an operation of the store has taken so long that others had better go on without this server.
    pub(crate) fn is_store_stalled(&self) -> bool {
        self.has_store_waited(STORE_STALL_MAX)
    }

    /// Whether an operation of the store takes longer than that.
    fn has_store_waited(&self, longer: Duration) -> bool {
        let oldest = self.core.pending.values().map(|(since, _)| *since).min();
        oldest.is_some_and(|since| self.core.now.since(since) > longer)
    }
}
