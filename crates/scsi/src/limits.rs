//! What one command may ask for. The Block Limits page tells initiators; a command that asks for more is
//! refused.

use evenkeel_types::geometry::BLOCK_BYTES;

/// Data of one READ or WRITE at most: MAXIMUM TRANSFER LENGTH.
pub const TRANSFER_BYTES_MAX: u32 = 8 << 20;
/// Data of one READ or WRITE beyond which nothing is gained: OPTIMAL TRANSFER LENGTH.
pub const TRANSFER_BYTES_OPTIMAL: u32 = 1 << 20;
/// Grain that transfers should be aligned to: OPTIMAL TRANSFER LENGTH GRANULARITY, and the physical block.
pub const TRANSFER_GRAIN_BYTES: u32 = BLOCK_BYTES;
/// What one WRITE SAME clears or fills at most: MAXIMUM WRITE SAME LENGTH.
pub const WRITE_SAME_BYTES_MAX: u32 = 16 << 20;
/// What one UNMAP clears at most, all descriptors together: MAXIMUM UNMAP LBA COUNT.
pub const UNMAP_BYTES_MAX: u32 = 256 << 20;
/// Descriptors of one UNMAP at most: MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT.
pub const UNMAP_DESCRIPTORS_MAX: usize = 256;
/// Grain in which UNMAP gives space back: OPTIMAL UNMAP GRANULARITY.
pub const UNMAP_GRAIN_BYTES: u32 = BLOCK_BYTES;
/// Blocks of one COMPARE AND WRITE at most: MAXIMUM COMPARE AND WRITE LENGTH. With one, a command always lies
/// within one block of 4 KiB, which is what the engine changes in one atomic step.
pub const COMPARE_AND_WRITE_BLOCKS_MAX: u8 = 1;
/// Bytes of the parameter list of one PERSISTENT RESERVE OUT at most: room for more than thirty initiator ports.
pub const RESERVE_OUT_BYTES_MAX: u32 = 8 << 10;
/// Bytes that one `BlockOp::Zero` clears at most; larger requests become several operations.
pub const ZERO_OP_BYTES_MAX: u32 = 16 << 20;
/// Bytes that one operation of a WRITE SAME with a pattern writes at most. All of them share one buffer.
pub const PATTERN_OP_BYTES_MAX: u32 = 1 << 20;
/// Operations of one command at most.
pub const BLOCK_OPS_MAX: usize = UNMAP_DESCRIPTORS_MAX + (UNMAP_BYTES_MAX / ZERO_OP_BYTES_MAX) as usize;

const _: () = assert!(WRITE_SAME_BYTES_MAX <= ZERO_OP_BYTES_MAX);
const _: () = assert!((WRITE_SAME_BYTES_MAX / PATTERN_OP_BYTES_MAX) as usize <= BLOCK_OPS_MAX);
const _: () = assert!(PATTERN_OP_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
