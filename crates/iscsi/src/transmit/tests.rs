use super::*;
use crate::pdu::{NopIn, PduHeader};
use evenkeel_types::Bytes;

fn gathered(transmitter: &Transmitter, slices: usize) -> Vec<u8> {
    let mut out = vec![IoSlice::new(&[]); slices];
    let used = transmitter.gather(&mut out);
    out[..used].iter().flat_map(|slice| slice.to_vec()).collect()
}

#[test]
fn output_goes_on_where_a_short_write_stopped() {
    let mut transmitter = Transmitter::default();
    transmitter.agree(Digests { header: true, data: true });
    for n in 1..=3u8 {
        let mut payload = Payload::from(Bytes::from(vec![n; 5]));
        payload.push(Bytes::from(vec![n; 6]));
        transmitter.push(NopIn::empty().bhs(), payload);
    }
    let whole = gathered(&transmitter, 100);
    assert_eq!(whole.len(), 3 * (52 + 11 + 1 + 4));
    let mut sent = Vec::new();
    let mut step = 1;
    while !transmitter.is_empty() {
        let part = gathered(&transmitter, 2);
        let n = part.len().min(step);
        sent.extend_from_slice(&part[..n]);
        transmitter.advance(n);
        step = step % 37 + 5;
    }
    assert_eq!(sent, whole);
    assert_eq!(transmitter.payload_bytes(), 0);
}
