use super::connection::{Connection, InitiatorConfig, OUTPUT_PDUS_MAX, State};
use super::event::{Command, Event, Failure, Transfer};
use crate::negotiate::Settings;
use crate::pdu::{
    AsyncEvent, AsyncMessage, Bhs, DataIn, Isid, LoginResponse, NopIn, PduHeader, R2t, RESERVED_TAG, U24,
    flags,
};
use evenkeel_types::{Bytes, Payload};
use std::io::IoSlice;

fn config() -> InitiatorConfig {
    InitiatorConfig {
        initiator_name: "iqn.2026-01.test:i".to_owned(),
        isid: Isid::default(),
        target_name: Some("iqn.2026-01.test:t".to_owned()),
        settings: Settings::default(),
    }
}

/// A session whose login is taken as done, with one command under way.
fn session(transfer: Transfer) -> Connection {
    let mut connection = Connection::new(config());
    connection.core.state = State::FullFeature;
    connection.core.max_cmd_sn = 10;
    connection.submit(Command { lun: 0, cdb: [0; 16], transfer }).unwrap();
    connection
}

fn give(connection: &mut Connection, header: &impl PduHeader, data: &[u8]) -> Option<Event> {
    let mut bhs: Bhs = header.bhs();
    bhs.data_segment_len = U24::new(data.len() as u32);
    let mut bytes = [&bhs.to_bytes()[..], data].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let space = connection.receive_space().unwrap();
    space[..bytes.len()].copy_from_slice(&bytes);
    connection.handle_received(bytes.len());
    connection.poll_event()
}

const FIRST_TAG: u32 = 1 << 16;

fn data_in(sn: u32, offset: u32) -> DataIn {
    let mut pdu = DataIn::empty();
    pdu.itt = FIRST_TAG.into();
    pdu.data_sn = sn.into();
    pdu.buffer_offset = offset.into();
    pdu
}

fn r2t(sn: u32, offset: u32, len: u32) -> R2t {
    let mut pdu = R2t::empty();
    pdu.itt = FIRST_TAG.into();
    pdu.r2t_sn = sn.into();
    pdu.buffer_offset = offset.into();
    pdu.desired_data_len = len.into();
    pdu
}

#[test]
fn data_out_of_order_or_beyond_what_is_expected_ends_the_connection() {
    for (first, second) in [((0, 0), (2, 512)), ((0, 0), (1, 0)), ((0, 512), (0, 0)), ((1, 0), (2, 512))] {
        let mut connection = session(Transfer::In(1024));
        let events = [(first, 512), (second, 512)]
            .into_iter()
            .find_map(|((sn, offset), len)| give(&mut connection, &data_in(sn, offset), &vec![0; len]));
        assert!(matches!(events, Some(Event::Closed(Failure::Protocol(_)))), "{events:?}");
    }
    let mut connection = session(Transfer::In(512));
    let event = give(&mut connection, &data_in(0, 0), &[0; 1024]);
    assert!(matches!(event, Some(Event::Closed(_))));
}

#[test]
fn an_r2t_that_is_out_of_order_or_asks_for_what_there_is_not_ends_the_connection() {
    for bad in [r2t(1, 0, 512), r2t(0, 100_000, 512), r2t(0, 0, 0), r2t(0, u32::MAX, 512), r2t(0, 0, 1 << 23)]
    {
        let mut connection = session(Transfer::Out(Payload::zeros(4 << 20)));
        let event = give(&mut connection, &bad, &[]);
        let within = bad.buffer_offset.get() == 100_000;
        assert_eq!(within, !matches!(event, Some(Event::Closed(Failure::Protocol(_)))), "{bad:?}");
    }
}

#[test]
fn a_missing_stat_sn_ends_the_connection() {
    let mut connection = session(Transfer::In(512));
    let mut last = data_in(0, 0);
    last.flags = flags::FINAL | flags::STATUS;
    last.stat_sn = 7.into();
    assert!(matches!(give(&mut connection, &last, &[0; 512]), Some(Event::Closed(_))));
}

fn sent(connection: &mut Connection) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 16];
    let used = connection.transmit(&mut slices);
    let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
    connection.transmitted(bytes.len());
    bytes
}

fn new_connection() -> Connection {
    let mut connection = Connection::new(config());
    assert!(!sent(&mut connection).is_empty(), "the login has begun");
    connection
}

fn response(flags: u8) -> LoginResponse {
    let mut response = LoginResponse::empty();
    response.flags = flags;
    response
}

#[test]
fn a_key_of_the_target_that_does_not_exist_is_not_understood() {
    let mut connection = new_connection();
    let text = b"X-org.example.key=1\0X-org.example.other=Reject\0AuthMethod=None\0";
    assert!(give(&mut connection, &response(flags::TRANSIT | 0x01), text).is_none());
    let next = String::from_utf8_lossy(&sent(&mut connection)).into_owned();
    assert!(next.contains("X-org.example.key=NotUnderstood\0"), "{next:?}");
    assert!(!next.contains("X-org.example.other"), "an answer is not answered: {next:?}");
}

#[test]
fn answers_that_break_the_rules_of_a_login_end_it() {
    let cases: [(u8, &[u8]); 6] = [
        (0x00, b"AuthMethod=CHAP\0"),
        (0x00, b"CHAP_A=5\0CHAP_I=1\0CHAP_C=0x12\0"),
        (flags::TRANSIT, b"AuthMethod=None\0"),
        (flags::TRANSIT | 0x02, b"AuthMethod=None\0"),
        (flags::TRANSIT | 0x01, b"MaxBurstLength=512\0MaxBurstLength=512\0"),
        (flags::TRANSIT | 0x01, b"MaxBurstLength=16777215\0"),
    ];
    for (flags, text) in cases {
        let mut connection = new_connection();
        let event = give(&mut connection, &response(flags), text);
        let text = String::from_utf8_lossy(text);
        assert!(matches!(event, Some(Event::Closed(_))) && connection.is_closed(), "{text}: {event:?}");
    }
    let mut connection = new_connection();
    let mut other = response(flags::TRANSIT | 0x01);
    give(&mut connection, &other, b"AuthMethod=None\0");
    other.flags = flags::TRANSIT | 0x07;
    other.stat_sn = 5.into();
    assert!(matches!(give(&mut connection, &other, b""), Some(Event::Closed(Failure::Protocol(_)))));
}

#[test]
fn a_target_that_asks_for_a_negotiation_gets_one() {
    let mut connection = session(Transfer::None);
    let before = connection.output_pdus();
    let mut message = AsyncMessage::empty();
    message.event = AsyncEvent::NegotiationRequested.code();
    let event = give(&mut connection, &message, &[]);
    assert!(matches!(event, Some(Event::Async { event: AsyncEvent::NegotiationRequested, .. })), "{event:?}");
    assert_eq!((connection.output_pdus(), connection.open_requests()), (before + 1, 2));
}

#[test]
fn the_window_only_opens() {
    let mut connection = session(Transfer::None);
    let mut nop = NopIn::empty();
    nop.itt = RESERVED_TAG.into();
    nop.ttt = RESERVED_TAG.into();
    nop.exp_cmd_sn = 2.into();
    for (told, holds) in [(12, 12), (11, 12), (0, 12), (140, 140)] {
        nop.max_cmd_sn = told.into();
        assert!(give(&mut connection, &nop, &[]).is_none());
        assert_eq!(connection.core.max_cmd_sn, holds);
    }
}

#[test]
fn no_command_is_sent_beyond_the_window() {
    let mut connection = session(Transfer::None);
    let command = Command { lun: 0, cdb: [0; 16], transfer: Transfer::Out(Bytes::new().into()) };
    let sent = (0..20).filter(|_| connection.submit(command.clone()).is_ok()).count();
    // Number 1 went before; numbers up to 10 are allowed.
    assert_eq!(sent, 9);
}

#[test]
fn a_target_that_asks_for_more_than_it_receives_ends_the_connection() {
    let mut connection = session(Transfer::Out(Payload::zeros(1 << 20)));
    let ended = (0..=OUTPUT_PDUS_MAX as u32).find_map(|sn| give(&mut connection, &r2t(sn, 0, 64 << 10), &[]));
    assert!(matches!(ended, Some(Event::Closed(Failure::Protocol(_)))), "{ended:?}");
    assert!(connection.output_pdus() <= OUTPUT_PDUS_MAX + 64, "{} PDUs wait", connection.output_pdus());
}
