//! Leases as their giver sees them.
//!
//! Leases go per pair of servers: an answered heartbeat extends the owner's right to answer reads for everything that it
//! has attached here. When an attachment ends other than by the owner's own will, this server may one day be the owner
//! itself; so it remembers until when the right may last, and if the connection still stands, all further answers
//! except that attachment.

use super::CopyPart;
use crate::config::LEASE_GUARD;
use crate::core::{Core, Pending};
use crate::extent::Extent;
use evenkeel_peer::Part;
use evenkeel_types::Regions;
use evenkeel_types::store_op::StoreOp;

impl Extent {
    /// Ends this server's part as a copy.
    pub(crate) fn end_copy(&mut self, core: &mut Core) {
        let copy = std::mem::replace(&mut self.copy, CopyPart::None);
        core.copies_in -= usize::from(copy.part() == Some(Part::Target));
        let CopyPart::Attached { owner, attachment, part, .. } = copy else {
            return;
        };
        if part == Part::Replica {
            // What the owner had set aside and did not use.
            core.store(Pending::Unreserve, StoreOp::Unreserve { extent: self.id, regions: Regions::ALL });
        }
        let answered = core.peers.get(&owner).and_then(|peer| peer.last_answered);
        if let Some(answered) = answered {
            let until = answered + LEASE_GUARD;
            self.lease_until = Some(self.lease_until.map_or(until, |earlier| earlier.max(until)));
            core.wake_at(self.id, until);
        }
        if core.session(owner).is_some() {
            core.voided.insert((owner, self.id), attachment);
        }
    }
}
