//! Identities. Each is its own type, so that one cannot be passed where another is meant.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A server of the group; given by the directory when the server joins, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ServerId(pub u32);

/// A volume; given by the directory when the volume is created, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct VolumeId(pub u64);

/// An extent: 4 MiB of a volume's address space, the `index`-th from its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ExtentId {
    /// The volume that the extent is a part of.
    pub volume: VolumeId,
    /// Position in the volume, in extents.
    pub index: u32,
}

/// A number that grows with every change of an extent's route. The upper [`Epoch::GENERATION_BITS`] bits are the
/// directory's generation (raised by a restore from a backup), the rest a directory revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Lower than every epoch that a route can have.
    pub const ZERO: Self = Self(0);
    /// Bits of an epoch that hold the directory's generation.
    pub const GENERATION_BITS: u32 = 16;

    /// The epoch of a directory revision within a generation.
    #[must_use]
    pub const fn new(generation: u16, revision: u64) -> Self {
        Self(((generation as u64) << (64 - Self::GENERATION_BITS)) | revision)
    }

    /// The directory revision in the lower bits.
    #[must_use]
    pub const fn revision(self) -> u64 {
        self.0 & (u64::MAX >> Self::GENERATION_BITS)
    }
}

/// A number that grows with each start of a server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// The identity of a write: with it a retry is recognised and answered, never applied again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct WriteId {
    /// The server whose portal took the write.
    pub gateway: ServerId,
    /// That server's incarnation when it took the write.
    pub incarnation: Incarnation,
    /// Grows by one with each write of this gateway in this incarnation.
    pub number: u64,
}

impl WriteId {
    /// Whether this is a write of the same gateway that it can no longer retry, if `floor` is the lowest that it can:
    /// one of an earlier incarnation, or with a lower number.
    #[must_use]
    pub fn is_below(self, floor: Self) -> bool {
        self.gateway == floor.gateway && (self.incarnation, self.number) < (floor.incarnation, floor.number)
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for ExtentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.volume, self.index)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> (64 - Self::GENERATION_BITS) {
            0 => write!(f, "{}", self.revision()),
            generation => write!(f, "{generation}.{}", self.revision()),
        }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.gateway, self.incarnation, self.number)
    }
}
