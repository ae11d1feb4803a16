//! Streams with a flipped bit: with digests no damage is ever carried out, and what it hit is done by trying again.

mod pair;

use evenkeel_iscsi::initiator::{Event, Failure, Transfer};
use evenkeel_iscsi::pdu::RejectReason;
use evenkeel_iscsi::target::CloseReason;
use evenkeel_iscsi::{DigestPolicy, Settings};
use evenkeel_scsi::{AdditionalSense, Status};
use evenkeel_types::Bytes;
use pair::{Pair, read16, write16};
use proptest::prelude::*;

const LEN: usize = 3 * 4096;
const OLD: u8 = 0x11;
const NEW: u8 = 0xee;

fn session(seed: u64, initial_r2t: bool, immediate_data: bool) -> Pair {
    let settings = Settings {
        initial_r2t,
        immediate_data,
        header_digest: DigestPolicy::Require,
        data_digest: DigestPolicy::Require,
        max_receive_segment: 2048,
        max_burst: 4096,
        first_burst: 4096,
        max_outstanding_r2t: 2,
    };
    let mut pair = Pair::logged_in(seed, settings.clone(), settings);
    pair.disk.bytes[..LEN].fill(OLD);
    pair.chunk_max = 700;
    pair
}

fn write() -> Transfer {
    Transfer::Out(Bytes::from(vec![NEW; LEN]).into())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_write_takes_no_effect_and_is_done_by_trying_again(
        seed in any::<u64>(), initial_r2t in any::<bool>(), immediate in any::<bool>(), at in 0..13_000usize, bit in 0..8u32,
    ) {
        let mut pair = session(seed, initial_r2t, immediate);
        pair.flip_to_target = Some((at, 1 << bit));
        let id = pair.submit(write16(0, LEN), write());
        pair.run();
        let untouched = pair.disk.bytes[..LEN] == [OLD; LEN];
        let applied = pair.disk.bytes[..LEN] == [NEW; LEN];
        if pair.flip_to_target.is_some() {
            // The damage would have come behind the write.
            prop_assert!(applied);
            return Ok(());
        }
        if pair.closed.is_some() {
            let header = matches!(pair.closed, Some(CloseReason::Frame(_)));
            prop_assert!(header && untouched, "{:?}", pair.closed);
            return Ok(());
        }
        let rejected = pair.events.iter().any(|event| event.is_reject(RejectReason::DataDigestError));
        let done = pair.done(id);
        prop_assert!(rejected && untouched);
        prop_assert_eq!(done.status, Some(Status::CheckCondition));
        prop_assert_eq!(done.sense.map(|sense| sense.additional), Some(AdditionalSense::PROTOCOL_SERVICE_CRC_ERROR));
        prop_assert_eq!(pair.target.memory().tasks, 0);
        let again = pair.command(write16(0, LEN), write());
        prop_assert_eq!(again.status, Some(Status::Good));
        prop_assert!(pair.disk.bytes[..LEN] == [NEW; LEN]);
    }

    #[test]
    fn damaged_answers_are_never_taken_for_data(seed in any::<u64>(), at in 0..13_000usize, bit in 0..8u32) {
        let mut pair = session(seed, true, true);
        pair.flip_to_initiator = Some((at, 1 << bit));
        let id = pair.submit(read16(0, LEN), Transfer::In(LEN as u32));
        pair.run();
        if pair.flip_to_initiator.is_some() {
            prop_assert!(pair.done(id).data[..] == [OLD; LEN]);
            return Ok(());
        }
        let failed = pair.events.iter().any(|event| {
            matches!(event, Event::Closed(Failure::Frame(_) | Failure::Protocol("a data digest is wrong")))
        });
        let ended = pair.events.iter().any(|event| matches!(event, Event::Done(..)));
        prop_assert!(failed && !ended && pair.initiator.is_closed(), "{:?}", pair.events);
    }
}
