//! Words, geometry, buffers and operations shared by every Evenkeel crate: no I/O, no async, no clock.
//!
//! * [`ids`]: who and what (servers, volumes, extents, epochs, incarnations, write identities).
//! * [`geometry`]: how big (extent 4 MiB, region 64 KiB, block 4 KiB, sector 512 B) and ranges in those units.
//! * [`version`]: the version of a region, and sets of regions.
//! * [`time`]: monotonic time as a value that drivers pass in.
//! * [`aligned_buf`], [`payload`]: memory that disks can read into, and data as a list of such pieces.
//! * [`block_op`]: what a front end asks of the engine.
//! * [`store_op`]: what the engine asks of a server's store.
//! * [`checksum`]: CRC-32C, the one checksum of data at rest and of iSCSI digests.

pub mod aligned_buf;
pub mod block_op;
pub mod checksum;
pub mod geometry;
pub mod ids;
pub mod payload;
mod region_image;
pub mod store_op;
pub mod time;
pub mod version;

pub use aligned_buf::AlignedBuf;
pub use block_op::{BlockError, BlockOp, BlockOutcome};
pub use bytes::Bytes;
pub use geometry::{BlockRange, ByteRange};
pub use ids::{Epoch, ExtentId, Incarnation, ServerId, VolumeId, WriteId};
pub use payload::Payload;
pub use time::Time;
pub use version::{Region, Regions, Version};
