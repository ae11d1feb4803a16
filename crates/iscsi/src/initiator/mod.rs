//! The initiator side: one [`Connection`] is a session with a target, or a discovery session.
//!
//! It logs in as soon as it is made. Commands are submitted as long as the target's CmdSN window allows, and end as
//! [`Event::Done`], in any order. Whatever is wrong with the target ends the connection ([`Event::Closed`]): recovery at
//! error recovery level 0 is a new session, and the driver's to begin.

pub mod connection;
pub mod event;

mod intake;
mod login;
mod request;
mod security;

pub use connection::{Connection, InitiatorConfig, OUTPUT_PDUS_MAX, SubmitError};
pub use event::{Command, Done, Event, Failure, RequestId, Transfer};
pub use security::Chap;

#[cfg(test)]
mod tests;
