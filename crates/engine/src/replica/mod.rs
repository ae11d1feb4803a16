//! The other side: a server that gets a copy of an extent, or lets go of it.
//!
//! What holds:
//! * **Accepted.** An attach is answered only after its epoch is durable here. From then on nothing of a lower epoch, of
//!   another attachment, or of a fenced incarnation is applied, and no reign of a lower epoch goes on here. An attach
//!   below the epoch that this server's own view gives is refused: the view may know more than the record.
//! * **Replaced versions.** Writes and copies name the version that they replace; the store refuses them otherwise. So
//!   nothing is applied twice, and nothing old comes over something newer, however late it arrives.
//! * **Leases.** An answer to an owner's heartbeat gives it the right to answer reads of what it has attached here. For
//!   attachments that ended by a higher epoch the answers say so, until the owner has shown that it knows ([`lease`]).
//! * **Freeing.** A copy goes only when a view that is not older than the accepted epoch names this server neither replica
//!   nor target, or when the volume is deleted for ever ([`release`]).

mod apply;
mod attach;
mod lease;
mod promise;
mod release;
mod sweep;

pub(crate) use apply::copy_outcome;
pub(crate) use sweep::Sweep;

use evenkeel_peer::Part;
use evenkeel_types::{Epoch, Incarnation, Regions, ServerId};

/// What this server is to an extent that another one owns.
#[derive(Debug)]
pub(crate) enum CopyPart {
    /// Nothing.
    None,
    /// An owner has asked; the epoch is not accepted yet.
    Joining(Joining),
    /// The copy takes writes and regions.
    Attached { owner: ServerId, incarnation: Incarnation, attachment: u64, epoch: Epoch, part: Part },
}

/// An attach on its way.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) owner: ServerId,
    pub(crate) incarnation: Incarnation,
    pub(crate) session: u64,
    pub(crate) attach: evenkeel_peer::Attach,
    /// The store has been asked.
    pub(crate) submitted: bool,
    /// The versions of the copy, once the store has told.
    pub(crate) versions: Vec<evenkeel_types::Version>,
    /// Regions to which data can be written without asking for space.
    pub(crate) space: Regions,
}

/// What a successor waits for.
#[derive(Debug)]
pub(crate) struct Promise {
    pub(crate) to: ServerId,
    pub(crate) session: u64,
    pub(crate) epoch: Epoch,
    pub(crate) attachment: u64,
    pub(crate) replicas: Vec<ServerId>,
    /// The store has been asked.
    pub(crate) submitted: bool,
}

impl CopyPart {
    /// The epoch of the owner that has, or will have, attached this server.
    pub(crate) const fn epoch(&self) -> Epoch {
        match self {
            Self::None => Epoch::ZERO,
            Self::Joining(joining) => joining.attach.epoch,
            Self::Attached { epoch, .. } => *epoch,
        }
    }

    /// What this server is to that owner.
    pub(crate) const fn part(&self) -> Option<Part> {
        match self {
            Self::None => None,
            Self::Joining(joining) => Some(joining.attach.part),
            Self::Attached { part, .. } => Some(*part),
        }
    }

    /// That owner.
    pub(crate) const fn owner(&self) -> Option<ServerId> {
        match self {
            Self::None => None,
            Self::Joining(joining) => Some(joining.owner),
            Self::Attached { owner, .. } => Some(*owner),
        }
    }
}
