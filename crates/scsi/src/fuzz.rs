//! Entry points that take any bytes: for fuzzers, and for tests that run their findings again. They check what must
//! hold whatever an initiator or a target sends: no panic, and no more work or memory than the limits name.

mod reservations;

pub use reservations::fuzz_reservations;

use crate::command::{BlockCommand, Completion, Decoded, Response};
use crate::initiator::answer::{parse_luns, parse_serial_number};
use crate::initiator::reservations::{FullStatus, HeldReservation, RegisteredKeys, ReservationCapabilities};
use crate::initiator::{BlockLimits, Capacity, InquiryData};
use crate::limits::{
    BLOCK_OPS_MAX, PATTERN_OP_BYTES_MAX, TRANSFER_BYTES_MAX, UNMAP_BYTES_MAX, WRITE_SAME_BYTES_MAX,
    ZERO_OP_BYTES_MAX,
};
use crate::{LogicalBlockSize, LogicalUnit, LunConfig, NexusState, Sense, Status, UnitAttention};
use bytes::Bytes;
use evenkeel_types::{BlockError, BlockOp, BlockOutcome, Payload, VolumeId};

/// Bytes of what a command answers from memory at most: the longest is REPORT SUPPORTED OPERATION CODES.
pub const IMMEDIATE_BYTES_MAX: usize = 4 << 10;
/// Size of the volume: small enough that one command can reach beyond its end.
const VOLUME_BYTES: u64 = 64 << 20;
/// Bytes in front of the Data-Out: a selector, the LUN, the CDB, and the announced length.
const FIXED_BYTES: usize = 1 + 1 + 16 + 4;

/// Bytes as a command: a byte that selects the logical unit's properties, the LUN, the CDB, the length that the
/// initiator announces, then its Data-Out (repeated as long as needed).
///
/// # Panics
/// If a command asks for more than the limits allow, or touches anything outside of its volume.
pub fn fuzz_cdb(data: &[u8]) {
    let Some((fixed, data_out)) = data.split_first_chunk::<FIXED_BYTES>() else { return };
    let [selector, lun, rest @ ..] = *fixed;
    let (cdb, announced) = rest.split_first_chunk::<16>().expect("the fixed part has its length");
    let announced = announced.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
    let unit = unit(selector);
    let mut nexus = NexusState::default();
    nexus.set_name(reservations::nexus(0));
    if selector & 4 != 0 {
        nexus.raise(UnitAttention::CapacityChanged);
    }
    let mut decoded = unit.decode(&mut nexus, u64::from(lun) << 48, cdb);
    if let Decoded::NeedsData { len, then } = decoded {
        assert!(len <= TRANSFER_BYTES_MAX.max(WRITE_SAME_BYTES_MAX), "Data-Out of {len} bytes");
        let data = data_out.iter().copied().cycle().take(len.min(announced) as usize).collect::<Vec<_>>();
        // Without any Data-Out to repeat there is only an announcement.
        let announced = if data_out.is_empty() { 0 } else { announced };
        decoded = unit.with_data(then, Bytes::from(data), announced);
        assert!(!matches!(decoded, Decoded::NeedsData { .. }), "the data is asked for once");
    }
    match decoded {
        Decoded::Immediate(response) => check_response(&response),
        Decoded::Block(command) => carry_out(&unit, &command, selector),
        Decoded::Reserve(command) => reservations::check_first(&command),
        Decoded::NeedsData { .. } => unreachable!("data was given"),
    }
}

/// Bytes as what a target answers to the commands of our initiator.
pub fn fuzz_answer(data: &[u8]) {
    let _ = Capacity::parse_10(data);
    let _ = Capacity::parse_16(data);
    let _ = InquiryData::parse(data);
    let _ = BlockLimits::parse(data);
    let _ = parse_serial_number(data);
    let _ = ReservationCapabilities::parse(data);
    let _ = HeldReservation::parse(data);
    if let Ok(keys) = RegisteredKeys::parse(data) {
        assert!(keys.keys.len() <= data.len() / 8, "each key takes eight bytes");
    }
    if let Ok(status) = FullStatus::parse(data) {
        assert!(status.registrations.len() <= data.len() / 24, "each registration takes more than 24 bytes");
    }
    if let Ok(luns) = parse_luns(data) {
        assert!(luns.len() <= data.len() / 8, "each LUN takes eight bytes");
    }
    if let Ok(sense) = Sense::parse(data) {
        assert!(!sense.to_string().is_empty(), "a sense says something");
    }
}

fn unit(selector: u8) -> LogicalUnit {
    let mut config =
        LunConfig::new(VolumeId(1), "v", VOLUME_BYTES, [1; 16], "iqn.2026-01.io.evenkeel:fuzz:v");
    config.read_only = selector & 1 != 0;
    if selector & 2 != 0 {
        config.logical_block = LogicalBlockSize::Bytes4096;
    }
    LogicalUnit::new(config).expect("the volume is well-formed")
}

fn check_response(response: &Response) {
    assert!(response.data_in.len() <= IMMEDIATE_BYTES_MAX, "an answer of {} bytes", response.data_in.len());
    assert_eq!(
        response.sense.is_some(),
        response.status == Status::CheckCondition,
        "sense goes with its status"
    );
}

fn carry_out(unit: &LogicalUnit, command: &BlockCommand, selector: u8) {
    assert!((1..=BLOCK_OPS_MAX).contains(&command.ops.len()), "{} operations", command.ops.len());
    let (mut zeroed, mut written) = (0, 0);
    for op in &command.ops {
        let Some(at) = op.range() else { continue };
        assert!(at.len > 0 && at.end() <= VOLUME_BYTES, "operations stay within their volume");
        assert!(at.offset.is_multiple_of(512) && at.len.is_multiple_of(512), "on sector boundaries");
        match op {
            BlockOp::Read { .. } => assert!(at.len <= TRANSFER_BYTES_MAX, "a read of {} bytes", at.len),
            BlockOp::Write { data, .. } => {
                written += at.len;
                assert_eq!(data.len(), at.len as usize, "as long as the range");
                assert!(
                    at.len <= TRANSFER_BYTES_MAX.max(PATTERN_OP_BYTES_MAX),
                    "a write of {} bytes",
                    at.len
                );
            }
            BlockOp::Zero { .. } => {
                zeroed += at.len;
                assert!(at.len <= ZERO_OP_BYTES_MAX, "{} bytes cleared at once", at.len);
            }
            BlockOp::CompareAndWrite { expected, data, .. } => {
                assert!(
                    expected.len() == data.len() && data.len() == at.len as usize,
                    "as long as the range"
                );
            }
            BlockOp::Flush => {}
        }
    }
    assert!(zeroed <= UNMAP_BYTES_MAX, "{zeroed} bytes cleared by one command");
    assert!(
        written <= TRANSFER_BYTES_MAX.max(WRITE_SAME_BYTES_MAX),
        "{written} bytes written by one command"
    );
    let outcome: BlockOutcome = match selector >> 3 {
        0 => Ok(Payload::zeros(command.expected_data_in as usize)),
        1 => Ok(Payload::zeros(1)),
        2 => Err(BlockError::Miscompare { offset: 3 }),
        3 => Err(BlockError::Medium { offset: VOLUME_BYTES - 1 }),
        4 => Err(BlockError::NoSpace),
        5 => Err(BlockError::Unknown),
        _ => Err(BlockError::Busy),
    };
    if let Completion::Respond(response) = unit.complete(command, outcome) {
        assert!(
            response.data_in.len() <= command.expected_data_in as usize,
            "no more data than was asked for"
        );
    }
}
