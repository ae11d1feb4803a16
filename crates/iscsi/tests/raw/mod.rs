//! A target that is spoken to in single PDUs, so that what no proper initiator sends can be sent.

#![allow(dead_code)]

use evenkeel_iscsi::pdu::{
    BHS_BYTES, Bhs, DataOut, LoginRequest, NopOut, Opcode, PduHeader, RESERVED_TAG, ScsiCommand,
    TaskFunction, TaskManagementRequest, U24, flags,
};
use evenkeel_iscsi::target::{
    Action, Authentication, CloseReason, Connection, ConnectionId, DiscoveredTarget, Lookup, NexusName,
    Opening, Sessions, TargetConfig, TargetPorts, TaskId,
};
use evenkeel_scsi::{LogicalUnit, LunConfig};
use evenkeel_types::{BlockOp, BlockOutcome, Payload, Time, VolumeId};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const TARGET: &str = "iqn.2026-01.io.evenkeel:test:v1";

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
    pub(crate) nexus: Option<NexusName>,
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
        self.nexus = Some(nexus.clone());
        self.sessions.open(nexus, self.connection).opening
    }
    fn session(&mut self, tsih: u16) -> Option<NexusName> {
        self.sessions.nexus(tsih).cloned()
    }
}

pub(crate) type Answer = (Bhs, Vec<u8>);

pub(crate) struct Raw {
    pub(crate) target: Connection,
    pub(crate) ports: Ports,
    pub(crate) now: Time,
    pub(crate) submitted: Vec<(TaskId, BlockOp)>,
    /// When the commands of all operations so far had arrived.
    pub(crate) arrived: Vec<Time>,
    pub(crate) cancelled: Vec<TaskId>,
    pub(crate) others: Vec<Action>,
    pub(crate) closed: Option<CloseReason>,
    pub(crate) cmd_sn: u32,
    pub(crate) itt: u32,
    /// Bytes of a data digest in what the target sends.
    pub(crate) digest_len: usize,
}

impl Raw {
    pub(crate) fn new() -> Self {
        Self::with(TargetConfig::default())
    }

    pub(crate) fn with(config: TargetConfig) -> Self {
        let lun = LunConfig::new(VolumeId(1), "v1", 16 << 20, [7; 16], TARGET);
        let address = vec!["127.0.0.1:3260,1".to_owned(), "127.0.0.1:3261,2".to_owned()];
        let ports = Ports {
            unit: Arc::new(LogicalUnit::new(lun).expect("the volume is well-formed")),
            sessions: Sessions::default(),
            connection: ConnectionId(1),
            elsewhere: Lookup::NotFound,
            targets: vec![DiscoveredTarget { name: TARGET.to_owned(), addresses: address }],
            nexus: None,
            authentication: Authentication::None,
            random: 1,
        };
        let now = Time(1_000_000_000);
        Self {
            target: Connection::new(Arc::new(config), "raw".to_owned(), now),
            ports,
            now,
            submitted: Vec::new(),
            arrived: Vec::new(),
            cancelled: Vec::new(),
            others: Vec::new(),
            closed: None,
            cmd_sn: 1,
            itt: 100,
            digest_len: 0,
        }
    }

    /// A session without digests; its unit attention was seen.
    pub(crate) fn logged_in(extra: &[(&str, &str)]) -> Self {
        let mut raw = Self::new();
        raw.log_in(extra);
        raw
    }

    pub(crate) fn log_in(&mut self, extra: &[(&str, &str)]) {
        let mut keys = vec![("InitiatorName", "iqn.2026-01.test:i"), ("TargetName", TARGET)];
        keys.extend_from_slice(extra);
        let answers = self.login(flags::TRANSIT | 0x07, &keys);
        assert_eq!(status_of(&answers[0]), 0, "{answers:?}");
        assert_eq!(answers[0].0.flags, flags::TRANSIT | 0x07);
        if extra.contains(&("DataDigest", "CRC32C")) {
            self.digest_len = 4;
        }
        let answers = self.command([0; 16], flags::FINAL, 0, &[]);
        assert_eq!(answers[0].0.specific[1], 2, "a new nexus has a unit attention");
    }

    pub(crate) fn login(&mut self, flags: u8, keys: &[(&str, &str)]) -> Vec<Answer> {
        let text: String = keys.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
        self.login_text(flags, text.as_bytes())
    }

    pub(crate) fn login_text(&mut self, flags: u8, text: &[u8]) -> Vec<Answer> {
        let mut request = LoginRequest::empty();
        request.opcode |= flags::IMMEDIATE;
        request.flags = flags;
        request.cmd_sn = self.cmd_sn.into();
        self.send(&request, text)
    }

    /// Sends a PDU and gives what is answered.
    pub(crate) fn send(&mut self, header: &impl PduHeader, data: &[u8]) -> Vec<Answer> {
        let mut bhs = header.bhs();
        bhs.data_segment_len = U24::new(data.len() as u32);
        let mut bytes = bhs.to_bytes().to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.send_bytes(&bytes)
    }

    pub(crate) fn send_bytes(&mut self, mut bytes: &[u8]) -> Vec<Answer> {
        while !bytes.is_empty() {
            let Some(space) = self.target.receive_space() else { break };
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            self.target.handle_received(self.now, n, &mut self.ports);
        }
        self.take()
    }

    /// Takes actions, and all that the target sends.
    pub(crate) fn take(&mut self) -> Vec<Answer> {
        let mut bytes = Vec::new();
        loop {
            while let Some(action) = self.target.poll_action() {
                match action {
                    Action::Submit { task, op, arrived, .. } => {
                        self.submitted.push((task, op));
                        self.arrived.push(arrived);
                    }
                    Action::Cancel { task } => self.cancelled.push(task),
                    Action::Close { reason } => self.closed = Some(reason),
                    other => self.others.push(other),
                }
            }
            let mut slices = [IoSlice::new(&[]); 32];
            let used = self.target.transmit(&mut slices);
            let part: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            if part.is_empty() {
                return split(&bytes, self.digest_len);
            }
            self.target.transmitted(self.now, part.len());
            bytes.extend_from_slice(&part);
        }
    }

    pub(crate) fn scsi(&mut self, cdb: [u8; 16], flags: u8, expected: u32) -> ScsiCommand {
        let mut command = ScsiCommand::empty();
        command.flags = flags | ScsiCommand::ATTRIBUTE_SIMPLE;
        command.itt = self.itt.into();
        command.cmd_sn = self.cmd_sn.into();
        command.expected_data_len = expected.into();
        command.cdb = cdb;
        self.itt += 1;
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        command
    }

    pub(crate) fn command(&mut self, cdb: [u8; 16], flags: u8, expected: u32, data: &[u8]) -> Vec<Answer> {
        let command = self.scsi(cdb, flags, expected);
        self.send(&command, data)
    }

    pub(crate) fn data_out(
        &mut self,
        itt: u32,
        ttt: u32,
        sn: u32,
        at: u32,
        last: bool,
        data: &[u8],
    ) -> Vec<Answer> {
        let mut pdu = DataOut::empty();
        pdu.flags = if last { flags::FINAL } else { 0 };
        pdu.itt = itt.into();
        pdu.ttt = ttt.into();
        pdu.data_sn = sn.into();
        pdu.buffer_offset = at.into();
        self.send(&pdu, data)
    }

    pub(crate) fn manage(&mut self, function: TaskFunction, itt: u32, ref_cmd_sn: u32) -> Vec<Answer> {
        let mut pdu = TaskManagementRequest::empty();
        pdu.opcode |= flags::IMMEDIATE;
        pdu.flags = flags::FINAL | function as u8;
        pdu.itt = 0x8000_0000.into();
        pdu.referenced_task_tag = itt.into();
        pdu.ref_cmd_sn = ref_cmd_sn.into();
        pdu.cmd_sn = self.cmd_sn.into();
        self.send(&pdu, &[])
    }

    pub(crate) fn ping(&mut self, data: &[u8]) -> Vec<Answer> {
        let mut pdu = NopOut::empty();
        pdu.opcode |= flags::IMMEDIATE;
        pdu.flags = flags::FINAL;
        pdu.itt = 77.into();
        pdu.ttt = RESERVED_TAG.into();
        pdu.cmd_sn = self.cmd_sn.into();
        self.send(&pdu, data)
    }

    /// Ends the oldest operation.
    pub(crate) fn complete(&mut self, outcome: BlockOutcome) -> Vec<Answer> {
        let (task, _) = self.submitted.remove(0);
        self.target.handle_completion(self.now, task, outcome);
        self.take()
    }

    pub(crate) fn good(&mut self) -> Vec<Answer> {
        self.complete(Ok(Payload::default()))
    }

    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Answer> {
        self.now = self.now + time;
        self.target.handle_timeout(self.now);
        self.take()
    }
}

fn split(mut bytes: &[u8], digest_len: usize) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((first, rest)) = bytes.split_first_chunk::<BHS_BYTES>() {
        let bhs = Bhs::new(*first);
        let len = bhs.data_segment_len.get() as usize;
        answers.push((bhs, rest[..len].to_vec()));
        let digest_len = if len == 0 { 0 } else { digest_len };
        bytes = &rest[len.next_multiple_of(4) + digest_len..];
    }
    answers
}

/// Status class and detail of a login response.
pub(crate) fn status_of(answer: &Answer) -> u16 {
    assert_eq!(answer.0.kind(), Some(Opcode::LoginResponse));
    let bytes = answer.0.to_bytes();
    u16::from_be_bytes([bytes[36], bytes[37]])
}

pub(crate) fn text_of(answer: &Answer) -> String {
    String::from_utf8(answer.1.clone()).expect("text is UTF-8")
}

/// Sense key, code and qualifier of a SCSI response.
pub(crate) fn sense_of(answer: &Answer) -> (u8, u8, u8) {
    assert_eq!(answer.0.kind(), Some(Opcode::ScsiResponse), "{answer:?}");
    assert_eq!(answer.0.specific, [0, 2], "CHECK CONDITION");
    (answer.1[4] & 0xf, answer.1[14], answer.1[15])
}

pub(crate) fn kinds(answers: &[Answer]) -> Vec<Opcode> {
    answers.iter().map(|(bhs, _)| bhs.kind().expect("the target sends known PDUs")).collect()
}

pub(crate) fn write10(lba: u32, blocks: u16) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[0] = 0x2a;
    cdb[2..6].copy_from_slice(&lba.to_be_bytes());
    cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
    cdb
}

pub(crate) fn read10(lba: u32, blocks: u16) -> [u8; 16] {
    let mut cdb = write10(lba, blocks);
    cdb[0] = 0x28;
    cdb
}
