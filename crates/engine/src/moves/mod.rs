//! Moving an extent to another server while it is read and written.
//!
//! ```text
//!  Preparing ─▶ Announced ─▶ Copying ◀──▶ Remembering ─▶ Proposing ─▶ Decided ─▶ (the reign drains)
//!      │            │           │  ▲                        │   │        ▲
//!      ▼            ▼           ▼  └─────── refused ────────┘   ▼        │ the entry has changed
//!   (over)       (over)     Clearing ◀──── cleared ──────── Unsettled ───┘
//!                               └─▶ (over: the view shows no intent)
//! ```
//! What holds:
//! * **No client write fails because of a move.** As long as no Propose is out, a target that does not keep up is
//!   dropped, and the move is given up.
//! * **Current.** The regions at the target that are *current* have the version that the owner's copy has, or get it by
//!   writes that were sent. A write goes to both copies where the region is current, waits where it is in motion, and
//!   is left to the region's copy where it comes later. What is current is only known by answers of this attachment;
//!   after any break it is found again by comparing versions, which is also how a move goes on after a crash.
//! * **Required.** From before a Propose is sent until its outcome is known (`Proposing`, `Unsettled`, `Decided`), no
//!   write is acknowledged without the target's answer, no read without its lease, and the target is not dropped.
//! * **Outcome.** A Propose is settled by its own answer, by a view in which any of the keys has changed that it compares,
//!   or by the answer to a transaction that clears the intent on the entry as it was: exactly one of the two can
//!   happen. Reading the entry settles nothing while the Propose may be under way.
//! * **Identities.** A target may become owner at any moment while it is required. So it claims to have applied exactly the
//!   writes that its content has: all are handed over when all regions are current, before the target is required;
//!   from then on each write brings its own, and one that was lost with its connection is sent again as a write.

mod begin;
mod copy;
mod handover;
mod link;
mod mirror;
mod propose;
mod state;

pub(crate) use state::{Link, Mover, Step};

use crate::counters::MoveCounters;
use crate::engine::Engine;
use evenkeel_types::ExtentId;

impl Engine {
    /// What the move of an extent away from this server did so far; none if there is no such move under way.
    #[must_use]
    pub fn move_progress(&self, extent: ExtentId) -> Option<MoveCounters> {
        let reign = self.extents.get(&extent)?.reign.as_ref()?;
        reign.mover.as_ref().map(|mover| mover.counters)
    }
}
