//! Moving an extent to another server while it is read and written.
//!
//! ```text
//!  Preparing ─▶ Announced ─▶ Copying ─────────▶ Proposing ─▶ Decided ─▶ (the reign drains, or goes on without the
//!      │            │           │  ▲                │   │        ▲        replica that was replaced)
//!      ▼            ▼           ▼  └─── refused ────┘   ▼        │ the entry has changed
//!   (over)       (over)     Clearing ◀─── cleared ── Unsettled ──┘
//!                               └─▶ (over: the view shows no intent)
//! ```
//! What holds:
//! * **No client write fails because of a move.** As long as no Propose is out, a target that does not keep up is
//!   dropped, and the move is given up.
//! * **Required.** From before a Propose is sent until its outcome is known (`Proposing`, `Unsettled`, `Decided`), no
//!   write is acknowledged without the target's answer, no read without its lease, and the target is not dropped.
//! * **Outcome.** A Propose is settled by its own answer, by a view in which any of the keys has changed that it compares,
//!   or by the answer to a transaction that clears the intent on the entry as it was: exactly one of the two can
//!   happen. Reading the entry settles nothing while the Propose may be under way.
//!
//! The target's copy is one of the extent's copies ([`crate::copies`]); a move adds the directory's part to it. It may
//! take the place of the owner or of another replica, one that is down included: that is how a lost copy is rebuilt.

mod begin;
mod handover;
mod orders;
mod propose;
mod state;

pub(crate) use state::{Mover, Step};

use crate::counters::MoveCounters;
use crate::engine::Engine;
use evenkeel_types::ExtentId;

impl Engine {
    /// What the move of an extent away from this server did so far; none if there is no such move under way.
    #[must_use]
    pub fn move_progress(&self, extent: ExtentId) -> Option<MoveCounters> {
        let reign = self.extents.get(&extent)?.reign.as_ref()?;
        let mover = reign.mover.as_ref()?;
        Some(reign.target_link().map_or(mover.counters, |link| link.counters))
    }
}
