//! The gateway: takes requests of this server's front ends, has each piece executed by the owner of its extent, here or
//! elsewhere, and joins the answers.
//!
//! What holds:
//! * **A route is a hint.** The owner decides by its own epoch. "Moved, epoch E" makes the gateway wait until its own view
//!   is at E, and then ask whom it names. Nobody passes on what was passed on, so there are no loops.
//! * **Patience.** A piece is tried again, inside, for up to [`crate::config::REQUEST_PATIENCE`]: through moves, restarts
//!   and lost connections. A write keeps its identity in all tries, so that it is applied once.
//! * **Honest endings.** BUSY for a write only if it was not applied and will not be; else the outcome is unknown, and
//!   the front end has to drop the session.

mod dispatch;
mod outcome;
mod patience;
mod room;
mod split;

pub(crate) use split::split;

use self::room::Rooms;
use crate::event::RequestId;
use crate::slots::Key;
use evenkeel_meta::Revision;
use evenkeel_peer::{OLDEST_OPEN_MAX, OldestOpen, PieceOp};
use evenkeel_types::{BlockError, Epoch, ExtentId, Incarnation, Payload, ServerId, Time, VolumeId, WriteId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Gateway {
    requests: BTreeMap<RequestId, OpenRequest>,
    /// Requests with a piece that waits.
    parked: BTreeSet<RequestId>,
    /// Pieces at other servers, by the number of the request that was sent.
    sent: BTreeMap<u64, Sent>,
    rooms: Rooms,
    /// Numbers of the writes that were given to an owner and may be retried.
    open_writes: BTreeSet<u64>,
    /// The same by extent.
    open_by_extent: BTreeSet<(ExtentId, u64)>,
    next_number: u64,
    next_write: u64,
}

/// A piece that is at another server.
#[derive(Clone, Copy, Debug)]
struct Sent {
    server: ServerId,
    id: RequestId,
    piece: u16,
    /// The extent, if it is a write.
    writes_to: Option<ExtentId>,
    /// What it takes of the room for that server.
    bytes: u64,
}

/// Requests that a gateway sends in one life at most, as a power of two: each life numbers its requests in a range of
/// its own, so that an answer to a question of an earlier life answers none of this one.
const NUMBERS_OF_A_LIFE_LOG2: u32 = 40;

#[derive(Debug)]
struct OpenRequest {
    volume: VolumeId,
    /// The revision of the volume's access record by which the front end admitted it.
    admitted: Revision,
    pieces: SmallVec<[Piece; 1]>,
    /// Pieces that have not ended.
    open: u16,
    /// When it ends at the latest.
    deadline: Time,
    /// When the initiator's connection was last known to live.
    proof_at: Time,
    /// The front end was asked for a new proof.
    proof_asked: bool,
    /// The front end wants it no longer.
    cancelled: bool,
    /// The front end computes digests over the data.
    digest: bool,
}

#[derive(Debug)]
struct Piece {
    extent: ExtentId,
    op: PieceOp,
    /// Of a write, as soon as it was given to an owner; the same in all tries.
    identity: Option<WriteId>,
    state: PieceState,
    /// How often it was tried.
    tries: u32,
    /// Its load was told: once, however often it is tried.
    charged: bool,
    /// It was given to an owner that did not say how it ended.
    may_be_applied: bool,
}

impl Piece {
    const fn new(extent: ExtentId, op: PieceOp) -> Self {
        let state = PieceState::Parked(Wait::View(Epoch::ZERO));
        Self { extent, op, identity: None, state, tries: 0, charged: false, may_be_applied: false }
    }
}

#[derive(Debug)]
enum PieceState {
    /// It waits.
    Parked(Wait),
    /// An operation here.
    Local(Key),
    /// At another server, under this number.
    Sent { server: ServerId, number: u64 },
    /// Over.
    Ended(Result<Payload, BlockError>),
}

/// What a piece waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// A view of this epoch.
    View(Epoch),
    /// A connection to this server.
    Peer(ServerId),
    /// Some time.
    Until(Time),
    /// A proof that the initiator lives.
    Proof,
    /// Room among what is under way at this server.
    Room(ServerId),
    /// That the front end admits it by this revision of the volume's access record.
    Admission(Revision),
}

impl Gateway {
    /// The gateway of a server in this life.
    pub(crate) const fn new(incarnation: Incarnation) -> Self {
        Self {
            requests: BTreeMap::new(),
            parked: BTreeSet::new(),
            sent: BTreeMap::new(),
            rooms: Rooms::new(),
            open_writes: BTreeSet::new(),
            open_by_extent: BTreeSet::new(),
            next_number: incarnation.0 << NUMBERS_OF_A_LIFE_LOG2,
            next_write: 0,
        }
    }

    /// A piece is no longer at the server that it was sent to, which has room again.
    fn take_sent(&mut self, number: u64) -> Option<Sent> {
        let sent = self.sent.remove(&number)?;
        self.rooms.release(sent.server, sent.bytes);
        Some(sent)
    }

    /// Requests that have not ended.
    pub(crate) fn open(&self) -> usize {
        self.requests.len()
    }

    /// The lowest write that may still be retried.
    pub(crate) fn oldest_open(&self) -> u64 {
        self.open_writes.first().copied().unwrap_or(self.next_write + 1)
    }

    /// The lowest write to an extent that may still be retried. It never falls: each write gets a higher number than all
    /// before, and one that has ended is sent to nobody again. What was sent of it before that went over connections on
    /// which whoever hears this number has heard it first, or which are over, so that it is not carried out any more.
    pub(crate) fn oldest_open_of(&self, extent: ExtentId) -> u64 {
        let mut open = self.open_by_extent.range((extent, 0)..=(extent, u64::MAX));
        open.next().map_or(self.next_write + 1, |(_, number)| *number)
    }

    /// For a heartbeat: what the owner of extents may forget of writes to them, where writes are under way. Without that a
    /// full record would stay full until the next write is sent there.
    pub(crate) fn oldest_open_at(&self, server: ServerId) -> Vec<OldestOpen> {
        let there = self.sent.values().filter(|sent| sent.server == server);
        let extents: BTreeSet<ExtentId> = there.filter_map(|sent| sent.writes_to).collect();
        let (all, of) = (self.oldest_open(), |extent| self.oldest_open_of(extent));
        let mut oldest: Vec<OldestOpen> = extents
            .into_iter()
            .map(|extent| OldestOpen { extent, number: of(extent) })
            .filter(|oldest| oldest.number > all)
            .collect();
        oldest.sort_unstable_by_key(|oldest| oldest.number);
        oldest.truncate(OLDEST_OPEN_MAX);
        oldest
    }

    /// The volumes that requests are open to.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = VolumeId> {
        self.requests.values().map(|request| request.volume)
    }

    /// Whether a request to a volume is open that its front end wants no longer.
    pub(crate) fn is_ending_any_of(&self, volume: VolumeId) -> bool {
        self.requests.values().any(|request| request.volume == volume && request.cancelled)
    }

    /// The front end has admitted the open requests to a volume by this revision of its access record. Those that it
    /// cancelled too: what may have been done of them already is not known before an owner was asked. Gives those that
    /// waited for it.
    pub(crate) fn readmit(&mut self, volume: VolumeId, revision: Revision) -> Vec<RequestId> {
        let mut waited = Vec::new();
        for (id, request) in self.requests.iter_mut().filter(|(_, request)| request.volume == volume) {
            request.admitted = request.admitted.max(revision);
            waited.extend(self.parked.contains(id).then_some(*id));
        }
        waited
    }

    fn piece_mut(&mut self, id: RequestId, piece: u16) -> Option<&mut Piece> {
        self.requests.get_mut(&id)?.pieces.get_mut(usize::from(piece))
    }
}
