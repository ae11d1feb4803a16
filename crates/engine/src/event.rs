//! What goes into an engine and what comes out of it.

use crate::counters::MoveCounters;
use evenkeel_meta::{Batch, DirectoryError, MoveId, Revision, Txn, TxnOutcome, View, ViewError};
use evenkeel_peer::Message;
use evenkeel_types::store_op::{StoreOp, StoreOutcome, StoreTicket};
use evenkeel_types::{
    BlockOp, BlockOutcome, ByteRange, Epoch, ExtentId, Incarnation, Region, ServerId, Time, VolumeId,
};

use std::time::Duration;

/// Names a front end's request from its submission to its completion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// Names a transaction from its submission to its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TxnTicket(pub u64);

/// Names a barrier from its beginning to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BarrierId(pub u64);

/// Something that happened outside.
#[derive(Debug)]
pub enum Event {
    /// A front end asks for something.
    Request {
        /// Unique among the open requests.
        id: RequestId,
        /// Which volume.
        volume: VolumeId,
        /// What to do.
        op: BlockOp,
        /// When its initiator's connection was last known to live. The arrival proves it, as of the time before the
        /// request was read: it may have lain unread from then on, if the server stood still.
        proof_at: Time,
        /// Whether the front end computes digests over the data: processor time that the load tells.
        digest: bool,
    },
    /// The front end wants a request no longer. It is completed in any case, by how it ended: only then it is certain
    /// that nothing of it happens any more.
    Cancel {
        /// Which request.
        id: RequestId,
    },
    /// The initiator of an open request has shown that its connection lives, see [`Output::Prove`].
    Proof {
        /// Which request.
        id: RequestId,
        /// When it lived at least: when the question was asked that it answered.
        at: Time,
    },
    /// The front ends have judged all their open requests to a volume by this revision of its access record, as
    /// [`Output::Admit`] asked; [`Event::Cancel`] came before for those that are not allowed any more.
    Admitted {
        /// Which volume.
        volume: VolumeId,
        /// The revision.
        revision: Revision,
    },
    /// A front end has changed who may do what with a volume, and waits until nobody acts on what held before:
    /// [`Output::BarrierDone`] follows.
    Barrier {
        /// Unique among the open barriers.
        id: BarrierId,
        /// Which volume.
        volume: VolumeId,
        /// The revision of its access record that made the change.
        revision: Revision,
    },
    /// Nobody waits for a barrier any more.
    EndBarrier {
        /// Which.
        id: BarrierId,
    },
    /// A connection to a peer stands, hellos are exchanged. It replaces an earlier connection.
    PeerUp {
        /// Who.
        server: ServerId,
        /// In which life.
        incarnation: Incarnation,
    },
    /// The connection to a peer is gone, and with it all that was on its way.
    PeerDown {
        /// Who.
        server: ServerId,
    },
    /// A message came over the present connection to a peer.
    Message {
        /// Who sent it.
        from: ServerId,
        /// What it says.
        message: Message,
    },
    /// The store has done something.
    Store {
        /// What was asked.
        ticket: StoreTicket,
        /// How it ended.
        outcome: StoreOutcome,
    },
    /// News of the directory.
    Directory(DirectoryEvent),
    /// Move an extent that this server owns.
    StartMove(MoveOrder),
    /// Give a move up. Refused once the directory has been asked to decide.
    AbortMove {
        /// Which extent's.
        extent: ExtentId,
    },
    /// Another speed for a move under way.
    SetMoveRate {
        /// Which extent's.
        extent: ExtentId,
        /// Bytes per second; none for as fast as it goes.
        rate: Option<u64>,
    },
    /// Look at everything now, see [`crate::Engine::is_scrubbing`].
    StartScrub {
        /// Bytes per second from now on; none for as before.
        rate: Option<u64>,
    },
    /// The time that [`crate::Engine::poll_timeout`] named has come.
    Timer,
}

/// News of the directory.
#[derive(Debug)]
pub enum DirectoryEvent {
    /// A list of everything, as the first event or after a gap in the watch. Read after this server's start was
    /// recorded.
    Snapshot(Box<View>),
    /// The next revision.
    Batch(Batch),
    /// The answer to a transaction.
    TxnDone {
        /// Which.
        ticket: TxnTicket,
        /// How it ended. [`DirectoryError::OutcomeUnknown`] if it may have happened or may still happen.
        outcome: Result<TxnOutcome, DirectoryError>,
    },
}

/// A move to be made.
#[derive(Clone, Debug)]
pub struct MoveOrder {
    /// Which extent.
    pub extent: ExtentId,
    /// To which server.
    pub to: ServerId,
    /// The replica whose place it takes; none for the owner itself.
    pub replaces: Option<ServerId>,
    /// Bytes per second at most; none for as fast as it goes.
    pub rate: Option<u64>,
    /// Why, as people will read it in the move's record.
    pub reason: serde_json::Value,
    /// Regions to be copied first, in this order; the others follow in theirs.
    pub first: Vec<Region>,
}

/// Something to be done outside.
#[derive(Debug)]
pub enum Output {
    /// A request ended.
    Complete {
        /// Which.
        id: RequestId,
        /// How.
        outcome: BlockOutcome,
    },
    /// A request has to wait longer than the proof lasts that its initiator lives: make the initiator answer (a NOP-In
    /// over iSCSI) and report [`Event::Proof`], else drop the connection and cancel.
    Prove {
        /// Which request.
        id: RequestId,
    },
    /// Who may do what with a volume has changed: judge all its open requests by this revision of its access record, cancel those
    /// that are not allowed any more, then report [`Event::Admitted`]. Until then requests to the volume wait.
    Admit {
        /// Which volume.
        volume: VolumeId,
        /// The revision.
        revision: Revision,
    },
    /// A barrier is done: nothing that was admitted before its revision is under way at any server, nor will be.
    BarrierDone {
        /// Which.
        id: BarrierId,
        /// False if it was not begun, as too many are open.
        passed: bool,
    },
    /// A message to a peer, over its present connection; lost if there is none.
    Send {
        /// To whom.
        to: ServerId,
        /// What.
        message: Message,
    },
    /// The peer was silent for too long: close its connection. Nothing that still arrives over it is carried out.
    Disconnect {
        /// Who.
        server: ServerId,
    },
    /// An operation for the store.
    Store {
        /// Names it.
        ticket: StoreTicket,
        /// What to do.
        op: StoreOp,
    },
    /// A transaction for the directory.
    Transact {
        /// Names it.
        ticket: TxnTicket,
        /// What to do.
        txn: Txn,
    },
    /// Load that arrived.
    Arrived(Arrival),
    /// A load report of a peer.
    LoadReport {
        /// Whose.
        from: ServerId,
        /// The report.
        report: bytes::Bytes,
    },
    /// A page of a peer's inventory, as asked by [`crate::Engine::ask_inventory`].
    InventoryPage {
        /// Whose.
        from: ServerId,
        /// The number of the question.
        number: u64,
        /// The page; none if the peer's store has stopped.
        entries: Option<Vec<evenkeel_types::store_op::InventoryEntry>>,
    },
    /// Something worth a log line or a record.
    Event(EngineEvent),
}

/// Load, charged when it arrives, whatever becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// A piece of a host's request, at the server of its portal.
    FrontEnd {
        /// Whether it changes the volume.
        write: bool,
        /// Bytes of data that it carries, one way or the other.
        bytes: u32,
        /// Whether digests are computed over them.
        digest: bool,
        /// Whether another server executes it.
        forwarded: bool,
    },
    /// An operation at the extent's owner.
    Owner {
        /// Which extent.
        extent: ExtentId,
        /// Whether it changes the extent.
        write: bool,
        /// Where, from the extent's start; of no length if only records change, as where blocks become zeros.
        at: ByteRange,
        /// Whether it came from another server's portal.
        remote: bool,
    },
    /// A region that came or went with a move, or a write to both copies.
    Copy {
        /// Which extent.
        extent: ExtentId,
        /// Bytes.
        bytes: u32,
        /// Whether it came.
        received: bool,
    },
}

/// Something worth a log line or a record.
#[derive(Clone, PartialEq, Debug)]
pub enum EngineEvent {
    /// This server serves an extent from now on, after another one did.
    TookOver {
        /// Which extent.
        extent: ExtentId,
        /// In which epoch.
        epoch: Epoch,
        /// Whether the owner before promised; else its lease has run out.
        promised: bool,
    },
    /// A move took a step.
    Move(MoveEvent),
    /// A move could not begin.
    MoveRefused {
        /// Which extent's.
        extent: ExtentId,
        /// To where.
        to: ServerId,
        /// Why, in a few words.
        why: String,
    },
    /// This server has lost the lease of a server with copies of extents that it owns: it answers no reads of them, and no
    /// writes, until it has another one.
    StopsServing {
        /// Whose lease.
        server: ServerId,
        /// How many extents it concerns.
        extents: usize,
        /// When the lease ended; nothing was answered after that.
        lease_ended: Time,
    },
    /// This server marked another one down, which did not answer.
    MarkedDown {
        /// Which.
        server: ServerId,
        /// For how long it has not answered.
        silence: Duration,
    },
    /// The directory says that this server is down: others went on without it. It ends everything, and starts anew.
    FoundDown,
    /// The store here has no room for a write that the owner has sequenced, and that other copies may have taken: this
    /// copy cannot keep up, so the server has to leave as a whole. Space that a store sets aside is there; but a file
    /// system that a sparse store lies on may be full.
    CannotKeepUp {
        /// Which extent's copy.
        extent: ExtentId,
    },
    /// This server's copies are as good as their owners': it is up.
    Rejoined,
    /// All extents of this server were compared with the copies at a server that was away.
    Compared {
        /// Which server.
        server: ServerId,
        /// Regions that were compared.
        regions: u64,
        /// Regions of extents that differed.
        differing: u64,
    },
    /// A region with a bad block was mended from another copy.
    Mended {
        /// Which extent.
        extent: ExtentId,
        /// Which region.
        region: Region,
        /// Whose copy was good.
        from: ServerId,
    },
    /// A region of another server's copy was bad or had diverged, and was mended from this server's.
    CopyMended {
        /// Which extent.
        extent: ExtentId,
        /// Which region.
        region: Region,
        /// Whose copy.
        at: ServerId,
        /// Whether it could be read there, and had other content in the same version.
        had_diverged: bool,
    },
    /// Blocks are good at no copy: whoever reads them gets a medium error, until they are written again.
    Unreadable {
        /// Which extent.
        extent: ExtentId,
        /// Which region.
        region: Region,
        /// Bit n is set for block n of the region.
        blocks: u16,
    },
    /// The scrub has read everything that this server owns, and compared it with all copies.
    Scrubbed {
        /// Regions.
        regions: u64,
        /// Regions that were mended meanwhile, here or at copies.
        mended: u64,
        /// Regions with blocks that are good nowhere.
        unreadable: u64,
    },
    /// A copy of an extent was freed.
    Freed {
        /// Which extent.
        extent: ExtentId,
    },
    /// The directory says that this server holds an extent, and the store has no record of it: an alarm. Its data is
    /// answered with medium errors, never with zeros.
    CopyMissing {
        /// Which extent.
        extent: ExtentId,
    },
    /// The directory's news do not continue the view: list again, unless the program is too old for them.
    ViewGap {
        /// What is wrong with them.
        why: ViewError,
    },
}

/// How far a move is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveStage {
    /// The intent is being written.
    Preparing,
    /// Regions are compared and copied.
    Copying,
    /// The directory decides.
    Proposing,
    /// The directory has decided for the target.
    HandingOver,
    /// The target serves; this server has let go.
    Released,
    /// The intent is cleared, or was never written.
    Aborted,
}

/// A step of a move.
#[derive(Clone, PartialEq, Debug)]
pub struct MoveEvent {
    /// Which extent.
    pub extent: ExtentId,
    /// Which move.
    pub id: MoveId,
    /// To which server.
    pub to: ServerId,
    /// How far it is now.
    pub stage: MoveStage,
    /// What it did so far.
    pub counters: MoveCounters,
    /// Why it was given up.
    pub why: Option<&'static str>,
}
