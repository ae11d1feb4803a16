//! Task Management Function Request and Response, RFC 7143 sections 11.5 and 11.6.

use super::header::{Opcode, U24, pdu_header};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Task Management Function Request PDU header, RFC 7143 section 11.5.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct TaskManagementRequest {
    pub opcode: u8,
    /// F, and the function in the low 7 bits.
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    pub itt: U32,
    pub referenced_task_tag: U32,
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    pub ref_cmd_sn: U32,
    pub exp_data_sn: U32,
    reserved_2: [u8; 8],
}
pdu_header!(TaskManagementRequest, Opcode::TaskManagementRequest);

/// Task Management Function Response PDU header, RFC 7143 section 11.6.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct TaskManagementResponse {
    pub opcode: u8,
    pub flags: u8,
    /// See [`TaskResponse`].
    pub response: u8,
    reserved: u8,
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    reserved_2: [u8; 8],
    pub itt: U32,
    reserved_3: [u8; 4],
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    reserved_4: [u8; 12],
}
pdu_header!(TaskManagementResponse, Opcode::TaskManagementResponse);

/// Task management functions, RFC 7143 section 11.5.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum TaskFunction {
    AbortTask = 1,
    AbortTaskSet = 2,
    ClearAca = 3,
    ClearTaskSet = 4,
    LogicalUnitReset = 5,
    TargetWarmReset = 6,
    TargetColdReset = 7,
    TaskReassign = 8,
}

impl TaskFunction {
    /// The function that the flags byte of a request names, if there is one.
    #[must_use]
    pub const fn from_flags(flags: u8) -> Option<Self> {
        Some(match flags & 0x7f {
            1 => Self::AbortTask,
            2 => Self::AbortTaskSet,
            3 => Self::ClearAca,
            4 => Self::ClearTaskSet,
            5 => Self::LogicalUnitReset,
            6 => Self::TargetWarmReset,
            7 => Self::TargetColdReset,
            8 => Self::TaskReassign,
            _ => return None,
        })
    }
}

/// Answers to task management functions, RFC 7143 section 11.6.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum TaskResponse {
    FunctionComplete = 0,
    TaskDoesNotExist = 1,
    LunDoesNotExist = 2,
    TaskStillAllegiant = 3,
    ReassignmentNotSupported = 4,
    NotSupported = 5,
    AuthorizationFailed = 6,
    Rejected = 255,
}

impl TaskResponse {
    /// The answer that a response byte names; unknown values count as rejected.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::FunctionComplete,
            1 => Self::TaskDoesNotExist,
            2 => Self::LunDoesNotExist,
            3 => Self::TaskStillAllegiant,
            4 => Self::ReassignmentNotSupported,
            5 => Self::NotSupported,
            6 => Self::AuthorizationFailed,
            _ => Self::Rejected,
        }
    }
}
