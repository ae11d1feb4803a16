//! The transactions that several crates need, as pure functions from a view.
//!
//! Each compares the records that it reasoned from, as the view has them, and the member record of the server that
//! acts: what was decided on an old picture does not happen. If a compare fails, the transaction reads the compared
//! keys, so that its answer says what changed. Nothing here is retried: the caller applies what the watch brings and
//! decides again.

mod certificate;
mod lead;
mod moves;
mod placing;
mod server;
#[cfg(test)]
mod tests;
mod volume;

pub use certificate::{
    create_join_token, forget_join_tokens, record_certificate, redeem_join_token, revoke_certificates,
};
pub use lead::{announce, campaign, resign};
pub use moves::{
    ClearOutcome, PrepareMove, annotate_move, clear_intent, clear_outcome, prepare_move, propose_move,
};
pub use placing::{
    ENTERED_PER_TXN_MAX, PLACES_PUBLISHED_MAX, confirm_place, end_lost_moves, enter, next_placing,
    publish_place, swap_place, withdraw_place,
};
pub use server::{
    become_up, begin_group, forget_server, mark_down, raise_generation, register_server, set_draining,
    start_server, update_server,
};
pub use volume::{NewVolume, create_volume, delete_volume, set_access};

use crate::directory::Key;
use crate::place::PlaceError;
use crate::records::{MemberState, NameError, RecordError};
use crate::txn::{Compare, Operation, Txn};
use crate::view::View;
use evenkeel_types::{Epoch, ExtentId, Incarnation, ServerId, VolumeId};
use snafu::{OptionExt, Snafu, ensure};
use std::collections::BTreeSet;

/// The server that acts, in its present incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Actor {
    /// Which server.
    pub server: ServerId,
    /// Which start of it.
    pub incarnation: Incarnation,
}

/// Why a transaction cannot be made on this view.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum ChangeError {
    /// The acting server is down, or another start of it has taken over, or it is no member.
    #[snafu(display("server {} may not act: incarnation {} is not a present member", actor.server, actor.incarnation))]
    NotPresent {
        /// Who wanted to act.
        actor: Actor,
    },
    /// The group has not begun.
    #[snafu(display("the directory holds no such group"))]
    NoGroup,
    /// No generation is left for another restore.
    #[snafu(display("the directory was restored 65535 times; no generation is left"))]
    NoGeneration,
    /// No such server.
    #[snafu(display("there is no server {server}"))]
    NoServer {
        /// Which.
        server: ServerId,
    },
    /// A server of this name exists.
    #[snafu(display("a server named {name:?} exists: {server}"))]
    ServerNameTaken {
        /// The name.
        name: String,
        /// Who has it.
        server: ServerId,
    },
    /// No number is left for another server.
    #[snafu(display("the group gave out all server ids"))]
    NoServerId,
    /// The store is older than what the directory knows of its server: a clone or a restored copy.
    #[snafu(display(
        "the store of server {server} is at start {store}, but start {directory} is on record: it is an old copy"
    ))]
    OldStore {
        /// Which server.
        server: ServerId,
        /// The incarnation that the store came to.
        store: Incarnation,
        /// The incarnation on record.
        directory: Incarnation,
    },
    /// A name that cannot be used.
    #[snafu(context(false), display("{source}"))]
    Name {
        /// Why not.
        source: NameError,
    },
    /// The servers cannot be a place.
    #[snafu(context(false), display("{source}"))]
    BadPlace {
        /// Why not.
        source: PlaceError,
    },
    /// A record would be impossible.
    #[snafu(context(false), display("{source}"))]
    BadRecord {
        /// Why.
        source: RecordError,
    },
    /// A volume of this name exists.
    #[snafu(display("a volume named {name:?} exists"))]
    VolumeNameTaken {
        /// The name.
        name: String,
    },
    /// No such volume.
    #[snafu(display("there is no volume {volume}"))]
    NoVolume {
        /// Which.
        volume: VolumeId,
    },
    /// Copies in distinct failure domains are not possible.
    #[snafu(display(
        "{replicas} replicas need as many failure domains; there are {domains} that take extents"
    ))]
    TooFewDomains {
        /// Copies wanted.
        replicas: u8,
        /// Domains there are.
        domains: usize,
    },
    /// The extent has another epoch in this view, or none.
    #[snafu(display("extent {extent} is in epoch {found:?}, not {asked}"))]
    OtherEpoch {
        /// Which extent.
        extent: ExtentId,
        /// The epoch that the caller reasoned in.
        asked: Epoch,
        /// The view's.
        found: Option<Epoch>,
    },
    /// Only the owner moves an extent.
    #[snafu(display("server {server} does not own extent {extent}"))]
    NotOwner {
        /// Which extent.
        extent: ExtentId,
        /// Who wanted to move it.
        server: ServerId,
    },
    /// The target takes no extents, or holds this one, or the replica to be replaced is none.
    #[snafu(display("extent {extent} cannot move from {replaces} to {to}: {why}"))]
    BadMove {
        /// Which extent.
        extent: ExtentId,
        /// The replica to be replaced.
        replaces: ServerId,
        /// The target.
        to: ServerId,
        /// What is wrong.
        why: &'static str,
    },
    /// The token was used, or its time is over, or it never was one.
    #[snafu(display(
        "the join token is not good, or not any more: make another with 'evenkeel group token'"
    ))]
    NoJoinToken,
    /// A token for nobody, for too many, or for one twice.
    #[snafu(display("a join token for {servers:?}: name 1 to 64 servers, each once"))]
    ServersOfToken {
        /// For whom.
        servers: Vec<String>,
    },
    /// The server was removed, or forgotten.
    #[snafu(display(
        "server {server} is gone for good: it was removed or forgotten, and its store cannot be used again"
    ))]
    Forgotten {
        /// Which.
        server: ServerId,
    },
    /// The server is not down.
    #[snafu(display("server {server} is not down"))]
    NotDown {
        /// Which.
        server: ServerId,
    },
    /// No place is published for the volume.
    #[snafu(display("volume {volume} is to get no other place"))]
    NoNextPlace {
        /// Which.
        volume: VolumeId,
    },
    /// Not everything that the place to come would re-route has a route entry, as far as is known.
    #[snafu(display("the place that volume {volume} is to get is not confirmed"))]
    PlaceNotConfirmed {
        /// Which.
        volume: VolumeId,
    },
    /// There is no move under way.
    #[snafu(display("extent {extent} has no move under way"))]
    NoIntent {
        /// Which extent.
        extent: ExtentId,
    },
}

/// The compare of the acting server's own record: its incarnation, and not down.
fn acting(view: &View, by: Actor) -> Result<Compare, ChangeError> {
    let kept = view.member(by.server).context(NotPresentSnafu { actor: by })?;
    let present = kept.record.incarnation == by.incarnation && kept.record.state != MemberState::Down;
    ensure!(present, NotPresentSnafu { actor: by });
    Ok(Compare::unchanged(view.keys().member(by.server), kept.revision))
}

/// A transaction that reads each compared key if a compare fails. A key is compared once, however often it is named.
fn guarded(compares: Vec<Compare>, success: Vec<Operation>) -> Txn {
    let mut seen: BTreeSet<Key> = BTreeSet::new();
    let mut txn = Txn { success, ..Txn::default() };
    for compare in compares {
        if seen.insert(compare.key.clone()) {
            txn.failure.push(Operation::read(&compare.key));
            txn.compares.push(compare);
        } else {
            assert!(txn.compares.contains(&compare), "a key is compared in one way only");
        }
    }
    txn
}
