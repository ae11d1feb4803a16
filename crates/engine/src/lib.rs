//! Sans-IO engine of a server: routing, ordered writes, fencing and moves.
//!
//! One [`Engine`] per server. It reads no clock, opens no socket and touches no disk: a driver tells it what happened
//! ([`Event`]) and does what it says ([`Output`]). The daemon and the simulator are such drivers.
//!
//! The path of a request: the [`gateway`] cuts it by extent, looks up the route and has each piece executed by the
//! extent's owner, here or at another server, and joins the answers. The [`owner`] orders reads and writes, gives versions,
//! and hands a moving extent over ([`moves`]). The [`replica`] side holds copies for owners elsewhere, and lets go of
//! extents that have another owner. A change of who may do what with a volume is in force
//! everywhere when its [`barrier`] is done. The [`extent`] decides, from the directory's view, which of these this server is.
//!
//! The invariants that the parts keep together are written at the head of each. The ones that hold across servers:
//!
//! * An acknowledged write is durable at every copy that may become owner without copying the region again.
//! * At any moment at most one server answers reads and sequences writes of an extent: epochs have one owner, an owner
//!   serves only after all earlier ones have promised or lost their leases, and it judges its own lease just before an
//!   answer leaves.
//! * A region version is given once, and copies with equal versions have equal content. Every write and every copy
//!   names the version that it replaces.
//! * Nothing is freed, taken over or refused because something is absent: only a view that is new enough says so.

mod barrier;
pub mod config;
mod copies;
mod core;
mod counters;
mod dispatch;
mod engine;
mod event;
mod extent;
mod gateway;
mod membership;
mod moves;
mod operation;
mod owner;
mod replica;
mod scrub;
mod slots;
#[cfg(test)]
mod tests;
mod timers;

pub use config::EngineConfig;
pub use counters::{Counters, MoveCounters};
pub use engine::Engine;
pub use event::{
    Arrival, BarrierId, DirectoryEvent, EngineEvent, Event, MoveEvent, MoveOrder, MoveStage, Output,
    RequestId, TxnTicket,
};
