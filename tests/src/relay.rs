//! Relays between the servers of a group that read along: they count the copies of regions that pass, frame by frame.
//!
//! Each server advertises the address of its relay, so every peer connection is dialled through one.

use evenkeel_peer::{Decoder, Message};
use evenkeel_types::{Incarnation, ServerId, Version};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A region that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// By whom.
    pub from: ServerId,
    /// In which life of the sender.
    pub life: Incarnation,
    /// To whom; none if that was not known yet.
    pub to: Option<ServerId>,
    /// Over which connection: each that is made has a number of its own.
    pub connection: u64,
    /// In which version.
    pub version: Version,
}

/// What was sent of each region, in order, by its extent's number and its own.
pub type RegionCopies = BTreeMap<(u32, u8), Vec<Sent>>;

/// Numbers connections over all relays of this process.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// What is known of the two ends of a connection, each by what it sends: the dialling one, and the other.
type Ends = [Mutex<Option<ServerId>>; 2];

/// Relays in front of the peer ports of a group.
pub struct PeerRelays {
    first: u16,
    servers: u16,
    copies: Arc<Mutex<RegionCopies>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    hold: AtomicBool,
}

impl PeerRelays {
    /// One for each server: the n-th listens on `first + n` and connects to `peer + n`.
    ///
    /// # Panics
    /// If a port is taken.
    #[must_use]
    pub fn start(first: u16, peer: u16, servers: u16) -> Self {
        let relays = Self { first, servers, copies: Arc::default(), state: Arc::default() };
        for n in 0..servers {
            let listener = TcpListener::bind(("127.0.0.1", first + n)).expect("the relay's port is free");
            let (copies, state) = (Arc::clone(&relays.copies), Arc::clone(&relays.state));
            std::thread::spawn(move || {
                for dialled in listener.incoming() {
                    if state.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // A server that does not listen yet is dialled again: the connection just ends.
                    if let (Ok(from), Ok(to)) = (dialled, TcpStream::connect(("127.0.0.1", peer + n))) {
                        relay(&from, &to, &copies, &state);
                    }
                }
            });
        }
        relays
    }

    /// The address of the first relay; the others are on successive ports.
    #[must_use]
    pub fn first(&self) -> String {
        format!("127.0.0.1:{}", self.first)
    }

    /// From now on nothing passes, or everything again. Servers give a connection up that is silent for two seconds.
    pub fn hold(&self, hold: bool) {
        self.state.hold.store(hold, Ordering::Relaxed);
    }

    /// The copies that passed since the last call.
    ///
    /// # Panics
    /// If a relay's thread has.
    #[must_use]
    pub fn take_copies(&self) -> RegionCopies {
        std::mem::take(&mut *self.copies.lock().expect("no relay panicked"))
    }

    /// How many regions of an extent passed since the last [`Self::take_copies`].
    ///
    /// # Panics
    /// If a relay's thread has.
    #[must_use]
    pub fn regions_of(&self, extent: u32) -> usize {
        let copies = self.copies.lock().expect("no relay panicked");
        copies.range((extent, 0)..=(extent, u8::MAX)).count()
    }
}

impl Drop for PeerRelays {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        for n in 0..self.servers {
            let _ = TcpStream::connect(("127.0.0.1", self.first + n));
        }
    }
}

fn relay(from: &TcpStream, to: &TcpStream, copies: &Arc<Mutex<RegionCopies>>, state: &Arc<State>) {
    let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let ends: Arc<Ends> = Arc::default();
    for (side, (from, to)) in [(from, to), (to, from)].into_iter().enumerate() {
        let _ = from.set_nodelay(true);
        if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
            let (copies, state, ends) = (Arc::clone(copies), Arc::clone(state), Arc::clone(&ends));
            std::thread::spawn(move || {
                let note = |sender, life, region| {
                    *ends[side].lock().expect("no relay panicked") = Some(sender);
                    let to = *ends[1 - side].lock().expect("no relay panicked");
                    if let Some((place, version)) = region {
                        let sent = Sent { from: sender, life, to, connection, version };
                        copies.lock().expect("no relay panicked").entry(place).or_default().push(sent);
                    }
                };
                pass_on(&from, &to, note, &state);
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }
}

/// Passes on what comes; `note` is told the sender of each frame and its life, and which region it carries, if it does.
fn pass_on(
    mut from: &TcpStream,
    mut to: &TcpStream,
    note: impl Fn(ServerId, Incarnation, Option<((u32, u8), Version)>),
    state: &State,
) {
    let mut decoder = Decoder::new(None);
    loop {
        let space = decoder.receive_space();
        let received = match from.read(space) {
            Ok(0) | Err(_) => return,
            Ok(n) => n,
        };
        // Counted before it is passed on: what the other side has received is in the count.
        let sent = space[..received].to_vec();
        decoder.handle_received(received);
        while let Some(frame) = decoder.poll_frame().expect("servers send frames") {
            let region = match frame.message {
                Message::Copy(copy) => {
                    Some(((copy.extent.index, copy.region.index() as u8), copy.image.version))
                }
                _ => None,
            };
            note(frame.header.sender, frame.header.incarnation, region);
        }
        while state.hold.load(Ordering::Relaxed) && !state.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if to.write_all(&sent).is_err() {
            return;
        }
    }
}
