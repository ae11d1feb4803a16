//! What a piece of work costs: seconds of each resource per operation and per byte.

use crate::capacity::{Capacity, MIB};
use crate::charge::{Access, Direction, Order};
use crate::resource::{Load, Resource};

/// Bytes that a disk streams in the time of one random operation, where no streaming rate is declared. Flash of the
/// last decade lies between 16 and 64 KiB.
pub const STREAM_BYTES_PER_RANDOM_OP: f64 = (32 << 10) as f64;
/// Bytes of the random operation that the declared operations per second mean.
pub const RANDOM_OP_BYTES: f64 = 4096.0;
/// What remains of an operation's fixed cost when it continues a stream: read-ahead, merging and a warm mapping do
/// away with the rest.
pub const SEQUENTIAL_OP_SHARE: f64 = 0.25;
/// Bytes of headers that a request and its answer take on the network in each direction: iSCSI basic header segments,
/// TCP and IP headers, frame overhead.
pub const NET_HEADER_BYTES: f64 = 160.0;

/// A cost that is linear in the bytes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Line {
    /// Seconds per operation.
    pub per_op: f64,
    /// Seconds per byte.
    pub per_byte: f64,
}

impl Line {
    /// Seconds of an operation of `bytes`.
    #[must_use]
    pub fn seconds(self, bytes: u32) -> f64 {
        self.per_op + self.per_byte * f64::from(bytes)
    }
}

/// Seconds of processor time for each kind of work, on one core.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CpuCosts {
    /// A request at the portal: parsing, session state, sending and receiving.
    pub front_end: Line,
    /// Added for a digest, each byte once.
    pub digest_per_byte: f64,
    /// Added at the gateway for a request that another server's extent serves.
    pub forward: Line,
    /// The owner's part: ordering, the store, block checksums.
    pub owner: Line,
    /// Added at the owner for a request from another server's portal.
    pub remote: Line,
    /// A copy for a move.
    pub copy: Line,
}

impl Default for CpuCosts {
    /// Figures of a current x86 core: a socket round trip costs some microseconds, a checksum or a copy of memory a
    /// tenth of a nanosecond per byte.
    fn default() -> Self {
        let micros =
            |per_op: f64, per_byte_ns: f64| Line { per_op: per_op * 1e-6, per_byte: per_byte_ns * 1e-9 };
        Self {
            front_end: micros(6.0, 0.2),
            digest_per_byte: 0.1e-9,
            forward: micros(4.0, 0.1),
            owner: micros(5.0, 0.2),
            remote: micros(4.0, 0.1),
            copy: micros(8.0, 0.4),
        }
    }
}

/// The cost of work on one server: utilisation-seconds, that is seconds of a resource divided by how much of it the
/// server has. A second of a resource that is used up costs exactly 1.0.
///
/// A random operation of 4 KiB costs `1 / iops` of the disk; a larger one also the time to stream its further bytes;
/// one that continues a stream keeps [`SEQUENTIAL_OP_SHARE`] of the fixed part.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CostModel {
    /// Disk, by `[access][order]`.
    disk: [[Line; 2]; 2],
    net_per_byte: f64,
    cpu: CpuCosts,
}

impl CostModel {
    /// The costs on a server of this capacity, with default processor costs.
    #[must_use]
    pub fn new(capacity: &Capacity) -> Self {
        Self::with_cpu(capacity, CpuCosts::default())
    }

    /// The costs on a server of this capacity, with measured processor costs (on one core).
    #[must_use]
    pub fn with_cpu(capacity: &Capacity, cpu: CpuCosts) -> Self {
        let disk = [capacity.disk_read_iops, capacity.disk_write_iops].map(|iops| {
            let per_byte = match capacity.disk_mib_s {
                Some(rate) => 1.0 / (rate * MIB),
                None => 1.0 / (iops * STREAM_BYTES_PER_RANDOM_OP),
            };
            let per_op = (1.0 / iops - RANDOM_OP_BYTES * per_byte).max(0.0);
            [Line { per_op, per_byte }, Line { per_op: per_op * SEQUENTIAL_OP_SHARE, per_byte }]
        });
        let share = |line: Line| Line {
            per_op: line.per_op / capacity.cpu_cores,
            per_byte: line.per_byte / capacity.cpu_cores,
        };
        let cpu = CpuCosts {
            front_end: share(cpu.front_end),
            digest_per_byte: cpu.digest_per_byte / capacity.cpu_cores,
            forward: share(cpu.forward),
            owner: share(cpu.owner),
            remote: share(cpu.remote),
            copy: share(cpu.copy),
        };
        Self { disk, net_per_byte: 1.0 / (capacity.net_mib_s * MIB), cpu }
    }

    /// Seconds that the disk is busy with an access.
    #[must_use]
    pub fn disk_seconds(&self, access: Access, order: Order, bytes: u32) -> f64 {
        self.disk[access as usize][order as usize].seconds(bytes)
    }

    /// The portal's part of a request.
    #[must_use]
    pub fn front_end(&self, read_bytes: u32, write_bytes: u32, digest: bool, forwarded: bool) -> Load {
        let bytes = f64::from(read_bytes) + f64::from(write_bytes);
        let mut cpu = self.cpu.front_end.per_op + self.cpu.front_end.per_byte * bytes;
        let mut net_in = NET_HEADER_BYTES + f64::from(write_bytes);
        let mut net_out = NET_HEADER_BYTES + f64::from(read_bytes);
        if digest {
            cpu += self.cpu.digest_per_byte * bytes;
        }
        if forwarded {
            cpu += self.cpu.forward.per_op + self.cpu.forward.per_byte * bytes;
            net_in += NET_HEADER_BYTES + f64::from(read_bytes);
            net_out += NET_HEADER_BYTES + f64::from(write_bytes);
        }
        Load([cpu, net_in * self.net_per_byte, net_out * self.net_per_byte, 0.0, 0.0])
    }

    /// The owner's part of a request.
    #[must_use]
    pub fn owner(&self, access: Access, order: Order, bytes: u32, remote: bool) -> Load {
        let mut load = Load::ZERO;
        *load.of_mut(Resource::Cpu) = self.cpu.owner.seconds(bytes);
        if remote {
            *load.of_mut(Resource::Cpu) += self.cpu.remote.seconds(bytes);
            let (in_bytes, out_bytes) = match access {
                Access::Read => (0.0, f64::from(bytes)),
                Access::Write => (f64::from(bytes), 0.0),
            };
            *load.of_mut(Resource::NetIn) = (NET_HEADER_BYTES + in_bytes) * self.net_per_byte;
            *load.of_mut(Resource::NetOut) = (NET_HEADER_BYTES + out_bytes) * self.net_per_byte;
        }
        let disk = match access {
            Access::Read => Resource::DiskRead,
            Access::Write => Resource::DiskWrite,
        };
        *load.of_mut(disk) = self.disk_seconds(access, order, bytes);
        load
    }

    /// One end of a copy for a move; regions are copied in order, so the disk sees a stream.
    #[must_use]
    pub fn copy(&self, direction: Direction, bytes: u32) -> Load {
        let mut load = Load::ZERO;
        *load.of_mut(Resource::Cpu) = self.cpu.copy.seconds(bytes);
        let (access, disk, net) = match direction {
            Direction::Out => (Access::Read, Resource::DiskRead, Resource::NetOut),
            Direction::In => (Access::Write, Resource::DiskWrite, Resource::NetIn),
        };
        *load.of_mut(disk) = self.disk_seconds(access, Order::Sequential, bytes);
        *load.of_mut(net) = (NET_HEADER_BYTES + f64::from(bytes)) * self.net_per_byte;
        load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: Capacity = Capacity {
        disk_read_iops: 1000.0,
        disk_write_iops: 500.0,
        disk_mib_s: None,
        net_mib_s: 100.0,
        cpu_cores: 2.0,
    };

    #[test]
    fn a_second_of_declared_random_operations_uses_the_disk_up() {
        let model = CostModel::new(&CAPACITY);
        let reads = 1000.0 * model.disk_seconds(Access::Read, Order::Random, 4096);
        let writes = 500.0 * model.disk_seconds(Access::Write, Order::Random, 4096);
        assert!((reads - 1.0).abs() < 1e-9 && (writes - 1.0).abs() < 1e-9, "{reads} {writes}");
    }

    #[test]
    fn a_stream_costs_less_than_the_same_bytes_at_random() {
        let model = CostModel::new(&CAPACITY);
        let random = model.disk_seconds(Access::Read, Order::Random, 4096);
        let sequential = model.disk_seconds(Access::Read, Order::Sequential, 4096);
        assert!(sequential < 0.4 * random, "{sequential} {random}");
        let merged = model.disk_seconds(Access::Read, Order::Sequential, 65536) / 16.0;
        assert!(merged < sequential);
    }

    #[test]
    fn a_declared_streaming_rate_is_met_by_large_streams() {
        let model = CostModel::new(&Capacity { disk_mib_s: Some(200.0), ..CAPACITY });
        let rate = 4.0 / model.disk_seconds(Access::Read, Order::Sequential, 4 << 20);
        assert!((195.0..=200.0).contains(&rate), "{rate}");
    }

    #[test]
    fn a_slow_declared_stream_never_makes_an_operation_cost_less_than_nothing() {
        let model = CostModel::new(&Capacity { disk_mib_s: Some(0.5), ..CAPACITY });
        assert!(model.disk_seconds(Access::Read, Order::Random, 0) >= 0.0);
        assert!(model.disk_seconds(Access::Read, Order::Random, 4096) >= 4096.0 / (0.5 * MIB));
    }

    #[test]
    fn forwarded_bytes_cross_the_gateways_network_twice() {
        let model = CostModel::new(&CAPACITY);
        let local = model.front_end(1 << 20, 0, false, false);
        let forwarded = model.front_end(1 << 20, 0, false, true);
        assert!(local.of(Resource::NetIn) < 0.01 * local.of(Resource::NetOut));
        assert!((forwarded.of(Resource::NetIn) - forwarded.of(Resource::NetOut)).abs() < 1e-9);
        assert!(forwarded.of(Resource::Cpu) > local.of(Resource::Cpu));
    }

    #[test]
    fn digests_cost_processor_time_only() {
        let model = CostModel::new(&CAPACITY);
        let plain = model.front_end(65536, 0, false, false);
        let digest = model.front_end(65536, 0, true, false);
        assert!(digest.of(Resource::Cpu) > plain.of(Resource::Cpu));
        assert_eq!(digest.of(Resource::NetOut), plain.of(Resource::NetOut));
    }
}
