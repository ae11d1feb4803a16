//! The load monitor and the balancer, as pure code: time comes in as an argument, messages and decisions go out as
//! values.
//!
//! ```text
//!   requests ─▶ Monitor::charge ─▶ tick, every second ─▶ Report ─▶ peers
//!                                        │ ◀──────────── Report ◀── peers (handle_report)
//!                                        ▼
//!                             Judge: who carries too much?
//!                                        ▼
//!                     GroupView ─▶ decide() ─▶ Decision with its MoveReason
//! ```
//!
//! * [`capacity`], [`cost`], [`charge`]: what a server can do, what work costs it, and the pieces of work.
//! * [`resource`], [`measure`]: the five resources; storage load, server load, combined load, mean, imbalance.
//! * [`filter`], [`pattern`]: load on a fast and a slow scale; random or sequential, reads or writes.
//! * [`monitor`], [`report`], [`view`]: measuring, telling, and one server's picture of the group.
//! * [`judge`]: the test for disproportion, with hysteresis and with the cases in which nothing is done.
//! * [`decide`](mod@decide), [`history`], [`reason`]: which extents move where, what is still on its way, and why.

pub mod capacity;
pub mod charge;
pub mod cost;
pub mod decide;
pub mod filter;
mod heat;
pub mod history;
pub mod judge;
pub mod measure;
pub mod monitor;
pub mod pattern;
pub mod reason;
pub mod report;
pub mod resource;
pub mod view;

pub use capacity::Capacity;
pub use charge::{Access, Charge, Direction, Order};
pub use cost::{CostModel, CpuCosts};
pub use decide::{Limits, Scope, decide};
pub use filter::{Filtered, HalfLives};
pub use heat::EXTENTS_TRACKED_MAX;
pub use history::{MoveHistory, MoveOutcome, PastMove};
pub use judge::{Judge, Judgement, Standing, Thresholds};
pub use measure::{Weights, imbalance, server_load, storage_load};
pub use monitor::{Monitor, MonitorOptions, ReportVerdict};
pub use pattern::Pattern;
pub use reason::{Candidate, Decision, Measured, MoveReason, Relief, Verdict};
pub use report::{HOT_EXTENTS_MAX, HotExtent, Parts, Report};
pub use resource::{Load, Resource};
pub use view::{GroupView, Membership, ServerLoad, ServerView};
