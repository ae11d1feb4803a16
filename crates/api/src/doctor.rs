//! Rebuilding routes after the directory was restored from a backup.

use serde::{Deserialize, Serialize};

/// `evenkeel doctor extents`: what the stores of a data folder hold, for `evenkeel doctor rebuild-routes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentLists {
    /// One list for each store.
    pub stores: Vec<ExtentList>,
}

/// What one store holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentList {
    /// The group, as the store names it: `NAME#NUMBER`.
    pub group: String,
    /// The server's number.
    pub server: u32,
    /// Where the store is, for people.
    pub store: String,
    /// Its extent records.
    pub extents: Vec<ExtentOnDisk>,
}

/// One extent record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentOnDisk {
    /// The volume's number.
    pub volume: u64,
    /// The extent's number.
    pub extent: u32,
    /// The highest epoch that was accepted for it, hexadecimal: JSON readers round large numbers.
    pub epoch: String,
    /// The servers of the route that it was last served under, by their numbers, the owner first.
    pub replicas: Vec<u32>,
    /// False for what is left after the copy was given up.
    pub has_data: bool,
    /// Bytes that it takes.
    pub bytes: u64,
    /// A hash over the versions of all its regions, hexadecimal: equal for equal copies, 0 if nothing was ever written.
    pub versions: String,
}

/// `evenkeel doctor rebuild-routes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuiltRoutes {
    /// The group's name.
    pub group: String,
    /// False if it was only looked what there is to do.
    pub written: bool,
    /// Extents that the stores hold.
    pub extents: u64,
    /// The routes that differ from the directory, and now stand in it.
    pub routes: Vec<RebuiltRoute>,
    /// Volumes that the stores hold and the directory does not know.
    pub missing_volumes: Vec<MissingVolume>,
    /// The generation of the directory's epochs.
    pub generation: u16,
    /// Volumes that the directory did not know, and knows again.
    #[serde(default)]
    pub adopted_volumes: Vec<AdoptedVolume>,
    /// Servers that the directory of the backup's time had as away, and whose copies count now.
    #[serde(default)]
    pub counted_again: Vec<String>,
    /// Servers with copies that differ from their owners': they are brought up to date when they start.
    #[serde(default)]
    pub behind: Vec<String>,
}

/// A volume that was made after the backup, and is in the directory again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptedVolume {
    /// Its number.
    pub volume: u64,
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Copies of each extent.
    pub replicas: u8,
}

/// A route that was rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuiltRoute {
    /// The volume's name.
    pub volume: String,
    /// The extent's number.
    pub extent: u32,
    /// The servers of the directory's route.
    pub was: Vec<String>,
    /// The servers that have the extent.
    pub now: Vec<String>,
}

/// What is known of a volume that the directory does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingVolume {
    /// Its number.
    pub volume: u64,
    /// Extents of which there is a copy.
    pub extents: u64,
    /// The highest of their numbers: the volume is at least so long.
    pub last_extent: u32,
    /// Bytes of all copies.
    pub bytes: u64,
    /// The servers that hold them.
    pub servers: Vec<String>,
}
