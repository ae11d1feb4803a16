//! A TCP relay that passes every byte on after a time, as a long line does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// Pieces that may be on their way in one direction; more wait with the sender.
const PIECES_MAX: usize = 1024;
/// Bytes of a piece at most.
const PIECE: usize = 64 << 10;

/// A relay to one address. Dropping it ends its connections.
pub struct Delay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    connections: AtomicU64,
}

impl Delay {
    /// A relay at a free port of this address.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(at: Ipv4Addr, target: &str, by: Duration) -> Self {
        let listener = TcpListener::bind((at, 0)).expect("the relay listens");
        let address = listener.local_addr().expect("it has an address");
        let state = Arc::new(State::default());
        let (shared, target) = (Arc::clone(&state), target.to_owned());
        std::thread::spawn(move || {
            for dialled in listener.incoming() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                if let (Ok(from), Ok(to)) = (dialled, TcpStream::connect(&target)) {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    one_way(&from, &to, by, &shared);
                    one_way(&to, &from, by, &shared);
                }
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections went through it.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Two threads: one reads and notes the time, the other waits until a piece is due.
fn one_way(from: &TcpStream, to: &TcpStream, by: Duration, state: &Arc<State>) {
    let (Ok(mut from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let (sender, pieces) = sync_channel(PIECES_MAX);
    let state = Arc::clone(state);
    std::thread::spawn(move || write_late(&pieces, to, by));
    std::thread::spawn(move || {
        let mut bytes = vec![0; PIECE];
        while let Ok(received @ 1..) = from.read(&mut bytes) {
            let is_over = state.stop.load(Ordering::Relaxed);
            if is_over || sender.send((Instant::now(), bytes[..received].to_vec())).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
    });
}

fn write_late(pieces: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream, by: Duration) {
    for (since, piece) in pieces {
        std::thread::sleep(by.saturating_sub(since.elapsed()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
