//! Connections to the other servers: one for each pair, dialled by the server with the lower id.
//!
//! A connection begins with a handshake that shows who is there (`greet`), and a hello in each direction. It lapses when
//! nothing came for [`LAPSE_AFTER`], or when the other side took nothing for that long; what was queued on it is then
//! gone, on both sides, and the engine is told. Heartbeats keep a connection without other work alive.
//!
//! What holds: a message is carried out only if its connection is the present one with that peer, has not lapsed, and
//! stood for no standstill of this server. All of that is asked before bytes are read, and again before what they say is
//! carried out.

mod greet;
mod join;
mod links;
mod records;
mod security;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use self::join::JoinDesk;
pub(crate) use self::links::PeerLinks;
pub(crate) use self::security::{Security, certificates_changed};

use self::greet::{Begun, Met, Refusal};
use self::wire::Wire;
use super::core::Core;
use crate::clock::now;
use crate::security::told::{Tell, Told};
use evenkeel_peer::{Decoder, FrameError, Message, Peer};
use evenkeel_types::{ServerId, Time};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Silence after which a connection is given up: L of the lease rules.
pub(crate) const LAPSE_AFTER: Duration = Duration::from_secs(2);
/// Time for connecting, and for the handshake and the hellos of both sides.
const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// Time for the other side to take in why it is refused.
const PART_WITHIN: Duration = Duration::from_millis(500);
/// Time for a machine that wants to join, and for the directory to take note of it.
const JOIN_WITHIN: Duration = Duration::from_secs(15);
/// Accepted connections that have not said hello; more are closed at once. Who is there is not known yet, and each costs
/// some receive buffers.
const HELLOS_AWAITED_MAX: usize = 32;
/// Pause between attempts to connect.
const DIAL_EVERY: Duration = Duration::from_millis(200);
/// Bytes that may wait to be sent to one peer. What gateways have under way is bounded for each owner, and so are the
/// copies of moves, so that a peer that reads lets far less pile up; this is against one that asks for more than it may.
const OUTBOX_BYTES_MAX: usize = 512 << 20;
/// Pieces handed to the kernel in one call.
const GATHER_MAX: usize = 64;

/// A place among the connections that have not said hello.
struct Greeter(Rc<Cell<usize>>);

impl Greeter {
    fn admit(awaited: &Rc<Cell<usize>>) -> Option<Self> {
        (awaited.get() < HELLOS_AWAITED_MAX).then(|| {
            awaited.set(awaited.get() + 1);
            Self(Rc::clone(awaited))
        })
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Accepts connections of servers with lower ids.
pub(crate) async fn accept(core: Rc<Core>, listener: TcpListener) {
    let awaited = Rc::new(Cell::new(0));
    let refusals = Rc::new(RefCell::new(Told::default()));
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let Some(greeter) = Greeter::admit(&awaited) else {
                    if !told {
                        tracing::warn!(
                            server = %core.name(),
                            "refused peer connection from {from}: {HELLOS_AWAITED_MAX} have not said hello yet"
                        );
                    }
                    told = true;
                    continue;
                };
                told = false;
                let (core, refusals) = (Rc::clone(&core), Rc::clone(&refusals));
                tokio::task::spawn_local(async move {
                    if let Err(refusal) = serve(&core, stream, None, Some(greeter)).await {
                        tell(&core, &mut refusals.borrow_mut(), from, &refusal);
                    }
                });
            }
            Err(e) => {
                tracing::warn!(server = %core.name(), "cannot accept peer connections: {e}");
                sleep(DIAL_EVERY).await;
            }
        }
    }
}

/// Logs why a connection that somebody dialled was refused: once for each address and reason.
fn tell(core: &Core, told: &mut Told, from: SocketAddr, refusal: &Refusal) {
    let Refusal { kind, line, alarming } = refusal;
    let more = match told.note(now(), from.ip(), kind) {
        Tell::Not => return,
        Tell::Now => "",
        Tell::Last => "; further sources are not logged for now",
    };
    if *alarming {
        tracing::warn!(server = %core.name(), "refused peer connection from {from}: {line}{more}");
    } else {
        tracing::info!(server = %core.name(), "peer connection from {from} ended: {line}{more}");
    }
}

/// Keeps connections to all servers with higher ids.
pub(crate) async fn dial_all(core: Rc<Core>) {
    let mut dialled = BTreeSet::new();
    loop {
        for server in core.servers_to_dial() {
            if dialled.insert(server) {
                tokio::task::spawn_local(dial(Rc::clone(&core), server));
            }
        }
        // At its start a server does not know the others yet, and they wait for it as soon as it is on record.
        core.heard_news().await;
    }
}

/// Waits until a server is worth dialling again: after a while, or as soon as it has started anew.
async fn pause(core: &Core, server: ServerId) {
    let (began, life) = (now(), core.known_incarnation(server));
    while core.known_incarnation(server) == life
        && let Some(left) = DIAL_EVERY.checked_sub(now().since(began))
        && timeout(left, core.heard_news()).await.is_ok()
    {}
}

/// Keeps a connection to a server, until that is gone for good.
async fn dial(core: Rc<Core>, server: ServerId) {
    // What was told since the last connection stood.
    let mut told = BTreeSet::new();
    while core.with_view(|view| view.is_forgotten(server)) != Some(true) {
        if let Some(address) = core.peer_address(server) {
            let connected = timeout(HELLO_WITHIN, TcpStream::connect(&address)).await;
            let ended = match connected {
                Ok(Ok(stream)) => serve(&core, stream, Some(server), None).await,
                Ok(Err(e)) => Err(Refusal::new("not there", format!("cannot connect to {address}: {e}"))),
                Err(_) => Err(Refusal::new(
                    "not there",
                    format!("cannot connect to {address}: no answer in {HELLO_WITHIN:?}"),
                )),
            };
            match ended {
                Ok(()) => told.clear(),
                Err(Refusal { kind, line, alarming }) if told.insert(kind) => {
                    if alarming {
                        tracing::warn!(server = %core.name(), "no connection with {server} at {address}: {line}");
                    } else {
                        tracing::info!(server = %core.name(), "no connection with {server}: {line}");
                    }
                }
                Err(_) => {}
            }
        }
        pause(&core, server).await;
    }
}

/// Runs one connection to its end. `Ok` if it once stood.
async fn serve(
    core: &Rc<Core>,
    stream: TcpStream,
    expects: Option<ServerId>,
    greeter: Option<Greeter>,
) -> Result<(), Refusal> {
    let standstills = core.standstill().look(now());
    stream.set_nodelay(true)?;
    let mut wire = greet::wire(core, stream, expects)?;
    let mut decoder = Decoder::greeting();
    let greeted = timeout(HELLO_WITHIN, greet::greet(core, &mut wire, &mut decoder, expects)).await;
    let met = match greeted.map_err(|_| Refusal::new("no hello", "no hello"))? {
        Err(refusal) => {
            // It was told why, and is to hear it.
            let _ = timeout(PART_WITHIN, wire.part()).await;
            return Err(refusal);
        }
        Ok(Begun::Met(met)) => met,
        Ok(Begun::WantsToJoin(security)) => {
            let answered = timeout(JOIN_WITHIN, join::answer(&mut wire, &security)).await;
            let names = answered.map_err(|_| Refusal::new("a slow join", "it did not join in time"))??;
            tracing::info!(server = %core.name(), "a machine has joined with the servers {}", names.join(", "));
            return Ok(());
        }
    };
    drop(greeter);
    let Met { peer, certificate } = met;
    if core.with_links(|links| links.close(peer.server)) {
        core.peer_down(peer.server);
    }
    let (number, wake) = core.with_links(|links| links.open(peer, certificate));
    core.peer_up(peer);
    let mut hearing = Hearing { peer, number, standstills, heard: now(), accepted: false };
    let ended = exchange(core, &mut wire, &mut decoder, &mut hearing, &wake).await;
    let own = core.with_links(|links| {
        let own = links.own(peer, number).is_some();
        if own {
            links.links.remove(&peer.server);
        }
        own
    });
    if own {
        core.peer_down(peer.server);
    }
    if !hearing.accepted {
        return Err(ended);
    }
    let line = ended.line;
    if ended.kind == "damaged" {
        tracing::warn!(server = %core.name(), "connection with {} ended: {line}", peer.server);
    } else {
        tracing::info!(server = %core.name(), "connection with {} ended: {line}", peer.server);
    }
    Ok(())
}

/// What a connection has to be for its messages to be carried out.
struct Hearing {
    peer: Peer,
    /// Of the link that it is.
    number: u64,
    /// The standstills of this server before it.
    standstills: u64,
    /// Just before something was last read from it.
    heard: Time,
    /// The other side has said something that it says to a peer only: it has accepted this one, too.
    accepted: bool,
}

impl Hearing {
    /// The time, if messages of the connection may be carried out; else why it ends.
    fn check(&self, core: &Core) -> Result<Time, Refusal> {
        let now = now();
        if core.standstill().look(now) != self.standstills {
            return Err(Refusal::new("stood still", "this server stood still"));
        }
        if core.with_links(|links| links.own(self.peer, self.number).is_none()) {
            return Err(Refusal::new("replaced", "it was given up, or another connection took its place"));
        }
        if now.since(self.heard) > LAPSE_AFTER {
            return Err(Refusal::new("lapsed", format!("nothing came for {LAPSE_AFTER:?}")));
        }
        Ok(now)
    }

    /// Messages have come that are no refusal.
    fn accepted(&mut self, core: &Core) {
        if !self.accepted {
            self.accepted = true;
            let Peer { server, incarnation } = self.peer;
            tracing::info!(server = %core.name(), "connected with {server} (start {incarnation})");
        }
    }
}

/// Reads and writes until the connection ends; gives the reason.
async fn exchange(
    core: &Rc<Core>,
    wire: &mut Wire,
    decoder: &mut Decoder,
    hearing: &mut Hearing,
    wake: &Notify,
) -> Refusal {
    loop {
        let now = match hearing.check(core) {
            Ok(now) => now,
            Err(why) => return why,
        };
        match write_outbox(core, wire, hearing, now) {
            Err(why) => return why,
            Ok(taken_at) => {
                let blocked = taken_at.is_some();
                // A little later than the time that is still allowed.
                let lapse =
                    taken_at.unwrap_or(now).min(hearing.heard) + LAPSE_AFTER + Duration::from_millis(1);
                tokio::select! {
                    biased;
                    ready = wire.readable() => if let Err(e) = ready { return e.into() },
                    () = wake.notified() => {}
                    ready = wire.writable(), if blocked => if let Err(e) = ready { return e.into() },
                    () = sleep(lapse.since(now)) => {}
                }
            }
        }
        if let Err(why) = read_messages(core, wire, decoder, hearing) {
            return why;
        }
    }
}

fn read_messages(
    core: &Rc<Core>,
    wire: &mut Wire,
    decoder: &mut Decoder,
    hearing: &mut Hearing,
) -> Result<(), Refusal> {
    let now = hearing.check(core)?;
    let mut messages = Vec::new();
    while messages.len() < GATHER_MAX {
        match wire.try_read(decoder.receive_space()) {
            Ok(0) => return Err(Refusal::new("closed", "closed by the other side")),
            Ok(n) => {
                hearing.heard = now;
                decoder.handle_received(n);
                take_frames(decoder, &mut messages)?;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e.into()),
        }
    }
    if messages.is_empty() {
        return Ok(());
    }
    if let Some(Message::Refuse { reason }) = messages.iter().find(|m| matches!(m, Message::Refuse { .. })) {
        return Err(greet::refused(reason));
    }
    hearing.accepted(core);
    let now = hearing.check(core)?;
    core.peer_messages(now, hearing.peer.server, messages);
    Ok(())
}

fn take_frames(decoder: &mut Decoder, messages: &mut Vec<Message>) -> Result<(), FrameError> {
    while let Some(frame) = decoder.poll_frame()? {
        messages.push(frame.message);
    }
    Ok(())
}

/// Sends what is queued. If the kernel takes no more now, this is when it last took something.
fn write_outbox(
    core: &Rc<Core>,
    wire: &mut Wire,
    hearing: &Hearing,
    now: Time,
) -> Result<Option<Time>, Refusal> {
    core.with_links(|links| {
        let replaced = || Refusal::new("replaced", "it was given up, or another connection took its place");
        let link = links.own(hearing.peer, hearing.number).ok_or_else(replaced)?;
        let mut waiting = false;
        while !link.outbox.is_empty() && !waiting {
            let slices: Vec<IoSlice<'_>> =
                link.outbox.iter().take(GATHER_MAX).map(|piece| IoSlice::new(piece)).collect();
            match wire.try_write(&slices) {
                Ok(mut n) => {
                    link.taken_at = now;
                    link.outbox_bytes -= n;
                    while let Some(first) = link.outbox.front_mut() {
                        if n < first.len() {
                            bytes::Buf::advance(first, n);
                            break;
                        }
                        n -= first.len();
                        link.outbox.pop_front();
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => waiting = true,
                Err(e) => return Err(e.into()),
            }
        }
        let flushed = wire.flush()?;
        if flushed.progress {
            link.taken_at = now;
        }
        if !waiting && !flushed.waiting {
            return Ok(None);
        }
        // Much may wait while the other side reads; it is too slow only if it reads nothing at all.
        let server = link.peer.server;
        if now.since(link.taken_at) > LAPSE_AFTER {
            let line = format!("{server} read nothing of what it was sent for {LAPSE_AFTER:?}");
            return Err(Refusal::new("reads nothing", line));
        }
        if link.outbox_bytes > OUTBOX_BYTES_MAX {
            let line = format!("{} bytes wait to be sent to {server}", link.outbox_bytes);
            return Err(Refusal::new("too much waits", line));
        }
        Ok(Some(link.taken_at))
    })
}
