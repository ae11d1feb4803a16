//! Between an engine and the directory.

use crate::checkers::Violation;
use crate::coverage::Row;
use crate::directory::{MoveStep, SimDirectory, TxnFate, move_step};
use crate::log::About;
use crate::world::{Happening, Life, Phase, World};
use evenkeel_engine::{DirectoryEvent, Event, TxnTicket};
use evenkeel_meta::{DirectoryError, Txn, TxnOutcome};
use evenkeel_types::ServerId;
use std::time::Duration;

impl World<'_> {
    pub(super) fn transact(&mut self, id: ServerId, ticket: TxnTicket, txn: Txn) {
        let life = self.servers[&id].life();
        let fate = self.directory.fate();
        let step = move_step(self.directory.keys(), &txn);
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
        let gap = self.phase == Phase::Faults && self.rng.chance(5);
        let Some(running) = &mut self.servers.get_mut(&id).expect("servers neither come nor go").running
        else {
            return Ok(());
        };
        if gap {
            let view = self.directory.view();
            running.watch = self.directory.watch(view.revision());
            self.coverage.count(Row::WatchGap);
            return self.tell(id, Event::Directory(DirectoryEvent::Snapshot(Box::new(view))));
        }
        match SimDirectory::next_batch(running.watch.as_mut()) {
            Some(batch) => self.tell(id, Event::Directory(DirectoryEvent::Batch(batch))),
            None => Ok(()),
        }
    }
}
