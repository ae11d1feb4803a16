use super::*;
use crate::fixtures::{
    BLOCKS, CAPACITY_BYTES, answer, assert_invalid_field, assert_refused, block_command, cdb, config, decode,
    good_data, sense, unit, unit_4k,
};
use crate::initiator::request;
use crate::nexus::UnitAttention;
use crate::reservations::ReservationType;
use crate::status::Status;
use evenkeel_types::{BlockError, Payload};
use std::sync::Arc;

const ABSENT_LUN: u64 = 0x0001_0000_0000_0000;

fn refused(change: impl FnOnce(&mut LunConfig)) -> LunConfigError {
    let mut config = config();
    change(&mut config);
    LogicalUnit::new(config).unwrap_err()
}

#[test]
fn a_configuration_outside_of_its_bounds_is_refused() {
    for bytes in [0, 511, CAPACITY_BYTES + 1, VOLUME_BYTES_MAX + 512] {
        assert_eq!(
            refused(|config| config.capacity_bytes = bytes),
            LunConfigError::CapacityInvalid { bytes, block: 512 }
        );
    }
    assert!(matches!(
        refused(|config| config.vendor = "NINECHARS".into()),
        LunConfigError::TextInvalid { .. }
    ));
    assert!(matches!(refused(|config| config.serial = String::new()), LunConfigError::TextInvalid { .. }));
    assert!(matches!(refused(|config| config.product = "VOLÜME".into()), LunConfigError::TextInvalid { .. }));
    assert!(matches!(
        refused(|config| config.target_name = "i".repeat(TARGET_NAME_BYTES_MAX + 1)),
        LunConfigError::TargetNameInvalid { .. }
    ));
}

#[test]
fn the_longest_texts_fit_in_all_pages() {
    let longest = LunConfig {
        vendor: "V".repeat(8),
        product: "P".repeat(16),
        revision: "R".repeat(4),
        serial: "S".repeat(SERIAL_CHARS_MAX),
        target_name: "i".repeat(TARGET_NAME_BYTES_MAX),
        ..config()
    };
    let unit = LogicalUnit::new(longest).unwrap();
    for page in good_data(decode(&unit, &request::inquiry_page(0, 255).cdb)).split_off(4) {
        let data = good_data(decode(&unit, &request::inquiry_page(page, u16::MAX).cdb));
        assert_eq!(usize::from(u16::from_be_bytes([data[2], data[3]])), data.len() - 4, "page {page:02x}h");
    }
}

#[test]
fn a_pending_unit_attention_is_reported_once_and_the_command_not_carried_out() {
    let mut nexus = NexusState::default();
    nexus.raise(UnitAttention::CapacityChanged);
    let read = cdb(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    let first = sense(unit().decode(&mut nexus, LUN, &read));
    assert_eq!(first, UnitAttention::CapacityChanged.sense());
    block_command(unit().decode(&mut nexus, LUN, &read));
}

/// What another nexus holds as a reservation of this type.
fn reserved_by_another(kind: ReservationType) -> NexusState {
    let registration = serde_json::json!(
        { "initiator": "iqn.2026-01.test:other", "isid": "400000000009", "port": 1, "key": "0000000000000001" }
    );
    let mut holder = registration.clone();
    holder.as_object_mut().unwrap().remove("key");
    let record = serde_json::json!({
        "version": 1, "step": 2, "generation": 1, "aptpl": false, "registrations": [registration],
        "reservation": { "type": kind, "holder": holder },
    });
    let mut nexus = NexusState::default();
    nexus.set_reservations(Arc::new(serde_json::from_value(record).unwrap()));
    nexus
}

#[test]
fn a_command_that_conflicts_with_a_reservation_is_not_carried_out() {
    let (read, write) = (request::read_16(0, 1, 512).cdb, cdb(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]));
    let mut nexus = reserved_by_another(ReservationType::WriteExclusive);
    block_command(unit().decode(&mut nexus, LUN, &read));
    let response = answer(unit().decode(&mut nexus, LUN, &write));
    assert_eq!((response.status, response.sense), (Status::ReservationConflict, None));
    let mut nexus = reserved_by_another(ReservationType::ExclusiveAccess);
    for conflicting in
        [read, write, request::synchronize_cache_10().cdb, request::mode_sense_6(0x3f, 255).cdb]
    {
        let response = answer(unit().decode(&mut nexus, LUN, &conflicting));
        assert_eq!(response.status, Status::ReservationConflict);
    }
    assert_eq!(answer(unit().decode(&mut nexus, LUN, &cdb(&[0; 6]))).status, Status::Good);
}

#[test]
fn a_conflict_comes_behind_a_unit_attention_and_before_all_that_may_be_wrong_with_the_command() {
    let wrong = cdb(&[0x2a, 0x01, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0x04]);
    let read_only = LogicalUnit::new(LunConfig { read_only: true, ..config() }).unwrap();
    let mut nexus = reserved_by_another(ReservationType::WriteExclusive);
    nexus.raise(UnitAttention::CapacityChanged);
    assert_eq!(sense(read_only.decode(&mut nexus, LUN, &wrong)), UnitAttention::CapacityChanged.sense());
    assert_eq!(answer(read_only.decode(&mut nexus, LUN, &wrong)).status, Status::ReservationConflict);
    // Another LUN knows nothing of it.
    let absent = read_only.decode(&mut nexus, ABSENT_LUN, &cdb(&[0x2a, 0]));
    assert_refused(absent, AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED);
}

#[test]
fn inquiry_and_report_luns_go_before_a_unit_attention() {
    let mut nexus = NexusState::default();
    nexus.raise(UnitAttention::PowerOnOrReset);
    good_data(unit().decode(&mut nexus, LUN, &request::inquiry(96).cdb));
    good_data(unit().decode(&mut nexus, LUN, &request::report_luns(16).cdb));
    assert!(nexus.is_pending());
    sense(unit().decode(&mut nexus, LUN, &request::test_unit_ready().cdb));
    assert!(!nexus.is_pending());
}

#[test]
fn report_luns_and_inquiry_clear_the_attention_that_asked_for_them() {
    let mut nexus = NexusState::default();
    nexus.raise(UnitAttention::ReportedLunsChanged);
    nexus.raise(UnitAttention::InquiryDataChanged);
    good_data(unit().decode(&mut nexus, LUN, &request::report_luns(16).cdb));
    good_data(unit().decode(&mut nexus, LUN, &request::inquiry(96).cdb));
    assert!(!nexus.is_pending());
}

#[test]
fn an_unknown_command_reports_no_unit_attention() {
    let mut nexus = NexusState::default();
    nexus.raise(UnitAttention::PowerOnOrReset);
    assert_refused(unit().decode(&mut nexus, LUN, &cdb(&[0xc0, 0])), AdditionalSense::INVALID_OPERATION_CODE);
    assert!(nexus.is_pending());
}

#[test]
fn an_absent_lun_answers_only_what_finds_out_that_it_is_absent() {
    let mut nexus = NexusState::default();
    nexus.raise(UnitAttention::PowerOnOrReset);
    let unit = unit();
    let mut at_absent = |request: request::Request| unit.decode(&mut nexus, ABSENT_LUN, &request.cdb);
    let data = good_data(at_absent(request::inquiry(96)));
    assert_eq!((data[0], data.len()), (0x7f, 96));
    assert_eq!(good_data(at_absent(request::inquiry_page(0, 96))), [0x7f, 0, 0, 1, 0]);
    assert_invalid_field(at_absent(request::inquiry_page(0x83, 96)), 2);
    assert_eq!(good_data(at_absent(request::report_luns(96)))[3], 8);
    let requested = good_data(at_absent(request::request_sense()));
    assert_eq!(
        Sense::parse(&requested).unwrap(),
        Sense::illegal_request(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED)
    );
    for request in [request::test_unit_ready(), request::read_16(0, 1, 512), request::read_capacity_16()] {
        assert_refused(at_absent(request), AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED);
    }
    assert!(nexus.is_pending(), "the attention is that of LUN 0");
}

#[test]
fn an_unknown_service_action_is_a_wrong_field_of_byte_1() {
    assert_invalid_field(decode(&unit(), &[0xa3, 0x0a]), 1);
    assert_invalid_field(decode(&unit(), &[0x9e, 0x13]), 1);
}

#[test]
fn a_read_only_unit_refuses_every_change_before_it_takes_data() {
    let unit = LogicalUnit::new(LunConfig { read_only: true, ..config() }).unwrap();
    let block = Bytes::from(vec![1; 512]);
    let changes = [
        cdb(&[0x0a, 0, 0, 0, 1, 0]),
        request::write_10(0, block.clone(), 512).cdb,
        cdb(&[0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]),
        request::write_16(0, block.clone(), 512).cdb,
        request::write_same_10(0, 1, block.clone(), false).cdb,
        request::write_same_16(0, 1, block.clone(), true).cdb,
        request::write_same_16(0, 1, Bytes::new(), true).cdb,
        request::unmap(&[(0, 1)]).cdb,
        request::compare_and_write(0, &block, &block, 512).cdb,
    ];
    for change in changes {
        let sense = sense(decode(&unit, &change));
        assert_eq!((sense.key, sense.additional), (SenseKey::DataProtect, AdditionalSense::WRITE_PROTECTED));
    }
    block_command(decode(&unit, &request::read_16(0, 1, 512).cdb));
    block_command(decode(&unit, &request::synchronize_cache_10().cdb));
}

fn completed(unit: &LogicalUnit, outcome: BlockOutcome) -> Completion {
    let command = block_command(decode(unit, &request::read_16(0, 2, 512).cdb));
    unit.complete(&command, outcome)
}

fn completed_sense(unit: &LogicalUnit, error: BlockError) -> Sense {
    match completed(unit, Err(error)) {
        Completion::Respond(response) => sense(response.into()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_error_of_the_engine_has_its_status_and_sense() {
    let unit = unit();
    assert_eq!(
        completed_sense(&unit, BlockError::Miscompare { offset: 300 }),
        Sense::new(SenseKey::Miscompare, AdditionalSense::MISCOMPARE_DURING_VERIFY).with_information(300)
    );
    assert_eq!(
        completed_sense(&unit, BlockError::Medium { offset: 5 * 512 + 17 }),
        Sense::new(SenseKey::MediumError, AdditionalSense::UNRECOVERED_READ_ERROR).with_information(5)
    );
    assert_eq!(
        completed_sense(&unit_4k(), BlockError::Medium { offset: 8192 }).information,
        Some(2),
        "addresses are in blocks of the logical unit"
    );
    assert_eq!(
        completed_sense(&unit, BlockError::NoSpace),
        Sense::new(SenseKey::DataProtect, AdditionalSense::SPACE_ALLOCATION_FAILED)
    );
    assert_eq!(
        completed_sense(&unit, BlockError::NoVolume),
        Sense::illegal_request(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED)
    );
    assert!(matches!(
        completed(&unit, Err(BlockError::Busy)),
        Completion::Respond(Response { status: Status::Busy, sense: None, .. })
    ));
    assert!(matches!(completed(&unit, Err(BlockError::Unknown)), Completion::DropSession));
    assert!(matches!(completed(&unit, Err(BlockError::Aborted)), Completion::Nothing));
}

#[test]
fn read_data_of_the_wrong_length_never_reaches_the_initiator() {
    let unit = unit();
    let Completion::Respond(response) = completed(&unit, Ok(Payload::zeros(1024))) else {
        panic!("no response")
    };
    assert_eq!((response.status, response.data_in.len()), (Status::Good, 1024));
    for len in [0, 512, 1025] {
        let Completion::Respond(response) = completed(&unit, Ok(Payload::zeros(len))) else {
            panic!("no response")
        };
        assert_eq!(sense(response.into()).key, SenseKey::HardwareError);
    }
}

#[test]
fn test_unit_ready_is_good() {
    assert_eq!(answer(decode(&unit(), &[0; 6])).status, Status::Good);
    assert_eq!(unit().blocks(), BLOCKS);
}
