//! PERSISTENT RESERVE IN (SPC-4): what is registered and reserved.
//!
//! PERSISTENT RESERVE OUT is not supported, so nothing ever is: no keys, no reservation, no type that could be asked
//! for, and the generation stays zero. Saying so spares an initiator that only looks, as cluster software does before
//! it begins, the doubt whether somebody else holds the volume.

use crate::cdb::Cdb;
use crate::command::{Decoded, Response};
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::sense::Sense;
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

/// The head of all lists: keys, reservations and full status descriptors would follow.
#[derive(IntoBytes, KnownLayout, Immutable, Unaligned, Default)]
#[repr(C)]
struct ListHeader {
    generation: U32,
    additional_length: U32,
}
const _: () = assert!(size_of::<ListHeader>() == 8);

/// REPORT CAPABILITIES parameter data.
#[derive(IntoBytes, KnownLayout, Immutable, Unaligned, Default)]
#[repr(C)]
struct Capabilities {
    length: U16,
    capabilities: u8,
    flags: u8,
    types: U16,
    reserved: [u8; 2],
}
const _: () = assert!(size_of::<Capabilities>() == 8);

/// TMV: the mask of types counts.
const TYPES_VALID: u8 = 0x80;

/// ALLOCATION LENGTH.
const ALLOCATION_LENGTH_FIELD: usize = 7;

/// READ KEYS, READ RESERVATION and READ FULL STATUS, which all begin with the same head, and of which nothing
/// follows.
pub(crate) fn empty_list(_: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    Ok(answer(&ListHeader::default(), cdb))
}

pub(crate) fn report_capabilities(
    _: &LogicalUnit,
    _: &mut NexusState,
    cdb: Cdb<'_>,
) -> Result<Decoded, Sense> {
    let length = size_of::<Capabilities>() as u16;
    Ok(answer(&Capabilities { length: length.into(), flags: TYPES_VALID, ..Capabilities::default() }, cdb))
}

fn answer(data: &(impl IntoBytes + Immutable), cdb: Cdb<'_>) -> Decoded {
    Response::truncated(data.as_bytes().to_vec(), cdb.u16(ALLOCATION_LENGTH_FIELD).into()).into()
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{decode, good_data, unit};

    fn ask(service_action: u8, allocation_length: u8) -> Vec<u8> {
        good_data(decode(&unit(), &[0x5e, service_action, 0, 0, 0, 0, 0, 0, allocation_length, 0]))
    }

    #[test]
    fn nothing_is_registered_and_nothing_reserved() {
        for read_keys_reservation_or_full_status in [0, 1, 3] {
            assert_eq!(ask(read_keys_reservation_or_full_status, 255), [0; 8]);
        }
    }

    #[test]
    fn no_type_of_reservation_is_supported_and_the_mask_that_says_so_is_valid() {
        assert_eq!(ask(2, 255), [0, 8, 0, 0x80, 0, 0, 0, 0]);
    }

    #[test]
    fn no_more_is_answered_than_asked_for() {
        for service_action in 0..4 {
            assert_eq!(ask(service_action, 3).len(), 3);
            assert_eq!(ask(service_action, 0).len(), 0);
        }
    }
}
