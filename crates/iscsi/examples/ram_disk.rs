//! A target with one volume in memory, on one thread and a busy loop: to try real initiators and conformance suites
//! against the protocol alone. `cargo run --release -p evenkeel-iscsi --example ram_disk -- 127.0.0.1:3260 128`
//! (address, size in MiB).

use evenkeel_iscsi::target::{
    Action, Authentication, CloseReason, Connection, ConnectionId, DiscoveredTarget, Lookup, ManagementId,
    NexusName, Opening, Sessions, TargetConfig, TargetPorts,
};
use evenkeel_scsi::{LogicalUnit, LunConfig};
use evenkeel_types::{AlignedBuf, BlockError, BlockOp, BlockOutcome, Payload, Time, VolumeId};
use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const TARGET: &str = "iqn.2026-01.io.evenkeel:example:ram";
const VOLUME: VolumeId = VolumeId(1);

struct Ports {
    address: String,
    unit: Arc<LogicalUnit>,
    sessions: Sessions,
    connection: ConnectionId,
    to_end: Vec<ConnectionId>,
    names: BTreeMap<ConnectionId, NexusName>,
}

impl TargetPorts for Ports {
    fn discover(&mut self, _: &str) -> Vec<DiscoveredTarget> {
        vec![DiscoveredTarget { name: TARGET.to_owned(), addresses: vec![format!("{},1", self.address)] }]
    }
    fn lookup(&mut self, _: &str, target: &str) -> Lookup {
        if target != TARGET {
            return Lookup::NotFound;
        }
        Lookup::Found { unit: Arc::clone(&self.unit), volume: VOLUME }
    }
    fn authentication(&mut self, _: &str, _: Option<&str>) -> Authentication {
        Authentication::None
    }
    fn fill_random(&mut self, _: &mut [u8]) {}
    fn open_session(&mut self, nexus: &NexusName) -> Opening {
        let opened = self.sessions.open(nexus, self.connection);
        self.names.insert(self.connection, nexus.clone());
        self.to_end.extend(opened.replaces.into_iter().chain(opened.outrun));
        opened.opening
    }
    fn session(&mut self, tsih: u16) -> Option<NexusName> {
        self.sessions.nexus(tsih).cloned()
    }
}

struct Link {
    stream: TcpStream,
    connection: Connection,
    closed: bool,
}

struct Server {
    ports: Ports,
    disk: Vec<u8>,
    links: BTreeMap<ConnectionId, Link>,
    /// Management functions that other connections carry out: who asked, and how many answers are missing.
    managements: BTreeMap<u64, (ConnectionId, ManagementId, usize)>,
    tokens: u64,
    start: std::time::SystemTime,
}

fn carry_out(disk: &mut [u8], op: &BlockOp) -> BlockOutcome {
    let range = op.range().map(|at| at.offset as usize..at.end() as usize).unwrap_or_default();
    match op {
        BlockOp::Read { .. } => Ok(Payload::from(AlignedBuf::copy_of(&disk[range]).freeze())),
        BlockOp::Write { data, .. } => {
            disk[range].copy_from_slice(data);
            Ok(Payload::default())
        }
        BlockOp::Zero { .. } => {
            disk[range].fill(0);
            Ok(Payload::default())
        }
        BlockOp::CompareAndWrite { expected, data, .. } => {
            let place = &mut disk[range];
            if let Some(offset) = place.iter().zip(&expected[..]).position(|(a, b)| a != b) {
                return Err(BlockError::Miscompare { offset: offset as u32 });
            }
            place.copy_from_slice(data);
            Ok(Payload::default())
        }
        BlockOp::Flush => Ok(Payload::default()),
    }
}

impl Server {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Time {
        let elapsed = std::time::SystemTime::now().duration_since(self.start).unwrap_or_default();
        Time(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// One round over a connection; whether anything moved.
    fn serve(&mut self, id: ConnectionId) -> bool {
        let now = self.now();
        self.ports.connection = id;
        let Some(link) = self.links.get_mut(&id) else { return false };
        let mut moved = false;
        if let Some(space) = link.connection.receive_space() {
            match link.stream.read(space) {
                Ok(0) => link.connection.close(CloseReason::Dropped),
                Ok(n) => {
                    moved = true;
                    link.connection.handle_received(now, n, &mut self.ports);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => link.connection.close(CloseReason::Dropped),
            }
        }
        if link.connection.poll_timeout().is_some_and(|at| now >= at) {
            link.connection.handle_timeout(now);
        }
        moved |= self.act(id, now);
        let Some(link) = self.links.get_mut(&id) else { return true };
        let mut slices = [IoSlice::new(&[]); 64];
        let used = link.connection.transmit(&mut slices);
        if used > 0 {
            match link.stream.write_vectored(&slices[..used]) {
                Ok(n) => {
                    moved = true;
                    link.connection.transmitted(now, n);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => link.connection.close(CloseReason::Dropped),
            }
        }
        self.act(id, now);
        if self.links.get(&id).is_some_and(|link| link.closed && link.connection.is_finished()) {
            self.links.remove(&id);
        }
        moved
    }

    fn act(&mut self, id: ConnectionId, now: Time) -> bool {
        let mut moved = false;
        while let Some(action) = self.links.get_mut(&id).and_then(|link| link.connection.poll_action()) {
            moved = true;
            self.carry_out(id, now, action);
        }
        moved
    }

    fn carry_out(&mut self, id: ConnectionId, now: Time, action: Action) {
        let others: Vec<_> = self.links.keys().copied().filter(|other| *other != id).collect();
        let Some(link) = self.links.get_mut(&id) else { return };
        match action {
            Action::Submit { task, op, .. } => {
                let outcome = carry_out(&mut self.disk, &op);
                link.connection.handle_completion(now, task, outcome);
            }
            Action::Cancel { .. } => {}
            Action::SessionOpened => {
                let info = link.connection.info();
                println!("opened {} {} {:?}", info.facts.initiator, info.facts.peer, info.parameters);
            }
            Action::SessionEnded => self.end_session(id),
            Action::ManageOthers { id: management, scope, .. } => {
                self.tokens += 1;
                let token = self.tokens;
                if others.is_empty() {
                    return link.connection.handle_others_managed(now, management);
                }
                self.managements.insert(token, (id, management, others.len()));
                for other in others {
                    if let Some(link) = self.links.get_mut(&other) {
                        link.connection.handle_management(now, scope, token);
                    }
                    self.act(other, now);
                }
            }
            Action::Managed { token } => {
                let Some((asker, management, missing)) = self.managements.get_mut(&token) else { return };
                *missing -= 1;
                if *missing == 0 {
                    let (asker, management) = (*asker, *management);
                    self.managements.remove(&token);
                    if let Some(link) = self.links.get_mut(&asker) {
                        link.connection.handle_others_managed(now, management);
                    }
                }
            }
            Action::Close { reason } => {
                println!("closed {}: {reason}", link.connection.info().facts.peer);
                link.closed = true;
                let _ = link.stream.shutdown(std::net::Shutdown::Both);
            }
        }
        for former in std::mem::take(&mut self.ports.to_end) {
            if let Some(link) = self.links.get_mut(&former) {
                link.connection.close(CloseReason::Reinstated);
            }
            self.act(former, now);
        }
    }

    fn end_session(&mut self, id: ConnectionId) {
        let Some(name) = self.ports.names.remove(&id) else { return };
        if let Some((next, tsih)) = self.ports.sessions.end(&name, id)
            && let Some(link) = self.links.get_mut(&next)
        {
            link.connection.handle_session_ready(tsih);
        }
    }
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3260".to_owned());
    let mib: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(128);
    let listener = TcpListener::bind(&address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?.to_string();
    println!("iscsi://{address}/{TARGET}/0");
    let config = LunConfig::new(VOLUME, "ram", (mib << 20) as u64, *b"evenkeel ram dis", TARGET);
    let unit = Arc::new(LogicalUnit::new(config).map_err(std::io::Error::other)?);
    let ports = Ports {
        address,
        unit,
        sessions: Sessions::default(),
        connection: ConnectionId(0),
        to_end: Vec::new(),
        names: BTreeMap::new(),
    };
    let mut server = Server {
        ports,
        disk: vec![0; mib << 20],
        links: BTreeMap::new(),
        managements: BTreeMap::new(),
        tokens: 0,
        start: std::time::UNIX_EPOCH,
    };
    let target = Arc::new(TargetConfig::default());
    let mut connections = 0;
    loop {
        let mut moved = false;
        if let Ok((stream, peer)) = listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            connections += 1;
            let connection = Connection::new(Arc::clone(&target), peer.to_string(), server.now());
            server.links.insert(ConnectionId(connections), Link { stream, connection, closed: false });
        }
        let ids: Vec<_> = server.links.keys().copied().collect();
        for id in ids {
            moved |= server.serve(id);
        }
        if !moved {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
