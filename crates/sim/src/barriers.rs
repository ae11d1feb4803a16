//! Changes of who may do what with a volume, and what must be true when their barriers are done.
//!
//! A change here ends everything that is open to a volume, as the reset of a logical unit does: each gateway cancels what it has
//! admitted by an older record as soon as it hears of the new one. When the barrier is done, none of that is open at a server that
//! is one of the group, and nothing of it happens any more: whatever had no certain end has happened by now or never does.

use crate::checkers::Violation;
use crate::checkers::register::OpNumber;
use crate::coverage::Row;
use crate::log::About;
use crate::world::{Life, World};
use evenkeel_engine::{BarrierId, Event, RequestId};
use evenkeel_meta::change::{Actor, set_access};
use evenkeel_meta::{MemberState, Revision};
use evenkeel_types::{ServerId, VolumeId};
use std::collections::{BTreeMap, BTreeSet};

/// What is waited for, and what was admitted when.
#[derive(Debug, Default)]
pub(crate) struct Barriers {
    last: u64,
    open: BTreeMap<BarrierId, (Life, VolumeId, Revision)>,
    /// By which record an operation of a client was admitted.
    admitted: BTreeMap<OpNumber, Revision>,
    /// Operations that a reset ended.
    reset: BTreeSet<OpNumber>,
}

impl Barriers {
    /// Whether a reset has ended an operation.
    pub(crate) fn has_reset(&self, op: OpNumber) -> bool {
        self.reset.contains(&op)
    }
}

/// A request that a gateway has taken and not answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    volume: VolumeId,
    /// By which record it was admitted.
    admitted: Revision,
}

impl World<'_> {
    /// Somebody resets a volume through a server.
    pub(crate) fn reset(&mut self, server: ServerId) -> Result<(), Violation> {
        if self.directory.is_lost() || self.servers[&server].asleep_until(self.now()).is_some() {
            return Ok(());
        }
        let Some(running) = &self.servers[&server].running else { return Ok(()) };
        let by = Actor { server, incarnation: running.store.incarnation() };
        let volume = self.rng.pick(&self.volumes).id;
        let view = self.directory.view();
        let Some(access) = view.access(volume).map(|kept| kept.record.clone()) else { return Ok(()) };
        // A server that others have marked down meanwhile may change nothing.
        let Ok(txn) = set_access(&view, by, volume, &access) else { return Ok(()) };
        let outcome = self.directory.carry_out(&txn);
        let outcome = outcome.map_err(|error| Violation::new("directory", None, error.to_string()))?;
        self.follow_directory()?;
        let id = BarrierId(self.barriers.last + 1);
        self.barriers.last += 1;
        self.note(About::Group, format_args!("{server} resets volume {volume}: barrier {}", id.0));
        self.barriers.open.insert(id, (self.servers[&server].life(), volume, outcome.revision));
        self.tell(server, Event::Barrier { id, volume, revision: outcome.revision })
    }

    /// A gateway takes a request.
    pub(crate) fn note_taken(&mut self, server: ServerId, id: RequestId, volume: VolumeId) {
        let number = self.clients.iter().find_map(|client| client.open.get(&id)).map(|op| op.number);
        let Some(running) = &mut self.server(server).running else { return };
        let Some(admitted) = running.engine.view().map(|view| view.access_revision(volume)) else { return };
        running.taken.insert(id, Taken { volume, admitted });
        if let Some(number) = number {
            self.barriers.admitted.insert(number, admitted);
        }
    }

    /// A gateway hears of a change.
    pub(crate) fn judge_admitted(
        &mut self,
        server: ServerId,
        volume: VolumeId,
        revision: Revision,
    ) -> Result<(), Violation> {
        let Some(running) = &self.servers[&server].running else { return Ok(()) };
        let is_old = |taken: &&Taken| taken.volume == volume && taken.admitted < revision;
        let old: Vec<RequestId> =
            running.taken.iter().filter(|(_, taken)| is_old(taken)).map(|(id, _)| *id).collect();
        self.coverage.add(Row::ResetRequests, old.len() as u64);
        for id in old {
            let number = self.clients.iter().find_map(|client| client.open.get(&id)).map(|op| op.number);
            self.barriers.reset.extend(number);
            self.tell(server, Event::Cancel { id })?;
        }
        self.tell(server, Event::Admitted { volume, revision })
    }

    /// A server is told that a barrier is done.
    pub(crate) fn barrier_done(&mut self, id: BarrierId, passed: bool) -> Result<(), Violation> {
        let Some((_, volume, revision)) = self.barriers.open.remove(&id).filter(|_| passed) else {
            return Ok(());
        };
        self.coverage.count(Row::BarrierDone);
        let view = self.directory.view();
        let is_down =
            |server: ServerId| view.member(server).is_none_or(|kept| kept.record.state == MemberState::Down);
        for server in self.servers.values().filter(|server| !is_down(server.id)) {
            let Some(running) = &server.running else { continue };
            let is_open = |taken: &Taken| taken.volume == volume && taken.admitted < revision;
            if let Some((request, _)) = running.taken.iter().find(|(_, taken)| is_open(taken)) {
                let what = format!(
                    "barrier {} is done, and request {} is open at {} that was admitted before it",
                    id.0, request.0, server.id
                );
                return Err(Violation::new("barrier", None, what));
            }
        }
        let admitted = &self.barriers.admitted;
        let sealed = self
            .registers
            .seal(volume, |op| admitted.get(&op).is_some_and(|admitted| *admitted < revision))?;
        self.coverage.add(Row::Sealed, sealed);
        Ok(())
    }
}
