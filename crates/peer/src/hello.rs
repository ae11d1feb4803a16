//! The first message in each direction: who is there, in which life, of which group.
//!
//! Each side sends [`Hello`] as soon as the connection stands and reads the other's. Neither sends anything else before
//! it accepted the other's. Who refuses sends [`crate::Message::Refuse`] with the reason and closes. A frame of another
//! wire version is not even read; its sender finds the connection closed, and the reason in this server's log.

use crate::header::{GroupHash, Header};
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES, REGION_BYTES};
use evenkeel_types::{Incarnation, ServerId};
use serde::{Deserialize, Serialize};
use snafu::Snafu;

/// How a server introduces itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Name of its group.
    pub group: String,
    /// Who it is.
    pub server: ServerId,
    /// In which life.
    pub incarnation: Incarnation,
    /// Whom it means to talk to; nobody in particular on the side that accepted the connection.
    pub expects: Option<ServerId>,
    /// Bytes of an extent, a region and a block: what both must agree on to copy data.
    pub geometry: [u32; 3],
    /// Its program version, for the log.
    pub program: String,
}

/// What a server knows of itself.
#[derive(Clone, Debug)]
pub struct Local {
    /// Name of the group.
    pub group: String,
    /// Who it is.
    pub server: ServerId,
    /// In which life.
    pub incarnation: Incarnation,
    /// Its program version.
    pub program: String,
}

/// Whom a connection leads to, once its hello was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Who.
    pub server: ServerId,
    /// In which life.
    pub incarnation: Incarnation,
}

/// Why a hello is refused.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum HelloRefusal {
    /// Another group.
    #[snafu(display("peer belongs to group '{theirs}', this server to '{ours}': check the peer addresses"))]
    GroupMismatch {
        /// Ours.
        ours: String,
        /// Theirs.
        theirs: String,
    },
    /// It wanted, or we wanted, to talk to another server.
    #[snafu(display("expected server {expected}, found {found}: check the peer addresses"))]
    ServerMismatch {
        /// Who should be there.
        expected: ServerId,
        /// Who is there.
        found: ServerId,
    },
    /// It says that it is this server itself.
    #[snafu(display("peer calls itself {server} like this server: two servers run on copies of one store"))]
    Twin {
        /// The id that both use.
        server: ServerId,
    },
    /// It cuts data differently.
    #[snafu(display("peer's geometry is {theirs:?}, ours {ours:?}"))]
    GeometryMismatch {
        /// Ours: extent, region and block in bytes.
        ours: [u32; 3],
        /// Theirs.
        theirs: [u32; 3],
    },
    /// A life of that server that is over.
    #[snafu(display("peer {server} has incarnation {found}, but {known} is known: it is fenced"))]
    Fenced {
        /// Who.
        server: ServerId,
        /// What it says.
        found: Incarnation,
        /// The latest that is known.
        known: Incarnation,
    },
}

/// Extent, region and block, in bytes.
pub const GEOMETRY: [u32; 3] = [EXTENT_BYTES, REGION_BYTES, BLOCK_BYTES];

impl Local {
    /// What to send first.
    #[must_use]
    pub fn hello(&self, expects: Option<ServerId>) -> Hello {
        Hello {
            group: self.group.clone(),
            server: self.server,
            incarnation: self.incarnation,
            expects,
            geometry: GEOMETRY,
            program: self.program.clone(),
        }
    }

    /// The header fields that this server's frames carry.
    #[must_use]
    pub fn group_hash(&self) -> GroupHash {
        GroupHash::of(&self.group)
    }

    /// Judges the other side's hello. `expects` is whom this side meant to reach, `known` the latest incarnation of a
    /// server that this side has heard of (from the directory or from an earlier hello).
    ///
    /// # Errors
    /// The first reason found why the two must not talk.
    pub fn accept(
        &self,
        hello: &Hello,
        expects: Option<ServerId>,
        known: impl FnOnce(ServerId) -> Option<Incarnation>,
    ) -> Result<Peer, HelloRefusal> {
        if hello.group != self.group {
            return GroupMismatchSnafu { ours: &self.group, theirs: &hello.group }.fail();
        }
        if hello.geometry != GEOMETRY {
            return GeometryMismatchSnafu { ours: GEOMETRY, theirs: hello.geometry }.fail();
        }
        if hello.server == self.server {
            return TwinSnafu { server: self.server }.fail();
        }
        match (expects, hello.expects) {
            (Some(expected), _) if expected != hello.server => {
                return ServerMismatchSnafu { expected, found: hello.server }.fail();
            }
            (_, Some(expected)) if expected != self.server => {
                return ServerMismatchSnafu { expected, found: self.server }.fail();
            }
            _ => {}
        }
        match known(hello.server) {
            Some(known) if hello.incarnation < known => {
                FencedSnafu { server: hello.server, found: hello.incarnation, known }.fail()
            }
            _ => Ok(Peer { server: hello.server, incarnation: hello.incarnation }),
        }
    }
}

impl Peer {
    /// Whether a frame with this header comes from this life of this server of this group.
    #[must_use]
    pub fn sent(self, header: &Header, group: GroupHash) -> bool {
        header.sender == self.server && header.incarnation == self.incarnation && header.group == group
    }
}
