//! Cutting a request into pieces, each within one extent.

use evenkeel_peer::PieceOp;
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::{BlockOp, ByteRange, Bytes, ExtentId, VolumeId};
use smallvec::SmallVec;

/// The pieces of an operation, in order of the volume's addresses. Zeroing is cut at block boundaries too: its whole
/// blocks are given back, and the edges are written with zeros.
pub(crate) fn split(volume: VolumeId, op: &BlockOp) -> SmallVec<[(ExtentId, PieceOp); 1]> {
    let mut pieces = SmallVec::new();
    let Some(range) = op.range() else {
        return pieces;
    };
    let mut start = 0;
    for (index, at) in range.split_by_extent() {
        let extent = ExtentId { volume, index };
        let end = start + at.len as usize;
        match op {
            BlockOp::Read { .. } => pieces.push((extent, PieceOp::Read { at })),
            BlockOp::Write { data, .. } => {
                pieces.push((extent, PieceOp::Write { at, data: data.slice(start..end) }));
            }
            BlockOp::Zero { .. } => {
                for (at, whole) in zero_ranges(at) {
                    let edge = || Bytes::from_static(&[0; BLOCK_BYTES as usize]).slice(..at.len as usize);
                    let op = if whole { PieceOp::Zero { at } } else { PieceOp::Write { at, data: edge() } };
                    pieces.push((extent, op));
                }
            }
            BlockOp::CompareAndWrite { expected, data, .. } => {
                let (expected, data) = (expected.slice(start..end), data.slice(start..end));
                pieces.push((extent, PieceOp::CompareAndWrite { at, expected, data }));
            }
            BlockOp::Flush => {}
        }
        start = end;
    }
    pieces
}

/// A range as an edge, whole blocks, and an edge, without the empty ones; whether each is of whole blocks.
fn zero_ranges(at: ByteRange) -> impl Iterator<Item = (ByteRange, bool)> {
    let block = u64::from(BLOCK_BYTES);
    let first_whole = at.offset.next_multiple_of(block).min(at.end());
    let last_whole = (at.end() / block * block).max(first_whole);
    let part = |from: u64, to: u64| ByteRange::new(from, (to - from) as u32);
    [
        (part(at.offset, first_whole), false),
        (part(first_whole, last_whole), true),
        (part(last_whole, at.end()), false),
    ]
    .into_iter()
    .filter(|(range, _)| range.len > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_types::geometry::EXTENT_BYTES;

    fn shown(op: &BlockOp) -> Vec<(u32, ByteRange, bool)> {
        let pieces = split(VolumeId(1), op);
        pieces
            .into_iter()
            .map(|(extent, op)| (extent.index, op.range(), matches!(op, PieceOp::Zero { .. })))
            .collect()
    }

    #[test]
    fn zeroing_gives_whole_blocks_back_and_writes_the_edges() {
        let shown = shown(&BlockOp::Zero { at: ByteRange::new(512, 3 * 4096) });
        let parts = [(512, 3584, false), (4096, 8192, true), (12288, 512, false)];
        assert_eq!(shown, parts.map(|(offset, len, whole)| (0, ByteRange::new(offset, len), whole)));
    }

    #[test]
    fn zeroing_within_a_block_is_one_write() {
        let shown = shown(&BlockOp::Zero { at: ByteRange::new(512, 1024) });
        assert_eq!(shown, [(0, ByteRange::new(512, 1024), false)]);
    }

    #[test]
    fn a_write_over_an_extent_boundary_takes_its_data_along() {
        let offset = u64::from(EXTENT_BYTES) - 4096;
        let data = Bytes::from([vec![1; 4096], vec![2; 8192]].concat());
        let pieces = split(VolumeId(1), &BlockOp::Write { at: ByteRange::new(offset, 12288), data });
        let shown: Vec<_> = pieces
            .iter()
            .map(|(extent, op)| match op {
                PieceOp::Write { at, data } => (extent.index, at.offset, data.len(), data[0]),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(shown, [(0, offset, 4096, 1), (1, 0, 8192, 2)]);
    }
}
