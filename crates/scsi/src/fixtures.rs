//! What the tests of several modules share.

use crate::command::{BlockCommand, Decoded, Response};
use crate::geometry::LogicalBlockSize;
use crate::initiator::Request;
use crate::logical_unit::{LUN, LogicalUnit, LunConfig};
use crate::nexus::NexusState;
use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::status::Status;
use evenkeel_types::VolumeId;

pub(crate) const TARGET: &str = "iqn.2026-01.io.evenkeel:test:v1";
/// Size of the test volumes in bytes.
pub(crate) const CAPACITY_BYTES: u64 = 1 << 30;
/// Blocks of [`unit`].
pub(crate) const BLOCKS: u64 = CAPACITY_BYTES / 512;

pub(crate) fn config() -> LunConfig {
    let uuid =
        [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0xf8, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f];
    LunConfig::new(VolumeId(7), "v1", CAPACITY_BYTES, uuid, TARGET)
}

/// 1 GiB in blocks of 512 bytes.
pub(crate) fn unit() -> LogicalUnit {
    LogicalUnit::new(config()).unwrap()
}

/// 1 GiB in blocks of 4096 bytes.
pub(crate) fn unit_4k() -> LogicalUnit {
    LogicalUnit::new(LunConfig { logical_block: LogicalBlockSize::Bytes4096, ..config() }).unwrap()
}

/// A CDB filled up with zeros.
pub(crate) fn cdb(bytes: &[u8]) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[..bytes.len()].copy_from_slice(bytes);
    cdb
}

/// Decodes for LUN 0 in a nexus where nothing is pending.
pub(crate) fn decode(unit: &LogicalUnit, bytes: &[u8]) -> Decoded {
    unit.decode(&mut NexusState::default(), LUN, &cdb(bytes))
}

/// Sends a request with all of its data, announced truthfully.
pub(crate) fn send(unit: &LogicalUnit, request: &Request) -> Decoded {
    match decode(unit, &request.cdb) {
        Decoded::NeedsData { len, then } => {
            let announced = request.data_out.len() as u32;
            unit.with_data(then, request.data_out.slice(..announced.min(len) as usize), announced)
        }
        decoded => decoded,
    }
}

pub(crate) fn answer(decoded: Decoded) -> Response {
    match decoded {
        Decoded::Immediate(response) => response,
        other => panic!("not answered at once: {other:?}"),
    }
}

pub(crate) fn good_data(decoded: Decoded) -> Vec<u8> {
    let response = answer(decoded);
    assert_eq!((response.status, response.sense), (Status::Good, None));
    response.data_in.into_bytes().to_vec()
}

pub(crate) fn sense(decoded: Decoded) -> Sense {
    let response = answer(decoded);
    assert_eq!(response.status, Status::CheckCondition);
    assert!(response.data_in.is_empty());
    response.sense.unwrap()
}

pub(crate) fn block_command(decoded: Decoded) -> BlockCommand {
    match decoded {
        Decoded::Block(command) => command,
        other => panic!("no operations on the volume: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_refused(decoded: Decoded, additional: AdditionalSense) {
    let sense = sense(decoded);
    assert_eq!((sense.key, sense.additional), (SenseKey::IllegalRequest, additional));
}

#[track_caller]
pub(crate) fn assert_invalid_field(decoded: Decoded, byte: u16) {
    let sense = sense(decoded);
    assert_eq!(sense.additional, AdditionalSense::INVALID_FIELD_IN_CDB);
    let field = sense.field.unwrap();
    assert!(field.in_cdb);
    assert_eq!(field.byte, byte);
}
