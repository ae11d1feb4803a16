//! iSCSI PDUs as RFC 7143 chapter 11 lays them out.
//!
//! Each kind of PDU is a struct over the 48 bytes of its basic header segment, with the field names of its clause and
//! no meaning of its own: the bytes are viewed, not parsed. What follows the header (additional header segments,
//! digests, data segment) is framed elsewhere. [`Bhs`] holds the bytes of any kind.

mod async_message;
mod data;
mod header;
mod login;
mod logout;
mod nop;
mod r2t;
mod reject;
mod scsi_command;
mod snack;
mod task_management;
mod text;

pub use async_message::{AsyncEvent, AsyncMessage};
pub use data::{DataIn, DataOut};
pub use header::{AhsSummary, BHS_BYTES, Bhs, Opcode, PduHeader, RESERVED_TAG, U24};
pub use login::{Isid, LoginRequest, LoginResponse, LoginStatus, Stage};
pub use logout::{LogoutReason, LogoutRequest, LogoutResponse};
pub use nop::{NopIn, NopOut};
pub use r2t::R2t;
pub use reject::{Reject, RejectReason};
pub use scsi_command::{ScsiCommand, ScsiResponse};
pub use snack::SnackRequest;
pub use task_management::{TaskFunction, TaskManagementRequest, TaskManagementResponse, TaskResponse};
pub use text::{TextRequest, TextResponse};

/// Flag bits in the second byte of a header.
pub mod flags {
    /// F bit: last PDU of a sequence; always set in most PDUs.
    pub const FINAL: u8 = 0x80;
    /// R bit of a SCSI Command: data-in is expected.
    pub const READ: u8 = 0x40;
    /// W bit of a SCSI Command: data-out is expected.
    pub const WRITE: u8 = 0x20;
    /// C bit of Login and Text PDUs: the text goes on in the next PDU.
    pub const CONTINUE: u8 = 0x40;
    /// T bit of Login PDUs: ready for the next stage.
    pub const TRANSIT: u8 = 0x80;
    /// S bit of a Data-In: the header carries the command's status.
    pub const STATUS: u8 = 0x01;
    /// U bit: residual underflow.
    pub const UNDERFLOW: u8 = 0x02;
    /// O bit: residual overflow.
    pub const OVERFLOW: u8 = 0x04;
    /// Immediate bit in the first byte of a request.
    pub const IMMEDIATE: u8 = 0x40;
}

#[cfg(test)]
mod tests;
