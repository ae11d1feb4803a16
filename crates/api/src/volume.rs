//! Volumes.

use serde::{Deserialize, Serialize};

/// `POST /v1/volumes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateVolume {
    /// 1 to 63 of `a-z 0-9 . -`, beginning with a letter or digit.
    pub name: String,
    /// A multiple of 4096.
    pub size_bytes: u64,
    /// Initiator names that may log in, or `any`; nobody if empty.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Copies of each extent in all, 1 to 3. Without it: 2 if the group has two failure domains, else 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u8>,
    /// Whether copies of an extent may be at different servers of one machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_host: bool,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its number, never reused.
    pub id: u64,
    /// The target name under which initiators log in.
    pub iqn: String,
    /// Its size.
    pub size_bytes: u64,
    /// Copies of each extent.
    pub replicas: u8,
    /// Who may log in; `any` is everybody, empty is nobody.
    pub allow: Vec<String>,
    /// Addresses and ports of all portals; every one serves the volume.
    pub portals: Vec<String>,
    /// Bytes that it takes in the stores.
    pub allocated_bytes: u64,
    /// What whoever made it should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// `GET /v1/volumes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesTable {
    /// The volumes, by name.
    pub volumes: Vec<Volume>,
}
