//! Entry points that take any bytes: for fuzzers, and for tests that run their findings again. They check what must
//! hold whatever another server sends: no panic, memory within its bounds, and that every message that comes out is
//! the same after it was encoded and decoded again.

use crate::frame::{Decoder, Encoder, Frame, RECEIVE_BYTES};
use crate::header::{BODY_BYTES_MAX, GroupHash, HEADER_BYTES, Header, PAYLOAD_BYTES_MAX, Parts};
use crate::hello::{Local, Peer};
use crate::message::Message;
use evenkeel_types::checksum::crc32c;
use evenkeel_types::{Epoch, Incarnation, ServerId};

const GROUP: &str = "fuzz";

/// Bytes as they come from a connection, which then goes on with zeros: for what was announced, or as the next frame.
pub fn fuzz_frames(data: &[u8]) {
    take_frames([data, &[0; RECEIVE_BYTES]].into_iter());
}

/// Bytes as the body of a message: two bytes of its length, the body, and the payload behind it. Header and checksums
/// are made to fit, so that everything behind them is reached.
pub fn fuzz_messages(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let len = usize::from(u16::from_le_bytes(*len)).min(rest.len()).min(BODY_BYTES_MAX as usize);
    let (body, payload) = rest.split_at(len);
    let payload = &payload[..payload.len().min(PAYLOAD_BYTES_MAX as usize)];
    let mut header = Header {
        sender: ServerId(2),
        incarnation: Incarnation(3),
        group: GroupHash::of(GROUP),
        kind: 1,
        request: 0,
        epoch: Epoch::ZERO,
    };
    if let Ok((message, _)) = postcard::take_from_bytes::<Message>(body) {
        (header.kind, header.request, header.epoch) = (message.kind(), message.number(), message.epoch());
    }
    let parts = Parts {
        body_len: body.len() as u32,
        payload_len: payload.len() as u32,
        body_crc: crc32c(body),
        payload_crc: crc32c(payload),
    };
    take_frames([&header.encode(parts)[..], body, payload].into_iter());
}

fn take_frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) {
    let mut decoder = Decoder::new(None);
    for mut left in pieces {
        while !left.is_empty() {
            let space = decoder.receive_space();
            let take = space.len().min(left.len());
            assert!(take > 0, "there is always space once all frames were taken");
            space[..take].copy_from_slice(&left[..take]);
            left = &left[take..];
            decoder.handle_received(take);
            loop {
                match decoder.poll_frame() {
                    Ok(None) => break,
                    Err(error) => {
                        assert!(!error.to_string().contains('\n'), "an error is one line");
                        return;
                    }
                    Ok(Some(frame)) => check(&frame),
                }
            }
        }
    }
}

fn check(frame: &Frame) {
    let again = decode_one(&encode_one(frame));
    assert_eq!(format!("{:?}", again.message), format!("{:?}", frame.message));
    assert_eq!(again.header, frame.header);
    if let Message::Hello(hello) = &frame.message {
        let local = Local {
            group: GROUP.to_owned(),
            server: ServerId(1),
            incarnation: Incarnation(5),
            program: String::new(),
        };
        let known = |server| (server == ServerId(2)).then_some(Incarnation(3));
        if let Ok(peer) = local.accept(hello, Some(ServerId(2)), known) {
            assert_eq!(peer, Peer { server: hello.server, incarnation: hello.incarnation });
            assert!(peer.server == ServerId(2) && peer.incarnation >= Incarnation(3) && hello.group == GROUP);
        }
    }
}

fn encode_one(frame: &Frame) -> Vec<u8> {
    let header = frame.header;
    let sender = Peer { server: header.sender, incarnation: header.incarnation };
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    let pieces = Encoder::new(sender, header.group).encode(&frame.message);
    pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

fn decode_one(bytes: &[u8]) -> Frame {
    let mut decoder = Decoder::new(None);
    let mut left = bytes;
    while !left.is_empty() {
        let space = decoder.receive_space();
        let take = space.len().min(left.len());
        space[..take].copy_from_slice(&left[..take]);
        left = &left[take..];
        decoder.handle_received(take);
        if let Some(frame) = decoder.poll_frame().expect("an encoded frame decodes") {
            return frame;
        }
    }
    unreachable!("an encoded frame is complete")
}
