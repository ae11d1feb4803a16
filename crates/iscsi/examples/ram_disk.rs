//! A target with one volume in memory, on one thread and a busy loop: to try initiators and conformance suites against the
//! protocol alone. `cargo run --release -p evenkeel-iscsi --example ram_disk -- 127.0.0.1:3260 128 USER SECRET USER SECRET`
//! (address, size in MiB; what initiators prove themselves by, and what the target does, if they are to use CHAP).

use evenkeel_iscsi::chap::{Account, Credentials, Secret};
use evenkeel_iscsi::target::{
    Authentication, ConnectionId, DiscoveredTarget, Lookup, Portal, TargetConfig, Targets, Work,
};
use evenkeel_scsi::{LogicalUnit, LunConfig};
use evenkeel_types::{AlignedBuf, BlockError, BlockOp, BlockOutcome, Payload, Time, VolumeId};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const TARGET: &str = "iqn.2026-01.io.evenkeel:example:ram";
const VOLUME: VolumeId = VolumeId(1);

struct Ram {
    address: String,
    unit: Arc<LogicalUnit>,
    authentication: Authentication,
    random: std::fs::File,
}

impl Targets for Ram {
    fn discover(&mut self, _: &str) -> Vec<DiscoveredTarget> {
        vec![DiscoveredTarget { name: TARGET.to_owned(), addresses: vec![format!("{},1", self.address)] }]
    }
    fn lookup(&mut self, _: &str, target: &str) -> Lookup {
        match target {
            TARGET => Lookup::Found { unit: Arc::clone(&self.unit), volume: VOLUME },
            _ => Lookup::NotFound,
        }
    }
    fn authentication(&mut self, _: &str, _: Option<&str>) -> Authentication {
        self.authentication.clone()
    }
    fn fill_random(&mut self, out: &mut [u8]) {
        self.random.read_exact(out).expect("the system has a source of random bytes");
    }
}

fn carry_out(disk: &mut [u8], op: &BlockOp) -> BlockOutcome {
    let range = op.range().map(|at| at.offset as usize..at.end() as usize).unwrap_or_default();
    let place = &mut disk[range];
    match op {
        BlockOp::Read { .. } => return Ok(Payload::from(AlignedBuf::copy_of(place).freeze())),
        BlockOp::Write { data, .. } => place.copy_from_slice(data),
        BlockOp::Zero { .. } => place.fill(0),
        BlockOp::CompareAndWrite { expected, data, .. } => {
            if let Some(offset) = place.iter().zip(&expected[..]).position(|(a, b)| a != b) {
                return Err(BlockError::Miscompare { offset: offset as u32 });
            }
            place.copy_from_slice(data);
        }
        BlockOp::Flush => {}
    }
    Ok(Payload::default())
}

/// Receives and sends what there is on one connection; none if the socket takes or gives nothing now.
fn exchange(
    portal: &mut Portal,
    ram: &mut Ram,
    now: Time,
    id: ConnectionId,
    mut socket: &TcpStream,
) -> Result<bool, Error> {
    let would_block =
        |error: Error| if error.kind() == ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
    let received = match portal.receive_space(id) {
        Some(space) => socket.read(space).map(Some).or_else(would_block)?,
        None => None,
    };
    match received {
        Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Some(n) => portal.received(now, id, n, ram),
        None => {}
    }
    let mut slices = [IoSlice::new(&[]); 64];
    let used = portal.transmit(id, &mut slices);
    let sent =
        if used > 0 { socket.write_vectored(&slices[..used]).map(Some).or_else(would_block)? } else { None };
    portal.transmitted(now, id, sent.unwrap_or(0));
    Ok(received.is_some() || sent.is_some())
}

#[allow(clippy::disallowed_methods)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument =
        |n: usize, default: &str| arguments.get(n).map_or_else(|| default.to_owned(), Clone::clone);
    let listener = TcpListener::bind(argument(0, "127.0.0.1:3260"))?;
    listener.set_nonblocking(true)?;
    let mut disk = vec![0; argument(1, "128").parse::<usize>()? << 20];
    let config = LunConfig::new(VOLUME, "ram", disk.len() as u64, *b"evenkeel ram dis", TARGET);
    let account = |n: usize| match (arguments.get(n), arguments.get(n + 1)) {
        (Some(user), Some(secret)) => Account::new(user, Secret::new(secret.clone().into_bytes())?).map(Some),
        _ => Ok(None),
    };
    let authentication = match account(2)? {
        Some(initiator) => Authentication::Chap(Arc::new(Credentials::new(initiator, account(4)?)?)),
        None => Authentication::None,
    };
    let address = listener.local_addr()?.to_string();
    println!("iscsi://{address}/{TARGET}/0");
    let random = std::fs::File::open("/dev/urandom")?;
    let mut ram = Ram { address, unit: Arc::new(LogicalUnit::new(config)?), authentication, random };
    let mut portal = Portal::new(TargetConfig::default());
    let mut sockets: BTreeMap<ConnectionId, TcpStream> = BTreeMap::new();
    let start = SystemTime::now();
    loop {
        let now = Time(u64::try_from(start.elapsed()?.as_nanos())?);
        let mut moved = false;
        if let Ok((socket, peer)) = listener.accept() {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            sockets.insert(portal.accept(now, peer.to_string()), socket);
        }
        for (id, socket) in &sockets {
            match exchange(&mut portal, &mut ram, now, *id, socket) {
                Ok(more) => moved |= more,
                Err(_) => portal.lost(now, *id),
            }
        }
        portal.handle_timeout(now);
        while let Some(work) = portal.poll_work() {
            moved = true;
            match work {
                Work::Submit { connection, task, op, .. } => {
                    portal.completed(now, connection, task, carry_out(&mut disk, &op));
                }
                Work::Close { connection, reason } => {
                    sockets.remove(&connection);
                    println!("closed: {reason}");
                }
                Work::Opened(connection) => println!("opened: {connection:?}"),
                Work::Cancel { .. } => {}
            }
        }
        if !moved {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
