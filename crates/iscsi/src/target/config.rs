//! What the target side is told: limits and settings, and where it asks about targets and sessions.

use crate::chap::{Algorithm, Credentials};
use crate::negotiate::Settings;
use crate::pdu::Isid;
use evenkeel_scsi::LogicalUnit;
use evenkeel_types::VolumeId;
use std::sync::Arc;
use std::time::Duration;

/// Commands that an initiator may have open in a session: the width of the CmdSN window (RFC 7143 section 4.2.2.1).
pub const COMMAND_WINDOW: u32 = 128;
/// Tasks of a connection at most; immediate commands may go beyond the window up to here.
pub const TASKS_MAX: usize = COMMAND_WINDOW as usize + 32;
/// Bytes of Data-Out buffers of a connection at most, for commands that write more than FirstBurstLength: without room
/// they get no R2T. A command alone may have more. What may come unasked is on top: FirstBurstLength for each of
/// [`TASKS_MAX`] commands.
pub const DATA_OUT_BYTES_MAX: usize = 16 << 20;
/// Bytes of read data of a connection at most, asked for or not yet sent. A command alone may have more.
pub const DATA_IN_BYTES_MAX: usize = 16 << 20;
/// Bytes of PDUs that came before their turn (CmdSN) at most.
pub const HELD_BYTES_MAX: usize = 4 << 20;
/// PDUs that wait to be sent before no more is received.
pub const OUTPUT_PDUS_MAX: usize = 1024;
/// Bytes of answers to NOP-Out and text requests that wait to be sent at most.
pub const OUTPUT_TEXT_BYTES_MAX: usize = 1 << 20;
/// Task management functions and logouts of a connection that may be in progress at once.
pub const MANAGEMENT_MAX: usize = 32;
/// How long the answer to a task management function waits for Data-Out that was asked for, and for commands that are
/// missing before it. An initiator that does not send them any more is no reason to keep a reset back for long.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the last answers may take to be sent before the connection is closed all the same.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What all connections of a portal have in common.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// What the target wants and can do.
    pub settings: Settings,
    /// What CHAP may hash with. Of these, the initiator's preference decides.
    pub chap_algorithms: Vec<Algorithm>,
    /// Tag of the portal group (RFC 7143 section 13.9).
    pub portal_group_tag: u16,
    /// How long a login may take.
    pub login_timeout: Duration,
    /// After this much silence of the initiator it is asked for a sign of life (NOP-In).
    pub nop_interval: Duration,
    /// How long it may take to give one before the connection is dropped.
    pub nop_timeout: Duration,
    /// How long an initiator that was asked to log out may take.
    pub logout_timeout: Duration,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            chap_algorithms: Algorithm::ALL.to_vec(),
            portal_group_tag: 1,
            login_timeout: Duration::from_secs(15),
            nop_interval: Duration::from_secs(5),
            nop_timeout: Duration::from_secs(5),
            logout_timeout: Duration::from_secs(3),
        }
    }
}

/// One end to end pair: what a session is for (RFC 7143 section 4.4.3).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NexusName {
    /// Name of the initiator.
    pub initiator: String,
    /// The initiator's part of the session's identity.
    pub isid: Isid,
    /// Name of the target; none in a discovery session.
    pub target: Option<String>,
    /// Tag of the target's portal group.
    pub portal_group_tag: u16,
}

/// A target as discovery shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiscoveredTarget {
    /// Its name.
    pub name: String,
    /// Its portals as `address:port,tag` (RFC 7143 section 13.8).
    pub addresses: Vec<String>,
}

/// What became of a target's name.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// There it is.
    Found {
        /// Its logical unit 0.
        unit: Arc<LogicalUnit>,
        /// The volume behind it.
        volume: VolumeId,
    },
    /// There is no such target.
    NotFound,
    /// The initiator may not use it.
    Forbidden,
    /// It is gone for ever.
    Removed,
    /// It is not served now.
    Unavailable,
    /// It is to be found at this address (`address:port`).
    Moved {
        /// Where.
        address: String,
        /// Whether the initiator should remember it.
        permanent: bool,
    },
}

/// What an initiator has to prove (RFC 7143 chapter 12).
#[derive(Clone, Debug)]
pub enum Authentication {
    /// Nothing: it is taken to be who it says.
    None,
    /// That it knows a secret; and this target can prove itself if the credentials have an account for it.
    Chap(Arc<Credentials>),
}

/// What became of the wish for a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// It is open, under this handle (TSIH, not zero).
    Ready(u16),
    /// A former session of the same nexus has to end first; [`crate::target::Connection::handle_session_ready`] follows.
    Wait,
    /// No handle is free.
    Full,
}

/// What a connection asks about its surroundings.
pub trait TargetPorts {
    /// The targets that an initiator may use.
    fn discover(&mut self, initiator: &str) -> Vec<DiscoveredTarget>;
    /// A target for an initiator.
    fn lookup(&mut self, initiator: &str, target: &str) -> Lookup;
    /// What an initiator has to prove before it gets at a target that [`Self::lookup`] has found, or with no target, at a
    /// discovery session.
    fn authentication(&mut self, initiator: &str, target: Option<&str>) -> Authentication;
    /// Fills in bytes that nobody can foresee: challenges are made of them. Where they repeat, an initiator gets in by
    /// repeating what another one said.
    fn fill_random(&mut self, out: &mut [u8]);
    /// Opens a session for a nexus; a former session of the same nexus is to be ended (RFC 7143 section 6.3.5).
    fn open_session(&mut self, nexus: &NexusName) -> Opening;
    /// Who the session with this handle is between, if there is one.
    fn session(&mut self, tsih: u16) -> Option<NexusName>;
}
