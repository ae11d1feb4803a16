use super::*;
use crate::fuzz::fuzz_frames;
use crate::header::{BODY_BYTES_MAX, GroupHash, HEADER_BYTES, PAYLOAD_BYTES_MAX, WIRE_VERSION};
use crate::hello::{HelloRefusal, Local, Peer};
use crate::message::*;
use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::store_op::RegionImage;
use evenkeel_types::{
    BlockRange, ByteRange, Bytes, Epoch, ExtentId, Incarnation, Payload, Region, Regions, ServerId, Version,
    VolumeId, WriteId,
};
use proptest::prelude::*;

const SENDER: Peer = Peer { server: ServerId(3), incarnation: Incarnation(7) };
const EXTENT: ExtentId = ExtentId { volume: VolumeId(5), index: 9 };

fn group() -> GroupHash {
    GroupHash::of("g")
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(SENDER, group()).encode(message).iter().for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

/// Feeds bytes in pieces of at most `step`.
fn decode(bytes: &[u8], step: usize) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::new(Some((SENDER, group())));
    let (mut left, mut frames) = (bytes, Vec::new());
    while !left.is_empty() {
        let space = decoder.receive_space();
        let take = space.len().min(left.len()).min(step);
        space[..take].copy_from_slice(&left[..take]);
        left = &left[take..];
        decoder.handle_received(take);
        while let Some(frame) = decoder.poll_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn write_request(len: u32) -> Message {
    let data: Vec<u8> = (0..len).map(|n| (n / 512) as u8).collect();
    Message::Request(Request {
        number: 77,
        extent: EXTENT,
        epoch: Epoch(12),
        op: PieceOp::Write { at: ByteRange::new(0, len), data: Bytes::from(data) },
        identity: Some(WriteId { gateway: SENDER.server, incarnation: SENDER.incarnation, number: 4 }),
        oldest_open: 3,
        oldest_of_all: 3,
        hops: 1,
        proof_age_ms: 20,
        admitted: 7,
    })
}

fn samples() -> Vec<Message> {
    let version = Version { epoch: Epoch(8), sequence: 2 };
    let id = WriteId { gateway: ServerId(1), incarnation: Incarnation(2), number: 3 };
    let region = Region::new(63).unwrap();
    vec![
        write_request(4096),
        Message::Request(Request {
            number: 1,
            extent: EXTENT,
            epoch: Epoch(1),
            op: PieceOp::CompareAndWrite {
                at: ByteRange::new(512, 512),
                expected: Bytes::from(vec![1; 512]),
                data: Bytes::from(vec![2; 512]),
            },
            identity: Some(id),
            oldest_open: 1,
            oldest_of_all: 1,
            hops: 1,
            proof_age_ms: 0,
            admitted: 7,
        }),
        Message::Cancel { number: 5 },
        Message::Reply(Reply { number: 5, outcome: ReplyOutcome::Done { data: Payload::zeros(8192) } }),
        Message::Reply(Reply { number: 5, outcome: ReplyOutcome::Moved { epoch: Epoch(9) } }),
        Message::Attach(Attach {
            extent: EXTENT,
            epoch: Epoch(9),
            attachment: 4,
            part: Part::Target,
            replicas: vec![ServerId(1)],
        }),
        Message::Attached(Attached {
            extent: EXTENT,
            epoch: Epoch(9),
            attachment: 4,
            versions: vec![version; 64],
            space: Regions(5),
        }),
        Message::Write(ReplicaWrite {
            extent: EXTENT,
            epoch: Epoch(9),
            attachment: 4,
            tag: 6,
            blocks: BlockRange::new(15, 2).unwrap(),
            has_data: true,
            version,
            replaces: vec![version; 2],
            identity: None,
            forget_below: None,
            data: Bytes::from(vec![3; 8192]),
        }),
        Message::Copy(RegionCopy {
            extent: EXTENT,
            epoch: Epoch(9),
            attachment: 4,
            region,
            replaces: Version::NONE,
            image: RegionImage {
                identities: vec![id],
                version,
                present: 0b101,
                bad: 0,
                data: Payload::zeros(8192),
            },
        }),
        Message::Copied(Copied {
            extent: EXTENT,
            attachment: 4,
            region,
            version,
            outcome: CopyOutcome::Mismatch { region, found: version },
        }),
        Message::Reserve(Reserve { extent: EXTENT, epoch: Epoch(9), attachment: 4, regions: Regions(6) }),
        Message::Reserved(Reserved { extent: EXTENT, attachment: 4, regions: Regions(6), refusal: None }),
        Message::Current(Current { extents: vec![(EXTENT, 4), (EXTENT, 0)] }),
        Message::Compared(Compared { revision: 3, regions: 128, differing: 1 }),
        Message::Fetch(Fetch { extent: EXTENT, epoch: Epoch(9), attachment: 4, region }),
        Message::Fetched(Fetched {
            extent: EXTENT,
            attachment: 4,
            region,
            image: Some(RegionImage {
                identities: vec![id],
                version,
                present: 0b11,
                bad: 0b10,
                data: Payload::zeros(8192),
            }),
        }),
        Message::Check(Check { extent: EXTENT, epoch: Epoch(9), attachment: 4, region }),
        Message::Checked(Checked {
            extent: EXTENT,
            attachment: 4,
            region,
            found: Some(Found { version, bad: 0b10, digest: 7 }),
        }),
        Message::Probe(Probe { number: 8, server: ServerId(2) }),
        Message::Probed(Probed { number: 8, server: ServerId(2), reached: true }),
        Message::Heartbeat(Heartbeat {
            sent_at: 1,
            oldest_open: 2,
            gives_up: true,
            extents: vec![OldestOpen { extent: EXTENT, number: 3 }],
        }),
        Message::HeartbeatAck(HeartbeatAck {
            sent_at: 1,
            is_lease: true,
            voided: vec![Voided { extent: EXTENT, attachment: 4 }],
        }),
        Message::Load { report: Bytes::from(vec![9; 1000]) },
        Message::InventoryReply(InventoryReply { number: 1, entries: Some(Vec::new()) }),
    ]
}

#[test]
fn messages_arrive_as_they_were_sent_however_the_stream_is_cut() {
    let messages = samples();
    let stream: Vec<u8> = messages.iter().flat_map(encoded).collect();
    for step in [1, 63, 64, 65, 1000, 1 << 20] {
        let frames = decode(&stream, step).unwrap();
        let sent: Vec<String> = messages.iter().map(|message| format!("{message:?}")).collect();
        let shown = |message: &Message| {
            // Data comes in one piece, however many it was sent in.
            let mut message = message.clone();
            if let Message::Reply(Reply { outcome: ReplyOutcome::Done { data }, .. })
            | Message::Copy(RegionCopy { image: RegionImage { data, .. }, .. }) = &mut message
            {
                *data = Payload::zeros(data.len());
            }
            format!("{message:?}")
        };
        let got: Vec<String> = frames.iter().map(|frame| shown(&frame.message)).collect();
        assert_eq!(got, sent, "in steps of {step}");
        assert!(frames.iter().all(|frame| SENDER.sent(&frame.header, group())));
    }
}

#[test]
fn payloads_are_passed_on_without_a_copy_and_received_aligned() {
    let message = write_request(EXTENT_BYTES);
    let Message::Request(Request { op: PieceOp::Write { data, .. }, .. }) = &message else { unreachable!() };
    let pieces = Encoder::new(SENDER, group()).encode(&message);
    assert_eq!(pieces[1].as_ptr(), data.as_ptr());
    let frames = decode(&encoded(&message), 1 << 20).unwrap();
    let Message::Request(Request { op: PieceOp::Write { data: received, .. }, .. }) = &frames[0].message
    else {
        panic!("{:?}", frames[0])
    };
    assert_eq!(received, data);
    assert_eq!(received.as_ptr() as usize % 4096, 0);
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let good = encoded(&write_request(4096));
    for bit in (0..good.len() * 8).step_by(7) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        match decode(&bad, 1 << 20) {
            Err(_) => {}
            Ok(frames) => assert!(frames.is_empty(), "bit {bit} passed unnoticed"),
        }
    }
}

#[test]
fn lengths_are_believed_only_within_their_bounds() {
    // A correct header of a frame that is too long: made by hand, since the encoder refuses to.
    let mut frame = encoded(&Message::Cancel { number: 1 });
    for (at, max, part) in [(12, BODY_BYTES_MAX, "body"), (48, PAYLOAD_BYTES_MAX, "payload")] {
        let mut bad = frame.clone();
        bad[at..at + 4].copy_from_slice(&(max + 1).to_le_bytes());
        let crc = evenkeel_types::checksum::crc32c(&bad[..HEADER_BYTES - 4]);
        bad[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        let error = decode(&bad, 1 << 20).unwrap_err();
        assert_eq!(error, FrameError::PartTooLong { part, found: max + 1, max });
    }
    frame[4] = 99;
    let error = decode(&frame, 1 << 20).unwrap_err();
    assert_eq!(error, FrameError::VersionMismatch { found: 99, ours: WIRE_VERSION });
    assert!(error.to_string().contains("99"));
}

#[test]
fn frames_of_an_earlier_life_or_another_group_are_refused() {
    let message = Message::Cancel { number: 1 };
    for (peer, group_name) in [
        (Peer { incarnation: Incarnation(6), ..SENDER }, "g"),
        (Peer { server: ServerId(4), ..SENDER }, "g"),
        (SENDER, "other"),
    ] {
        let pieces = Encoder::new(peer, GroupHash::of(group_name)).encode(&message);
        assert!(decode(&pieces[0], 1 << 20).is_err());
    }
}

#[test]
fn messages_that_contradict_themselves_are_refused() {
    let bad = |change: &dyn Fn(&mut Message)| {
        let mut message = samples().into_iter().find(|message| matches!(message, Message::Write(_))).unwrap();
        change(&mut message);
        decode(&encoded(&message), 1 << 20).map(|_| ())
    };
    let kind = samples().iter().find(|message| matches!(message, Message::Write(_))).unwrap().kind();
    let malformed = Err(FrameError::MessageMalformed { kind });
    let edit = |edit: fn(&mut ReplicaWrite)| {
        bad(&move |message| {
            if let Message::Write(write) = message {
                edit(write);
            }
        })
    };
    assert_eq!(edit(|_| {}), Ok(()));
    assert_eq!(edit(|write| write.blocks = BlockRange { first: 1023, count: 2 }), malformed);
    assert_eq!(edit(|write| write.blocks = BlockRange { first: u16::MAX, count: u16::MAX }), malformed);
    assert_eq!(edit(|write| write.data = write.data.slice(1..)), malformed);
    assert_eq!(edit(|write| write.replaces.clear()), malformed);
    let far = Message::Request(Request {
        number: 1,
        extent: EXTENT,
        epoch: Epoch(1),
        op: PieceOp::Read { at: ByteRange::new(u64::MAX - 511, 512) },
        identity: None,
        oldest_open: 1,
        oldest_of_all: 1,
        hops: 1,
        proof_age_ms: 0,
        admitted: 7,
    });
    assert!(decode(&encoded(&far), 1 << 20).is_err());
}

proptest! {
    #[test]
    fn garbage_is_frames_or_an_error(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_frames(&data);
    }

    /// Garbage behind a header whose checksums match, so that the decoder of the body is reached.
    #[test]
    fn garbage_in_a_body_is_frames_or_an_error(
        kind in 0u16..24, body in prop::collection::vec(any::<u8>(), 0..120), payload in 0usize..3,
    ) {
        let payload = vec![0; payload * 4096];
        let mut frame = encoded(&Message::Cancel { number: 0 });
        frame.truncate(HEADER_BYTES);
        frame[6..8].copy_from_slice(&kind.to_le_bytes());
        frame[12..16].copy_from_slice(&(body.len() as u32).to_le_bytes());
        frame[32..48].fill(0);
        frame[48..52].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        frame[52..56].copy_from_slice(&evenkeel_types::checksum::crc32c(&body).to_le_bytes());
        frame[56..60].copy_from_slice(&evenkeel_types::checksum::crc32c(&payload).to_le_bytes());
        let crc = evenkeel_types::checksum::crc32c(&frame[..HEADER_BYTES - 4]);
        frame[60..64].copy_from_slice(&crc.to_le_bytes());
        frame.extend(body);
        frame.extend(payload);
        fuzz_frames(&frame);
    }
}

/// Feeds bytes to the decoder of a connection whose other side is unknown.
fn greeted(decoder: &mut Decoder, bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    let space = decoder.receive_space();
    space[..bytes.len()].copy_from_slice(bytes);
    decoder.handle_received(bytes.len());
    decoder.poll_frame()
}

#[test]
fn before_the_hello_nothing_else_is_taken_and_no_memory_reserved_for_it() {
    let hello = {
        let local = Local {
            group: "g".into(),
            server: SENDER.server,
            incarnation: SENDER.incarnation,
            program: "1".into(),
        };
        encoded(&Message::Hello(local.hello(None)))
    };
    let write = encoded(&write_request(4096));
    let mut decoder = Decoder::greeting();
    let refused = greeted(&mut decoder, &write[..write.len() - 1]).unwrap_err();
    assert_eq!(refused, FrameError::HelloMissing { kind: 3, payload: 4096 });
    assert!(decoder.receive_space().len() > 4096, "a payload is not waited for");

    // A hello that announces data.
    let mut dragging = hello.clone();
    dragging[48..52].copy_from_slice(&PAYLOAD_BYTES_MAX.to_le_bytes());
    let crc = evenkeel_types::checksum::crc32c(&dragging[..HEADER_BYTES - 4]);
    dragging[60..64].copy_from_slice(&crc.to_le_bytes());
    let refused = greeted(&mut Decoder::greeting(), &dragging).unwrap_err();
    assert_eq!(refused, FrameError::HelloMissing { kind: 1, payload: PAYLOAD_BYTES_MAX });

    let mut decoder = Decoder::greeting();
    assert!(matches!(greeted(&mut decoder, &hello), Ok(Some(Frame { message: Message::Hello(_), .. }))));
    assert!(greeted(&mut Decoder::greeting(), &write).is_err());
    decoder.expect(SENDER, group());
    assert!(matches!(greeted(&mut decoder, &write), Ok(Some(Frame { message: Message::Request(_), .. }))));
}

#[test]
fn hellos_say_why_they_are_refused() {
    let local = |group: &str, server: u32| Local {
        group: group.into(),
        server: ServerId(server),
        incarnation: Incarnation(5),
        program: "0.1.0".into(),
    };
    let here = local("g", 1);
    let none = |_| None;
    let peer = here.accept(&local("g", 2).hello(Some(ServerId(1))), Some(ServerId(2)), none).unwrap();
    assert_eq!(peer, Peer { server: ServerId(2), incarnation: Incarnation(5) });
    let refused = |hello, expects, known: Option<u64>| {
        here.accept(&hello, expects, |_| known.map(Incarnation)).unwrap_err()
    };
    assert!(matches!(refused(local("h", 2).hello(None), None, None), HelloRefusal::GroupMismatch { .. }));
    assert!(matches!(refused(local("g", 1).hello(None), None, None), HelloRefusal::Twin { .. }));
    let other = refused(local("g", 2).hello(Some(ServerId(9))), None, None);
    assert!(matches!(other, HelloRefusal::ServerMismatch { .. }));
    assert!(matches!(
        refused(local("g", 2).hello(None), Some(ServerId(3)), None),
        HelloRefusal::ServerMismatch { .. }
    ));
    assert!(matches!(refused(local("g", 2).hello(None), None, Some(6)), HelloRefusal::Fenced { .. }));
    let mut odd = local("g", 2).hello(None);
    odd.geometry[1] = 1;
    assert!(matches!(refused(odd, None, None), HelloRefusal::GeometryMismatch { .. }));
}
