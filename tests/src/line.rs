//! A TCP relay that knows nothing of what passes: it holds one direction up, or cuts.

use crate::ports::free_ports;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Pause between looks at what may pass.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A line to a port of loopback. Dropping it cuts it.
pub struct Line {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    target: AtomicU16,
    stop: AtomicBool,
    hold_questions: AtomicBool,
    hold_answers: AtomicBool,
    /// Connections are refused: they end as soon as they are made.
    is_cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Line {
    /// A line to a port.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn to(target: u16) -> Self {
        let port = free_ports(1);
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the line's port is free");
        let state = Arc::new(State { target: AtomicU16::new(target), ..State::default() });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for dialled in listener.incoming() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                if shared.is_cut.load(Ordering::Relaxed) {
                    continue;
                }
                let target = ("127.0.0.1", shared.target.load(Ordering::Relaxed));
                if let (Ok(from), Ok(to)) = (dialled, TcpStream::connect(target)) {
                    connect(&from, &to, &shared);
                }
            }
        });
        Self { port, state }
    }

    /// Where to dial.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another port.
    pub fn lead_to(&self, target: u16) {
        self.state.target.store(target, Ordering::Relaxed);
    }

    /// From now on nothing that the dialling side sends gets through, or everything again.
    pub fn hold_questions(&self, hold: bool) {
        self.state.hold_questions.store(hold, Ordering::Relaxed);
    }

    /// From now on nothing that the other side sends gets through, or everything again.
    pub fn hold_answers(&self, hold: bool) {
        self.state.hold_answers.store(hold, Ordering::Relaxed);
    }

    /// Ends all connections, with what is held up in them, and makes no new ones, until [`Self::mend`].
    ///
    /// # Panics
    /// If a thread of the line has.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::Relaxed);
        for stream in self.state.open.lock().expect("no thread of the line panicked").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Makes connections again, and holds nothing up.
    pub fn mend(&self) {
        self.hold_questions(false);
        self.hold_answers(false);
        self.state.is_cut.store(false, Ordering::Relaxed);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn connect(from: &TcpStream, to: &TcpStream, state: &Arc<State>) {
    for is_answer in [false, true] {
        let (from, to) = if is_answer { (to, from) } else { (from, to) };
        let _ = from.set_nodelay(true);
        let (Ok(from), Ok(to), Ok(kept)) = (from.try_clone(), to.try_clone(), from.try_clone()) else {
            return;
        };
        state.open.lock().expect("no thread of the line panicked").push(kept);
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            let hold = if is_answer { &state.hold_answers } else { &state.hold_questions };
            pass_on(&from, &to, hold, &state);
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream, hold: &AtomicBool, state: &State) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(received @ 1..) = from.read(&mut bytes) {
        while hold.load(Ordering::Relaxed) {
            if state.is_cut.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        if to.write_all(&bytes[..received]).is_err() {
            return;
        }
    }
}
