//! The target side: one [`Connection`] per TCP connection, which is a session too as MaxConnections is 1.
//!
//! ```text
//!   received bytes ─▶ framing ─▶ login                                   ┌─▶ Submit, Cancel ─▶ driver
//!                               └▶ CmdSN window ─▶ commands ─▶ tasks ────┤
//!                                              └▶ management, text, NOP  └◀── completions
//!   sent bytes ◀── gathering output ◀── Data-In, R2T, status, answers ◀──┘
//! ```
//!
//! * [`config`]: limits, settings, and the questions a connection asks ([`TargetPorts`]).
//! * [`connection`]: what a driver calls; [`action`]: what it is asked to do.
//! * [`portal`]: all connections of a portal in one value; [`sessions`]: the registry of sessions alone.
//! * `login`, `security`, `identify`, `full_feature`, `window`, `commands`, `data_out`, `respond`, `management`, `text`, `liveness`, `async_event`: parts of
//!   the protocol, each a set of methods on the one state in `core`.

pub mod action;
pub mod config;
pub mod connection;
pub mod info;
pub mod portal;
pub mod sessions;

mod async_event;
mod commands;
mod core;
mod data_out;
mod full_feature;
mod identify;
mod liveness;
mod login;
mod management;
mod respond;
mod security;
mod task;
mod text;
mod window;

pub use action::{Action, CloseReason, ManagementId, ManagementScope, TaskId};
pub use config::{Authentication, DiscoveredTarget, Lookup, NexusName, Opening, TargetConfig, TargetPorts};
pub use connection::Connection;
pub use info::{Authenticated, MemoryUsage, SessionFacts, SessionInfo};
pub use portal::{Portal, Targets, Work};
pub use sessions::{ConnectionId, Opened, Sessions};
