//! Sans-IO SCSI logical unit: a direct access block device by SPC-4 and SBC-3, thin provisioned, without a
//! volatile cache.
//!
//! A transport gives a command to [`LogicalUnit::decode`] and does what it says:
//!
//! ```text
//!   CDB ──▶ decode ──┬─▶ Immediate(Response) ───────────────────────────────────────┐
//!                    ├─▶ NeedsData ─▶ (Data-Out arrives) ─▶ with_data ─┬────────────┤
//!                    │                                                 ▼            ▼
//!                    └──────────────────────────────────────────────▶ Block ─▶ complete ─▶ Response
//! ```
//!
//! * [`opcodes`]: the table of all commands. It drives decoding, the check of reserved bits and REPORT
//!   SUPPORTED OPERATION CODES, so that the three cannot disagree.
//! * [`logical_unit`]: identity and size of a logical unit, which LUNs exist, and the way through the table.
//! * [`nexus`]: unit attention conditions of one I_T nexus, and what it may do.
//! * [`reservations`]: persistent reservations, and RESERVE and RELEASE.
//! * [`sense`], [`status`], [`command`]: how commands end.
//! * [`limits`]: what one command may ask for.
//! * [`vpd`], [`mode`]: what the logical unit tells about itself in pages.
//! * [`initiator`]: the other side: builders of the same CDBs, and parsers of what is answered.
//! * [`fuzz`]: entry points that take any bytes.
//!
//! What is acknowledged is durable, so WCE is zero, and FUA and SYNCHRONIZE CACHE are true without doing
//! anything.

pub mod command;
pub mod fuzz;
pub mod initiator;
pub mod limits;
pub mod logical_unit;
pub mod mode;
pub mod nexus;
pub mod opcodes;
pub mod reservations;
pub mod sense;
pub mod status;
pub mod vpd;

mod block_error;
mod capacity;
mod cdb;
mod compare_and_write;
mod geometry;
mod inquiry;
mod lba_status;
mod persistent_reserve_in;
mod persistent_reserve_out;
mod read_write;
mod report_luns;
mod report_opcodes;
mod request_sense;
mod reserve_release;
mod synchronize_cache;
mod unmap;
mod write_same;

#[cfg(test)]
mod fixtures;

pub use command::{BlockCommand, Completion, DataOutCommand, Decoded, Response};
pub use geometry::LogicalBlockSize;
pub use logical_unit::{LogicalUnit, LunConfig, LunConfigError};
pub use nexus::{NexusState, UnitAttention};
pub use reservations::{Access, Nexus, ReservationCommand, ReservationState};
pub use sense::{AdditionalSense, FieldPointer, Sense, SenseKey};
pub use status::Status;
