//! What the states of a search came across: a search that never moved an extent says nothing about moves.

use crate::state::State;
use crate::step::Step;
use std::fmt::{Display, Formatter};

/// How many new states were reached by each kind of event.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Coverage {
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Reads answered.
    pub reads: u64,
    /// Reigns that began.
    pub takeovers: u64,
    /// Servers that became up.
    pub became_up: u64,
    /// Moves that replaced the owner.
    pub moved: u64,
    /// Moves that replaced another replica.
    pub rebuilt: u64,
    /// Owners switched.
    pub switched: u64,
    /// Copies freed.
    pub freed: u64,
    /// Accepted epochs forgotten.
    pub forgotten: u64,
    /// States with two writes in flight.
    pub two_in_flight: u64,
}

impl Coverage {
    pub(crate) fn note(&mut self, step: &Step, state: &State) {
        match step {
            Step::Acknowledges { .. } => self.acknowledged += 1,
            Step::Reads { .. } => self.reads += 1,
            Step::Serves { .. } => self.takeovers += 1,
            Step::BecomesUp { .. } | Step::UpDecided { taken: true, .. } => self.became_up += 1,
            Step::Proposed { taken: true, rebuild: false, .. } => self.moved += 1,
            Step::Proposed { taken: true, rebuild: true, .. } => self.rebuilt += 1,
            Step::Switched { taken: true, .. } => self.switched += 1,
            Step::Frees { .. } => self.freed += 1,
            Step::Forgets { .. } => self.forgotten += 1,
            Step::Writes { .. } => {
                let two = |server: &crate::server::Server| {
                    server.reign.is_some_and(|reign| reign.in_flight().nth(1).is_some())
                };
                self.two_in_flight += u64::from(state.servers.iter().any(two));
            }
            _ => {}
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for ((_, sum), (_, more)) in self.rows_mut().into_iter().zip(other.rows()) {
            *sum += more;
        }
    }

    fn rows_mut(&mut self) -> [(&'static str, &mut u64); 10] {
        [
            ("acknowledged", &mut self.acknowledged),
            ("reads", &mut self.reads),
            ("takeovers", &mut self.takeovers),
            ("became up", &mut self.became_up),
            ("moved", &mut self.moved),
            ("rebuilt", &mut self.rebuilt),
            ("switched", &mut self.switched),
            ("freed", &mut self.freed),
            ("forgotten", &mut self.forgotten),
            ("two writes in flight", &mut self.two_in_flight),
        ]
    }

    /// The counts by name.
    #[must_use]
    pub fn rows(mut self) -> [(&'static str, u64); 10] {
        self.rows_mut().map(|(name, count)| (name, *count))
    }
}

impl Display for Coverage {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let seen = self.rows().into_iter().filter(|(_, count)| *count > 0);
        let rows: Vec<String> = seen.map(|(name, count)| format!("{name} {count}")).collect();
        f.write_str(&rows.join(", "))
    }
}
