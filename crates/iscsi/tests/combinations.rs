//! Every combination of the parameters that say how data travels, in both directions, over streams that are cut at random
//! places.

mod pair;

use evenkeel_iscsi::initiator::Transfer;
use evenkeel_iscsi::{DigestPolicy, Settings};
use evenkeel_scsi::Status;
use evenkeel_types::Bytes;
use pair::{Pair, read16, write16};

const FIRST_BURST: u32 = 4096;

fn all() -> impl Iterator<Item = Settings> {
    let digests = [DigestPolicy::Refuse, DigestPolicy::Require];
    (0..2u32 * 2 * 2 * 2 * 3 * 2).map(move |n| {
        let bit = |at: u32| n >> at & 1;
        let (max_receive_segment, max_burst) =
            [(512, 4096), (3000, 8192), (65536, 16384)][(n >> 4) as usize % 3];
        Settings {
            initial_r2t: bit(0) == 1,
            immediate_data: bit(1) == 1,
            header_digest: digests[bit(2) as usize],
            data_digest: digests[bit(3) as usize],
            max_receive_segment,
            max_burst,
            first_burst: FIRST_BURST,
            max_outstanding_r2t: if n >> 4 >= 3 { 4 } else { 1 },
        }
    })
}

#[test]
fn data_travels_whole_in_both_directions_by_every_combination() {
    let mut tried = std::collections::BTreeSet::new();
    for (seed, settings) in all().enumerate() {
        let mut pair = Pair::logged_in(seed as u64, settings.clone(), settings.clone());
        let agreed = pair.target.info().parameters;
        assert_eq!(agreed, *pair.initiator.parameters(), "both sides agree");
        assert_eq!(
            (agreed.initial_r2t, agreed.immediate_data, agreed.digests.header, agreed.digests.data),
            (
                settings.initial_r2t,
                settings.immediate_data,
                settings.header_digest == DigestPolicy::Require,
                settings.data_digest == DigestPolicy::Require
            )
        );
        tried.insert(format!("{agreed:?}"));
        pair.chunk_max = [1500, 20_000, 100][seed % 3];
        // One segment, the first burst and a block more, several bursts with an incomplete last one; all at once.
        let lengths =
            [512, FIRST_BURST as usize, FIRST_BURST as usize + 512, 3 * settings.max_burst as usize + 1536];
        let mut writes = Vec::new();
        let mut at = 0;
        for (lane, len) in lengths.into_iter().enumerate() {
            let data: Vec<u8> = (0..len).map(|n| (n * 13 + lane * 31 + seed) as u8).collect();
            let out = Transfer::Out(Bytes::from(data.clone()).into());
            writes.push((pair.submit(write16(at, len), out), at, data));
            at += len;
        }
        pair.run();
        for (id, at, data) in &writes {
            let done = pair.done(*id);
            assert_eq!((done.status, done.overflow, done.underflow), (Some(Status::Good), 0, 0));
            assert!(pair.disk.bytes[*at..*at + data.len()] == data[..], "{settings:?}");
        }
        let reads: Vec<_> = writes
            .iter()
            .map(|(_, at, data)| pair.submit(read16(*at, data.len()), Transfer::In(data.len() as u32)))
            .collect();
        pair.run();
        for (id, (_, _, data)) in reads.into_iter().zip(&writes) {
            let done = pair.done(id);
            assert_eq!(done.status, Some(Status::Good));
            assert!(done.data[..] == data[..], "{settings:?}");
        }
        assert_eq!((pair.target.memory().tasks, pair.target.memory().data_out_bytes), (0, 0));
    }
    assert_eq!(tried.len(), 96, "each combination was agreed");
}
