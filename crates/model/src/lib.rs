//! Explicit-state model of one extent: replication, leases, failover, moves, rebuild and the switch of the owner.
//!
//! The rules of the extent protocol (docs/design/0001-the-extent-protocol.md) are subtle enough that each was once
//! thought superfluous. Here they are written down once more, each as a switch ([`Rule`]), beside everything that can
//! happen to a small group: [`search`] tries every order of events within a [`Bound`], and [`walk`] goes random ways
//! through larger ones. With all rules everything holds; without any one of them a search finds the shortest way in which
//! something goes wrong, and tells it as a timeline.
//!
//! A state has the directory's records of the extent, what each server holds, knows and does, the messages on
//! their way, and what clients were told. What can happen next is in `next`, by subject; what must hold is in `check` and
//! `heal`. Times are not numbers: a lease runs out, and G passes, whenever the rules allow it. A message arrives in any
//! order with others, late or never. A transaction of the directory happens at once, unless its delay matters: those that
//! decide on the entry and the one to `up` are messages. A crash keeps what is durable: what was answered, and any part of
//! the rest.
//!
//! Memory is bounded ([`Limits`]), and a search that reaches a limit says so.

mod bound;
mod cases;
mod check;
mod cli;
mod coverage;
mod directory;
mod heal;
mod history;
mod message;
mod next;
mod rule;
mod search;
mod seen;
mod server;
mod set;
mod soak;
mod state;
mod step;
mod timeline;
mod walk;

pub use bound::Bound;
pub use cases::{Case, DEEP, Held, QUICK, WIDE};
pub use check::Property;
pub use cli::command;
pub use coverage::Coverage;
pub use rule::{Rule, Rules};
pub use search::{Limits, Outcome, Verdict, search};
pub use timeline::Violation;
pub use walk::{Walked, walk};
