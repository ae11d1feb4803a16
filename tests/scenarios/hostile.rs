//! Ten thousand malformed PDUs are thrown at a portal of a running group. Another session reads and writes checked data
//! all the while, and nothing of the server's is used up: neither memory, nor descriptors, nor its log.

mod hostile_pdus {
    pub(crate) mod bytes;
    pub(crate) mod random;
}

use evenkeel_scsi::initiator::request::{read_16, write_16};
use evenkeel_tests::{Group, GroupOptions, Initiator, Process};
use evenkeel_types::Bytes;
use hostile_pdus::bytes::{self, Kind};
use hostile_pdus::random::Random;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Malformed PDUs thrown at the portal.
const PDUS: u64 = 10_000;
/// Writes and reads of the other session while they are thrown, at least.
const STEPS_MIN: u64 = 100;
/// Connections with bytes that are no frames, to the port for other servers.
const PEER_CONNECTIONS: u64 = 200;
/// Connections that attack at once.
const ATTACKERS: u64 = 4;
/// Logins that are begun, and then nothing more comes until the end.
const HALF_LOGINS_HELD: usize = 50;
/// Resident memory that the server may have taken more than before, in bytes, when it is over.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// Lines of the log that a connection gives at most: one for the login, one for the end.
const LINES_PER_CONNECTION_MAX: u64 = 2;
/// Lines of the log that are about something else.
const OTHER_LINES_MAX: u64 = 200;
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a block of the undisturbed session, and how many it has.
const BLOCK: usize = 4096;
const BLOCKS: u64 = 64;
/// Bytes of a logical block, and how many of them make a block.
const SECTOR: u32 = 512;
const SECTORS: u64 = BLOCK as u64 / SECTOR as u64;

#[test]
fn ten_thousand_malformed_pdus_harm_neither_the_server_nor_another_session() {
    let mut group = Group::start(GroupOptions::servers(2));
    let (good, victim) = (group.create_volume("good", "64MiB"), group.create_volume("victim", "64MiB"));
    let process = Process(group.pid());
    let mut session = Initiator::open(&group.portal(1), &good);
    let mut undisturbed = Undisturbed::new(&mut session);
    undisturbed.step();
    // What one attack takes once and for all (buffers, tables) is no growth.
    for kind in Kind::ALL {
        attack(&group.portal(1), &bytes::connection(&mut Random::new(kind as u64), &victim, kind, 1));
    }
    wait_until("the first connections are gone", || sessions(&group) == 1);
    let (memory, descriptors) = (process.resident_bytes(), process.descriptors());

    let over = AtomicBool::new(false);
    let progress = Progress::default();
    let held: Vec<TcpStream> =
        (0..HALF_LOGINS_HELD).map(|n| half_login(&group.portal(1), &victim, n)).collect();
    std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..ATTACKERS)
            .map(|n| {
                let (portal, victim, progress) = (group.portal(1), &victim, &progress);
                scope.spawn(move || throw_all(n, &portal, victim, progress))
            })
            .collect();
        let peer_port = format!("127.0.0.1:{}", group.peer_port(1));
        let to_peers = scope.spawn(move || {
            let mut random = Random::new(99);
            (0..PEER_CONNECTIONS).for_each(|_| attack(&peer_port, &bytes::peer(&mut random)));
        });
        let good = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                undisturbed.step();
                progress.steps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let ended: Vec<_> =
            attackers.into_iter().chain([to_peers]).map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        good.join().expect("the other session was not disturbed");
        ended.into_iter().for_each(|ended| ended.expect("the attack was carried out"));
    });
    drop(held);

    let Progress { thrown, connections, steps } = progress;
    let (thrown, connections, steps) = (thrown.into_inner(), connections.into_inner(), steps.into_inner());
    assert!(thrown >= PDUS && steps >= STEPS_MIN, "{thrown} PDUs thrown, {steps} steps beside them");
    undisturbed.check_all();
    wait_until("the descriptors are closed", || process.descriptors() <= descriptors);
    let grown = process.resident_bytes().saturating_sub(memory);
    assert!(grown <= GROWTH_BYTES_MAX, "the server grew by {grown} bytes");
    assert_eq!(sessions(&group), 1, "only the other session is left");
    let log = group.log();
    assert!(!log.contains("panicked"), "{log}");
    let connections = connections + HALF_LOGINS_HELD as u64 + PEER_CONNECTIONS;
    let lines = log.lines().count() as u64;
    assert!(
        lines <= LINES_PER_CONNECTION_MAX * connections + OTHER_LINES_MAX,
        "{lines} lines for {connections} connections"
    );
    println!(
        "{thrown} PDUs on {connections} connections, {steps} steps beside them; grown by {grown} bytes; {lines} lines"
    );

    for server in [1, 2] {
        let mut again = Initiator::open(&group.portal(server), &victim);
        write(&mut again, 0, vec![7; BLOCK]);
        assert_eq!(read(&mut again, 0), vec![7; BLOCK]);
    }
    drop(session);
    assert_eq!(group.stop().0, 0);
}

/// A session whose data is known.
struct Undisturbed<'a> {
    session: &'a mut Initiator,
    written: Vec<u64>,
    random: Random,
    last: u64,
}

impl<'a> Undisturbed<'a> {
    fn new(session: &'a mut Initiator) -> Self {
        Self { session, written: vec![0; BLOCKS as usize], random: Random::new(1), last: 0 }
    }

    fn content(block: u64, write: u64) -> Vec<u8> {
        if write == 0 {
            return vec![0; BLOCK];
        }
        (block << 32 | write).to_le_bytes().repeat(BLOCK / 8)
    }

    /// Writes a block and reads another one.
    fn step(&mut self) {
        self.last += 1;
        let (block, other) = (self.random.below(BLOCKS), self.random.below(BLOCKS));
        write(self.session, block, Self::content(block, self.last));
        self.written[block as usize] = self.last;
        self.check(other);
    }

    fn check(&mut self, block: u64) {
        let expected = Self::content(block, self.written[block as usize]);
        assert!(read(self.session, block) == expected, "block {block} is wrong");
    }

    fn check_all(&mut self) {
        (0..BLOCKS).for_each(|block| self.check(block));
    }
}

fn write(session: &mut Initiator, block: u64, data: Vec<u8>) {
    session.good(&write_16(block * SECTORS, data.into(), SECTOR));
}

fn read(session: &mut Initiator, block: u64) -> Bytes {
    session.good(&read_16(block * SECTORS, SECTORS as u32, SECTOR))
}

/// How far the attack and the other session are.
#[derive(Default)]
struct Progress {
    thrown: AtomicU64,
    connections: AtomicU64,
    steps: AtomicU64,
}

impl Progress {
    fn is_enough(&self) -> bool {
        self.thrown.load(Ordering::Relaxed) >= PDUS && self.steps.load(Ordering::Relaxed) >= STEPS_MIN
    }
}

/// Goes on until enough was thrown, and the other session has had time to be disturbed.
fn throw_all(attacker: u64, portal: &str, target: &str, progress: &Progress) {
    let mut random = Random::new(1000 + attacker);
    let began = Instant::now();
    while !progress.is_enough() {
        assert!(began.elapsed() < PATIENCE, "the other session does not go on");
        let kind = Kind::ALL[random.below(Kind::ALL.len() as u64) as usize];
        let count = 1 + random.below(8);
        attack(portal, &bytes::connection(&mut random, target, kind, count));
        progress.thrown.fetch_add(count, Ordering::Relaxed);
        progress.connections.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends bytes on a connection of their own and waits for the server to close it.
fn attack(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    // The server may close before it took everything.
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let began = Instant::now();
    let mut answers = [0; 16 << 10];
    while stream.read(&mut answers).is_ok_and(|n| n > 0) {
        assert!(began.elapsed() < PATIENCE, "answers without an end");
    }
    assert!(began.elapsed() < PATIENCE, "the server did not close the connection");
}

fn half_login(portal: &str, target: &str, n: usize) -> TcpStream {
    let login = bytes::login(target, "");
    let mut stream = TcpStream::connect(portal).expect("the server accepts connections");
    stream.write_all(&login[..n * (login.len() - 1) / HALF_LOGINS_HELD]).expect("the server takes a part");
    stream
}

fn sessions(group: &Group) -> usize {
    let rows = group.evenkeel(&["session", "list", "-o", "json"]).ok().json();
    rows["sessions"].as_array().expect("a table of sessions").len()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
