//! What becomes of messages on connections that are no longer what they were. The test is the other server.

use super::super::fixture::{GROUP, core};
use super::*;
use evenkeel_peer::{Encoder, GroupHash, Inventory};
use evenkeel_types::{Bytes, ExtentId, Incarnation, VolumeId};
use std::io::{Read, Write};
use std::net::TcpStream as Far;

const PEER: ServerId = ServerId(2);

fn life(incarnation: u64) -> Peer {
    Peer { server: PEER, incarnation: Incarnation(incarnation) }
}

fn bytes_of(from: Peer, message: &Message) -> Vec<u8> {
    let pieces = Encoder::new(from, GroupHash::of(GROUP)).encode(message);
    pieces.iter().flat_map(|piece| piece.iter().copied()).collect()
}

/// Something that is answered as soon as it is carried out, whoever asks.
fn question() -> Message {
    let from = ExtentId { volume: VolumeId(0), index: 0 };
    Message::Inventory(Inventory { number: 77, from, max: 1 })
}

fn answers(core: &Core) -> usize {
    let waiting = core.with_links(|links| {
        let link = links.links.get(&PEER)?;
        Some(link.outbox.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<u8>>())
    });
    let mut decoder = Decoder::new(None);
    let (mut left, mut found) = (&waiting.unwrap_or_default()[..], 0);
    while !left.is_empty() {
        let space = decoder.receive_space();
        let take = space.len().min(left.len());
        space[..take].copy_from_slice(&left[..take]);
        left = &left[take..];
        decoder.handle_received(take);
        let mut messages = Vec::new();
        take_frames(&mut decoder, &mut messages).expect("the server sends frames");
        found += messages.iter().filter(|message| matches!(message, Message::InventoryReply(_))).count();
    }
    found
}

/// A connection with a life of the peer: the server's end and what it knows of it, and the peer's end.
struct Connection {
    near: Wire,
    decoder: Decoder,
    hearing: Hearing,
    far: Far,
}

impl Connection {
    /// What `serve` does after the hellos.
    async fn open(core: &Rc<Core>, peer: Peer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let far = Far::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (near, _) = listener.accept().await.expect("the connection");
        let standstills = core.standstill().look(now());
        if core.with_links(|links| links.close(PEER)) {
            core.peer_down(PEER);
        }
        let (number, _) = core.with_links(|links| links.open(peer, None));
        core.peer_up(peer);
        let mut decoder = Decoder::greeting();
        decoder.expect(peer, GroupHash::of(GROUP));
        let hearing = Hearing { peer, number, standstills, heard: now(), accepted: false };
        Self { near: Wire::bare(near), decoder, hearing, far }
    }

    async fn send(&mut self, message: &Message) {
        self.far.write_all(&bytes_of(self.hearing.peer, message)).expect("the peer sends");
        self.near.stream().readable().await.expect("it arrives");
    }

    fn read(&mut self, core: &Rc<Core>) -> Result<(), String> {
        read_messages(core, &mut self.near, &mut self.decoder, &mut self.hearing).map_err(|why| why.line)
    }
}

#[tokio::test]
async fn a_message_on_the_present_connection_is_carried_out() {
    let (core, _folder) = core();
    let mut connection = Connection::open(&core, life(5)).await;
    connection.send(&question()).await;
    assert_eq!(connection.read(&core), Ok(()));
    assert_eq!(answers(&core), 1);
}

/// The peer has restarted, and its new life is connected, when what its old life had sent is read.
#[tokio::test]
async fn nothing_is_carried_out_that_comes_on_a_replaced_connection() {
    let (core, _folder) = core();
    let mut old = Connection::open(&core, life(5)).await;
    old.send(&question()).await;
    let mut new = Connection::open(&core, life(6)).await;
    let ended = old.read(&core).expect_err("the old connection ends");
    assert!(ended.contains("took its place"), "{ended}");
    assert_eq!(answers(&core), 0, "a question of the old life was answered to the new one");
    new.send(&question()).await;
    assert_eq!(new.read(&core), Ok(()));
    assert_eq!(answers(&core), 1);
}

#[tokio::test]
async fn nothing_is_carried_out_that_lies_on_a_lapsed_connection() {
    let (core, _folder) = core();
    let mut connection = Connection::open(&core, life(5)).await;
    connection.send(&question()).await;
    connection.hearing.heard = now() - LAPSE_AFTER - Duration::from_millis(1);
    let ended = connection.read(&core).expect_err("the connection ends");
    assert!(ended.contains("nothing came"), "{ended}");
    assert_eq!(answers(&core), 0);
}

#[tokio::test]
async fn nothing_is_carried_out_that_came_before_the_end_of_a_standstill() {
    let (core, _folder) = core();
    let mut connection = Connection::open(&core, life(5)).await;
    connection.send(&question()).await;
    let _ = core.standstill().look(now() + Duration::from_secs(3600));
    let ended = connection.read(&core).expect_err("the connection ends");
    assert!(ended.contains("stood still"), "{ended}");
    assert_eq!(answers(&core), 0);
}

/// Much more waits than the sockets take. The peer reads a little now and then: it stays. Then it stops: it goes.
#[tokio::test]
async fn a_peer_that_reads_is_kept_however_much_waits_and_one_that_reads_nothing_is_cut_off() {
    const WAITING: usize = 96 << 20;
    let (core, _folder) = core();
    let mut connection = Connection::open(&core, life(5)).await;
    let report = Bytes::from(vec![7u8; 64 << 10]);
    while core.with_links(|links| links.links[&PEER].outbox_bytes) < WAITING {
        core.with_links(|links| links.send(PEER, &Message::Load { report: report.clone() }));
    }
    let mut now = now();
    let mut kept_longer = 0;
    let write = |connection: &mut Connection, now| {
        write_outbox(&core, &mut connection.near, &connection.hearing, now).map_err(|why| why.line)
    };
    let waiting = || core.with_links(|links| links.links[&PEER].outbox_bytes);
    assert!(matches!(write(&mut connection, now), Ok(Some(_))), "the sockets cannot take that much");
    for _ in 0..4 {
        now = now + LAPSE_AFTER - Duration::from_millis(100);
        let before = waiting();
        let mut taken = vec![0; 16 << 20];
        let mut left = before;
        // As much as makes the kernel take something again.
        while left == before {
            let got = connection.far.read(&mut taken).expect("the peer reads");
            assert!(got > 0);
            if timeout(Duration::from_millis(50), connection.near.writable()).await.is_ok() {
                assert!(write(&mut connection, now).is_ok(), "a peer that reads was cut off");
                left = waiting();
            }
        }
        kept_longer += 1;
    }
    assert_eq!(kept_longer, 4);
    assert!(waiting() > 64 << 20, "only {} bytes wait", waiting());
    assert!(write(&mut connection, now + LAPSE_AFTER).is_ok());
    let ended =
        write(&mut connection, now + LAPSE_AFTER + Duration::from_millis(1)).expect_err("it reads nothing");
    assert!(ended.contains("read nothing"), "{ended}");
}

/// Nobody says hello: only so many are waited for, and they are let go after a while.
#[tokio::test]
async fn connections_without_a_hello_are_few_and_do_not_last() {
    let (core, _folder) = core();
    let local = tokio::task::LocalSet::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    local
        .run_until(async {
            let accepting = tokio::task::spawn_local(accept(Rc::clone(&core), listener));
            let mut silent = Vec::new();
            for _ in 0..HELLOS_AWAITED_MAX {
                silent.push(TcpStream::connect(address).await.expect("a connection"));
            }
            for stream in &silent {
                assert!(is_greeted(stream).await, "a connection is not waited for");
            }
            let beyond = TcpStream::connect(address).await.expect("a connection");
            assert!(!is_greeted(&beyond).await, "one more was waited for");
            for stream in &silent {
                while is_greeted(stream).await {}
            }
            let next = TcpStream::connect(address).await.expect("a connection");
            assert!(is_greeted(&next).await, "there is no room again");
            accepting.abort();
        })
        .await;
}

/// Whether something comes, as the server's hello does when it waits for the other one; false at the connection's end.
async fn is_greeted(stream: &TcpStream) -> bool {
    let first = async {
        loop {
            stream.readable().await.expect("readable");
            match stream.try_read(&mut [0; 4096]) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                got => return got.is_ok_and(|n| n > 0),
            }
        }
    };
    timeout(Duration::from_secs(60), first).await.expect("neither a hello nor an end")
}
