//! One connection of an initiator and its task.

use super::Portal;
use super::targets::Ports;
use crate::clock::now;
use crate::names::TargetNames;
use crate::server::front_end::FrontEnd;
use evenkeel_api::SessionRow;
use evenkeel_engine::RequestId;
use evenkeel_iscsi::target::{
    Action, CloseReason, Connection, ConnectionId, NexusName, TargetConfig, TaskId,
};
use evenkeel_types::{BlockOutcome, Time, VolumeId};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Pieces handed to the kernel in one call.
const GATHER_MAX: usize = 64;
/// Receives before what came is worked on: batches share journal writes and sends, but none waits for long.
const RECEIVES_MAX: usize = 4;

/// A connection as the rest of the portal sees it.
pub(super) struct Connected {
    id: ConnectionId,
    protocol: RefCell<Connection>,
    wake: Notify,
    /// The connection's task is at work and looks at the protocol again before it waits.
    working: Cell<bool>,
    open: RefCell<BTreeMap<u64, RequestId>>,
    /// The standstills of the server before this connection.
    standstills: u64,
    /// The latest sign of life that the engine knows of.
    proven_at: Cell<Option<Time>>,
    volume: Cell<Option<VolumeId>>,
    nexus: RefCell<Option<NexusName>>,
}

impl Connected {
    pub(super) fn new(
        id: ConnectionId,
        config: Arc<TargetConfig>,
        from: String,
        standstills: u64,
    ) -> Rc<Self> {
        Rc::new(Self {
            id,
            protocol: RefCell::new(Connection::new(config, from, now())),
            wake: Notify::new(),
            working: Cell::new(false),
            open: RefCell::default(),
            standstills,
            proven_at: Cell::new(None),
            volume: Cell::new(None),
            nexus: RefCell::default(),
        })
    }

    pub(super) const fn id(&self) -> ConnectionId {
        self.id
    }

    pub(super) const fn standstills(&self) -> u64 {
        self.standstills
    }

    pub(super) fn volume(&self) -> Option<VolumeId> {
        self.volume.get()
    }

    pub(super) fn set_volume(&self, volume: VolumeId) {
        self.volume.set(Some(volume));
    }

    pub(super) fn set_nexus(&self, nexus: NexusName) {
        *self.nexus.borrow_mut() = Some(nexus);
    }

    /// When the initiator was last known to live, as far as an operation of a command is concerned that had arrived by
    /// then. The operation may be one of many and submitted much later: what else has come since proves nothing.
    fn proof_of(&self, arrived: Time) -> Time {
        self.proven_at.get().map_or(arrived, |proven| proven.max(arrived))
    }

    /// The initiator's name, once it is logged in.
    pub(super) fn initiator(&self) -> Option<String> {
        self.nexus.borrow().as_ref().map(|nexus| nexus.initiator.clone())
    }

    /// Operations at the core that have not ended.
    pub(super) fn open(&self) -> Vec<RequestId> {
        self.open.borrow().values().copied().collect()
    }

    /// Does something to the protocol from outside and has the connection's task do what follows.
    pub(super) fn with(&self, change: impl FnOnce(&mut Connection)) {
        change(&mut self.protocol.borrow_mut());
        if !self.working.get() {
            self.wake.notify_one();
        }
    }

    /// A row for the table of sessions; none before the login is complete.
    pub(super) fn row(&self, server: &str, names: &TargetNames) -> Option<SessionRow> {
        let info = self.protocol.borrow().info();
        info.full_feature.then(|| SessionRow {
            server: server.to_owned(),
            initiator: info.facts.initiator,
            address: info.facts.peer,
            volume: info.facts.target.as_deref().and_then(|target| names.volume(target)).map(str::to_owned),
            tsih: info.facts.tsih,
            commands: info.facts.commands,
            read_bytes: info.facts.bytes_read,
            written_bytes: info.facts.bytes_written,
            digests: digests(info.parameters.digests.header, info.parameters.digests.data).to_owned(),
        })
    }
}

const fn digests(header: bool, data: bool) -> &'static str {
    match (header, data) {
        (false, false) => "none",
        (true, false) => "header",
        (false, true) => "data",
        (true, true) => "header+data",
    }
}

impl FrontEnd for Connected {
    fn complete(&self, task: u64, outcome: BlockOutcome) {
        self.open.borrow_mut().remove(&task);
        self.with(|connection| connection.handle_completion(now(), TaskId(task), outcome));
    }

    fn prove(&self) {
        self.with(|connection| connection.probe(now()));
    }
}

/// Runs a connection to its end.
pub(super) async fn drive(portal: Rc<Portal>, connected: Rc<Connected>, stream: TcpStream) {
    if let Err(e) = stream.set_nodelay(true) {
        tracing::debug!("connection without TCP_NODELAY: {e}");
    }
    let reason = exchange(&portal, &connected, &stream).await;
    connected.working.set(false);
    drop(stream);
    // Operations under way still end, and only then is the session over.
    while !connected.protocol.borrow().is_finished() {
        connected.wake.notified().await;
        act(&portal, &connected);
    }
    act(&portal, &connected);
    if let Some(nexus) = connected.nexus.borrow().as_ref() {
        end_session(&portal, nexus, connected.id);
    }
    portal.connections.borrow_mut().remove(&connected.id);
    let facts = connected.protocol.borrow().info().facts;
    let initiator = if facts.initiator.is_empty() { "nobody" } else { &facts.initiator };
    tracing::info!(server = %portal.core.name(), "connection of {initiator} from {} closed: {reason}", facts.peer);
}

/// Reads, works and writes until the connection is to be closed.
async fn exchange(portal: &Rc<Portal>, connected: &Rc<Connected>, stream: &TcpStream) -> CloseReason {
    // One timer for the whole connection: signs of life put the deadline off with every receive, so it is set again
    // only when it fires or when the deadline comes nearer.
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    let mut armed = None;
    loop {
        connected.working.set(true);
        if let Some(reason) = act(portal, connected) {
            return reason;
        }
        let Ok(blocked) = send(connected, stream) else { return lost(portal, connected) };
        // Sending may have made room for more work, or was the last thing to do.
        if let Some(reason) = act(portal, connected) {
            return reason;
        }
        let (wants_input, timeout, more) = {
            let mut connection = connected.protocol.borrow_mut();
            let more = connection.wants_transmit() && !blocked;
            (connection.receive_space().is_some(), connection.poll_timeout(), more)
        };
        if more {
            continue;
        }
        if let Some(at) = timeout
            && armed.is_none_or(|armed| at < armed)
        {
            timer.as_mut().reset(tokio::time::Instant::now() + at.since(now()));
            armed = Some(at);
        }
        connected.working.set(false);
        tokio::select! {
            biased;
            ready = stream.readable(), if wants_input => {
                connected.working.set(true);
                if ready.is_err() || receive(portal, connected, stream).is_err() {
                    return lost(portal, connected);
                }
            }
            ready = stream.writable(), if blocked => if ready.is_err() { return lost(portal, connected) },
            () = connected.wake.notified() => {}
            () = &mut timer, if armed.is_some() => {
                armed = None;
                connected.protocol.borrow_mut().handle_timeout(now());
            }
        }
    }
}

/// The TCP connection is gone.
fn lost(portal: &Rc<Portal>, connected: &Rc<Connected>) -> CloseReason {
    connected.protocol.borrow_mut().close(CloseReason::Dropped);
    act(portal, connected).unwrap_or(CloseReason::Dropped)
}

/// Receives what is there; nothing if the server stood still since the connection was accepted. The initiator may have
/// given the connection up meanwhile, sent the same writes over another one, and others after them: what lies in the
/// socket must not come after those.
fn receive(portal: &Rc<Portal>, connected: &Rc<Connected>, stream: &TcpStream) -> io::Result<()> {
    // What is read now may have lain there from just before on.
    let read_at = now();
    if portal.core.standstill().look(read_at) != connected.standstills {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let mut ports = Ports { portal, connected };
    let mut connection = connected.protocol.borrow_mut();
    for _ in 0..RECEIVES_MAX {
        let Some(space) = connection.receive_space() else { break };
        let wanted = space.len();
        match stream.try_read(space) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                connection.handle_received(read_at, n, &mut ports);
                if n < wanted {
                    drained(stream);
                    break;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    let proven_at = connection.proven_at();
    drop(connection);
    if let Some(at) = proven_at
        && connected.proven_at.replace(proven_at) != proven_at
    {
        for id in connected.open() {
            portal.core.proof(id, at);
        }
        portal.core.pump();
    }
    Ok(())
}

/// The kernel gave all that it had: the next wait is for what comes after it, without a receive that finds nothing.
/// What has come since then wakes the task all the same, as does the end of the stream.
fn drained(stream: &TcpStream) {
    let _ = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
}

/// Sends what is to be sent; true if the kernel takes no more now.
fn send(connected: &Rc<Connected>, stream: &TcpStream) -> io::Result<bool> {
    let mut connection = connected.protocol.borrow_mut();
    while connection.wants_transmit() {
        let sent = {
            let mut slices = [IoSlice::new(&[]); GATHER_MAX];
            let count = connection.transmit(&mut slices);
            stream.try_write_vectored(&slices[..count])
        };
        match sent {
            Ok(n) => connection.transmitted(now(), n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

/// Does what the connection wants done; gives the reason once it is to be closed.
fn act(portal: &Rc<Portal>, connected: &Rc<Connected>) -> Option<CloseReason> {
    let front_end: Rc<dyn FrontEnd> = Rc::clone(connected) as Rc<dyn FrontEnd>;
    let mut closing = None;
    loop {
        let mut submitted = 0;
        loop {
            let next = connected.protocol.borrow_mut().poll_action();
            let Some(action) = next else { break };
            match action {
                Action::Submit { task, volume, op, arrived } => {
                    let proof_at = connected.proof_of(arrived);
                    let digest = connected.protocol.borrow().has_data_digest();
                    let id = portal.core.submit(&front_end, task.0, volume, op, proof_at, digest);
                    connected.open.borrow_mut().insert(task.0, id);
                    submitted += 1;
                }
                Action::Cancel { task } => {
                    let id = connected.open.borrow().get(&task.0).copied();
                    if let Some(id) = id {
                        portal.core.cancel(id);
                        submitted += 1;
                    }
                }
                Action::SessionOpened => opened(portal, connected),
                Action::SessionEnded => {
                    if let Some(nexus) = connected.nexus.borrow_mut().take() {
                        end_session(portal, &nexus, connected.id);
                    }
                }
                Action::ManageOthers { id, volume, scope } => {
                    Portal::manage_others(portal, connected, id, volume, scope);
                }
                // The barrier waits until all commands have ended, here and at the other servers.
                Action::Managed { .. } => {}
                Action::Close { reason } => closing = Some(reason),
            }
        }
        if submitted == 0 {
            return closing;
        }
        portal.core.worked(submitted);
        portal.core.pump();
    }
}

fn opened(portal: &Portal, connected: &Connected) {
    let info = connected.protocol.borrow().info();
    let target = info.facts.target.as_deref().unwrap_or("discovery");
    let (initiator, peer) = (&info.facts.initiator, &info.facts.peer);
    tracing::info!(server = %portal.core.name(), "{initiator} logged in from {peer} to {target}");
}

fn end_session(portal: &Portal, nexus: &NexusName, connection: ConnectionId) {
    let next = portal.sessions.borrow_mut().end(nexus, connection);
    if let Some((next, tsih)) = next
        && let Some(successor) = portal.connection(next)
    {
        successor.with(|connection| connection.handle_session_ready(tsih));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_and_a_later_answer_to_a_question_prove_that_the_initiator_lived() {
        let connected = Connected::new(ConnectionId(1), Arc::default(), "test".to_owned(), 0);
        let (earlier, arrived, later) = (Time(1_000_000_000), Time(2_000_000_000), Time(3_000_000_000));
        assert_eq!(connected.proof_of(arrived), arrived, "however long ago that was");
        for (proven, known) in [(earlier, arrived), (later, later)] {
            connected.proven_at.set(Some(proven));
            assert_eq!(connected.proof_of(arrived), known);
        }
    }
}
