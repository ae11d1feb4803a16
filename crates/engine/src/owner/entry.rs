//! Route entries for extents that another place of their volume would re-route.
//!
//! Once such a place is published ([`crate::membership`]), an extent without an entry is served only if something was
//! written to it before: it gets its entry while it is. Any other waits with what it is asked for until the view shows its
//! entry, which its owner asks for when it is used. So what has no entry when the place is swapped in was never written
//! to, and nobody answers reads of it.
//!
//! An entry is asked for only when all copies that are present have a record: where an entry is, a replica without a record
//! is an alarm.

use super::{Phase, Reign};
use crate::copies::{CopyLink, Role};
use crate::core::Core;
use crate::extent::Extent;
use evenkeel_types::{Time, Version};

impl Reign {
    /// Whether nothing was ever written, and nothing is on its way.
    pub(crate) fn is_blank(&self) -> bool {
        self.versions.iter().all(|version| *version == Version::NONE)
    }
}

impl Extent {
    /// Serves no further before the extent has an entry.
    pub(super) fn await_entry(&mut self, core: &mut Core) {
        if let Some(reign) = &mut self.reign {
            reign.phase = Phase::Entering;
            // A move whose intent got lost keeps the extent from its entry until it is given up, and nothing else that
            // happens to the extent here looks at it.
            self.continue_move(core);
            self.ask_for_entry(core);
        }
    }

    /// The view makes this server owner as before: looks whether the extent needs an entry, or needs one no longer.
    pub(crate) fn consider_entry(&mut self, core: &mut Core) {
        let Some(reign) = &self.reign else {
            return;
        };
        match (reign.phase, core.is_to_be_placed(self.id)) {
            (Phase::Serving, true) if reign.is_blank() => self.await_entry(core),
            // It goes on, as the directory may be away: the place does not come before its entry has. A first write that is
            // not durable yet has made no record.
            (Phase::Serving, true) if reign.record => core.note_entry(self.id, true),
            (Phase::Entering, true) => self.ask_for_entry(core),
            (Phase::Entering, false) => self.resume_serving(core),
            _ => {}
        }
    }

    /// Asks for the entry if somebody waits for it.
    fn ask_for_entry(&mut self, core: &mut Core) {
        let Some(reign) = &self.reign else {
            return;
        };
        let owes = |link: &CopyLink| {
            link.role == Role::Syncing && link.attached().is_none_or(|attached| !attached.promised)
        };
        let is_used = !self.waiting.is_empty() || self.move_wanted || self.resync_wanted || reign.running > 0;
        if !is_used && reign.is_blank() && !reign.links.iter().any(owes) {
            return;
        }
        if reign.record {
            core.note_entry(self.id, false);
        } else {
            self.fence_reign(core);
        }
    }

    /// Whether the extent was written to and needs an entry. Until it has one it is kept in mind: the list of records may be
    /// older than the write.
    pub(crate) fn is_written_in_question(&self, core: &Core) -> bool {
        core.is_to_be_placed(self.id) && self.reign.as_ref().is_some_and(|reign| !reign.is_blank())
    }

    /// Whether a place that re-routes the extent may come without it having an entry: this server serves nothing of it, and
    /// nothing was written that it knows of.
    pub(crate) fn may_be_placed(&self, now: Time, is_mine: bool) -> bool {
        if self.lease_until.is_some_and(|until| until > now) {
            // An owner before may still answer reads.
            return false;
        }
        match &self.reign {
            None => !is_mine || matches!(self.copy, crate::replica::CopyPart::None),
            Some(reign) => {
                let is_still = matches!(reign.phase, Phase::Fencing | Phase::Gathering | Phase::Entering);
                is_still && reign.running == 0 && reign.is_blank()
            }
        }
    }
}
