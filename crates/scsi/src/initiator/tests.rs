use super::*;
use crate::command::{Completion, Decoded};
use crate::fixtures::{BLOCKS, block_command, config, decode, good_data, send, unit, unit_4k};
use crate::limits::{TRANSFER_BYTES_MAX, UNMAP_BYTES_MAX, WRITE_SAME_BYTES_MAX};
use crate::logical_unit::{LogicalUnit, LunConfig};
use crate::sense::Sense;
use crate::status::Status;
use crate::vpd;
use evenkeel_types::{BlockError, BlockOp, Bytes};
use proptest::prelude::*;

#[test]
fn the_units_own_answers_are_read_back() {
    let unit = unit();
    let inquiry = InquiryData::parse(&good_data(send(&unit, &request::inquiry(96)))).unwrap();
    assert_eq!((inquiry.qualifier, inquiry.device_type), (0, 0));
    assert_eq!((&*inquiry.vendor, &*inquiry.product, &*inquiry.revision), ("EVENKEEL", "VOLUME", "0001"));
    let serial = good_data(send(&unit, &request::inquiry_page(vpd::code::UNIT_SERIAL_NUMBER, 255)));
    assert_eq!(answer::parse_serial_number(&serial).unwrap(), config().serial);
    let limits = good_data(send(&unit, &request::inquiry_page(vpd::code::BLOCK_LIMITS, 64)));
    assert_eq!(
        BlockLimits::parse(&limits).unwrap(),
        BlockLimits {
            compare_and_write_blocks_max: 1,
            transfer_blocks_max: TRANSFER_BYTES_MAX / 512,
            unmap_blocks_max: UNMAP_BYTES_MAX / 512,
            unmap_descriptors_max: 256,
            write_same_blocks_max: u64::from(WRITE_SAME_BYTES_MAX) / 512,
        }
    );
    assert_eq!(answer::parse_luns(&good_data(send(&unit, &request::report_luns(256)))).unwrap(), [0]);
}

#[test]
fn capacity_is_read_from_both_commands() {
    let ten = Capacity::parse_10(&good_data(send(&unit(), &request::read_capacity_10()))).unwrap().unwrap();
    assert_eq!((ten.blocks, ten.block_bytes), (BLOCKS, 512));
    let sixteen = Capacity::parse_16(&good_data(send(&unit(), &request::read_capacity_16()))).unwrap();
    let expected =
        Capacity { blocks: BLOCKS, block_bytes: 512, blocks_per_physical: 8, thin: true, reads_zeros: true };
    assert_eq!(sixteen, expected);
    assert_eq!(sixteen.bytes(), Some(config().capacity_bytes));
    let sixteen = Capacity::parse_16(&good_data(send(&unit_4k(), &request::read_capacity_16()))).unwrap();
    assert_eq!((sixteen.block_bytes, sixteen.blocks_per_physical), (4096, 1));
    let large = LogicalUnit::new(LunConfig { capacity_bytes: 4 << 40, ..config() }).unwrap();
    assert_eq!(Capacity::parse_10(&good_data(send(&large, &request::read_capacity_10()))), Ok(None));
}

#[test]
fn answers_that_make_no_sense_are_errors() {
    assert!(matches!(Capacity::parse_10(&[0; 7]), Err(AnswerError::AnswerTooShort { .. })));
    assert!(matches!(Capacity::parse_16(&[0; 31]), Err(AnswerError::AnswerTooShort { .. })));
    assert!(matches!(Capacity::parse_16(&[0; 32]), Err(AnswerError::FieldInvalid { .. })));
    let mut endless = [0xff; 32];
    assert!(matches!(Capacity::parse_16(&endless), Err(AnswerError::FieldInvalid { .. })));
    endless[0] = 0x7f;
    assert_eq!(Capacity::parse_16(&endless).unwrap().bytes(), None);
    assert!(matches!(InquiryData::parse(&[0; 35]), Err(AnswerError::AnswerTooShort { .. })));
    assert_eq!(
        BlockLimits::parse(&[0, 0xb1, 0, 60]),
        Err(AnswerError::PageUnexpected { what: "Block Limits", page: 0xb1 })
    );
    assert!(matches!(answer::parse_luns(&[0; 7]), Err(AnswerError::AnswerTooShort { .. })));
}

#[test]
fn every_builder_makes_a_command_that_the_unit_knows() {
    let unit = unit();
    let block = Bytes::from(vec![1; 512]);
    for request in [
        request::test_unit_ready(),
        request::request_sense(),
        request::mode_sense_6(0x3f, 255),
        request::synchronize_cache_10(),
        request::synchronize_cache_16(5, 9),
        request::write_same_10(5, 9, block.clone(), true),
        request::write_same_16(5, 9, block.clone(), false),
        request::report_supported_operation_codes(true, 4096),
        reservations::persistent_reserve_in(0, 255),
    ] {
        let announced = request.data_in_len as usize;
        match send(&unit, &request) {
            Decoded::Immediate(response) => {
                assert_eq!(response.status, Status::Good, "{request:?}");
                assert!(response.data_in.len() <= announced);
            }
            Decoded::Block(command) => assert!(command.expected_data_in as usize <= announced),
            other @ (Decoded::NeedsData { .. } | Decoded::Reserve(_)) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_flush_covers_all_blocks_up_to_the_end_or_a_range_that_exists() {
    let unit = unit();
    for request in
        [request::synchronize_cache_16(BLOCKS - 1, 0), request::synchronize_cache_16(BLOCKS - 4, 4)]
    {
        assert!(matches!(block_command(send(&unit, &request)).ops[..], [BlockOp::Flush]));
    }
    for request in
        [request::synchronize_cache_16(BLOCKS - 4, 5), request::synchronize_cache_16(BLOCKS + 1, 0)]
    {
        crate::fixtures::assert_refused(
            send(&unit, &request),
            crate::sense::AdditionalSense::LBA_OUT_OF_RANGE,
        );
    }
}

#[test]
fn sense_of_a_failed_command_is_read_back() {
    let unit = unit();
    let command = block_command(decode(&unit, &request::read_16(0, 1, 512).cdb));
    let Completion::Respond(response) = unit.complete(&command, Err(BlockError::Medium { offset: 1 << 20 }))
    else {
        panic!("no response")
    };
    let sense = response.sense.unwrap();
    assert_eq!(Sense::parse(&sense.to_fixed()), Ok(sense));
    assert_eq!(sense.information, Some(2048));
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = Capacity::parse_10(&bytes);
        let _ = Capacity::parse_16(&bytes);
        let _ = InquiryData::parse(&bytes);
        let _ = BlockLimits::parse(&bytes);
        let _ = answer::parse_serial_number(&bytes);
        let _ = answer::parse_luns(&bytes);
        let _ = reservations::RegisteredKeys::parse(&bytes);
        let _ = reservations::HeldReservation::parse(&bytes);
        let _ = reservations::ReservationCapabilities::parse(&bytes);
        let _ = reservations::FullStatus::parse(&bytes);
    }

    #[test]
    fn ranges_of_an_unmap_arrive_as_built(
        ranges in proptest::collection::vec((0..BLOCKS - 64, 1u32..64), 1..20),
    ) {
        let command = block_command(send(&unit(), &request::unmap(&ranges)));
        let bytes: u64 = command.ops.iter().filter_map(BlockOp::range).map(|at| u64::from(at.len)).sum();
        prop_assert_eq!(bytes, ranges.iter().map(|(_, count)| u64::from(*count) * 512).sum::<u64>());
        prop_assert_eq!(command.ops[0].range().unwrap().offset, ranges[0].0 * 512);
    }
}
