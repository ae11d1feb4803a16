use super::*;
use crate::pdu::{NopOut, PduHeader};
use crate::transmit::Transmitter;
use evenkeel_types::{Bytes, Payload};
use proptest::prelude::*;
use std::io::IoSlice;

/// Takes every segment and remembers it; segments whose length is odd go into a buffer of their own.
#[derive(Default)]
struct Collect {
    segments: Vec<(Vec<u8>, bool)>,
}

impl Sink for Collect {
    type Error = FrameError;
    fn header(&mut self, header: &Header) -> Result<Placement, FrameError> {
        if header.data_len().is_multiple_of(2) {
            return Ok(Placement::Whole);
        }
        Ok(Placement::Into { buf: AlignedBuf::zeroed(header.data_len() + 7), at: 7 })
    }
    fn segment(&mut self, _: &Header, data: &[u8], intact: bool) -> Result<(), FrameError> {
        self.segments.push((data.to_vec(), intact));
        Ok(())
    }
    fn arrived(
        &mut self,
        header: &Header,
        buf: AlignedBuf,
        at: usize,
        intact: bool,
    ) -> Result<(), FrameError> {
        self.segments.push((buf[at..at + header.data_len()].to_vec(), intact));
        Ok(())
    }
    fn is_closed(&self) -> bool {
        false
    }
    fn take_agreement(&mut self) -> Option<Agreement> {
        None
    }
}

fn stream(segments: &[Vec<u8>], digests: Digests) -> Vec<u8> {
    let mut transmitter = Transmitter::default();
    transmitter.agree(digests);
    for segment in segments {
        transmitter.push(NopOut::empty().bhs(), Payload::from(Bytes::copy_from_slice(segment)));
    }
    let mut slices = vec![IoSlice::new(&[]); segments.len() * 3];
    let used = transmitter.gather(&mut slices);
    slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
}

fn feed(
    receiver: &mut Receiver,
    sink: &mut Collect,
    mut bytes: &[u8],
    chunk: usize,
) -> Result<(), FrameError> {
    while !bytes.is_empty() {
        let space = receiver.space();
        assert!(!space.is_empty());
        let n = space.len().min(bytes.len()).min(chunk);
        space[..n].copy_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        receiver.filled(n);
        receiver.pump(sink)?;
    }
    Ok(())
}

const BOTH: Digests = Digests { header: true, data: true };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn segments_arrive_whole_however_the_stream_is_cut(
        lens in prop::collection::vec(prop_oneof![0..300usize, 60_000..200_000usize], 1..6),
        header in any::<bool>(), data in any::<bool>(), chunk in prop_oneof![1..100usize, 1000..300_000usize],
    ) {
        let digests = Digests { header, data };
        let segments: Vec<Vec<u8>> =
            lens.iter().map(|len| (0..*len).map(|n| (n * 31 + len) as u8).collect()).collect();
        let bytes = stream(&segments, digests);
        let mut receiver = Receiver::new(200_000);
        receiver.agree(Agreement { digests, max_segment: 200_000 });
        let mut sink = Collect::default();
        // Byte by byte is slow for large streams and adds nothing there.
        let chunk = if bytes.len() > 10_000 { chunk.max(500) } else { chunk };
        feed(&mut receiver, &mut sink, &bytes, chunk).unwrap();
        let expected: Vec<_> = segments.into_iter().map(|segment| (segment, true)).collect();
        prop_assert_eq!(sink.segments, expected);
    }
}

#[test]
fn a_flipped_bit_in_a_header_ends_the_stream() {
    let mut bytes = stream(&[vec![1; 8]], BOTH);
    bytes[20] ^= 1;
    let mut receiver = Receiver::new(8192);
    receiver.agree(Agreement { digests: BOTH, max_segment: 8192 });
    assert_eq!(feed(&mut receiver, &mut Collect::default(), &bytes, 1000), Err(FrameError::HeaderDigest));
}

#[test]
fn a_flipped_bit_in_a_segment_is_told_and_the_next_pdu_is_found() {
    for len in [8, 9, 70_001, 100_000] {
        let mut bytes = stream(&[vec![1; len], vec![2; 4]], BOTH);
        bytes[BHS_BYTES + DIGEST_BYTES + 5] ^= 1;
        let mut receiver = Receiver::new(1 << 20);
        receiver.agree(Agreement { digests: BOTH, max_segment: 1 << 20 });
        let mut sink = Collect::default();
        feed(&mut receiver, &mut sink, &bytes, 999).unwrap();
        assert!(!sink.segments[0].1, "{len}");
        assert_eq!(sink.segments[1], (vec![2; 4], true));
    }
}

#[test]
fn a_segment_longer_than_declared_is_refused_by_its_header() {
    let bytes = stream(&[vec![0; 8193]], Digests::default());
    let result = feed(&mut Receiver::new(8192), &mut Collect::default(), &bytes[..BHS_BYTES], 48);
    assert_eq!(result, Err(FrameError::SegmentTooLong { len: 8193, max: 8192 }));
}
