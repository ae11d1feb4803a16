//! An initiator and a target joined by byte pipes in memory, over a RAM disk. One seed decides how the streams are cut
//! and when operations end.

#![allow(dead_code)]

use evenkeel_iscsi::Settings;
use evenkeel_iscsi::initiator::{self, Command, Done, Event, InitiatorConfig, RequestId, Transfer};
use evenkeel_iscsi::pdu::Isid;
use evenkeel_iscsi::target::config::{DATA_IN_BYTES_MAX, DATA_OUT_BYTES_MAX};
use evenkeel_iscsi::target::{
    self, Action, Authentication, CloseReason, ConnectionId, DiscoveredTarget, Lookup, NexusName, Opening,
    Sessions, TargetConfig, TargetPorts, TaskId,
};
use evenkeel_scsi::{LogicalUnit, LunConfig};
use evenkeel_types::{AlignedBuf, BlockError, BlockOp, BlockOutcome, Bytes, Payload, Time, VolumeId};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

pub(crate) const TARGET: &str = "iqn.2026-01.io.evenkeel:test:v1";
pub(crate) const INITIATOR: &str = "iqn.2026-01.io.evenkeel:test-initiator";
pub(crate) const DISK_BYTES: usize = 16 << 20;

/// A small generator of repeatable choices (xorshift64).
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }
}

pub(crate) struct Ports {
    pub(crate) unit: Arc<LogicalUnit>,
    pub(crate) sessions: Sessions,
    pub(crate) connection: ConnectionId,
    /// What a lookup of any target but the one that exists gives.
    pub(crate) elsewhere: Lookup,
    pub(crate) targets: Vec<DiscoveredTarget>,
    pub(crate) authentication: Authentication,
    /// What the next random bytes come from.
    pub(crate) random: u64,
    pub(crate) replaced: Vec<ConnectionId>,
}

impl Ports {
    pub(crate) fn new() -> Self {
        let config = LunConfig::new(VolumeId(1), "v1", DISK_BYTES as u64, [7; 16], TARGET);
        let unit = Arc::new(LogicalUnit::new(config).expect("the volume is well-formed"));
        let address = vec!["127.0.0.1:3260,1".to_owned(), "127.0.0.1:3261,2".to_owned()];
        let targets = vec![DiscoveredTarget { name: TARGET.to_owned(), addresses: address }];
        Self {
            unit,
            sessions: Sessions::default(),
            connection: ConnectionId(1),
            elsewhere: Lookup::NotFound,
            targets,
            replaced: Vec::new(),
            authentication: Authentication::None,
            random: 1,
        }
    }
}

impl TargetPorts for Ports {
    fn discover(&mut self, _: &str) -> Vec<DiscoveredTarget> {
        self.targets.clone()
    }
    fn lookup(&mut self, _: &str, target: &str) -> Lookup {
        if target == TARGET {
            return Lookup::Found { unit: Arc::clone(&self.unit), volume: VolumeId(1) };
        }
        self.elsewhere.clone()
    }
    fn authentication(&mut self, _: &str, _: Option<&str>) -> Authentication {
        self.authentication.clone()
    }
    fn fill_random(&mut self, out: &mut [u8]) {
        for byte in out {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (self.random >> 56) as u8;
        }
    }
    fn open_session(&mut self, nexus: &NexusName) -> Opening {
        let opened = self.sessions.open(nexus, self.connection);
        self.replaced.extend(opened.replaces);
        opened.opening
    }
    fn session(&mut self, tsih: u16) -> Option<NexusName> {
        self.sessions.nexus(tsih).cloned()
    }
}

pub(crate) struct Disk {
    pub(crate) bytes: Vec<u8>,
    /// Whether the memory of every write was aligned like its place in the volume.
    pub(crate) all_aligned: bool,
}

impl Disk {
    pub(crate) fn carry_out(&mut self, op: &BlockOp) -> BlockOutcome {
        match op {
            BlockOp::Read { at } => {
                let range = at.offset as usize..at.end() as usize;
                // Two pieces, so that joining them is exercised.
                let middle = range.start + range.len() / 2;
                let mut payload = Payload::from(Bytes::copy_from_slice(&self.bytes[range.start..middle]));
                payload.push(AlignedBuf::copy_of(&self.bytes[middle..range.end]).freeze());
                Ok(payload)
            }
            BlockOp::Write { at, data } => {
                self.all_aligned &= (data.as_ptr() as u64) % 4096 == at.offset % 4096;
                self.bytes[at.offset as usize..at.end() as usize].copy_from_slice(data);
                Ok(Payload::default())
            }
            BlockOp::Zero { at } => {
                self.bytes[at.offset as usize..at.end() as usize].fill(0);
                Ok(Payload::default())
            }
            BlockOp::CompareAndWrite { at, expected, data } => {
                let place = &mut self.bytes[at.offset as usize..at.end() as usize];
                if let Some(offset) = place.iter().zip(&expected[..]).position(|(a, b)| a != b) {
                    return Err(BlockError::Miscompare { offset: offset as u32 });
                }
                place.copy_from_slice(data);
                Ok(Payload::default())
            }
            BlockOp::Flush => Ok(Payload::default()),
        }
    }
}

pub(crate) struct Pair {
    pub(crate) initiator: initiator::Connection,
    pub(crate) target: target::Connection,
    pub(crate) ports: Ports,
    pub(crate) disk: Disk,
    pub(crate) now: Time,
    pub(crate) choices: Choices,
    pub(crate) to_target: VecDeque<u8>,
    pub(crate) to_initiator: VecDeque<u8>,
    pub(crate) events: VecDeque<Event>,
    /// Operations under way.
    pub(crate) pending: Vec<(TaskId, BlockOp)>,
    /// While set, operations do not end.
    pub(crate) hold_operations: bool,
    pub(crate) cancelled: Vec<TaskId>,
    pub(crate) actions: Vec<Action>,
    pub(crate) closed: Option<CloseReason>,
    /// Bytes moved at a time at most.
    pub(crate) chunk_max: usize,
    /// After this many more bytes, these bits of a byte are flipped on the way.
    pub(crate) flip_to_target: Option<(usize, u8)>,
    pub(crate) flip_to_initiator: Option<(usize, u8)>,
}

/// Flips bits in these bytes if their turn has come.
fn damage(flip: &mut Option<(usize, u8)>, bytes: &mut [u8]) {
    let Some((after, bits)) = flip.take() else { return };
    match bytes.get_mut(after) {
        Some(byte) => *byte ^= bits,
        None => *flip = Some((after - bytes.len(), bits)),
    }
}

pub(crate) fn initiator_config(settings: Settings) -> InitiatorConfig {
    InitiatorConfig {
        initiator_name: INITIATOR.to_owned(),
        isid: Isid([0x80, 0, 0, 0, 0, 1]),
        target_name: Some(TARGET.to_owned()),
        settings,
    }
}

impl Pair {
    pub(crate) fn new(seed: u64, target: Settings, initiator: InitiatorConfig) -> Self {
        let config = TargetConfig { settings: target, ..TargetConfig::default() };
        let now = Time(1_000_000_000);
        Self {
            initiator: initiator::Connection::new(initiator),
            target: target::Connection::new(Arc::new(config), "test".to_owned(), now),
            ports: Ports::new(),
            disk: Disk { bytes: vec![0; DISK_BYTES], all_aligned: true },
            now,
            choices: Choices::new(seed),
            to_target: VecDeque::new(),
            to_initiator: VecDeque::new(),
            events: VecDeque::new(),
            pending: Vec::new(),
            hold_operations: false,
            cancelled: Vec::new(),
            actions: Vec::new(),
            closed: None,
            chunk_max: 1 << 20,
            flip_to_target: None,
            flip_to_initiator: None,
        }
    }

    /// A pair with a session, whose first unit attention was seen.
    pub(crate) fn logged_in(seed: u64, target: Settings, initiator: Settings) -> Self {
        let mut pair = Self::new(seed, target, initiator_config(initiator));
        pair.run();
        assert!(matches!(pair.events.pop_front(), Some(Event::LoggedIn)), "{:?}", pair.events);
        let done = pair.command([0; 16], Transfer::None);
        assert_eq!(
            done.status,
            Some(evenkeel_scsi::Status::CheckCondition),
            "a new nexus has a unit attention"
        );
        pair
    }

    /// Moves bytes and ends operations until nothing moves any more.
    pub(crate) fn run(&mut self) {
        while self.step() {}
    }

    pub(crate) fn step(&mut self) -> bool {
        let memory = self.target.memory();
        assert!(memory.data_in_bytes <= DATA_IN_BYTES_MAX, "read data is bounded: {memory:?}");
        assert!(memory.data_out_bytes <= DATA_OUT_BYTES_MAX, "Data-Out is bounded: {memory:?}");
        let mut moved = self.send_to_target() | self.send_to_initiator();
        moved |= self.receive_at_target() | self.receive_at_initiator();
        moved |= self.take_actions();
        if !self.pending.is_empty() && !self.hold_operations {
            let at = self.choices.below(self.pending.len());
            let (task, op) = self.pending.swap_remove(at);
            let outcome = if self.cancelled.contains(&task) {
                Err(BlockError::Aborted)
            } else {
                self.disk.carry_out(&op)
            };
            self.target.handle_completion(self.now, task, outcome);
            moved = true;
        }
        moved | self.take_actions()
    }

    fn chunk(&mut self, available: usize) -> usize {
        (1 + self.choices.below(self.chunk_max)).min(available)
    }

    fn send_to_target(&mut self) -> bool {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = self.initiator.transmit(&mut slices);
        let mut bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        let n = self.chunk(bytes.len());
        damage(&mut self.flip_to_target, &mut bytes[..n]);
        self.to_target.extend(&bytes[..n]);
        self.initiator.transmitted(n);
        n > 0
    }

    fn send_to_initiator(&mut self) -> bool {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = self.target.transmit(&mut slices);
        let mut bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        let n = self.chunk(bytes.len());
        damage(&mut self.flip_to_initiator, &mut bytes[..n]);
        self.to_initiator.extend(&bytes[..n]);
        self.target.transmitted(self.now, n);
        n > 0
    }

    fn receive_at_target(&mut self) -> bool {
        let n = self.chunk(self.to_target.len());
        let Some(space) = self.target.receive_space() else { return false };
        assert!(!space.is_empty());
        let n = n.min(space.len());
        for (to, from) in space.iter_mut().zip(self.to_target.drain(..n)) {
            *to = from;
        }
        if n > 0 {
            self.target.handle_received(self.now, n, &mut self.ports);
        }
        n > 0
    }

    fn receive_at_initiator(&mut self) -> bool {
        let n = self.chunk(self.to_initiator.len());
        let Some(space) = self.initiator.receive_space() else { return false };
        assert!(!space.is_empty());
        let n = n.min(space.len());
        for (to, from) in space.iter_mut().zip(self.to_initiator.drain(..n)) {
            *to = from;
        }
        if n > 0 {
            self.initiator.handle_received(n);
        }
        while let Some(event) = self.initiator.poll_event() {
            self.events.push_back(event);
        }
        n > 0
    }

    pub(crate) fn take_actions(&mut self) -> bool {
        let mut moved = false;
        while let Some(action) = self.target.poll_action() {
            moved = true;
            match action {
                Action::Submit { task, op, .. } => self.pending.push((task, op)),
                Action::Cancel { task } => self.cancelled.push(task),
                Action::Close { reason } => self.closed = Some(reason),
                other => self.actions.push(other),
            }
        }
        moved
    }

    pub(crate) fn submit(&mut self, cdb: [u8; 16], transfer: Transfer) -> RequestId {
        self.initiator.submit(Command { lun: 0, cdb, transfer }).expect("the window is open")
    }

    /// Sends a command and waits for its end.
    pub(crate) fn command(&mut self, cdb: [u8; 16], transfer: Transfer) -> Done {
        let id = self.submit(cdb, transfer);
        self.run();
        self.done(id)
    }

    pub(crate) fn done(&mut self, id: RequestId) -> Done {
        let found = self.events.iter().position(|event| matches!(event, Event::Done(of, _) if *of == id));
        let at = found.unwrap_or_else(|| panic!("{id:?} has not ended: {:?} {:?}", self.events, self.closed));
        match self.events.remove(at) {
            Some(Event::Done(_, done)) => done,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) -> Done {
        let cdb = write16(offset, data.len());
        self.command(cdb, Transfer::Out(Bytes::copy_from_slice(data).into()))
    }

    pub(crate) fn read(&mut self, offset: usize, len: usize) -> Done {
        self.command(read16(offset, len), Transfer::In(len as u32))
    }
}

pub(crate) fn read16(offset: usize, len: usize) -> [u8; 16] {
    rw16(0x88, offset, len)
}

pub(crate) fn write16(offset: usize, len: usize) -> [u8; 16] {
    rw16(0x8a, offset, len)
}

fn rw16(opcode: u8, offset: usize, len: usize) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[0] = opcode;
    cdb[2..10].copy_from_slice(&(offset as u64 / 512).to_be_bytes());
    cdb[10..14].copy_from_slice(&(len as u32 / 512).to_be_bytes());
    cdb
}
