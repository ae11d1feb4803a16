//! Relays in front of the peer ports of a group that know nothing of what passes: they count connections, and flip a bit
//! when they are told to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes that have to pass at once for a bit of them to be flipped: data of hosts is among them.
const FLIPPED_FROM_BYTES: usize = 4096;

/// The relays.
pub struct Tamper {
    first: u16,
    servers: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    flip: AtomicBool,
    connections: AtomicUsize,
}

impl Tamper {
    /// One for each server: the n-th listens on `first + n` and connects to `peer + n`.
    ///
    /// # Panics
    /// If a port is taken.
    #[must_use]
    pub fn start(first: u16, peer: u16, servers: u16) -> Self {
        let state = Arc::<State>::default();
        for n in 0..servers {
            let listener = TcpListener::bind(("127.0.0.1", first + n)).expect("the relay's port is free");
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for dialled in listener.incoming() {
                    if state.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // A server that does not listen yet is dialled again: the connection just ends.
                    if let (Ok(from), Ok(to)) = (dialled, TcpStream::connect(("127.0.0.1", peer + n))) {
                        state.connections.fetch_add(1, Ordering::Relaxed);
                        relay(&from, &to, &state);
                    }
                }
            });
        }
        Self { first, servers, state }
    }

    /// The address of the first relay; the others are on successive ports.
    #[must_use]
    pub fn first(&self) -> String {
        format!("127.0.0.1:{}", self.first)
    }

    /// Connections that were made so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Flips one bit in the next larger piece that passes.
    pub fn flip_a_bit(&self) {
        self.state.flip.store(true, Ordering::Relaxed);
    }

    /// Whether the bit was flipped.
    #[must_use]
    pub fn has_flipped(&self) -> bool {
        !self.state.flip.load(Ordering::Relaxed)
    }
}

impl Drop for Tamper {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        for n in 0..self.servers {
            let _ = TcpStream::connect(("127.0.0.1", self.first + n));
        }
    }
}

fn relay(from: &TcpStream, to: &TcpStream, state: &Arc<State>) {
    for (from, to) in [(from, to), (to, from)] {
        let _ = from.set_nodelay(true);
        if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
            let state = Arc::clone(state);
            std::thread::spawn(move || {
                pass_on(&from, &to, &state);
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream, state: &State) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(received @ 1..) = from.read(&mut bytes) {
        if received >= FLIPPED_FROM_BYTES && state.flip.swap(false, Ordering::Relaxed) {
            bytes[received / 2] ^= 4;
        }
        if to.write_all(&bytes[..received]).is_err() {
            return;
        }
    }
}
