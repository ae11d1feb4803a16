//! What a connection tells about itself.

use crate::negotiate::Parameters;
use crate::pdu::Isid;

/// Who has proven to be who it says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Authenticated {
    /// Nobody; nothing was asked for.
    #[default]
    Nobody,
    /// The initiator, by CHAP.
    Initiator,
    /// The initiator, and the target too (mutual CHAP).
    Both,
}

/// Facts of a session, and counters since its connection began.
#[derive(Clone, Default, Debug)]
pub struct SessionFacts {
    /// Where the initiator is, as the driver named it.
    pub peer: String,
    /// Name of the initiator.
    pub initiator: String,
    /// Its alias, if it gave one.
    pub initiator_alias: String,
    /// Who has proven to be who it says.
    pub authenticated: Authenticated,
    /// Its part of the session's identity.
    pub isid: Isid,
    /// The target's part of it; zero before the login is complete.
    pub tsih: u16,
    /// The connection's number.
    pub cid: u16,
    /// Name of the target; none in a discovery session.
    pub target: Option<String>,
    /// SCSI commands received.
    pub commands: u64,
    /// Bytes of Data-Out taken.
    pub bytes_written: u64,
    /// Bytes of Data-In given.
    pub bytes_read: u64,
    /// Rejects sent.
    pub rejects: u64,
    /// PDUs dropped without an answer: outside of the CmdSN window, or Data-Out of no open task.
    pub ignored: u64,
}

/// A description of a session.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Who and how much.
    pub facts: SessionFacts,
    /// What was agreed.
    pub parameters: Parameters,
    /// Whether the login is complete and the session not over.
    pub full_feature: bool,
    /// Commands that are not answered.
    pub open_commands: usize,
    /// Bytes sent on the connection.
    pub bytes_sent: u64,
}

/// What a connection holds; the bounds are in [`crate::target::config`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryUsage {
    /// Commands that are not answered.
    pub tasks: usize,
    /// Bytes of PDUs that came before their turn.
    pub held_bytes: usize,
    /// Bytes set aside for Data-Out buffers of commands that write more than FirstBurstLength.
    pub data_out_bytes: usize,
    /// Bytes of data that is being read or waits to be sent.
    pub data_in_bytes: usize,
    /// PDUs that wait to be sent.
    pub output_pdus: usize,
}
