//! What a PDU costs in CPU time, from bytes to what is to be done and answered: `make bench-pdu`.
//!
//! The CPU time of this thread is measured, not the time that passes, so that a busy machine disturbs it little. Each
//! figure is the lowest of several rounds.

use evenkeel_iscsi::pdu::{
    BHS_BYTES, DataOut, LoginRequest, NopOut, PduHeader, R2t, RESERVED_TAG, ScsiCommand, U24, flags,
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
/// PDUs (or exchanges) in a round.
const BATCH: u32 = 2_000;

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
    /// The last header that was sent.
    answer: [u8; BHS_BYTES],
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
        target.command([0; 16], flags::FINAL, 0, &[]);
        target
    }

    fn connected() -> Self {
        let config = LunConfig::new(VolumeId(1), "v1", 64 << 20, [7; 16], TARGET);
        Self {
            connection: Connection::new(Arc::new(TargetConfig::default()), "bench".to_owned(), Time(1)),
            ports: Ports(Arc::new(LogicalUnit::new(config).expect("the volume is well-formed"))),
            digests: false,
            cmd_sn: 1,
            answer: [0; BHS_BYTES],
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
            self.answer.copy_from_slice(&slices[0][..BHS_BYTES]);
            self.connection.transmitted(Time(2), sent);
        }
    }

    fn command(&mut self, cdb: [u8; 16], flags: u8, expected: u32, data: &[u8]) {
        let mut command = ScsiCommand::empty();
        command.flags = flags | ScsiCommand::ATTRIBUTE_SIMPLE;
        command.itt = 7.into();
        command.cmd_sn = self.cmd_sn.into();
        command.expected_data_len = expected.into();
        command.cdb = cdb;
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        let bytes = self.encode(&command, data);
        self.give(&bytes);
    }

    fn ping(&mut self) {
        let mut ping = NopOut::empty();
        ping.opcode |= flags::IMMEDIATE;
        ping.flags = flags::FINAL;
        ping.itt = 1.into();
        ping.ttt = RESERVED_TAG.into();
        ping.cmd_sn = self.cmd_sn.into();
        let bytes = self.encode(&ping, &[]);
        self.give(&bytes);
    }

    /// A write whose data is asked for by an R2T: one command PDU and one Data-Out.
    fn solicited(&mut self, data: &[u8]) {
        let blocks = (data.len() / 512) as u16;
        self.command(rw10(0x2a, blocks), flags::FINAL | flags::WRITE, data.len() as u32, &[]);
        let r2t = *evenkeel_iscsi::pdu::Bhs::new(self.answer).view::<R2t>();
        let mut pdu = DataOut::empty();
        pdu.flags = flags::FINAL;
        pdu.itt = r2t.itt;
        pdu.ttt = r2t.ttt;
        let bytes = self.encode(&pdu, data);
        self.give(&bytes);
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

/// Prints the CPU time of one run of `once`, which takes in this many PDUs and bytes of data.
fn measure(what: &str, pdus: u32, data: usize, mut once: impl FnMut()) {
    let lowest = (0..ROUNDS)
        .map(|_| {
            let start = cpu_time();
            (0..BATCH).for_each(|_| once());
            cpu_time().saturating_sub(start)
        })
        .min()
        .unwrap_or_default();
    let nanos = lowest.as_nanos() as f64 / f64::from(BATCH * pdus);
    let rate = if data == 0 {
        String::new()
    } else {
        let bytes = data as f64 * f64::from(BATCH);
        format!("{:8.2} GiB/s", bytes / lowest.as_secs_f64() / f64::from(1 << 30))
    };
    println!("{what:<52} {nanos:>9.0} ns per PDU {rate}");
}

fn main() {
    println!("CPU time at the target, answers included; the least of {ROUNDS} rounds of {BATCH}");
    for digests in [false, true] {
        let with = if digests { "with digests" } else { "without digests" };
        let mut target = Target::new(digests);
        measure(&format!("NOP-Out, {with}"), 1, 0, || target.ping());
        let mut target = Target::new(digests);
        let read = flags::FINAL | flags::READ;
        measure(&format!("SCSI Command, READ(10) of 4 KiB, {with}"), 1, 0, || {
            target.command(rw10(0x28, 8), read, 4096, &[]);
        });
        let mut target = Target::new(digests);
        let data = vec![7; 4096];
        measure(&format!("SCSI Command, WRITE(10) of 4 KiB in it, {with}"), 1, 4096, || {
            target.command(rw10(0x2a, 8), flags::FINAL | flags::WRITE, 4096, black_box(&data));
        });
        let mut target = Target::new(digests);
        let data = vec![7; 128 << 10];
        measure(&format!("the same and a Data-Out of 128 KiB, {with}"), 2, 128 << 10, || {
            target.solicited(black_box(&data));
        });
    }
    let text =
        format!("InitiatorName=iqn.2026-01.bench:i\0TargetName={TARGET}\0InitialR2T=No\0ImmediateData=Yes\0");
    measure("Login Request of one step, connection included", 1, 0, || Target::connected().log_in(&text));
}
