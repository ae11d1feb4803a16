use super::*;
use crate::fixtures::{
    BLOCKS, CAPACITY_BYTES, answer, assert_invalid_field, assert_refused, block_command, decode, send, sense,
    unit,
};
use crate::initiator::{Request, request};
use crate::status::Status;
use proptest::prelude::*;

const MOST: u32 = UNMAP_BYTES_MAX / 512;

fn cleared(request: &Request) -> Vec<ByteRange> {
    let command = block_command(send(&unit(), request));
    assert_eq!(command.expected_data_in, 0);
    command
        .ops
        .iter()
        .map(|op| match op {
            BlockOp::Zero { at } => *at,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// An UNMAP with a parameter list as it is.
fn raw(list: &[u8]) -> Request {
    let len = (list.len() as u16).to_be_bytes();
    let mut request = request::unmap(&[]);
    request.cdb[7..9].copy_from_slice(&len);
    request.data_out = list.to_vec().into();
    request
}

#[test]
fn each_range_is_cleared_in_the_order_of_the_list() {
    let ranges = cleared(&request::unmap(&[(100, 8), (3, 1), (200, 0), (BLOCKS - 1, 1)]));
    assert_eq!(
        ranges,
        [ByteRange::new(51_200, 4096), ByteRange::new(1536, 512), ByteRange::new((BLOCKS - 1) * 512, 512)]
    );
}

#[test]
fn neighbours_in_the_list_become_one_operation() {
    let ranges: Vec<_> = (0..256).map(|lba| (lba, 1)).collect();
    assert_eq!(cleared(&request::unmap(&ranges)), [ByteRange::new(0, 256 * 512)]);
}

#[test]
fn a_large_range_becomes_operations_of_bounded_size() {
    let pieces = cleared(&request::unmap(&[(8, MOST)]));
    assert!(pieces.iter().all(|piece| piece.len <= ZERO_OP_BYTES_MAX));
    assert!(pieces.windows(2).all(|pair| pair[0].end() == pair[1].offset));
    assert_eq!((pieces[0].offset, pieces.last().unwrap().end()), (4096, 4096 + u64::from(UNMAP_BYTES_MAX)));
}

#[test]
fn nothing_to_unmap_is_no_error() {
    let unit = unit();
    let mut empty = raw(&[]);
    assert_eq!(answer(send(&unit, &empty)).status, Status::Good);
    empty = request::unmap(&[]);
    assert_eq!(answer(send(&unit, &empty)).status, Status::Good);
    for lba in [0, 9, BLOCKS] {
        assert_eq!(answer(send(&unit, &request::unmap(&[(lba, 0)]))).status, Status::Good);
    }
}

#[test]
fn a_list_shorter_than_its_header_says_is_refused() {
    let unit = unit();
    for len in [1, 7] {
        assert_refused(send(&unit, &raw(&vec![0; len])), AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    }
    let mut cut = request::unmap(&[(0, 1), (8, 1)]).data_out.to_vec();
    cut.pop();
    assert_refused(send(&unit, &raw(&cut)), AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
}

#[test]
fn a_list_that_is_announced_too_short_is_refused() {
    let mut request = request::unmap(&[(0, 1), (8, 1)]);
    request.data_out.truncate(24);
    assert_refused(send(&unit(), &request), AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    request.data_out.truncate(4);
    assert_refused(send(&unit(), &request), AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
}

#[test]
fn an_incomplete_last_descriptor_is_ignored() {
    let mut list = request::unmap(&[(0, 8), (800, 8)]).data_out.to_vec();
    list[3] = 16 + 15;
    assert_eq!(cleared(&raw(&list)), [ByteRange::new(0, 4096)]);
}

#[test]
fn one_bad_descriptor_keeps_all_blocks_as_they_are() {
    for bad in [(BLOCKS, 1), (BLOCKS - 1, 2), (u64::MAX, 1), (BLOCKS + 1, 0)] {
        assert_refused(send(&unit(), &request::unmap(&[(0, 8), bad])), AdditionalSense::LBA_OUT_OF_RANGE);
    }
}

#[test]
fn more_blocks_than_the_limit_point_at_the_descriptor_that_crosses_it() {
    let sense = sense(send(&unit(), &request::unmap(&[(0, MOST), (0, 1)])));
    assert_eq!(sense.additional, AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST);
    assert_eq!(sense.field.unwrap().byte, 8 + 16 + 8);
}

#[test]
fn more_descriptors_than_the_limit_are_refused() {
    let most = vec![(0, 1); UNMAP_DESCRIPTORS_MAX];
    let list = request::unmap(&most).data_out;
    assert_eq!(cleared(&request::unmap(&most)).len(), UNMAP_DESCRIPTORS_MAX);
    let mut one_more = list.to_vec();
    one_more.extend_from_slice(&list[8..24]);
    one_more[2..4].copy_from_slice(&(16 * 257u16).to_be_bytes());
    assert_refused(send(&unit(), &raw(&one_more)), AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST);
}

#[test]
fn anchor_is_refused() {
    assert_invalid_field(decode(&unit(), &[0x42, 0x01, 0, 0, 0, 0, 0, 0, 24, 0]), 1);
}

proptest! {
    #[test]
    fn any_list_is_carried_out_within_the_volume_or_refused(
        list in proptest::collection::vec(any::<u8>(), 8..600),
        descriptors in 0u16..600,
    ) {
        let mut list = list;
        list[2..4].copy_from_slice(&descriptors.to_be_bytes());
        for descriptor in list[8..].chunks_exact_mut(16) {
            descriptor[..5].fill(0);
            descriptor[8..10].fill(0);
        }
        if let Decoded::Block(command) = send(&unit(), &raw(&list)) {
            prop_assert!(command.ops.len() <= BLOCK_OPS_MAX);
            for at in command.ops.iter().filter_map(BlockOp::range) {
                prop_assert!(at.len > 0 && at.end() <= CAPACITY_BYTES);
            }
        }
    }
}
