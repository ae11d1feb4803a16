//! Reservations (SPC-4 clause 5.13, and RESERVE and RELEASE of SPC-2): which I_T nexus may do what with a logical unit.
//!
//! ```text
//!   PERSISTENT RESERVE OUT ─▶ ReservationCommand ─apply(state, ...)─▶ Change { state, aborts } ─▶ kept where all
//!                                                                                                  targets see it
//!   every command ─▶ Access ─check(state, nexus)─▶ go on | RESERVATION CONFLICT                        │
//!   attention(old, new, nexus) ─▶ what the other initiators are told ◀── set_reservations(state) ◀─────┘
//! ```
//!
//! [`ReservationState`] is the whole state of one logical unit, an immutable value. Nothing here keeps or sends it: the
//! transport keeps the latest value, gives each nexus a snapshot ([`crate::NexusState::set_reservations`]), carries out a
//! [`ReservationCommand`] on the latest value by compare-and-swap, and answers the command when no snapshot of an older
//! value is used any more. That is what makes one state of many targets.
//!
//! * [`name`]: who a nexus is.
//! * [`kind`]: the six types of persistent reservations.
//! * [`access`]: the classes of commands, and what a nexus may do.
//! * [`state`], [`record`]: the state, and how it is written down.
//! * [`command`]: what changes it; `register`, `hold`, `preempt` and `spc2` are its parts.
//! * [`attention`]: which unit attention conditions follow from a change.
//! * [`transport_id`]: initiator ports on the wire.

pub mod access;
pub mod attention;
pub mod command;
pub mod kind;
pub mod name;
pub mod record;
pub mod state;
pub mod transport_id;

mod hold;
mod preempt;
mod register;
mod spc2;

#[cfg(test)]
mod tests;

pub use access::{Access, Conflict, Permits};
pub use attention::{attention, attentions};
pub use command::{Change, ReservationCommand, Surroundings};
pub use kind::ReservationType;
pub use name::{InitiatorPort, Nexus, SessionId};
pub use state::{REGISTRATIONS_MAX, Reservation, ReservationState, Spc2Reservation};
