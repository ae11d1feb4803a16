//! All connections of a portal, and what they have to do with one another: handles of sessions, the reinstatement of a
//! session, and task management functions that concern the other sessions of a volume.
//!
//! A driver with tasks or threads of its own for each connection does this itself, by [`Sessions`] and the methods of
//! [`Connection`]. For any other this is all that is between sockets and disks: it puts in received bytes, completions
//! and the time, and carries out [`Work`].

use super::action::{Action, CloseReason, ManagementId, TaskId};
use super::config::{
    Authentication, DiscoveredTarget, Lookup, NexusName, Opening, TargetConfig, TargetPorts,
};
use super::connection::Connection;
use super::sessions::{ConnectionId, Sessions};
use evenkeel_types::{BlockOp, BlockOutcome, Time, VolumeId};
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

/// What a portal asks about its targets: [`TargetPorts`] without the sessions, which it keeps itself.
pub trait Targets {
    /// See [`TargetPorts::discover`].
    fn discover(&mut self, initiator: &str) -> Vec<DiscoveredTarget>;
    /// See [`TargetPorts::lookup`].
    fn lookup(&mut self, initiator: &str, target: &str) -> Lookup;
    /// See [`TargetPorts::authentication`].
    fn authentication(&mut self, initiator: &str, target: Option<&str>) -> Authentication;
    /// See [`TargetPorts::fill_random`].
    fn fill_random(&mut self, out: &mut [u8]);
}

/// What the driver is to do, in this order.
#[derive(Debug)]
pub enum Work {
    /// Carry out an operation on a volume; its end goes to [`Portal::completed`], always.
    Submit {
        /// Whose it is.
        connection: ConnectionId,
        /// Names it.
        task: TaskId,
        /// The volume.
        volume: VolumeId,
        /// What to do.
        op: BlockOp,
    },
    /// The outcome of an operation is wanted no longer: end it soon. It is still to be completed.
    Cancel {
        /// Whose it is.
        connection: ConnectionId,
        /// Which.
        task: TaskId,
    },
    /// A session is open.
    Opened(ConnectionId),
    /// Close the socket. Nothing is left to send, and the connection is named no more but by its operations.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
}

#[derive(Debug)]
struct Entry {
    connection: Connection,
    /// What its session is for, as soon as it wishes for one.
    nexus: Option<NexusName>,
}

/// A function that other connections carry out.
#[derive(Debug)]
struct Managing {
    by: ConnectionId,
    id: ManagementId,
    missing: usize,
}

/// The connections of a portal.
#[derive(Debug)]
pub struct Portal {
    config: Arc<TargetConfig>,
    connections: BTreeMap<ConnectionId, Entry>,
    sessions: Sessions,
    accepted: u64,
    managing: BTreeMap<u64, Managing>,
    tokens: u64,
    work: VecDeque<Work>,
}

/// The questions of one connection.
struct Asking<'a> {
    targets: &'a mut dyn Targets,
    sessions: &'a mut Sessions,
    by: ConnectionId,
    nexus: &'a mut Option<NexusName>,
    to_end: Vec<ConnectionId>,
}

impl TargetPorts for Asking<'_> {
    fn discover(&mut self, initiator: &str) -> Vec<DiscoveredTarget> {
        self.targets.discover(initiator)
    }
    fn lookup(&mut self, initiator: &str, target: &str) -> Lookup {
        self.targets.lookup(initiator, target)
    }
    fn authentication(&mut self, initiator: &str, target: Option<&str>) -> Authentication {
        self.targets.authentication(initiator, target)
    }
    fn fill_random(&mut self, out: &mut [u8]) {
        self.targets.fill_random(out);
    }
    fn open_session(&mut self, nexus: &NexusName) -> Opening {
        let opened = self.sessions.open(nexus, self.by);
        *self.nexus = Some(nexus.clone());
        self.to_end.extend(opened.replaces.into_iter().chain(opened.outrun));
        opened.opening
    }
    fn session(&mut self, tsih: u16) -> Option<NexusName> {
        self.sessions.nexus(tsih).cloned()
    }
}

impl Portal {
    /// A portal without connections.
    #[must_use]
    pub fn new(config: TargetConfig) -> Self {
        Self {
            config: Arc::new(config),
            connections: BTreeMap::new(),
            sessions: Sessions::default(),
            accepted: 0,
            managing: BTreeMap::new(),
            tokens: 0,
            work: VecDeque::new(),
        }
    }

    /// A connection was accepted from `peer` (a text for people).
    pub fn accept(&mut self, now: Time, peer: String) -> ConnectionId {
        self.accepted += 1;
        let id = ConnectionId(self.accepted);
        let connection = Connection::new(Arc::clone(&self.config), peer, now);
        self.connections.insert(id, Entry { connection, nexus: None });
        id
    }

    /// A connection that is not over: for what else there is to ask or to tell. What follows from it is worked on by the
    /// next call of any other method.
    pub fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(&id).map(|entry| &mut entry.connection)
    }

    /// Where the next received bytes go; see [`Connection::receive_space`].
    pub fn receive_space(&mut self, id: ConnectionId) -> Option<&mut [u8]> {
        self.connection(id)?.receive_space()
    }

    /// `n` bytes were put into that space.
    pub fn received(&mut self, now: Time, id: ConnectionId, n: usize, targets: &mut dyn Targets) {
        let Some(entry) = self.connections.get_mut(&id) else { return };
        let (sessions, nexus) = (&mut self.sessions, &mut entry.nexus);
        let mut asking = Asking { targets, sessions, by: id, nexus, to_end: Vec::new() };
        entry.connection.handle_received(now, n, &mut asking);
        for former in asking.to_end {
            self.end(former, CloseReason::Reinstated);
        }
        self.settle(now);
    }

    /// The socket of a connection is gone.
    pub fn lost(&mut self, now: Time, id: ConnectionId) {
        self.end(id, CloseReason::Dropped);
        self.settle(now);
    }

    /// A submitted operation has ended.
    pub fn completed(&mut self, now: Time, id: ConnectionId, task: TaskId, outcome: BlockOutcome) {
        if let Some(connection) = self.connection(id) {
            connection.handle_completion(now, task, outcome);
        }
        self.settle(now);
    }

    /// Fills in slices of what is to be sent; see [`Connection::transmit`].
    pub fn transmit<'a>(&'a self, id: ConnectionId, out: &mut [IoSlice<'a>]) -> usize {
        self.connections.get(&id).map_or(0, |entry| entry.connection.transmit(out))
    }

    /// `n` bytes of them were sent.
    pub fn transmitted(&mut self, now: Time, id: ConnectionId, n: usize) {
        if let Some(connection) = self.connection(id) {
            connection.transmitted(now, n);
        }
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.connections.values().filter_map(|entry| entry.connection.poll_timeout()).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Time) {
        for entry in self.connections.values_mut() {
            entry.connection.handle_timeout(now);
        }
        self.settle(now);
    }

    /// What to do next.
    pub fn poll_work(&mut self) -> Option<Work> {
        self.work.pop_front()
    }

    /// Number of open sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn end(&mut self, id: ConnectionId, reason: CloseReason) {
        if let Some(connection) = self.connection(id) {
            connection.close(reason);
        }
    }

    /// Works on the actions of all connections until there are none; one may follow from that of another.
    fn settle(&mut self, now: Time) {
        let next = |portal: &mut Self| {
            let mut all = portal.connections.iter_mut();
            all.find_map(|(id, entry)| Some((*id, entry.connection.poll_action()?)))
        };
        while let Some((id, action)) = next(self) {
            self.act(now, id, action);
        }
        self.connections.retain(|_, entry| !entry.connection.is_finished());
    }

    fn act(&mut self, now: Time, id: ConnectionId, action: Action) {
        match action {
            Action::Submit { task, volume, op, .. } => {
                self.work.push_back(Work::Submit { connection: id, task, volume, op });
            }
            Action::Cancel { task } => self.work.push_back(Work::Cancel { connection: id, task }),
            Action::SessionOpened => self.work.push_back(Work::Opened(id)),
            Action::Close { reason } => self.work.push_back(Work::Close { connection: id, reason }),
            Action::SessionEnded => self.session_ended(id),
            Action::ManageOthers { id: management, volume, scope } => {
                self.tokens += 1;
                let token = self.tokens;
                let concerned: Vec<_> = self
                    .connections
                    .iter_mut()
                    .filter(|(other, entry)| **other != id && entry.connection.volume() == Some(volume))
                    .collect();
                let missing = concerned.len();
                for (_, entry) in concerned {
                    entry.connection.handle_management(now, scope, token);
                }
                self.managing.insert(token, Managing { by: id, id: management, missing });
                self.managed_by(now, token, 0);
            }
            Action::Managed { token } => self.managed_by(now, token, 1),
        }
    }

    /// So many more connections have carried a function out.
    fn managed_by(&mut self, now: Time, token: u64, more: usize) {
        let Some(managing) = self.managing.get_mut(&token) else { return };
        managing.missing -= more;
        if managing.missing == 0
            && let Some(Managing { by, id, .. }) = self.managing.remove(&token)
            && let Some(connection) = self.connection(by)
        {
            connection.handle_others_managed(now, id);
        }
    }

    fn session_ended(&mut self, id: ConnectionId) {
        let Some(nexus) = self.connections.get_mut(&id).and_then(|entry| entry.nexus.take()) else { return };
        if let Some((next, tsih)) = self.sessions.end(&nexus, id)
            && let Some(connection) = self.connection(next)
        {
            connection.handle_session_ready(tsih);
        }
    }
}
