//! What all parts of an engine share: who it is, what it knows of others, and where work comes out.

use crate::config::EngineConfig;
use crate::copies::Pace;
use crate::counters::Counters;
use crate::event::{EngineEvent, Output, TxnTicket};
use crate::operation::{Operation, Origin};
use crate::owner::Foreground;
use crate::slots::{Key, Slots};
use crate::timers::{Timer, Timers};
use evenkeel_meta::change::Actor;
use evenkeel_meta::{MemberState, Route, Txn, View};
use evenkeel_peer::{Message, ReplyOutcome, Voided};
use evenkeel_types::store_op::{StoreOp, StoreTicket};
use evenkeel_types::{Epoch, ExtentId, Incarnation, Region, Regions, ServerId, Time, Version, WriteId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What a peer is to this server at present.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerState {
    /// In which life it was last seen.
    pub(crate) incarnation: Incarnation,
    /// Counts its connections; an answer goes only over the connection of its question.
    pub(crate) session: u64,
    /// Whether a connection stands.
    pub(crate) up: bool,
    /// When something last came from it.
    pub(crate) last_heard: Time,
    /// When the latest heartbeat was sent that it answered over this connection.
    pub(crate) acked_from: Option<Time>,
    /// The same for answers that give leases: the start of them.
    pub(crate) lease_from: Option<Time>,
    /// When this server last answered one of its heartbeats, over any connection.
    pub(crate) last_answered: Option<Time>,
    /// The same for its lives before this one.
    pub(crate) earlier_answered: Option<Time>,
    /// Whether it has given up its leases, for its store hangs.
    pub(crate) gives_up: bool,
}

/// What an operation of the store is for.
#[derive(Clone, Debug)]
pub(crate) enum Pending {
    /// The blocks that an operation reads; `part` tells the first from the last of a merge.
    Read { operation: Key, part: u8 },
    /// Space for an operation that goes to two copies.
    Reserve { operation: Key },
    /// Space that goes back; nobody waits for that.
    Unreserve,
    /// An operation's write.
    Write { operation: Key },
    /// A step of taking over or of mending a chain of versions.
    Reign { extent: ExtentId, reign: u64, step: ReignStep },
    /// A region to be copied.
    CopyRead { extent: ExtentId, server: ServerId, region: Region, read: u64 },
    /// A step of becoming a copy.
    Join { extent: ExtentId, attachment: u64, step: JoinStep },
    /// The durable acceptance of the epoch of a successor.
    Promise { extent: ExtentId, attachment: u64 },
    /// A write for a copy here.
    ReplicaWrite {
        server: ServerId,
        session: u64,
        extent: ExtentId,
        attachment: u64,
        tag: u64,
        version: Version,
    },
    /// A region for a copy here.
    Install {
        server: ServerId,
        session: u64,
        extent: ExtentId,
        attachment: u64,
        region: Region,
        version: Version,
    },
    /// A region of this server's own copy in which a block is bad.
    MendRead { extent: ExtentId, region: Region },
    /// A region for this server's own copy, with blocks from another one.
    Mend { extent: ExtentId, region: Region },
    /// A region of this server's own copy, to see whether it can be read.
    Check { extent: ExtentId, region: Region },
    /// A region that the owner compares with its own.
    CheckForOwner { server: ServerId, session: u64, extent: ExtentId, attachment: u64, region: Region },
    /// A page of this server's own records, to look at each.
    Scrub,
    /// A region that the owner asks for.
    Fetch { server: ServerId, session: u64, extent: ExtentId, attachment: u64, region: Region },
    /// Space for writes to a copy here.
    ReplicaReserve { server: ServerId, session: u64, extent: ExtentId, attachment: u64, regions: Regions },
    /// A copy that is given up.
    Release { extent: ExtentId },
    /// A page of the search for copies to be given up.
    Sweep,
    /// A page of this server's own records, to be compared with a peer's.
    Compare { server: ServerId, number: u64 },
    /// A page of this server's own records, to find copies that are to be made anew.
    Rebuild,
    /// A page of this server's own records, to find extents that another place of their volume would re-route.
    Placing { number: u64 },
    /// A page for a peer.
    Inventory { server: ServerId, session: u64, number: u64 },
}

/// The store's part in a reign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReignStep {
    /// What the record says, at the beginning.
    Describe,
    /// The durable acceptance of an epoch.
    Fence {
        /// Which.
        epoch: Epoch,
    },
    /// A record, before the extent gets a route entry.
    Record,
    /// What the record says, after a write failed.
    Repair,
}

/// The store's part in becoming a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum JoinStep {
    /// Versions and identities.
    Describe,
    /// Epoch, space and identities.
    Accept,
}

/// What a transaction is for.
#[derive(Clone, Debug)]
pub(crate) enum TxnFor {
    /// The intent of a move.
    Prepare { extent: ExtentId },
    /// The decision of a move.
    Propose { extent: ExtentId },
    /// A server goes that has been silent for that long.
    MarkDown { server: ServerId, silence: Duration },
    /// This server becomes up.
    BecomeUp,
    /// Route entries for extents that another place of their volume would re-route.
    Enter,
    /// This server is ready for another place of a volume.
    ConfirmPlace,
    /// The end of a move that is given up, or the settlement of a Propose without an answer. The transaction is kept:
    /// what a failure says depends on what it compared.
    Clear { extent: ExtentId, txn: Txn },
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) now: Time,
    pub(crate) config: EngineConfig,
    pub(crate) view: Option<Box<View>>,
    pub(crate) peers: BTreeMap<ServerId, PeerState>,
    pub(crate) out: VecDeque<Output>,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
    pub(crate) operations: Slots<Operation>,
    /// Operations of other gateways by server and request number.
    pub(crate) remote: BTreeMap<(ServerId, u64), Key>,
    /// Ended operations whose origins have to hear of it.
    pub(crate) finished: VecDeque<(Origin, ReplyOutcome)>,
    /// Extents that have to be looked at again.
    pub(crate) wake: VecDeque<ExtentId>,
    /// What the store is asked for, and since when.
    pub(crate) pending: Slots<(Time, Pending)>,
    pub(crate) txns: BTreeMap<TxnTicket, TxnFor>,
    /// The lowest write that each gateway may still retry, as far as this server has heard.
    pub(crate) floors: BTreeMap<ServerId, WriteId>,
    /// Attachments that this server has ended by accepting a higher epoch, by the owner that had attached it.
    pub(crate) voided: BTreeMap<(ServerId, ExtentId), u64>,
    /// Extents with reads that wait for a lease.
    pub(crate) awaiting_lease: BTreeSet<ExtentId>,
    /// Extents of this server with a move under way.
    pub(crate) moving: BTreeSet<ExtentId>,
    /// Extents with a copy here that need a route entry, as another place of their volume would re-route them, and whether
    /// something was written to them. Of the others it holds only as long as their reigns wait for it.
    pub(crate) to_enter: BTreeMap<ExtentId, bool>,
    /// Something changed about which of them are due.
    pub(crate) entries_due: bool,
    /// Syncing: extents whose owner promised that all regions are current here.
    pub(crate) promises: BTreeSet<ExtentId>,
    /// Copies that were promised to be current, by the server that has them.
    pub(crate) caught_up: VecDeque<(ServerId, ExtentId)>,
    /// Extents that the scrub has looked at.
    pub(crate) checked: VecDeque<ExtentId>,
    /// The scrub reads nothing before.
    pub(crate) next_check_at: Time,
    /// The directory says that this server is down: nothing is done any more.
    pub(crate) retired: bool,
    /// This server's own transaction to `up` has no answer yet.
    pub(crate) rejoining: bool,
    /// How many regions may be on their way to each server.
    pub(crate) paces: BTreeMap<ServerId, Pace>,
    /// What hosts' requests take here.
    pub(crate) foreground: Foreground,
    /// Copies that this server receives by moves.
    pub(crate) copies_in: usize,
    /// Whether the store has stopped.
    pub(crate) store_stopped: bool,
    /// Whether this server has given up its leases, for its store hangs or has stopped.
    pub(crate) gives_up: bool,
    /// Only answers to heartbeats that were sent later give leases.
    pub(crate) leases_after: Option<Time>,
    next_sequence: u64,
    next_serial: u64,
    next_txn: u64,
    next_move: u32,
}

impl Core {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self {
            now: config.started,
            config,
            view: None,
            peers: BTreeMap::new(),
            out: VecDeque::new(),
            timers: Timers::default(),
            counters: Counters::default(),
            operations: Slots::default(),
            remote: BTreeMap::new(),
            finished: VecDeque::new(),
            wake: VecDeque::new(),
            pending: Slots::default(),
            txns: BTreeMap::new(),
            floors: BTreeMap::new(),
            voided: BTreeMap::new(),
            awaiting_lease: BTreeSet::new(),
            moving: BTreeSet::new(),
            to_enter: BTreeMap::new(),
            entries_due: false,
            promises: BTreeSet::new(),
            caught_up: VecDeque::new(),
            checked: VecDeque::new(),
            next_check_at: config.started,
            retired: false,
            rejoining: false,
            paces: BTreeMap::new(),
            foreground: Foreground::new(config.started),
            copies_in: 0,
            store_stopped: false,
            gives_up: false,
            leases_after: None,
            next_sequence: 0,
            next_serial: 0,
            next_txn: 0,
            next_move: 0,
        }
    }

    pub(crate) const fn me(&self) -> ServerId {
        self.config.me
    }

    /// This server as the directory's transactions name it.
    pub(crate) const fn actor(&self) -> Actor {
        Actor { server: self.config.me, incarnation: self.config.incarnation }
    }

    /// The wall clock, for what people read.
    pub(crate) fn unix_ms(&self) -> u64 {
        let since = self.now.since(self.config.started).as_millis();
        self.config.started_unix_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// The route of an extent by this server's view.
    pub(crate) fn route(&self, extent: ExtentId) -> Option<Route> {
        self.view.as_ref()?.route(extent)
    }

    /// Whether the view knows that the extent's volume was deleted for ever.
    pub(crate) fn is_deleted(&self, extent: ExtentId) -> bool {
        self.view.as_ref().is_some_and(|view| view.tombstone(extent.volume).is_some())
    }

    /// Whether the extent needs a route entry before it is used any further, see [`crate::membership`].
    pub(crate) fn is_to_be_placed(&self, extent: ExtentId) -> bool {
        self.view.as_ref().is_some_and(|view| view.is_to_be_placed(extent))
    }

    /// Takes note of an extent that needs a route entry: once something was written to it, for that.
    pub(crate) fn note_entry(&mut self, extent: ExtentId, is_written: bool) {
        *self.to_enter.entry(extent).or_default() |= is_written;
        self.entries_due = true;
    }

    /// The lowest incarnation of a server that the view allows; lower ones are fenced.
    pub(crate) fn known_incarnation(&self, server: ServerId) -> Incarnation {
        let member = self.view.as_ref().and_then(|view| view.member(server));
        member.map_or(Incarnation(0), |kept| match kept.record.state {
            // It comes back as another one.
            MemberState::Down => Incarnation(kept.record.incarnation.0.saturating_add(1)),
            MemberState::Up | MemberState::Syncing => kept.record.incarnation,
        })
    }

    pub(crate) fn store(&mut self, pending: Pending, op: StoreOp) {
        let ticket = StoreTicket(self.pending.insert((self.now, pending)).to_bits());
        self.out.push_back(Output::Store { ticket, op });
    }

    pub(crate) fn transact(&mut self, what: TxnFor, txn: Txn) -> TxnTicket {
        self.next_txn += 1;
        let ticket = TxnTicket(self.next_txn);
        self.txns.insert(ticket, what);
        self.out.push_back(Output::Transact { ticket, txn });
        ticket
    }

    pub(crate) fn send(&mut self, to: ServerId, message: Message) {
        if self.peers.get(&to).is_some_and(|peer| peer.up) {
            self.out.push_back(Output::Send { to, message });
        }
    }

    /// Sends an answer, if the connection still stands over which the question came.
    pub(crate) fn answer(&mut self, to: ServerId, session: u64, message: Message) {
        if self.session(to) == Some(session) {
            self.out.push_back(Output::Send { to, message });
        }
    }

    /// The present connection to a peer, if there is one.
    pub(crate) fn session(&self, server: ServerId) -> Option<u64> {
        self.peers.get(&server).filter(|peer| peer.up).map(|peer| peer.session)
    }

    pub(crate) fn event(&mut self, event: EngineEvent) {
        self.out.push_back(Output::Event(event));
    }

    /// Has an extent looked at again before this call of the engine ends.
    pub(crate) fn wake(&mut self, extent: ExtentId) {
        if self.wake.back() != Some(&extent) {
            self.wake.push_back(extent);
        }
    }

    /// Has an extent looked at again at that time.
    pub(crate) fn wake_at(&mut self, extent: ExtentId, time: Time) {
        self.timers.at_latest(Timer::Extent(extent), time);
    }

    /// A number for a reign or an attachment.
    pub(crate) const fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// A number for a move of this server.
    pub(crate) const fn move_number(&mut self) -> u32 {
        self.next_move += 1;
        self.next_move
    }

    /// The version of the next write in this epoch. One count serves all extents: a version is never given twice, even
    /// if an extent's state is forgotten and looked up again within an epoch. Across starts the epoch tells them apart.
    pub(crate) const fn next_version(&mut self, epoch: Epoch) -> Version {
        self.next_sequence += 1;
        Version { epoch, sequence: self.next_sequence }
    }

    /// The attachments without a lease, for an answer to this owner's heartbeat.
    pub(crate) fn voided_for(&self, owner: ServerId) -> Vec<Voided> {
        let zero = ExtentId { volume: evenkeel_types::VolumeId(0), index: 0 };
        let of_owner = self.voided.range((owner, zero)..).take_while(|((server, _), _)| *server == owner);
        of_owner
            .map(|((_, extent), attachment)| Voided { extent: *extent, attachment: *attachment })
            .collect()
    }

    /// Takes note of the lowest write that a gateway may still retry.
    pub(crate) fn raise_floor(&mut self, gateway: ServerId, incarnation: Incarnation, number: u64) {
        let floor = WriteId { gateway, incarnation, number };
        let known = self.floors.entry(gateway).or_insert(floor);
        if known.is_below(floor) {
            *known = floor;
        }
    }
}
