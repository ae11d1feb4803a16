//! A load generator on Evenkeel's own initiator: real iSCSI sessions on real sockets, without a runtime.
//!
//! One thread drives all sessions ([`generator`], on the non-blocking sockets of [`session`]); the rest of the program
//! tells it what to do and asks what happened through [`running::Load`].
//!
//! * [`source`] says which requests are made, by a [`pattern`] of addresses (perhaps by the law of [`zipf`]), and
//!   [`schedule`] when: in an open loop at a fixed rate whatever the servers do, or in a closed loop as fast as they
//!   answer.
//! * [`closed_loop`] is the bare loop that measures a target: one session, a fixed number of open requests.
//! * [`stamp`] and [`ledger`] judge every block that is read: each carries volume, block and write, and the ledger
//!   knows which write must be seen.
//! * [`sample`] and [`histogram`] tell what happened, latencies counted from the planned time of each request.

mod closed_loop;
mod generator;
mod histogram;
mod ledger;
mod pattern;
mod random;
mod running;
mod sample;
mod schedule;
mod session;
mod source;
mod stamp;
mod zipf;

pub use closed_loop::{Measured, Shape, Until, run as run_closed_loop};
pub use generator::LoadOptions;
pub use histogram::Latencies;
pub use pattern::Pattern;
pub use random::Random;
pub use running::Load;
pub use sample::Sample;
pub use schedule::{Pacing, Spacing};
pub use session::Session;
pub use source::Source;
