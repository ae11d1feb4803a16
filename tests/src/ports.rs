//! Ports of loopback that are free.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where tests look for ports: below those that the kernel gives to outgoing connections (32768 and up), any of which
/// may take a port while the process that had it starts again.
const PORTS: std::ops::Range<u16> = 20_000..32_700;

/// A port that nobody listens on.
#[must_use]
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `count` successive ports that are free now. Tests run side by side in processes of their own, so each
/// begins its search at a place of its own.
pub(crate) fn free_ports(count: u16) -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let place = std::process::id().wrapping_add(ASKED.fetch_add(97, Ordering::Relaxed));
    let places = u32::from(PORTS.end - PORTS.start - count);
    for step in 0..500 {
        let base = PORTS.start + ((place.wrapping_mul(30) + step * 17) % places) as u16;
        if (base..base + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
    panic!("no {count} successive free ports");
}
