//! What people do to a group that runs: they empty servers, and take that back.

use crate::checkers::Violation;
use crate::coverage::Row;
use crate::faults::Fault;
use crate::log::About;
use crate::world::{Happening, World};
use evenkeel_meta::change;
use evenkeel_types::ServerId;

impl World<'_> {
    /// A server is to be emptied; after a while somebody changes their mind.
    pub(crate) fn drain(&mut self, server: ServerId) -> Result<(), Violation> {
        self.coverage.count(Row::Drained);
        let delay = self.rng.millis(2000, 15_000);
        self.clock.after(delay, Happening::Fault(Fault::Undrain(server)));
        self.set_draining(server, true)
    }

    pub(crate) fn set_draining(&mut self, server: ServerId, draining: bool) -> Result<(), Violation> {
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

    /// How full the servers are, as all of them tell.
    pub(crate) fn used(&self) -> Vec<(ServerId, f64)> {
        let used = |server: &crate::server::SimServer| {
            let stats = server.running.as_ref()?.store.stats();
            Some((server.id, stats.units_used as f64 / stats.units.max(1) as f64))
        };
        self.servers.values().filter_map(used).collect()
    }
}
