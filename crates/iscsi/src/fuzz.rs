//! Entry points that take any bytes: for fuzzers, and for tests that run their findings again. They check what must
//! hold whatever a peer sends: no panic, no loop without an end, memory within the named bounds.

use crate::initiator::{self, Command, Event, InitiatorConfig, Transfer};
use crate::negotiate::{Negotiation, Settings};
use crate::pdu::{
    AhsSummary, BHS_BYTES, Bhs, DataOut, Isid, LoginRequest, LoginResponse, PduHeader, ScsiCommand, Stage,
    TaskFunction, U24, flags,
};
use crate::target::config::{
    DATA_IN_BYTES_MAX, DATA_OUT_BYTES_MAX, HELD_BYTES_MAX, OUTPUT_PDUS_MAX, TASKS_MAX,
};
use crate::target::{
    Action, Authentication, Connection, DiscoveredTarget, Lookup, NexusName, Opening, TargetConfig,
    TargetPorts,
};
use crate::text::{TextWriter, pairs};
use crate::transmit::Transmitter;
use crate::{chap, keys, receive};
use evenkeel_scsi::{LogicalUnit, LunConfig};
use evenkeel_types::{BlockOp, Bytes, Payload, Time, VolumeId};
use std::io::IoSlice;
use std::sync::Arc;

mod login;

pub use login::{fuzz_login, fuzz_login_answers};

const TARGET: &str = "iqn.2026-01.io.evenkeel:fuzz:v";
const VOLUME_BYTES: u64 = 64 << 20;

struct Ports {
    unit: Arc<LogicalUnit>,
    authentication: Authentication,
}

impl Ports {
    fn new(authentication: Authentication) -> Self {
        let config = LunConfig::new(VolumeId(1), "v", VOLUME_BYTES, [1; 16], TARGET);
        let unit = Arc::new(LogicalUnit::new(config).expect("the volume is well-formed"));
        Self { unit, authentication }
    }
}

impl TargetPorts for Ports {
    fn discover(&mut self, _: &str) -> Vec<DiscoveredTarget> {
        vec![DiscoveredTarget { name: TARGET.to_owned(), addresses: vec!["127.0.0.1:3260,1".to_owned()] }]
    }
    fn lookup(&mut self, _: &str, _: &str) -> Lookup {
        Lookup::Found { unit: Arc::clone(&self.unit), volume: VolumeId(1) }
    }
    fn authentication(&mut self, _: &str, _: Option<&str>) -> Authentication {
        self.authentication.clone()
    }
    fn fill_random(&mut self, out: &mut [u8]) {
        out.fill(login::RANDOM);
    }
    fn open_session(&mut self, _: &NexusName) -> Opening {
        Opening::Ready(1)
    }
    fn session(&mut self, _: u16) -> Option<NexusName> {
        None
    }
}

fn login(text: TextWriter) -> Vec<u8> {
    let mut request = LoginRequest::empty();
    request.opcode |= flags::IMMEDIATE;
    // Operational stage, ready for the full feature phase.
    request.flags = flags::TRANSIT | 0x07;
    request.cmd_sn = 1.into();
    let mut transmitter = Transmitter::default();
    transmitter.push(request.bhs(), Bytes::from(text.into_bytes()).into());
    gathered(&transmitter)
}

fn gathered(transmitter: &Transmitter) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 4];
    let used = transmitter.gather(&mut slices);
    slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
}

/// A login that is granted, with all forms of unsolicited data allowed.
#[must_use]
pub fn login_bytes() -> Vec<u8> {
    let mut text = TextWriter::default();
    for (name, value) in [
        ("InitiatorName", "iqn.2026-01.io.evenkeel:fuzz"),
        ("TargetName", TARGET),
        ("InitialR2T", "No"),
        ("ImmediateData", "Yes"),
        ("MaxOutstandingR2T", "4"),
    ] {
        text.push(name, value);
    }
    login(text)
}

/// Bytes from an initiator. If the first is odd, the rest follow a login that was granted.
///
/// # Panics
/// If a bound of the target's memory is broken.
pub fn fuzz_target_bytes(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let mut ports = Ports::new(Authentication::None);
    let mut target = Connection::new(Arc::new(TargetConfig::default()), "fuzz".to_owned(), Time::ZERO);
    let mut now = Time::ZERO;
    if first & 1 == 1 {
        feed(&mut target, &mut ports, now, &login_bytes());
    }
    for part in data.chunks(1 + usize::from(first >> 1) * 8) {
        now = Time(now.0 + 1_000_000);
        feed(&mut target, &mut ports, now, part);
        target.handle_timeout(now);
        check_bounds(&target);
    }
}

fn feed(target: &mut Connection, ports: &mut Ports, now: Time, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let Some(space) = target.receive_space() else { break };
        let n = space.len().min(bytes.len());
        space[..n].copy_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        target.handle_received(now, n, ports);
        act(target, now);
    }
    let mut slices = [IoSlice::new(&[]); 8];
    let used = target.transmit(&mut slices);
    let sent = slices[..used].iter().map(|slice| slice.len()).sum();
    target.transmitted(now, sent);
    act(target, now);
}

fn act(target: &mut Connection, now: Time) {
    while let Some(action) = target.poll_action() {
        match action {
            Action::Submit { task, op, .. } => {
                let range = op.range().map_or(0, evenkeel_types::ByteRange::end);
                assert!(range <= VOLUME_BYTES, "operations stay within their volume");
                let len = match op {
                    BlockOp::Read { at } => at.len as usize,
                    _ => 0,
                };
                target.handle_completion(now, task, Ok(Payload::zeros(len)));
            }
            Action::ManageOthers { id, .. } => target.handle_others_managed(now, id),
            _ => {}
        }
    }
}

fn check_bounds(target: &Connection) {
    // One command alone may be larger than the bound; its PDUs come on top of what was waiting.
    let pdus_per_receive = receive::RECEIVE_BUFFER_BYTES / BHS_BYTES + 1;
    let usage = target.memory();
    assert!(usage.tasks <= TASKS_MAX, "tasks are bounded");
    assert!(usage.held_bytes <= HELD_BYTES_MAX, "held PDUs are bounded");
    let largest = evenkeel_scsi::limits::TRANSFER_BYTES_MAX.max(evenkeel_scsi::limits::WRITE_SAME_BYTES_MAX);
    assert!(usage.data_out_bytes <= DATA_OUT_BYTES_MAX.max(largest as usize), "Data-Out is bounded");
    // Data-In in the shortest segments that can be declared.
    let data_in_pdus = DATA_IN_BYTES_MAX / keys::LENGTH_MIN as usize + TASKS_MAX;
    assert!(usage.output_pdus <= OUTPUT_PDUS_MAX + pdus_per_receive + data_in_pdus, "output is bounded");
}

/// Bytes as the text of a login: parsed, and answered by all rules.
pub fn fuzz_text_keys(data: &[u8]) {
    let mut negotiation = Negotiation::new(Settings::default(), false);
    let mut offered = Negotiation::new(Settings::default(), false);
    let mut out = TextWriter::default();
    for (name, value) in pairs(data).flatten() {
        if let Some(bytes) = chap::decode(value) {
            assert!((1..=keys::BINARY_BYTES_MAX).contains(&bytes.len()), "binary values are bounded");
            assert_eq!(
                chap::decode(&chap::encode(&bytes)),
                Some(bytes),
                "a binary value is its bytes in any form"
            );
        }
        let chosen = chap::Algorithm::choose(value, &chap::Algorithm::ALL);
        assert!(chosen.is_none() || value.contains(['5', '6', '7', '8']), "only what was offered is chosen");
        let Some(key) = keys::find(name) else { continue };
        if negotiation.note(key).is_ok() {
            // Whether the other side is right is its business; that what it says breaks nothing is ours.
            negotiation.respond(key, value, &mut out);
            let _ = offered.accept(key, value);
        }
    }
    for pair in pairs(&out.into_bytes()) {
        let (name, value) = pair.expect("our own answers are well-formed");
        assert!(keys::find(name).is_some() && !value.is_empty(), "our own answers are about known keys");
    }
}

/// Bytes as a header with additional header segments behind it, viewed as each kind.
pub fn fuzz_pdu(data: &[u8]) {
    let Some((first, rest)) = data.split_first_chunk::<BHS_BYTES>() else { return };
    let bhs = Bhs::new(*first);
    assert_eq!(bhs.to_bytes(), *first, "a header is its bytes");
    assert_eq!(bhs.view::<ScsiCommand>().bhs(), bhs, "a view changes nothing");
    assert_eq!(bhs.view::<DataOut>().bhs(), bhs, "a view changes nothing");
    let _ = AhsSummary::parse(&rest[..rest.len().min(usize::from(bhs.total_ahs_len) * 4)]);
}

/// What a target answers to the two requests of our initiator's login, when it grants all of it.
#[must_use]
pub fn login_response_bytes() -> Vec<u8> {
    let mut transmitter = Transmitter::default();
    let steps = [(Stage::Security, Stage::Operational), (Stage::Operational, Stage::FullFeature)];
    for (stat_sn, (stage, next)) in (0u32..).zip(steps) {
        let mut response = LoginResponse::empty();
        response.flags = flags::TRANSIT | Stage::flags(stage, next);
        response.stat_sn = stat_sn.into();
        response.exp_cmd_sn = 1.into();
        response.max_cmd_sn = 64.into();
        response.tsih = 1.into();
        transmitter.push(response.bhs(), Payload::default());
    }
    gathered(&transmitter)
}

/// Bytes from a target. If the first is odd, the rest follow a login that was granted, and our initiator has one
/// request of each kind open.
///
/// # Panics
/// If a bound of the initiator's memory is broken.
pub fn fuzz_initiator_bytes(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let mut initiator = initiator::Connection::new(InitiatorConfig {
        initiator_name: "iqn.2026-01.io.evenkeel:fuzz".to_owned(),
        isid: Isid::default(),
        target_name: Some(TARGET.to_owned()),
        settings: Settings::default(),
    });
    if first & 1 == 1 {
        take(&mut initiator, &login_response_bytes(), |_| ());
        open_requests(&mut initiator);
    }
    for part in data.chunks(1 + usize::from(first >> 1) * 8) {
        take(&mut initiator, part, |_| ());
    }
}

/// Requests with the tags 0x10000, 0x20001, and so on.
fn open_requests(initiator: &mut initiator::Connection) {
    let command = |transfer| Command { lun: 0, cdb: [0; 16], transfer };
    let transfers = [
        Transfer::In(4096),
        Transfer::In(64 << 10),
        Transfer::Out(Payload::zeros(512)),
        Transfer::Out(Payload::zeros(1 << 20)),
        Transfer::None,
    ];
    let commands: Vec<_> =
        transfers.map(|transfer| initiator.submit(command(transfer)).expect("the session is open")).into();
    initiator.ping(Bytes::from_static(b"ping")).expect("the session is open");
    initiator.send_targets("").expect("the session is open");
    initiator.manage(TaskFunction::AbortTask, 0, Some(commands[0])).expect("the session is open");
    initiator.manage(TaskFunction::LogicalUnitReset, 0, None).expect("the session is open");
    initiator.logout().expect("the session is open");
}

fn take(initiator: &mut initiator::Connection, mut bytes: &[u8], mut heard: impl FnMut(Event)) {
    while !bytes.is_empty() {
        let Some(space) = initiator.receive_space() else { return };
        let n = space.len().min(bytes.len());
        assert!(n > 0, "an open connection takes bytes");
        space[..n].copy_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        initiator.handle_received(n);
        while let Some(event) = initiator.poll_event() {
            heard(event);
        }
        // The last R2T comes on top: for one burst, in the shortest segments.
        let burst_pdus = (U24::MAX / keys::LENGTH_MIN) as usize + 1;
        assert!(initiator.output_pdus() <= initiator::OUTPUT_PDUS_MAX + burst_pdus, "output is bounded");
    }
}
