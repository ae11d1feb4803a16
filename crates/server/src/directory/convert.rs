//! What the directory is asked and answers, in etcd's words.

use super::wire::{
    Compare as WireCompare, CompareResult, CompareTarget, DeleteRequest, Event, EventKind, Given, KeyValue,
    PutRequest, RangeRequest, Request, RequestOp, Response as WireResponse, TxnRequest, TxnResponse,
};
use evenkeel_meta::{
    Change, Compare, Entry, Key, KeyRange, LeaseId, Operation, Relation, Response, Revision, Subject, Txn,
    TxnOutcome,
};
use evenkeel_types::Bytes;

/// As the end of a range: everything behind the key.
const TO_THE_END: &[u8] = b"\0";
/// The lowest key there is; none is empty.
const FIRST_KEY: &[u8] = b"\0";
/// Begin and end of a range without keys. etcd takes an empty end, or a zero byte, for something else.
const NOWHERE: &[u8] = b"\x01";

/// A range as etcd has it: begin and end.
pub(super) fn bounds(range: &KeyRange) -> (Bytes, Bytes) {
    let fixed = |bytes: &'static [u8]| Bytes::from_static(bytes);
    if range.end.as_ref().is_some_and(|end| *end <= range.start) {
        return (fixed(NOWHERE), fixed(NOWHERE));
    }
    let start = if range.start.as_str().is_empty() { fixed(FIRST_KEY) } else { key_bytes(&range.start) };
    (start, range.end.as_ref().map_or(fixed(TO_THE_END), key_bytes))
}

fn key_bytes(key: &Key) -> Bytes {
    Bytes::copy_from_slice(key.as_str().as_bytes())
}

/// Revisions and versions are below 2^63 on both sides; what is not is above everything there is.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn revision(number: i64) -> Revision {
    Revision(number.unsigned_abs())
}

pub(super) fn signed_revision(revision: Revision) -> i64 {
    signed(revision.0)
}

pub(super) fn lease_number(lease: LeaseId) -> i64 {
    signed(lease.0)
}

pub(super) fn txn_request(txn: &Txn) -> TxnRequest {
    TxnRequest {
        compare: txn.compares.iter().map(compare).collect(),
        success: txn.success.iter().map(request).collect(),
        failure: txn.failure.iter().map(request).collect(),
    }
}

fn compare(compare: &Compare) -> WireCompare {
    let (target, given) = match &compare.subject {
        Subject::CreateRevision(revision) => {
            (CompareTarget::CreateRevision, Given::CreateRevision(signed_revision(*revision)))
        }
        Subject::ModRevision(revision) => {
            (CompareTarget::ModRevision, Given::ModRevision(signed_revision(*revision)))
        }
        Subject::Version(version) => (CompareTarget::Version, Given::Version(signed(*version))),
        Subject::Value(value) => (CompareTarget::Value, Given::Value(value.clone())),
    };
    let result = match compare.relation {
        Relation::Equal => CompareResult::Equal,
        Relation::NotEqual => CompareResult::NotEqual,
        Relation::Less => CompareResult::Less,
        Relation::Greater => CompareResult::Greater,
    };
    WireCompare {
        result: result as i32,
        target: target as i32,
        key: key_bytes(&compare.key),
        given: Some(given),
    }
}

fn request(operation: &Operation) -> RequestOp {
    let request = match operation {
        Operation::Put { key, value, lease } => Request::Put(PutRequest {
            key: key_bytes(key),
            value: value.clone(),
            lease: lease.map_or(0, lease_number),
        }),
        Operation::Delete(range) => {
            let (key, range_end) = bounds(range);
            Request::Delete(DeleteRequest { key, range_end })
        }
        Operation::Range(range) => {
            let (key, range_end) = bounds(range);
            Request::Range(RangeRequest { key, range_end, limit: 0, revision: 0 })
        }
    };
    RequestOp { request: Some(request) }
}

/// How a transaction went.
///
/// # Errors
/// Says what in the answer is not as it must be.
pub(super) fn txn_outcome(answer: TxnResponse) -> Result<TxnOutcome, String> {
    let header = answer.header.ok_or("an answer without a revision")?;
    let responses = answer.responses.into_iter().map(|response| match response.response {
        Some(WireResponse::Put(_)) => Ok(Response::Put),
        Some(WireResponse::Delete(deleted)) => Ok(Response::Deleted(deleted.deleted.unsigned_abs())),
        Some(WireResponse::Range(range)) => {
            Ok(Response::Entries(range.kvs.into_iter().filter_map(entry).collect()))
        }
        None => Err("an answer that lacks the answer to an operation".to_owned()),
    });
    Ok(TxnOutcome {
        succeeded: answer.succeeded,
        revision: revision(header.revision),
        responses: responses.collect::<Result<_, String>>()?,
    })
}

/// An entry. A key that is no text is none of ours, whatever lies at it.
pub(super) fn entry(kv: KeyValue) -> Option<Entry> {
    Some(Entry {
        key: text(&kv.key)?,
        value: kv.value,
        create_revision: revision(kv.create_revision),
        mod_revision: revision(kv.mod_revision),
        version: kv.version.unsigned_abs(),
        lease: (kv.lease != 0).then(|| LeaseId(kv.lease.unsigned_abs())),
    })
}

/// What became of a key, and in which revision.
pub(super) fn change(event: Event) -> Option<(Revision, Change)> {
    let is_deletion = event.kind == EventKind::Delete as i32;
    let kv = event.kv?;
    let (key, at) = (text(&kv.key)?, revision(kv.mod_revision));
    let entry = if is_deletion { None } else { entry(kv) };
    Some((at, Change { key, entry }))
}

fn text(key: &[u8]) -> Option<Key> {
    std::str::from_utf8(key).ok().map(Key::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_etcd_would_take_for_others_are_spelled_differently() {
        let of = |start: &str, end: Option<&str>| {
            let (begin, end) = bounds(&KeyRange { start: start.into(), end: end.map(Key::from) });
            (begin.to_vec(), end.to_vec())
        };
        assert_eq!(of("a", Some("b")), (b"a".to_vec(), b"b".to_vec()));
        assert_eq!(of("a", None), (b"a".to_vec(), b"\0".to_vec()));
        assert_eq!(of("", None), (b"\0".to_vec(), b"\0".to_vec()));
        // An empty end would be the key alone.
        assert_eq!(of("a", Some("")), (b"\x01".to_vec(), b"\x01".to_vec()));
        assert_eq!(of("", Some("")), (b"\x01".to_vec(), b"\x01".to_vec()));
    }
}
