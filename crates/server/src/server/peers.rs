//! Connections to the other servers: one for each pair, dialled by the server with the lower id.
//!
//! A connection begins with a hello in each direction. It lapses when nothing came for [`LAPSE_AFTER`], or when the other
//! side took nothing for that long; what was queued on it is then gone, on both sides, and the engine is told. Heartbeats
//! keep a connection without other work alive.
//!
//! What holds: a message is carried out only if its connection is the present one with that peer, has not lapsed, and
//! stood for no standstill of this server. All of that is asked before bytes are read, and again before what they say is
//! carried out.

use super::core::Core;
use crate::clock::now;
use evenkeel_peer::{Decoder, Encoder, FrameError, GroupHash, Hello, Local, Message, Peer};
use evenkeel_types::{Bytes, ServerId, Time};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Silence after which a connection is given up: L of the lease rules.
pub(crate) const LAPSE_AFTER: Duration = Duration::from_secs(2);
/// Time for connecting, and for the hellos of both sides.
const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// Accepted connections that have not said hello; more are closed at once. Who is there is not known yet, and each costs
/// a receive buffer.
const HELLOS_AWAITED_MAX: usize = 32;
/// Pause between attempts to connect.
const DIAL_EVERY: Duration = Duration::from_millis(200);
/// How often new servers are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes that may wait to be sent to one peer. What gateways have under way is bounded for each owner, and so are the
/// copies of moves, so that a peer that reads lets far less pile up; this is against one that asks for more than it may.
const OUTBOX_BYTES_MAX: usize = 512 << 20;
/// Pieces handed to the kernel in one call.
const GATHER_MAX: usize = 64;

/// The open connections of one server.
pub(crate) struct PeerLinks {
    encoder: Encoder,
    local: Local,
    links: BTreeMap<ServerId, Link>,
    next_link: u64,
}

struct Link {
    number: u64,
    peer: Peer,
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
    /// When the kernel last took something, or nothing was left to be taken.
    taken_at: Time,
    wake: Rc<Notify>,
}

impl PeerLinks {
    pub(crate) fn new(local: Local) -> Self {
        let me = Peer { server: local.server, incarnation: local.incarnation };
        Self { encoder: Encoder::new(me, local.group_hash()), local, links: BTreeMap::new(), next_link: 0 }
    }

    /// Queues a message. Without a connection it is gone, as on a connection that breaks: the engine knows.
    pub(crate) fn send(&mut self, to: ServerId, message: &Message) {
        let Some(link) = self.links.get_mut(&to) else { return };
        if link.outbox.is_empty() {
            link.taken_at = now();
        }
        for piece in self.encoder.encode(message) {
            link.outbox_bytes += piece.len();
            link.outbox.push_back(piece);
        }
        link.wake.notify_one();
    }

    /// The servers that there is a connection to.
    pub(crate) fn connected(&self) -> impl Iterator<Item = ServerId> {
        self.links.keys().copied()
    }

    fn open(&mut self, peer: Peer) -> (u64, Rc<Notify>) {
        let wake = Rc::new(Notify::new());
        self.next_link += 1;
        let link = Link {
            number: self.next_link,
            peer,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            taken_at: now(),
            wake: Rc::clone(&wake),
        };
        if let Some(old) = self.links.insert(peer.server, link) {
            // Its task finds that the link is no longer its own, and ends.
            old.wake.notify_one();
        }
        (self.next_link, wake)
    }

    /// Gives a connection up; true if there was one. What still arrives on it is not carried out.
    pub(crate) fn close(&mut self, server: ServerId) -> bool {
        match self.links.remove(&server) {
            Some(link) => {
                link.wake.notify_one();
                true
            }
            None => false,
        }
    }

    /// The link, if it still is this one.
    fn own(&mut self, peer: Peer, number: u64) -> Option<&mut Link> {
        self.links.get_mut(&peer.server).filter(|link| link.number == number)
    }
}

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
                let core = Rc::clone(&core);
                tokio::task::spawn_local(async move {
                    if let Err(why) = serve(&core, stream, None, Some(greeter)).await {
                        tracing::info!(server = %core.name(), "peer connection from {from} ended: {why}");
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

/// Keeps connections to all servers with higher ids.
pub(crate) async fn dial_all(core: Rc<Core>) {
    let mut dialled = BTreeSet::new();
    loop {
        for server in core.servers_to_dial() {
            if dialled.insert(server) {
                tokio::task::spawn_local(dial(Rc::clone(&core), server));
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn dial(core: Rc<Core>, server: ServerId) {
    let mut quiet = false;
    loop {
        if let Some(address) = core.peer_address(server) {
            let connected = timeout(HELLO_WITHIN, TcpStream::connect(&address)).await;
            let ended = match connected {
                Ok(Ok(stream)) => serve(&core, stream, Some(server), None).await.map(|()| quiet = false),
                Ok(Err(e)) => Err(format!("cannot connect to {address}: {e}")),
                Err(_) => Err(format!("cannot connect to {address}: no answer in {HELLO_WITHIN:?}")),
            };
            if let Err(why) = ended
                && !quiet
            {
                tracing::info!(server = %core.name(), "no connection with {server}: {why}");
                quiet = true;
            }
        }
        sleep(DIAL_EVERY).await;
    }
}

/// Runs one connection to its end. `Ok` if it once stood.
async fn serve(
    core: &Rc<Core>,
    stream: TcpStream,
    expects: Option<ServerId>,
    greeter: Option<Greeter>,
) -> Result<(), String> {
    let standstills = core.standstill().look(now());
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let mut decoder = Decoder::greeting();
    let greeted = timeout(HELLO_WITHIN, greet(core, &stream, &mut decoder, expects)).await;
    let peer = greeted.map_err(|_| "no hello".to_owned())??;
    drop(greeter);
    if core.with_links(|links| links.close(peer.server)) {
        core.peer_down(peer.server);
    }
    let (number, wake) = core.with_links(|links| links.open(peer));
    tracing::info!(server = %core.name(), "connected with {} (start {})", peer.server, peer.incarnation);
    core.peer_up(peer);
    let mut hearing = Hearing { peer, number, standstills, heard: now() };
    let ended = exchange(core, &stream, &mut decoder, &mut hearing, &wake).await;
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
    tracing::info!(server = %core.name(), "connection with {} ended: {}", peer.server, ended);
    Ok(())
}

/// Exchanges hellos; gives who is there.
async fn greet(
    core: &Rc<Core>,
    stream: &TcpStream,
    decoder: &mut Decoder,
    expects: Option<ServerId>,
) -> Result<Peer, String> {
    let (local, group) = core.with_links(|links| (links.local.clone(), links.local.group_hash()));
    let me = Peer { server: local.server, incarnation: local.incarnation };
    send_now(stream, me, group, &Message::Hello(local.hello(expects))).await?;
    let hello = receive_hello(stream, decoder).await?;
    let known = |server| core.known_incarnation(server);
    match local.accept(&hello, expects, known) {
        Ok(peer) => {
            decoder.expect(peer, group);
            Ok(peer)
        }
        Err(refusal) => {
            let reason = refusal.to_string();
            send_now(stream, me, group, &Message::Refuse { reason: reason.clone() }).await?;
            Err(reason)
        }
    }
}

async fn send_now(stream: &TcpStream, me: Peer, group: GroupHash, message: &Message) -> Result<(), String> {
    let pieces = Encoder::new(me, group).encode(message);
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        stream.writable().await.map_err(|e| e.to_string())?;
        match stream.try_write(rest) {
            Ok(n) => rest = &rest[n..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.to_string()),
        }
    }
    Ok(())
}

async fn receive_hello(stream: &TcpStream, decoder: &mut Decoder) -> Result<Hello, String> {
    loop {
        match decoder.poll_frame().map_err(|e| e.to_string())?.map(|frame| frame.message) {
            Some(Message::Hello(hello)) => return Ok(hello),
            Some(Message::Refuse { reason }) => return Err(format!("refused by the other side: {reason}")),
            Some(_) => return Err("the other side did not say hello".to_owned()),
            None => {}
        }
        stream.readable().await.map_err(|e| e.to_string())?;
        match stream.try_read(decoder.receive_space()) {
            Ok(0) => return Err("closed by the other side".to_owned()),
            Ok(n) => decoder.handle_received(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.to_string()),
        }
    }
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
}

impl Hearing {
    /// The time, if messages of the connection may be carried out; else why it ends.
    fn check(&self, core: &Core) -> Result<Time, String> {
        let now = now();
        if core.standstill().look(now) != self.standstills {
            return Err("this server stood still".to_owned());
        }
        if core.with_links(|links| links.own(self.peer, self.number).is_none()) {
            return Err("another connection took its place".to_owned());
        }
        if now.since(self.heard) > LAPSE_AFTER {
            return Err(format!("nothing came for {LAPSE_AFTER:?}"));
        }
        Ok(now)
    }
}

/// Reads and writes until the connection ends; gives the reason.
async fn exchange(
    core: &Rc<Core>,
    stream: &TcpStream,
    decoder: &mut Decoder,
    hearing: &mut Hearing,
    wake: &Notify,
) -> String {
    loop {
        let now = match hearing.check(core) {
            Ok(now) => now,
            Err(why) => return why,
        };
        match write_outbox(core, stream, hearing, now) {
            Err(why) => return why,
            Ok(taken_at) => {
                let blocked = taken_at.is_some();
                // A little later than the time that is still allowed.
                let lapse =
                    taken_at.unwrap_or(now).min(hearing.heard) + LAPSE_AFTER + Duration::from_millis(1);
                tokio::select! {
                    biased;
                    ready = stream.readable() => if let Err(e) = ready { return e.to_string() },
                    () = wake.notified() => {}
                    ready = stream.writable(), if blocked => if let Err(e) = ready { return e.to_string() },
                    () = sleep(lapse.since(now)) => {}
                }
            }
        }
        if let Err(why) = read_messages(core, stream, decoder, hearing) {
            return why;
        }
    }
}

fn read_messages(
    core: &Rc<Core>,
    stream: &TcpStream,
    decoder: &mut Decoder,
    hearing: &mut Hearing,
) -> Result<(), String> {
    let now = hearing.check(core)?;
    let mut messages = Vec::new();
    loop {
        let space = decoder.receive_space();
        let wanted = space.len();
        match stream.try_read(space) {
            Ok(0) => return Err("closed by the other side".to_owned()),
            Ok(n) => {
                hearing.heard = now;
                decoder.handle_received(n);
                take_frames(decoder, &mut messages).map_err(|e| e.to_string())?;
                if n < wanted {
                    // All that there was: the next wait is for what comes after it.
                    let _ =
                        stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                    break;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e.to_string()),
        }
        if messages.len() >= GATHER_MAX {
            break;
        }
    }
    if !messages.is_empty() {
        let now = hearing.check(core)?;
        core.peer_messages(now, hearing.peer.server, messages);
    }
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
    stream: &TcpStream,
    hearing: &Hearing,
    now: Time,
) -> Result<Option<Time>, String> {
    core.with_links(|links| {
        let link = links.own(hearing.peer, hearing.number).ok_or("another connection took its place")?;
        while !link.outbox.is_empty() {
            let slices: Vec<IoSlice<'_>> =
                link.outbox.iter().take(GATHER_MAX).map(|piece| IoSlice::new(piece)).collect();
            match stream.try_write_vectored(&slices) {
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
                // Much may wait while the other side reads; it is too slow only if it reads nothing at all.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let server = link.peer.server;
                    if now.since(link.taken_at) > LAPSE_AFTER {
                        return Err(format!("{server} read nothing of what it was sent for {LAPSE_AFTER:?}"));
                    }
                    if link.outbox_bytes > OUTBOX_BYTES_MAX {
                        return Err(format!("{} bytes wait to be sent to {server}", link.outbox_bytes));
                    }
                    return Ok(Some(link.taken_at));
                }
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(None)
    })
}

#[cfg(test)]
mod tests;
