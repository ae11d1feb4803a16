use super::*;
use crate::pdu::{PduHeader, U24};

fn parameters(initial_r2t: bool) -> Parameters {
    Parameters {
        initial_r2t,
        max_burst: 8192,
        first_burst: 4096,
        max_outstanding_r2t: 2,
        ..Parameters::default()
    }
}

fn data_out(ttt: u32, data_sn: u32, offset: u32, len: u32, last: bool) -> DataOut {
    let mut pdu = DataOut::empty();
    pdu.flags = if last { flags::FINAL } else { 0 };
    pdu.ttt = ttt.into();
    pdu.data_sn = data_sn.into();
    pdu.buffer_offset = offset.into();
    pdu.data_segment_len = U24::new(len);
    pdu
}

/// Gives a PDU and its data to the collection; whether the data was taken.
fn give(collected: &mut Collected, pdu: DataOut) -> bool {
    let taken = matches!(collected.check(&pdu), Piece::Place);
    if taken {
        collected.place(&vec![7; pdu.data_segment_len.get() as usize]);
    }
    collected.arrived();
    taken
}

fn failure(collected: &Collected) -> AdditionalSense {
    collected.failure().expect("the command failed").additional
}

#[test]
fn data_comes_in_bursts_of_the_agreed_length_with_as_many_r2ts_as_agreed() {
    let parameters = parameters(true);
    let mut out = Collected::new(&parameters, 20_000, 0, false);
    out.expect(20_000, 512, true);
    let next = |out: &mut Collected| out.next_r2t(&parameters, |n| 100 + n);
    let first = next(&mut out).unwrap();
    assert_eq!(first, NewR2t { ttt: 100, r2t_sn: 0, offset: 0, len: 8192 });
    assert_eq!(next(&mut out).unwrap().offset, 8192);
    assert_eq!(next(&mut out), None);
    assert!(give(&mut out, data_out(100, 0, 0, 8192, true)));
    assert_eq!(next(&mut out).unwrap(), NewR2t { ttt: 102, r2t_sn: 2, offset: 16384, len: 3616 });
    assert!(give(&mut out, data_out(101, 0, 8192, 4096, false)));
    assert!(give(&mut out, data_out(101, 1, 12288, 4096, true)));
    assert!(give(&mut out, data_out(102, 0, 16384, 3616, true)));
    assert!(out.is_complete() && !out.is_open());
    let data = out.take();
    assert_eq!((data.len(), data.as_ptr() as usize % BUFFER_ALIGNMENT), (20_000, 512));
}

#[test]
fn unsolicited_data_needs_consent_and_ends_at_first_burst_length() {
    let refused = Collected::new(&parameters(true), 8192, 0, true);
    assert_eq!(failure(&refused), AdditionalSense::UNEXPECTED_UNSOLICITED_DATA);
    let without_immediate = Parameters { immediate_data: false, ..parameters(false) };
    let refused = Collected::new(&without_immediate, 8192, 512, false);
    assert_eq!(failure(&refused), AdditionalSense::UNEXPECTED_UNSOLICITED_DATA);
    assert!(Collected::new(&parameters(false), 8192, 4097, false).failure().is_some());
    assert!(Collected::new(&parameters(false), 512, 1024, false).failure().is_some());

    let mut out = Collected::new(&parameters(false), 8192, 0, true);
    out.expect(8192, 0, true);
    assert!(give(&mut out, data_out(RESERVED_TAG, 0, 0, 4096, false)));
    assert!(!give(&mut out, data_out(RESERVED_TAG, 1, 4096, 512, false)));
    assert_eq!(failure(&out), AdditionalSense::UNEXPECTED_UNSOLICITED_DATA);
}

#[test]
fn a_wrong_number_or_offset_fails_the_command_once_its_sequence_has_ended() {
    for (first, second) in [(0, 0), (27, 28), (u32::MAX, 1), (1, 0)] {
        let parameters = parameters(true);
        let mut out = Collected::new(&parameters, 1024, 0, false);
        out.expect(1024, 0, true);
        out.next_r2t(&parameters, |_| 5).unwrap();
        give(&mut out, data_out(5, first, 0, 512, false));
        assert!(out.is_open());
        give(&mut out, data_out(5, second, 512, 512, true));
        assert_eq!(failure(&out), AdditionalSense::PROTOCOL_SERVICE_CRC_ERROR);
        assert!(!out.is_open());
    }
    let mut out = Collected::new(&parameters(false), 1024, 0, true);
    out.expect(1024, 0, true);
    give(&mut out, data_out(RESERVED_TAG, 0, 512, 512, true));
    assert_eq!(failure(&out), AdditionalSense::PROTOCOL_SERVICE_CRC_ERROR);
}

#[test]
fn a_solicited_sequence_has_exactly_the_length_asked_for() {
    let parameters = parameters(true);
    let open = || {
        let mut out = Collected::new(&parameters, 1024, 0, false);
        out.expect(1024, 0, true);
        out.next_r2t(&parameters, |_| 5).unwrap();
        out
    };
    let mut short = open();
    give(&mut short, data_out(5, 0, 0, 512, true));
    assert_eq!(failure(&short), AdditionalSense::NOT_ENOUGH_UNSOLICITED_DATA);
    let mut long = open();
    give(&mut long, data_out(5, 0, 0, 1536, true));
    assert!(long.failure().is_some());
    let mut overflowing = open();
    give(&mut overflowing, data_out(5, 0, u32::MAX, 512, true));
    assert!(overflowing.failure().is_some());
}

#[test]
fn no_r2t_overtakes_data_that_is_arriving() {
    let parameters = parameters(false);
    let mut out = Collected::new(&parameters, 8192, 4096, false);
    out.expect(8192, 0, true);
    assert_eq!(out.next_r2t(&parameters, |_| 5), None);
    out.place(&[1; 4096]);
    out.arrived();
    assert_eq!(out.next_r2t(&parameters, |_| 5).unwrap().offset, 4096);
}

#[test]
fn data_beyond_what_the_cdb_asks_for_is_dropped() {
    let mut out = Collected::new(&parameters(false), 1024, 1024, false);
    out.expect(512, 0, true);
    out.place(&[1; 1024]);
    out.arrived();
    assert!(out.is_complete() && out.lend(512).is_none());
    assert_eq!(out.take().len(), 512);
}

#[test]
fn data_of_no_open_sequence_is_unknown() {
    let mut out = Collected::new(&parameters(true), 1024, 0, false);
    assert!(matches!(out.check(&data_out(RESERVED_TAG, 0, 0, 512, true)), Piece::Unknown));
    assert!(matches!(out.check(&data_out(5, 0, 0, 512, true)), Piece::Unknown));
}

#[test]
fn without_room_only_unsolicited_data_is_taken_and_nothing_is_asked_for() {
    let parameters = parameters(false);
    let mut out = Collected::new(&parameters, 20_000, 4096, false);
    assert!(Collected::needs_room(20_000, &parameters) && !Collected::needs_room(4096, &parameters));
    out.expect(20_000, 512, false);
    out.place(&[1; 4096]);
    out.arrived();
    assert_eq!(out.next_r2t(&parameters, |_| 5), None);
    assert!(out.lend(512).is_none());
    out.grant_room();
    assert_eq!(out.next_r2t(&parameters, |_| 5).unwrap().offset, 4096);
    let (mut buf, at) = out.lend(8192).unwrap();
    buf[at..at + 8192].fill(2);
    out.give_back(buf, 8192);
    out.place(&[3; 20_000 - 4096 - 8192]);
    let data = out.take();
    assert_eq!((data.len(), data[4095], data[4096], data[12_288]), (20_000, 1, 2, 3));
}

#[test]
fn room_that_is_granted_while_the_buffer_is_lent_counts_when_it_is_back() {
    let parameters = parameters(false);
    let mut out = Collected::new(&parameters, 8192, 4096, false);
    out.expect(8192, 0, false);
    let (mut buf, at) = out.lend(4096).unwrap();
    out.grant_room();
    buf[at..at + 4096].fill(2);
    out.give_back(buf, 4096);
    out.arrived();
    out.place(&[3; 4096]);
    assert_eq!(&out.take()[4090..4100], &[2, 2, 2, 2, 2, 2, 3, 3, 3, 3]);
}
