//! Whether a group comes back: from a state on, without further faults and without new work.

use crate::bound::Bound;
use crate::next::{Freedom, successors};
use crate::rule::Rules;
use crate::set::{SERVERS_MAX, ServerId};
use crate::state::State;
use std::collections::BTreeSet;

/// What a state that is known to come back takes: its fingerprint, in a tree that may be half empty.
const BYTES_PER_KNOWN: usize = 24;
/// States of one search for a way back. Beyond that it counts as stuck.
const TRIED_MAX: usize = 400_000;

/// What is remembered of searches for a way back.
pub(crate) struct Healing<'a> {
    bound: &'a Bound,
    rules: Rules,
    /// States known to come back that are remembered, of each kind. Beyond that they are forgotten and searched again.
    known_max: usize,
    /// By whether crashed servers come back.
    known: [BTreeSet<u64>; 2],
}

impl<'a> Healing<'a> {
    pub(crate) fn new(bound: &'a Bound, rules: Rules, bytes: usize) -> Self {
        let known_max = bytes / BYTES_PER_KNOWN / 2;
        Self { bound, rules, known_max, known: [BTreeSet::new(), BTreeSet::new()] }
    }

    /// What is wrong with a state from which there is no way back.
    pub(crate) fn check(&mut self, state: &State) -> Option<&'static str> {
        if !self.heals(state, true) {
            return Some("not even when every server is back");
        }
        let in_sync = state.directory.in_sync(self.rules);
        let one_runs = in_sync.iter().any(|server| state.is_present(server));
        if one_runs && !self.heals(state, false) {
            return Some("though a server with an in-sync copy runs");
        }
        None
    }

    /// Depth first: a way back is wanted, not the shortest one.
    fn heals(&mut self, state: &State, restarts: bool) -> bool {
        let known = &mut self.known[usize::from(restarts)];
        if known.len() > self.known_max {
            known.clear();
        }
        let mut tried = BTreeSet::new();
        let mut waiting = vec![(*state, state.fingerprint(), 0)];
        let mut path: Vec<u64> = Vec::new();
        let mut found = Vec::new();
        while let Some((state, fingerprint, depth)) = waiting.pop() {
            path.truncate(depth);
            let known = &mut self.known[usize::from(restarts)];
            if known.contains(&fingerprint) || is_healed(&state, self.rules, restarts) {
                known.extend(path);
                known.insert(fingerprint);
                return true;
            }
            if !tried.insert(fingerprint) || tried.len() > TRIED_MAX {
                continue;
            }
            path.push(fingerprint);
            found.clear();
            let freedom = Freedom::Repair { restarts };
            successors(&state, self.bound, self.rules, freedom, &mut found);
            for (_, next) in found.drain(..) {
                let fingerprint = next.fingerprint();
                if !tried.contains(&fingerprint) {
                    waiting.push((next, fingerprint, depth + 1));
                }
            }
        }
        false
    }
}

fn is_healed(state: &State, rules: Rules, all_up: bool) -> bool {
    let directory = &state.directory;
    let well = |server: ServerId| {
        let this = state.server(server);
        this.serves(server, rules)
            && this.view == *directory
            && this.reign.is_some_and(|reign| reign.in_flight().next().is_none())
    };
    (0..SERVERS_MAX as u8).map(ServerId).any(well) && (!all_up || directory.up() == directory.replica_set())
}
