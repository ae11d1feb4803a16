//! Sans-IO iSCSI (RFC 7143): target and initiator, at error recovery level 0 with one connection per session.
//!
//! Nothing here opens a socket, reads a clock or waits. A connection is a value: received bytes, completions and the
//! time go in by `handle_*`, bytes to send, operations and timers come out by `transmit` and `poll_*`. So the same code
//! runs in the daemon, under the simulator and under a fuzzer.
//!
//! * [`pdu`]: the wire layout of all PDUs.
//! * [`keys`], [`negotiate`], [`text`]: text keys as one table, the rules of their negotiation, and the pairs on the wire.
//! * [`chap`]: accounts and secrets, challenges and responses.
//! * [`digest`]: header and data digests.
//! * `receive`, `transmit`: from a byte stream to PDUs, and back without copying payloads.
//! * [`target`]: sessions of a target; SCSI is in `evenkeel-scsi`, operations on volumes leave as `BlockOp`.
//! * [`initiator`]: the other side, for tests, load generators and copying from other arrays.
//! * [`fuzz`]: entry points that take any bytes.

pub mod chap;
pub mod digest;
pub mod fuzz;
pub mod initiator;
pub mod keys;
pub mod negotiate;
pub mod pdu;
pub mod target;
pub mod text;

mod receive;
mod transmit;

pub use digest::Digests;
pub use negotiate::{DigestPolicy, Parameters, Settings};
pub use receive::FrameError;
