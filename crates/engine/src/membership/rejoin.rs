//! From syncing to up.

use crate::config::{DIRECTORY_PATIENCE, REJOIN_PAUSE};
use crate::core::TxnFor;
use crate::engine::Engine;
use crate::event::{EngineEvent, TxnTicket};
use crate::extent::Extent;
use crate::replica::CopyPart;
use evenkeel_meta::change::become_up;
use evenkeel_meta::{DirectoryError, MemberState, Revision, TxnOutcome};
use evenkeel_peer::{Compared, Current, Part};
use evenkeel_types::{ExtentId, ServerId};

impl Extent {
    /// Whether an owner brings the copy here up to date under this attachment.
    fn is_copy_of(&self, owner: ServerId, attached: u64) -> bool {
        matches!(&self.copy, CopyPart::Attached { owner: from, attachment, part: Part::Replica, .. }
            if *from == owner && *attachment == attached)
    }
}

impl Engine {
    fn is_syncing(&self) -> bool {
        let me = self.core.me();
        let own = self.core.view.as_ref().and_then(|view| view.member(me));
        own.is_some_and(|kept| {
            kept.record.state == MemberState::Syncing
                && kept.record.incarnation == self.core.config.incarnation
        })
    }

    /// Something changed that decides who owns what this server holds: promises of owners that had not seen it do not
    /// cover everything.
    pub(crate) fn note_ownership(&mut self, revision: Revision) {
        self.membership.owners_changed = revision;
        self.membership.owners = None;
    }

    /// An owner promises that copies here are as good as its own.
    pub(crate) fn handle_current(&mut self, from: ServerId, current: &Current) {
        for (id, attachment) in &current.extents {
            if self.extents.get(id).is_some_and(|extent| extent.is_copy_of(from, *attachment)) {
                self.core.promises.insert(*id);
            }
        }
        self.consider_rejoining();
    }

    /// An owner has looked at everything that it owns of what this server holds.
    pub(crate) fn handle_compared(&mut self, from: ServerId, compared: &Compared) {
        if let Some(session) = self.core.session(from) {
            self.membership.compared.insert(from, (session, Revision(compared.revision)));
            self.consider_rejoining();
        }
    }

    /// Becomes up if nothing is missing for it.
    pub(crate) fn consider_rejoining(&mut self) {
        if !self.is_syncing() {
            return;
        }
        if self.core.rejoining {
            // Without an answer it is asked again: the same change of the same record happens once.
            if self.membership.rejoin_again_at.is_some_and(|at| at <= self.core.now) {
                self.become_up();
            }
            return;
        }
        if self.core.now < self.membership.rejoin_not_before {
            return;
        }
        if self.membership.owners.is_none() {
            let me = self.core.me();
            self.membership.owners = self.core.view.as_ref().map(|view| view.owners_for(me));
        }
        let Some(owners) = &self.membership.owners else {
            return;
        };
        // An owner that is ahead of this view speaks for what it owns now: what it gave away meanwhile, nobody speaks for.
        let seen = self.core.view.as_ref().map_or(Revision::ZERO, |view| view.revision());
        let has_compared = |owner: &ServerId| {
            self.membership.compared.get(owner).is_some_and(|(session, revision)| {
                self.core.session(*owner) == Some(*session)
                    && (self.membership.owners_changed..=seen).contains(revision)
            })
        };
        let is_open = |(id, extent): (&ExtentId, &Extent)| {
            extent.copy.part() == Some(Part::Replica) && !self.core.promises.contains(id)
        };
        if !owners.is_any_away && owners.present.iter().all(has_compared) && !self.extents.iter().any(is_open)
        {
            self.become_up();
        }
    }

    fn become_up(&mut self) {
        let made = self.core.view.as_ref().map(|view| become_up(view, self.core.actor()));
        if let Some(Ok(txn)) = made {
            self.core.rejoining = true;
            self.membership.rejoin_again_at = None;
            self.membership.rejoin_ticket = Some(self.core.transact(TxnFor::BecomeUp, txn));
        }
    }

    /// The directory answered. Whatever it says, nothing new is begun until the view shows what became of this server, or
    /// it is certain that nothing did: an owner that has not seen it up would not wait for it.
    pub(crate) fn handle_became_up(
        &mut self,
        ticket: TxnTicket,
        outcome: &Result<TxnOutcome, DirectoryError>,
    ) {
        // An answer counts only for the transaction that it names.
        if !self.core.rejoining || self.membership.rejoin_ticket != Some(ticket) {
            return;
        }
        match outcome {
            Ok(_) => {}
            Err(DirectoryError::Unavailable { .. }) if !self.membership.rejoin_unknown => {
                // Meanwhile owners may attach, which they could not during the try.
                self.core.rejoining = false;
                self.membership.rejoin_not_before = self.core.now + REJOIN_PAUSE;
            }
            Err(_) => {
                self.membership.rejoin_unknown = true;
                self.membership.rejoin_again_at = Some(self.core.now + DIRECTORY_PATIENCE);
            }
        }
    }

    /// The view shows another record of this server than before, which was in that state.
    pub(crate) fn note_own_record(&mut self, before: Option<MemberState>) {
        let me = self.core.me();
        let Some(own) = self.core.view.as_ref().and_then(|view| view.member(me)) else {
            return;
        };
        self.core.rejoining = false;
        self.membership.rejoin_unknown = false;
        self.membership.rejoin_again_at = None;
        let is_mine = own.record.incarnation == self.core.config.incarnation;
        match own.record.state {
            MemberState::Down if is_mine => {
                self.core.retired = true;
                self.core.event(EngineEvent::FoundDown);
            }
            MemberState::Up if is_mine && before == Some(MemberState::Syncing) => {
                self.core.promises.clear();
                self.membership.compared.clear();
                self.core.event(EngineEvent::Rejoined);
            }
            _ => {}
        }
    }
}
