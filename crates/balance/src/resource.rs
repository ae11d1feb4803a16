//! The five resources of a server, and amounts of all five together.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// How many resources a server has.
pub const RESOURCES: usize = 5;

/// A resource that work is charged to. The first three make up the server load, the last two the storage load.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Processor time.
    Cpu,
    /// Bytes that the network brings.
    NetIn,
    /// Bytes that the network takes away.
    NetOut,
    /// The disk, reading.
    DiskRead,
    /// The disk, writing.
    DiskWrite,
}

impl Resource {
    /// All resources, in the order in which [`Load`] keeps them.
    pub const ALL: [Self; RESOURCES] =
        [Self::Cpu, Self::NetIn, Self::NetOut, Self::DiskRead, Self::DiskWrite];

    /// Whether it is a part of the storage load; else it is a part of the server load.
    #[must_use]
    pub const fn is_storage(self) -> bool {
        matches!(self, Self::DiskRead | Self::DiskWrite)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU",
            Self::NetIn => "network in",
            Self::NetOut => "network out",
            Self::DiskRead => "disk read",
            Self::DiskWrite => "disk write",
        })
    }
}

/// An amount of each resource: seconds of it while charges are added up, afterwards a utilisation (1.0 is all that
/// the server has; more is offered than can be served when it is above). Travels with single precision.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "WireLoad", into = "WireLoad")]
pub struct Load(pub [f64; RESOURCES]);

#[derive(Serialize, Deserialize)]
struct WireLoad {
    cpu: f32,
    net_in: f32,
    net_out: f32,
    disk_read: f32,
    disk_write: f32,
}

impl From<WireLoad> for Load {
    fn from(wire: WireLoad) -> Self {
        Self([wire.cpu, wire.net_in, wire.net_out, wire.disk_read, wire.disk_write].map(f64::from))
    }
}

impl From<Load> for WireLoad {
    fn from(load: Load) -> Self {
        let [cpu, net_in, net_out, disk_read, disk_write] = load.0.map(|value| value as f32);
        Self { cpu, net_in, net_out, disk_read, disk_write }
    }
}

impl Load {
    /// Nothing of any resource.
    pub const ZERO: Self = Self([0.0; RESOURCES]);

    /// The amount of one resource.
    #[must_use]
    pub const fn of(&self, resource: Resource) -> f64 {
        self.0[resource as usize]
    }

    /// The amount of one resource, to change it.
    pub const fn of_mut(&mut self, resource: Resource) -> &mut f64 {
        &mut self.0[resource as usize]
    }

    /// Every amount times `factor`.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self(self.0.map(|value| value * factor))
    }

    /// Combines two loads resource by resource.
    #[must_use]
    pub fn zip(self, other: Self, mut with: impl FnMut(f64, f64) -> f64) -> Self {
        Self(std::array::from_fn(|n| with(self.0[n], other.0[n])))
    }

    /// The larger of both for each resource.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, f64::max)
    }

    /// The smaller of both for each resource.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        self.zip(other, f64::min)
    }

    /// `self - other`, but never below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, |a, b| (a - b).max(0.0))
    }

    /// The sum over all resources; only good for telling hot from cold.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Whether every amount is a number, not negative, and at most `max`.
    #[must_use]
    pub fn is_sane(&self, max: f64) -> bool {
        self.0.iter().all(|value| (0.0..=max).contains(value))
    }
}

impl Add for Load {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl Sub for Load {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        for (into, value) in self.0.iter_mut().zip(other.0) {
            *into += value;
        }
    }
}
