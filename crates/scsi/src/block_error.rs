//! The one place where the end of an operation on the volume becomes status and sense data.

use crate::command::{Completion, Response};
use crate::geometry::Geometry;
use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::status::Status;
use evenkeel_types::{BlockError, BlockOutcome};

/// Ends a command that promised `expected_data_in` bytes.
pub(crate) fn complete(geometry: Geometry, expected_data_in: u32, outcome: BlockOutcome) -> Completion {
    match outcome {
        Ok(data) if data.len() == expected_data_in as usize => Completion::Respond(Response::data(data)),
        // A layer below broke its word; the data must not reach the initiator.
        Ok(_) => {
            check_condition(Sense::new(SenseKey::HardwareError, AdditionalSense::INTERNAL_TARGET_FAILURE))
        }
        Err(error) => end_of(geometry, error),
    }
}

fn end_of(geometry: Geometry, error: BlockError) -> Completion {
    match error {
        BlockError::Miscompare { offset } => check_condition(
            Sense::new(SenseKey::Miscompare, AdditionalSense::MISCOMPARE_DURING_VERIFY)
                .with_information(offset.into()),
        ),
        BlockError::Medium { offset } => check_condition(
            Sense::new(SenseKey::MediumError, AdditionalSense::UNRECOVERED_READ_ERROR)
                .with_information(geometry.lba_of(offset)),
        ),
        BlockError::NoSpace => {
            check_condition(Sense::new(SenseKey::DataProtect, AdditionalSense::SPACE_ALLOCATION_FAILED))
        }
        BlockError::NoVolume => {
            check_condition(Sense::illegal_request(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED))
        }
        BlockError::Busy => Completion::Respond(Response::status(Status::Busy)),
        BlockError::Unknown => Completion::DropSession,
        BlockError::Aborted => Completion::Nothing,
    }
}

fn check_condition(sense: Sense) -> Completion {
    Completion::Respond(sense.into())
}
