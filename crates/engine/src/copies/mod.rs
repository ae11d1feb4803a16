//! The copies of an extent at other servers, as its owner sees them: one [`CopyLink`] for each.
//!
//! What holds:
//! * **Current.** The regions of a copy that are *current* have the version that the owner's copy has, or get it by writes
//!   that were sent. A write goes to every copy at which its region is current, waits where the region is in motion to a
//!   copy, and is left to the region's copy where it comes later. What is current is only known by answers of the present
//!   attachment; after any break it is found again by comparing versions, which is also how everything goes on after a
//!   crash.
//! * **In sync.** A copy that the directory counts as good may become owner at any moment. Nothing is acknowledged that it
//!   does not have, and no write is sequenced to a region that is not current there.
//! * **Syncing.** A copy that is being brought up to date is never dropped by the owner itself: it may hold the promise
//!   that all its regions are current. It is waited for like one in sync, for writes to its current regions and for its
//!   lease, until the directory says that it is down.
//! * **Target.** The copy that a move makes is dropped rather than waited for, as long as the directory has not been asked
//!   to decide; from then on it is *required*, which is the same as in sync.
//! * **Pace.** What is copied to make lost copies anew, to move them or to bring them up to date, gives way to what hosts
//!   write: see [`Pace`].
//! * **Identities** travel with the content, in writes and in copies of regions. So a copy claims to have applied exactly
//!   the writes that its content has.

mod attach;
mod copy;
mod link;
mod mirror;
mod pace;
mod space;

pub(crate) use link::{CopyLink, LinkState, Role};
pub(crate) use pace::Pace;
pub(crate) use space::SpaceThere;
