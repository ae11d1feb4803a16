//! Both ends of a connection in one test: what goes in at one comes out at the other, or the connection ends.

use super::*;
use crate::config::PeerData;
use crate::security::identity::{Identity, tests::group};
use crate::security::tls::{PeerTls, no_dns_name};
use rustls::{ClientConnection, ServerConnection};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Longest wait for something to come.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// How the bytes of a pair travel.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    Bare,
    Encrypted,
    Plain,
}

/// A connection: the end that dialled and the one that accepted. `through` may put a relay between them.
async fn pair(mode: Mode, through: Option<&TcpListener>) -> (Wire, Wire) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut address = listener.local_addr().unwrap();
    if let Some(relay) = through {
        address = relay.local_addr().unwrap();
    }
    let dialled = TcpStream::connect(address).await.unwrap();
    if let Some(relay) = through {
        let (from, _) = relay.accept().await.unwrap();
        let to = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::spawn(relay_flipping(from, to));
    }
    let (accepted, _) = listener.accept().await.unwrap();
    // What is written separately is there at once, as with the daemon.
    accepted.set_nodelay(true).unwrap();
    if mode == Mode::Bare {
        return (Wire::bare(dialled), Wire::bare(accepted));
    }
    let folder = group("lab");
    let tls = |name| {
        let identity = Identity::load(folder.path(), "lab", name).unwrap();
        PeerTls::new(identity, PeerData::Plain).unwrap()
    };
    let client = ClientConnection::new(Arc::clone(&tls("s1").dialling), no_dns_name()).unwrap();
    let server = ServerConnection::new(Arc::clone(&tls("s2").accepting)).unwrap();
    let mut near = Wire::protected(dialled, Connection::Client(client));
    let mut far = Wire::protected(accepted, Connection::Server(server));
    let (one, two) = tokio::join!(near.shake_hands(), far.shake_hands());
    assert!(one.is_ok() && two.is_ok());
    if mode == Mode::Plain {
        // As with hellos: each side's first bytes are behind the handshake, and what follows at once is not.
        near.write_all(b"hello").await.unwrap();
        let mut hello = [0; 5];
        assert_eq!(read(&mut far, &mut hello).await.unwrap(), 5);
        far.write_all(b"hullo").await.unwrap();
        far.go_plain().unwrap();
        far.write_all(b"early").await.unwrap();
        assert_eq!(read(&mut near, &mut hello).await.unwrap(), 5);
        near.go_plain().unwrap();
        assert_eq!(read(&mut near, &mut hello).await.unwrap(), 5);
        assert_eq!(&hello, b"early");
    }
    (near, far)
}

/// Flips one bit of what comes after the first 64 KiB from the side that dialled.
async fn relay_flipping(mut from: TcpStream, mut to: TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut from_read, mut from_write) = from.split();
    let (mut to_read, mut to_write) = to.split();
    let forth = async {
        let (mut buffer, mut passed) = (vec![0; 4096], 0);
        while let Ok(n @ 1..) = from_read.read(&mut buffer).await {
            if (passed..passed + n).contains(&(64 << 10)) {
                buffer[(64 << 10) - passed] ^= 0x10;
            }
            passed += n;
            if to_write.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
    };
    let back = tokio::io::copy(&mut to_read, &mut from_write);
    tokio::select! { () = forth => {}, _ = back => {} }
}

async fn read(wire: &mut Wire, space: &mut [u8]) -> io::Result<usize> {
    loop {
        match wire.try_read(space) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::timeout(PATIENCE, wire.readable()).await.expect("nothing comes")?;
            }
            read => return read,
        }
    }
}

/// The bytes that are sent: no two places look alike.
fn content(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|n| (n as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// Sends pieces of all kinds of sizes, as a driver does; gives how many bytes.
async fn send_pieces(wire: &mut Wire) -> io::Result<usize> {
    let mut sent = 0;
    for count in [1, 3, 64, 256, 4096, 1, 65_535, 65_536, 65_537, 300_000, 17, 4_200_000, 64, 64] {
        let bytes = content(sent, count);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (a, b) = rest.split_at(rest.len() / 3);
            match wire.try_write(&[IoSlice::new(a), IoSlice::new(&[]), IoSlice::new(b)]) {
                Ok(taken) => {
                    assert!(taken > 0, "nothing was taken, and nothing was in the way");
                    rest = &rest[taken..];
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => wire.writable().await?,
                Err(e) => return Err(e),
            }
        }
        sent += count;
    }
    wire.send_all().await?;
    Ok(sent)
}

/// Reads until the end; every byte has to be the one that was sent. Gives how many came.
async fn receive_all(wire: &mut Wire) -> io::Result<usize> {
    let (mut space, mut came) = (vec![0; 100_003], 0);
    loop {
        match read(wire, &mut space).await? {
            0 => return Ok(came),
            n => {
                assert!(space[..n] == content(came, n), "other bytes than were sent, from {came} on");
                came += n;
            }
        }
    }
}

#[tokio::test]
async fn what_one_end_sends_comes_out_at_the_other_in_all_modes_and_both_ways() {
    for mode in [Mode::Bare, Mode::Encrypted, Mode::Plain] {
        let (mut near, mut far) = pair(mode, None).await;
        let sending = async {
            let sent = send_pieces(&mut near).await.unwrap();
            drop(near);
            sent
        };
        let (sent, came) = tokio::join!(sending, receive_all(&mut far));
        assert_eq!(came.unwrap(), sent, "{mode:?}");
        let (mut near, mut far) = pair(mode, None).await;
        let sending = async {
            let sent = send_pieces(&mut far).await.unwrap();
            drop(far);
            sent
        };
        let (sent, came) = tokio::join!(sending, receive_all(&mut near));
        assert_eq!(came.unwrap(), sent, "{mode:?}");
    }
}

#[tokio::test]
async fn a_bit_that_changes_on_the_way_ends_the_connection_and_no_changed_byte_comes_out() {
    for mode in [Mode::Encrypted, Mode::Plain] {
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mut near, mut far) = pair(mode, Some(&relay)).await;
        let sending = async {
            let _ = send_pieces(&mut near).await;
        };
        let receiving = async {
            let ended = receive_all(&mut far).await;
            drop(far);
            ended
        };
        let ((), ended) = tokio::join!(sending, receiving);
        let why = ended.expect_err("the connection ends");
        assert_eq!(why.kind(), io::ErrorKind::InvalidData, "{mode:?}: {why}");
    }
}

#[tokio::test]
async fn plain_bytes_travel_as_they_are_and_encrypted_ones_do_not() {
    for (mode, seen) in [(Mode::Plain, true), (Mode::Encrypted, false)] {
        let (mut near, far) = pair(mode, None).await;
        near.write_all(b"a payload that can be recognised").await.unwrap();
        let mut wire = vec![0; 4096];
        far.stream().readable().await.unwrap();
        let n = far.stream().peek(&mut wire).await.unwrap();
        assert_eq!(wire[..n].windows(32).any(|bytes| bytes == b"a payload that can be recognised"), seen);
    }
}
