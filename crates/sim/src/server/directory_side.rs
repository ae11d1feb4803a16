//! Between an engine and the directory.

use crate::checkers::Violation;
use crate::coverage::Row;
use crate::directory::{MoveStep, SimDirectory, TxnFate, move_step};
use crate::log::About;
use crate::world::{Happening, Life, Phase, World};
use evenkeel_engine::{DirectoryEvent, Event, TxnTicket};
use evenkeel_meta::records::ParsedKey;
use evenkeel_meta::{DirectoryError, Txn, TxnOutcome};
use evenkeel_types::ServerId;
use std::time::Duration;

impl World<'_> {
    pub(crate) fn transact(&mut self, id: ServerId, ticket: TxnTicket, txn: Txn) -> Result<(), Violation> {
        let life = self.servers[&id].life();
        let fate = match self.servers[&id].is_dark(self.now()) {
            true => self.directory.fate_in_the_dark(),
            false => self.directory.fate(),
        };
        self.rules_asked(id, ticket, &txn)?;
        let step = move_step(self.directory.keys(), &txn);
        #[cfg(test)]
        if self.script.holds_proposes && matches!(step, Some((_, MoveStep::Propose))) {
            self.script.proposes.push((life, ticket, txn));
            return Ok(());
        }
        let about = step.map_or(About::Group, |(extent, _)| About::Extent(extent));
        self.note(about, format_args!("{id} transacts {ticket:?} {step:?}: {fate:?}"));
        let answered = |outcome| Happening::TxnAnswered { life, ticket, outcome };
        let unavailable = || DirectoryError::Unavailable { reason: "simulated".into() };
        let unknown = || DirectoryError::OutcomeUnknown { reason: "simulated".into() };
        let txn = Box::new(txn);
        match fate {
            TxnFate::Answered { at, answer, is_late } => {
                self.coverage.add(Row::TxnLate, is_late.into());
                self.clock.after(at, Happening::TxnCarriedOut { life, ticket, txn, answer: Some(answer) });
            }
            TxnFate::Unavailable { answer } => {
                self.coverage.count(Row::TxnUnavailable);
                self.clock.after(answer, answered(Err(unavailable())));
            }
            TxnFate::Unknown { at, answer } => {
                let row = match at {
                    None => Row::TxnUnknownNever,
                    Some(at) if at < answer => Row::TxnUnknownApplied,
                    Some(_) => Row::TxnUnknownLater,
                };
                self.coverage.count(row);
                if let Some((extent, MoveStep::Propose)) = step {
                    self.motion.propose_unanswered(extent);
                }
                if let Some(at) = at {
                    self.clock.after(at, Happening::TxnCarriedOut { life, ticket, txn, answer: None });
                }
                self.clock.after(answer, answered(Err(unknown())));
            }
        }
        Ok(())
    }

    /// The directory carries a transaction out, whatever has become of who asked for it.
    pub(crate) fn carry_out(
        &mut self,
        life: Life,
        ticket: TxnTicket,
        txn: &Txn,
        answer: Option<Duration>,
    ) -> Result<(), Violation> {
        let outcome = self.directory.carry_out(txn);
        let took = outcome.as_ref().is_ok_and(|outcome| outcome.succeeded);
        self.coverage.add(Row::TxnRefused, outcome.as_ref().is_ok_and(|outcome| !outcome.succeeded).into());
        self.note(
            About::Routine,
            format_args!("directory carries out {ticket:?} of {}: {took}", life.server),
        );
        self.follow_directory()?;
        if let Some(answer) = answer {
            self.clock.after(answer, Happening::TxnAnswered { life, ticket, outcome });
        }
        Ok(())
    }

    pub(crate) fn txn_answered(
        &mut self,
        life: Life,
        ticket: TxnTicket,
        outcome: Result<TxnOutcome, DirectoryError>,
    ) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        self.tell(life.server, Event::Directory(DirectoryEvent::TxnDone { ticket, outcome }))
    }

    /// Takes what the directory has decided into the judge's own picture, and lets the servers hear of it in time.
    pub(crate) fn follow_directory(&mut self) -> Result<(), Violation> {
        while let Some(batch) = SimDirectory::next_batch(self.truth_watch.as_mut())
            .map_err(|gap| Violation::new("directory", None, format!("the judge has fallen behind: {gap}")))?
        {
            let (moved, seen) = self.routing.revision(&batch)?;
            for (row, count) in seen.rows() {
                self.coverage.add(row, count);
            }
            let keys: Vec<&str> = batch.changes.iter().map(|change| change.key.as_str()).collect();
            let line = format!("directory {} {}", batch.revision, keys.join(" "));
            self.note(About::Group, format_args!("{line}"));
            for moved in moved {
                self.note(
                    About::Extent(moved.extent),
                    format_args!("directory moves {} to {}", moved.extent, moved.to),
                );
                self.moved(moved.extent);
            }
            for change in batch.changes.iter().filter(|change| change.entry.is_none()) {
                if let ParsedKey::Live(server) = self.directory.keys().parse(&change.key) {
                    self.live_key_gone(server);
                }
            }
            let ids: Vec<ServerId> = self.servers.keys().copied().collect();
            for id in ids {
                let (delay, is_late) = self.directory.news_delay();
                if let Some(life) = self.servers[&id].life_running() {
                    if is_late {
                        self.coverage.count(Row::WatchLate);
                    }
                    self.clock.after(delay, Happening::News { life });
                }
            }
        }
        Ok(())
    }

    /// One revision more gets to a server.
    pub(crate) fn news(&mut self, life: Life) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        let deaf_until = self.servers[&life.server].deaf_until;
        if deaf_until > self.now() {
            self.clock.at(deaf_until, Happening::News { life });
            return Ok(());
        }
        let id = life.server;
        let gap = self.phase == Phase::Faults
            && !self.directory.is_lost()
            && !self.scenario.is_scripted
            && self.rng.chance(5);
        let Some(running) = &mut self.servers.get_mut(&id).expect("servers neither come nor go").running
        else {
            return Ok(());
        };
        if self.directory.is_lost() {
            return Ok(());
        }
        let row = if gap {
            Row::WatchGap
        } else {
            match SimDirectory::next_batch(running.watch.as_mut()) {
                Ok(Some(batch)) => {
                    self.sees(id, &batch);
                    return self.tell(id, Event::Directory(DirectoryEvent::Batch(batch)));
                }
                Ok(None) => return Ok(()),
                Err(_) => Row::Compacted,
            }
        };
        // What it missed is not kept any more: it lists everything anew.
        let view = self.directory.view();
        running.watch = self.directory.watch(view.revision());
        self.coverage.count(row);
        self.tell(id, Event::Directory(DirectoryEvent::Snapshot(Box::new(view))))
    }
}
