//! Barriers: the answer that a change of who may do what with a volume is in force everywhere.
//!
//! A reservation, a revoked right or a reset of a logical unit is a record of the directory (`access/<volume>`), and servers
//! hear of it one after the other. A host that made the change must not be answered before the last of them has: else a
//! write that another gateway admitted by the old record lands behind the answer.
//!
//! What holds when a barrier is done:
//! * **Admitted anew.** Every server that is not down has a view with the change, and its front ends have judged all their
//!   open requests by it ([`admission`]). Those that are not allowed any more have ended.
//! * **Refused by owners.** A request carries the revision by which it was admitted, and an owner whose view has a newer one
//!   refuses it. So nothing arrives late, however long it was on its way. What an owner had begun has ended ([`quiet`]).
//! * **Down is fenced.** A server that is down is not waited for. All others know that it is: they answer it nothing, apply
//!   nothing of it, and every lease that they gave it has run out.
//!
//! A server that is cut off with the only copies of an extent may go on with hosts that reach it, and nobody else sees that
//! extent before it has come back with a new view. To whoever reads the extent then, all that happened before the change.

mod admission;
mod quiet;
mod wait;

use crate::config::BARRIERS_MAX;
use crate::engine::Engine;
use crate::event::{BarrierId, Output};
use evenkeel_meta::Revision;
use evenkeel_types::{ServerId, Time, VolumeId};
use std::collections::BTreeMap;

/// The barriers of a server: those that its front ends wait for, and those that others asked about.
#[derive(Default, Debug)]
pub(crate) struct Barriers {
    /// Volumes whose front ends have yet to judge their requests by the newest record, with the record's revision by which
    /// they still admit.
    unjudged: BTreeMap<VolumeId, Revision>,
    own: BTreeMap<BarrierId, Wait>,
    asked: Vec<Asked>,
}

/// A barrier that a front end waits for.
#[derive(Debug)]
struct Wait {
    volume: VolumeId,
    revision: Revision,
    /// When this server's view had it.
    seen: Option<Time>,
    /// Over which connection a server was asked last, and for what view.
    asked: BTreeMap<ServerId, (u64, Revision)>,
    /// With what view a server has answered.
    answered: BTreeMap<ServerId, Revision>,
}

/// A barrier that another server waits for.
#[derive(Debug)]
struct Asked {
    by: ServerId,
    session: u64,
    number: u64,
    volume: VolumeId,
    revision: Revision,
    view: Revision,
    /// When this server's view had both.
    seen: Option<Time>,
}

impl Barriers {
    fn is_idle(&self) -> bool {
        self.own.is_empty() && self.asked.is_empty()
    }
}

impl Engine {
    /// A front end has changed who may do what with a volume.
    pub(crate) fn handle_barrier(&mut self, id: BarrierId, volume: VolumeId, revision: Revision) {
        if self.barriers.own.len() >= BARRIERS_MAX {
            self.core.out.push_back(Output::BarrierDone { id, passed: false });
            return;
        }
        let wait = Wait { volume, revision, seen: None, asked: BTreeMap::new(), answered: BTreeMap::new() };
        let earlier = self.barriers.own.insert(id, wait);
        assert!(earlier.is_none(), "barrier {id:?} is open already");
    }

    /// A front end does not wait for a barrier any more.
    pub(crate) fn handle_barrier_given_up(&mut self, id: BarrierId) {
        self.barriers.own.remove(&id);
    }
}
