//! What a PDU costs in CPU time, from bytes to what is to be done and answered: `make bench-pdu`.
//!
//! The CPU time of this thread is measured, not the time that passes, so that a busy machine disturbs it little. The bytes
//! are made before; taking them in, what follows from them, and giving the answers out is what counts. Operations end at
//! once. Each figure is the lowest of several rounds.

use evenkeel_iscsi::pdu::{
    BHS_BYTES, Bhs, DataOut, LoginRequest, NopOut, Opcode, PduHeader, R2t, RESERVED_TAG, ScsiCommand, U24,
    flags,
};
use evenkeel_iscsi::target::{
    Action, Authentication, Connection, DiscoveredTarget, Lookup, NexusName, Opening, TargetConfig,
    TargetPorts,
};
use evenkeel_scsi::{LogicalUnit, LunConfig};
use evenkeel_types::checksum::crc32c;
use evenkeel_types::{BlockOp, Payload, Time, VolumeId};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

const TARGET: &str = "iqn.2026-01.io.evenkeel:bench:v1";
const ROUNDS: usize = 7;
/// Groups of PDUs in a round.
const GROUPS: usize = 20;
/// PDUs in a group: their commands fit in the window, and what they write in the buffers of a connection.
const GROUP: usize = 100;
/// Bytes of a write that R2Ts are sent for.
const SOLICITED_BYTES: usize = 128 << 10;

struct Ports(Arc<LogicalUnit>);

impl TargetPorts for Ports {
    fn discover(&mut self, _: &str) -> Vec<DiscoveredTarget> {
        Vec::new()
    }
    fn lookup(&mut self, _: &str, _: &str) -> Lookup {
        Lookup::Found { unit: Arc::clone(&self.0), volume: VolumeId(1) }
    }
    fn authentication(&mut self, _: &str, _: Option<&str>) -> Authentication {
        Authentication::None
    }
    fn fill_random(&mut self, _: &mut [u8]) {}
    fn open_session(&mut self, _: &NexusName) -> Opening {
        Opening::Ready(1)
    }
    fn session(&mut self, _: u16) -> Option<NexusName> {
        None
    }
}

struct Target {
    connection: Connection,
    ports: Ports,
    digests: bool,
    cmd_sn: u32,
    /// The R2Ts that were sent.
    r2ts: Vec<R2t>,
}

impl Target {
    fn new(digests: bool) -> Self {
        let mut target = Self::connected();
        let with = if digests { "CRC32C" } else { "None" };
        let mut text = format!("InitiatorName=iqn.2026-01.bench:i\0TargetName={TARGET}\0InitialR2T=No\0");
        text.push_str(&format!("HeaderDigest={with}\0DataDigest={with}\0MaxRecvDataSegmentLength=262144\0"));
        target.log_in(&text);
        target.digests = digests;
        // The unit attention of a new nexus.
        let first = target.command([0; 16], flags::FINAL, 0, &[]);
        target.give(&first);
        target
    }

    fn connected() -> Self {
        let config = LunConfig::new(VolumeId(1), "v1", 64 << 20, [7; 16], TARGET);
        Self {
            connection: Connection::new(Arc::new(TargetConfig::default()), "bench".to_owned(), Time(1)),
            ports: Ports(Arc::new(LogicalUnit::new(config).expect("the volume is well-formed"))),
            digests: false,
            cmd_sn: 1,
            r2ts: Vec::with_capacity(GROUP),
        }
    }

    fn log_in(&mut self, text: &str) {
        let mut login = LoginRequest::empty();
        login.opcode |= flags::IMMEDIATE;
        login.flags = flags::TRANSIT | 0x07;
        login.cmd_sn = self.cmd_sn.into();
        let bytes = self.encode(&login, text.as_bytes());
        self.give(&bytes);
        assert!(self.connection.info().full_feature, "the login is granted");
    }

    fn encode(&self, header: &impl PduHeader, data: &[u8]) -> Vec<u8> {
        let mut bhs = header.bhs();
        bhs.data_segment_len = U24::new(data.len() as u32);
        let mut bytes = bhs.to_bytes().to_vec();
        if self.digests {
            bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        }
        let start = bytes.len();
        bytes.extend_from_slice(data);
        bytes.resize(start + data.len().next_multiple_of(4), 0);
        if self.digests && !data.is_empty() {
            bytes.extend_from_slice(&crc32c(&bytes[start..]).to_le_bytes());
        }
        bytes
    }

    /// Takes bytes in, ends all operations at once, and takes the answers out.
    fn give(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.connection.receive_space().expect("the connection is open");
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            self.connection.handle_received(Time(2), n, &mut self.ports);
            while let Some(action) = self.connection.poll_action() {
                if let Action::Submit { task, op, .. } = action {
                    let len = match op {
                        BlockOp::Read { at } => at.len as usize,
                        _ => 0,
                    };
                    self.connection.handle_completion(Time(2), task, Ok(Payload::zeros(len)));
                }
            }
        }
        loop {
            let mut slices = [IoSlice::new(&[]); 64];
            let used = self.connection.transmit(&mut slices);
            let sent = slices[..used].iter().map(|slice| slice.len()).sum();
            if sent == 0 {
                return;
            }
            let first = slices[0].first_chunk::<BHS_BYTES>().map(|bytes| Bhs::new(*bytes));
            if let Some(bhs) = first.filter(|bhs| bhs.kind() == Some(Opcode::R2t)) {
                self.r2ts.push(*bhs.view::<R2t>());
            }
            self.connection.transmitted(Time(2), sent);
        }
    }

    fn command(&mut self, cdb: [u8; 16], flags: u8, expected: u32, data: &[u8]) -> Vec<u8> {
        let mut command = ScsiCommand::empty();
        command.flags = flags | ScsiCommand::ATTRIBUTE_SIMPLE;
        command.itt = self.cmd_sn.into();
        command.cmd_sn = self.cmd_sn.into();
        command.expected_data_len = expected.into();
        command.cdb = cdb;
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        self.encode(&command, data)
    }

    fn ping(&mut self) -> Vec<u8> {
        let mut ping = NopOut::empty();
        ping.opcode |= flags::IMMEDIATE;
        ping.flags = flags::FINAL;
        ping.itt = 1.into();
        ping.ttt = RESERVED_TAG.into();
        ping.cmd_sn = self.cmd_sn.into();
        self.encode(&ping, &[])
    }

    /// A write without data in the command.
    fn large_write(&mut self) -> Vec<u8> {
        let blocks = (SOLICITED_BYTES / 512) as u16;
        self.command(rw10(0x2a, blocks), flags::FINAL | flags::WRITE, SOLICITED_BYTES as u32, &[])
    }

    /// The data that the next R2T asks for.
    fn data_out(&mut self, data: &[u8]) -> Vec<u8> {
        let r2t = self.r2ts.pop().expect("an R2T was sent for each write");
        let mut pdu = DataOut::empty();
        pdu.flags = flags::FINAL;
        pdu.itt = r2t.itt;
        pdu.ttt = r2t.ttt;
        self.encode(&pdu, data)
    }
}

fn rw10(opcode: u8, blocks: u16) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[0] = opcode;
    cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
    cdb
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Prints the CPU time for each of the PDUs that `prepare` gives, with `data` bytes in each.
fn measure(what: &str, target: &mut Target, data: usize, prepare: impl Fn(&mut Target) -> Vec<Vec<u8>>) {
    let round = |target: &mut Target| -> Duration {
        let group = |_| {
            let pdus = prepare(target);
            assert_eq!(pdus.len(), GROUP);
            let start = cpu_time();
            pdus.iter().for_each(|pdu| target.give(black_box(pdu)));
            cpu_time().saturating_sub(start)
        };
        (0..GROUPS).map(group).sum()
    };
    let lowest = (0..ROUNDS).map(|_| round(target)).min().unwrap_or_default();
    print(what, lowest, data);
}

fn print(what: &str, lowest: Duration, data: usize) {
    let pdus = (GROUPS * GROUP) as f64;
    let nanos = lowest.as_nanos() as f64 / pdus;
    let rate = data as f64 * pdus / lowest.as_secs_f64() / f64::from(1 << 30);
    let rate = if data == 0 { String::new() } else { format!("{rate:8.2} GiB/s") };
    println!("{what:<56} {nanos:>8.0} ns {rate}");
}

fn each(of: impl Fn(&mut Target) -> Vec<u8>) -> impl Fn(&mut Target) -> Vec<Vec<u8>> {
    move |target| (0..GROUP).map(|_| of(target)).collect()
}

fn main() {
    println!("CPU time for each PDU at the target, the least of {ROUNDS} rounds of {}", GROUPS * GROUP);
    for digests in [false, true] {
        let with = if digests { "with digests" } else { "without digests" };
        let target = &mut Target::new(digests);
        measure(&format!("NOP-Out, {with}"), target, 0, each(Target::ping));
        let read = |target: &mut Target| target.command(rw10(0x28, 8), flags::FINAL | flags::READ, 4096, &[]);
        measure(&format!("SCSI Command, READ(10) of 4 KiB, {with}"), target, 0, each(read));
        let data = [7; 4096];
        let write =
            |target: &mut Target| target.command(rw10(0x2a, 8), flags::FINAL | flags::WRITE, 4096, &data);
        measure(&format!("SCSI Command, WRITE(10) with 4 KiB, {with}"), target, 4096, each(write));
        let large = vec![7; SOLICITED_BYTES];
        let data_out = |target: &mut Target| {
            for _ in 0..GROUP {
                let write = target.large_write();
                target.give(&write);
            }
            (0..GROUP).map(|_| target.data_out(&large)).collect()
        };
        measure(&format!("Data-Out of 128 KiB, {with}"), target, SOLICITED_BYTES, data_out);
    }
    let text =
        format!("InitiatorName=iqn.2026-01.bench:i\0TargetName={TARGET}\0InitialR2T=No\0ImmediateData=Yes\0");
    let group = |_| {
        let mut targets: Vec<Target> = (0..GROUP).map(|_| Target::connected()).collect();
        let start = cpu_time();
        targets.iter_mut().for_each(|target| target.log_in(&text));
        cpu_time().saturating_sub(start)
    };
    let logins = |_| (0..GROUPS).map(group).sum();
    print("Login Request of one step", (0..ROUNDS).map(logins).min().unwrap_or_default(), 0);
}
