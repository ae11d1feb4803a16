//! Types of the admin API, shared by server, command line and every other client. JSON over HTTP under `/v1`.
//!
//! Field names are part of the contract: they may be added, never renamed or removed. Sizes are bytes, times are
//! milliseconds since the Unix epoch unless a field's name says otherwise, servers are named (`s1`), extents are
//! numbered from the start of their volume.

mod certificate;
mod doctor;
mod error;
mod load;
mod moves;
mod route;
mod scrub;
mod server;
mod session;
mod size;
mod version;
mod volume;

pub use certificate::{CertificateRow, CertificatesTable, CreateJoinToken, JoinToken, RevokeCertificates};
pub use doctor::{
    AdoptedVolume, ExtentList, ExtentLists, ExtentOnDisk, MissingVolume, RebuiltRoute, RebuiltRoutes,
};
pub use error::ApiError;
pub use load::{Balancing, LoadTable, ResourceLoad, ServerLoadRow};
pub use moves::{MoveRequest, MoveRow, MoveState, MovesTable};
pub use route::{Finding, RouteRow, RouteTable, VerifyReport};
pub use scrub::{ScrubRow, ScrubTable, StartScrub};
pub use server::{
    Draining, Forget, Gone, Health, LostOfVolume, ServerCounters, ServerRow, ServerState, ServersTable,
};
pub use session::{SessionRow, SessionsTable};
pub use size::{parse_rate, parse_size, show_size};
pub use version::{API_VERSION, VersionInfo};
pub use volume::{CreateVolume, Volume, VolumesTable};
