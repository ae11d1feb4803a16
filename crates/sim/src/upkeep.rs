//! What people do to a group that runs: they empty servers, and take that back; and volumes are placed over those that are to
//! stay.

use crate::checkers::Violation;
use crate::coverage::Row;
use crate::faults::Fault;
use crate::log::About;
use crate::world::{Happening, Phase, World};
use evenkeel_engine::TxnTicket;
use evenkeel_meta::change;
use evenkeel_types::ServerId;
use std::time::Duration;

/// When volumes are placed anew for the first time: by then some are written to all over.
pub(crate) const FIRST_PLACED_AFTER: Duration = Duration::from_secs(4);
/// How often the planner looks.
const PLACED_EVERY: Duration = Duration::from_millis(100);
/// Of transactions whose outcome the engine does not wait for.
const NOBODYS: TxnTicket = TxnTicket(u64::MAX);

impl World<'_> {
    /// The planner does what is next, as far as its view goes.
    pub(crate) fn place_volumes(&mut self) -> Result<(), Violation> {
        if self.phase == Phase::Over {
            return Ok(());
        }
        self.clock.after(PLACED_EVERY, Happening::Place);
        let now = self.now();
        let planner = self.servers.values().find_map(|server| {
            let is_awake = server.asleep_until(now).is_none();
            let running =
                server.running.as_ref().filter(|running| is_awake && running.presence.is_elected)?;
            let actor = change::Actor { server: server.id, incarnation: running.store.incarnation() };
            Some((server.id, change::next_placing(running.engine.view()?, actor)))
        });
        let Some((id, txns)) = planner else { return Ok(()) };
        txns.into_iter().try_for_each(|txn| self.transact(id, NOBODYS, txn))
    }

    /// A server is to be emptied; after a while somebody changes their mind.
    pub(crate) fn drain(&mut self, server: ServerId) -> Result<(), Violation> {
        self.coverage.count(Row::Drained);
        let delay = self.rng.millis(2000, 15_000);
        self.clock.after(delay, Happening::Fault(Fault::Undrain(server)));
        self.set_draining(server, true)
    }

    pub(crate) fn set_draining(&mut self, server: ServerId, draining: bool) -> Result<(), Violation> {
        if self.directory.is_lost() {
            return Ok(());
        }
        let view = self.directory.view();
        if view.member(server).is_none_or(|kept| kept.record.draining == draining) {
            return Ok(());
        }
        self.note(About::Group, format_args!("{server} is to be emptied: {draining}"));
        let txn = change::set_draining(&view, server, draining);
        let txn = txn.map_err(|error| Violation::new("directory", None, error.to_string()))?;
        let outcome = self.directory.carry_out(&txn);
        outcome.map_err(|error| Violation::new("directory", None, error.to_string()))?;
        self.follow_directory()
    }

    /// A server gets another weight: volumes are to be placed anew.
    pub(crate) fn reweigh(&mut self, server: ServerId) -> Result<(), Violation> {
        if self.directory.is_lost() {
            return Ok(());
        }
        let view = self.directory.view();
        let Some(mut record) = view.server(server).map(|kept| kept.record.clone()) else { return Ok(()) };
        record.capacity.bytes = self.rng.between(1, 8) << 30;
        self.note(About::Group, format_args!("{server} has {} bytes", record.capacity.bytes));
        self.coverage.count(Row::Reweighed);
        let txn = change::update_server(&view, server, &record);
        let txn = txn.map_err(|error| Violation::new("directory", None, error.to_string()))?;
        let outcome = self.directory.carry_out(&txn);
        outcome.map_err(|error| Violation::new("directory", None, error.to_string()))?;
        self.follow_directory()
    }

    /// How full the servers are, as all of them tell.
    pub(crate) fn used(&self) -> Vec<(ServerId, f64)> {
        let used = |server: &crate::server::SimServer| {
            let stats = server.running.as_ref()?.store.stats();
            Some((server.id, stats.units_used as f64 / stats.units.max(1) as f64))
        };
        self.servers.values().filter_map(used).collect()
    }
}
