//! What a server can do, declared by its operator or probed at start.

use crate::resource::Load;
use serde::{Deserialize, Serialize};

/// Bytes of a mebibyte, for rates in MiB/s.
pub(crate) const MIB: f64 = (1u64 << 20) as f64;

/// What one server can do. Every number is finite and above zero; [`Capacity::check`] tells.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Capacity {
    /// Random reads of 4 KiB per second.
    pub disk_read_iops: f64,
    /// Random durable writes of 4 KiB per second.
    pub disk_write_iops: f64,
    /// Bytes that the disk can stream, in MiB/s, reading or writing; derived from the operations per second if absent
    /// (see [`crate::CostModel`]).
    pub disk_mib_s: Option<f64>,
    /// Bytes that the network carries in each direction, in MiB/s.
    pub net_mib_s: f64,
    /// Processor cores, also in parts of one.
    pub cpu_cores: f64,
}

impl Capacity {
    /// Largest value accepted in any field; everything above is a mistake or damage.
    pub const VALUE_MAX: f64 = 1e12;

    /// The name of the first field that is not a positive finite number.
    ///
    /// # Errors
    /// The field's name, for a message to whoever declared the capacity.
    pub fn check(&self) -> Result<(), &'static str> {
        let fields = [
            ("disk_read_iops", self.disk_read_iops),
            ("disk_write_iops", self.disk_write_iops),
            ("disk_mib_s", self.disk_mib_s.unwrap_or(1.0)),
            ("net_mib_s", self.net_mib_s),
            ("cpu_cores", self.cpu_cores),
        ];
        match fields.into_iter().find(|(_, value)| !(*value > 0.0 && *value <= Self::VALUE_MAX)) {
            Some((name, _)) => Err(name),
            None => Ok(()),
        }
    }

    /// How much of each resource a utilisation of 1.0 stands for, in units that can be compared and added up between
    /// servers: cores, MiB/s, operations per second.
    #[must_use]
    pub const fn weights(&self) -> Load {
        Load([self.cpu_cores, self.net_mib_s, self.net_mib_s, self.disk_read_iops, self.disk_write_iops])
    }
}
