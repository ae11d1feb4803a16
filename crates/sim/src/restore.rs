//! The directory is lost, and restored from a backup, as docs/operations.md tells: everything that it took since is gone.
//!
//! ```text
//!   back_up ── anything ──▶ lost ── each server stops, or crashes ──▶ restored ── hints gone ──▶ rebuilt ──▶ all start
//! ```
//! From the loss on nobody hears of the directory any more, and servers go on among themselves until they are stopped.
//! The routes are rebuilt by the code that `evenkeel doctor rebuild-routes` runs, from the records of all stores; it may be
//! cut short at any of its transactions, and is begun again.

use crate::checkers::Violation;
use crate::coverage::Row;
use crate::faults::Fault;
use crate::log::About;
use crate::world::{Happening, Phase, World};
use evenkeel_meta::restore::{Held, RestoreError, StoreList, members, plan, rebuild, running};
use evenkeel_meta::{Txn, View};
use evenkeel_types::ServerId;
use std::time::Duration;

/// Within this time all servers are told to stop.
const STOPS_WITHIN_MS: u64 = 4000;
/// How often it is looked whether the next step can be taken.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Of 1000 servers that are stopped, so many stop in an orderly way, if they can.
const ORDERLY_PER_MILLE: u64 = 500;
/// Of 1000 rebuilds, so many are cut short.
const CUT_SHORT_PER_MILLE: u64 = 500;

/// Why a rebuild ended before its end.
enum Broken {
    /// Whoever ran it is gone.
    CutShort,
    /// It does not work.
    Wrong(String),
}

impl World<'_> {
    /// Somebody makes a backup of the directory, which will be needed.
    pub(crate) fn back_up(&mut self) {
        if self.directory.is_lost() {
            return;
        }
        let now = self.now();
        self.directory.back_up(now);
        let revision = self.directory.view().revision();
        self.note(About::Group, format_args!("the directory is backed up at revision {revision}"));
        let delay = self.rng.any_size(300_000, 15_000_000);
        self.clock.after(delay, Happening::Fault(Fault::LoseDirectory));
    }

    /// The directory is gone for good; somebody stops all servers.
    pub(crate) fn lose_directory(&mut self) {
        if self.directory.is_lost() || !self.directory.has_backup() {
            return;
        }
        self.directory.lose();
        self.note(About::Group, format_args!("the directory is lost"));
        let ids: Vec<ServerId> = self.servers.keys().copied().collect();
        for server in ids {
            let delay = self.rng.millis(0, STOPS_WITHIN_MS);
            self.clock.after(delay, Happening::Fault(Fault::Stop(server)));
        }
        let delay = Duration::from_millis(STOPS_WITHIN_MS + 1);
        self.clock.after(delay, Happening::Fault(Fault::Rebuild));
    }

    /// A server is stopped, in an orderly way or not.
    pub(crate) fn stop(&mut self, server: ServerId) -> Result<(), Violation> {
        let (now, mine) = (self.now(), &self.servers[&server]);
        if mine.is_down() {
            return Ok(());
        }
        if mine.running.is_none() || mine.asleep_until(now).is_some() || !self.rng.chance(ORDERLY_PER_MILLE) {
            return self.crash(server);
        }
        self.coverage.count(Row::Stopped);
        self.note(About::Group, format_args!("{server} is stopped"));
        self.stop_in_order(server)
    }

    /// The next step towards a directory that can be used again, once all servers are stopped.
    pub(crate) fn restore(&mut self) -> Result<(), Violation> {
        let all_down = self.servers.values().all(crate::server::SimServer::is_down);
        if all_down && !self.directory.is_restored() {
            let now = self.now();
            self.directory.restore(now);
            // What was on its way to the directory that is gone gets to no other one.
            self.clock.forget(|what| matches!(what, Happening::TxnCarriedOut { .. }));
            self.note(About::Group, format_args!("the directory is restored"));
        }
        let is_rebuilt = all_down && running(&self.directory.view()).is_none() && self.rebuild_routes()?;
        if !is_rebuilt {
            self.clock.after(LOOK_EVERY, Happening::Fault(Fault::Rebuild));
        }
        Ok(())
    }

    /// Rebuilds the routes, and lets the servers start; whether it got to its end.
    fn rebuild_routes(&mut self) -> Result<bool, Violation> {
        let lists: Result<Vec<StoreList>, _> = self.servers.values().map(list_of).collect();
        let lists = lists.map_err(|why| Violation::new("store", None, why))?;
        let view = self.directory.view();
        let known = plan(&view, &lists).map_err(|why| Violation::new("directory", None, why.to_string()))?;
        let members = members(&view, &lists, &known);
        let counted = members.iter().filter(|(_, record)| record.is_up()).count();
        let mut left = if self.rng.chance(CUT_SHORT_PER_MILLE) { self.rng.below(4) } else { u64::MAX };
        let directory = &self.directory;
        let carry_out = |txn: &Txn| -> Result<View, Broken> {
            if left == 0 {
                return Err(Broken::CutShort);
            }
            left -= 1;
            match directory.carry_out_restored(txn) {
                Ok(outcome) if outcome.succeeded => Ok(directory.view()),
                other => Err(Broken::Wrong(format!("{other:?}"))),
            }
        };
        let refuse = |why: &RestoreError| Broken::Wrong(why.to_string());
        match rebuild(view, &lists, |_, _| Ok(None), carry_out, refuse) {
            Err(Broken::CutShort) => {
                self.coverage.count(Row::RebuildCutShort);
                return Ok(false);
            }
            Err(Broken::Wrong(why)) => {
                let what = format!("the routes cannot be rebuilt: {why}");
                return Err(Violation::new("directory", None, what));
            }
            Ok((_, plan)) => {
                self.coverage.count(Row::Restored);
                self.coverage.add(Row::RoutesRebuilt, plan.routes.len() as u64);
                self.coverage.add(Row::CountedAgain, counted as u64);
                self.coverage.add(Row::FoundBehind, (members.len() - counted) as u64);
                self.note(About::Group, format_args!("the rebuild counts {members:?}"));
                for (extent, was, now) in &plan.routes {
                    self.note(About::Extent(*extent), format_args!("{extent} was at {was:?}, is at {now:?}"));
                }
            }
        }
        self.directory.is_found();
        let view = self.directory.view();
        self.note(About::Group, format_args!("the routes are rebuilt in generation {}", view.generation()));
        self.truth_watch = self.directory.watch(view.revision());
        self.routing.restored(view)?;
        let ids: Vec<ServerId> = self.servers.keys().copied().collect();
        for server in ids {
            let delay = self.rng.any_size(1000, 2_000_000);
            self.clock.after(delay, Happening::Start { server });
            // What the backup brings along of servers that were to be emptied is taken back in time.
            match self.phase {
                Phase::Faults => {
                    let delay = self.rng.millis(2000, 15_000);
                    self.clock.after(delay, Happening::Fault(Fault::Undrain(server)));
                }
                _ => self.set_draining(server, false)?,
            }
        }
        Ok(true)
    }
}

/// What a stopped server's store holds.
fn list_of(server: &crate::server::SimServer) -> Result<StoreList, String> {
    let entries = evenkeel_store::inventory(&server.bay.disk);
    let entries = entries.map_err(|fault| format!("the store of {} cannot be listed: {fault}", server.id))?;
    Ok(StoreList { server: server.id, extents: entries.iter().map(Held::from).collect() })
}
