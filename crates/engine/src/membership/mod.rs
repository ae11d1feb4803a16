//! Which servers are up: noticing that one is silent, and coming back.
//!
//! What holds:
//! * **Silence** is the only reason to mark a server down, and it is told by answers to heartbeats, not by connections:
//!   a server whose store hangs answers none. Who marks another is up itself, or owns an extent because nobody is; and at
//!   least half of the others that it reaches do not reach that server either ([`silence`]). Marking makes nobody owner.
//! * **Coming back.** A server that was away is syncing, and becomes up by a transaction of its own, once the owners of all
//!   its extents have promised that its copies are as good as theirs ([`rejoin`]). While that transaction has no answer it
//!   takes no part in anything new: whatever an owner began meanwhile would not be covered by the promises.
//! * **Comparing.** An owner compares its extents with a syncing server's page by page, by one hash over the versions of
//!   each. Extents that differ are attached and copied; equal ones that nobody uses need no attachment, since nothing can
//!   change there without one ([`resync`]).
//! * **Another place.** Before a volume is placed over other servers, each server gives route entries to what it owns and
//!   would lose by that, and says when it has ([`placing`]).
//! * **Gone for good.** What a server held that is away for long, or is being emptied, is made anew elsewhere ([`rebuild`]).

mod placing;
mod rebuild;
mod rejoin;
mod resync;
mod silence;

use crate::event::TxnTicket;
use evenkeel_meta::{Owners, Revision};
use evenkeel_types::{Incarnation, ServerId, Time};
pub(crate) use placing::Placing;
pub(crate) use rebuild::Rebuild;
use resync::Resync;
pub(crate) use resync::after;
use silence::Asking;
use std::collections::BTreeMap;

/// What a server knows of the others' presence, and does about it.
#[derive(Default, Debug)]
pub(crate) struct Membership {
    /// When the view first showed each server's present life.
    seen: BTreeMap<ServerId, (Incarnation, Time)>,
    /// When a heartbeat was sent that the server answered last, in its present life.
    answered: BTreeMap<ServerId, Time>,
    /// The others are being asked about a silent server.
    asking: Option<Asking>,
    next_probe: u64,
    /// A mark is under way, since when.
    marking: Option<Time>,
    /// When the view last showed that somebody went down.
    last_mark: Option<Time>,
    /// Syncing: the latest revision that may have changed who owns what this server holds.
    owners_changed: Revision,
    /// Syncing: whose promises are needed; none if that has to be looked at.
    owners: Option<Owners>,
    /// Syncing: owners that have compared everything, in which connection and by which view.
    compared: BTreeMap<ServerId, (u64, Revision)>,
    /// The latest try to become up.
    rejoin_ticket: Option<TxnTicket>,
    /// A try to become up has no answer, and may have happened or still happen.
    rejoin_unknown: bool,
    /// No try to become up begins before: the last one did not reach the directory.
    rejoin_not_before: Time,
    /// When to ask the directory again whether this server is up.
    rejoin_again_at: Option<Time>,
    /// Comparisons with syncing servers, by server.
    resyncs: BTreeMap<ServerId, Resync>,
}
