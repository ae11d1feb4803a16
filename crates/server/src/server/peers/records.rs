//! Records of the plain mode: bytes that travel as they are, each record with a tag. Sans-IO.
//!
//! ```text
//!  0        4                      4 + length          4 + length + 16
//!  | length | bytes of frames      | tag               |
//! ```
//!
//! The tag is that of AES-256-GCM without a plaintext (GMAC, NIST SP 800-38D) over length and bytes. Its nonce is the
//! number of the record in its direction, which both sides count and nobody sends: a record that is changed, left out,
//! sent twice or in another order does not match, and the connection ends before any of its bytes are looked at. Each
//! direction of each connection has a key of its own, which the handshake gave to both ends.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fmt;

/// Bytes of the length in front of a record.
pub(super) const LENGTH_BYTES: usize = 4;
/// Bytes of the tag behind a record.
pub(super) const TAG_BYTES: usize = 16;
/// Bytes of frames in a record at most.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 10;
/// Bytes of the key of a direction.
pub(super) const KEY_BYTES: usize = 32;

/// Why bytes are no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecordError {
    /// Empty or too long.
    Length(u32),
    /// The tag does not match.
    Tag,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => {
                write!(f, "a record of {length} bytes, possible are 1 to {RECORD_BYTES_MAX}")
            }
            Self::Tag => f.write_str("a record does not match its tag: it was changed on the way"),
        }
    }
}

/// The key of one direction and the number of its next record.
pub(super) struct Direction {
    key: LessSafeKey,
    next: u64,
}

impl Direction {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the cipher's length");
        Self { key: LessSafeKey::new(key), next: 0 }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.next.to_be_bytes());
        self.next = self.next.checked_add(1).expect("nobody sends 2^64 records");
        Nonce::assume_unique_for_key(nonce)
    }

    /// Appends a record of bytes from the front of these slices to `out`; gives how many bytes it has. Nothing is
    /// appended if there are none.
    pub(super) fn seal<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        let mut room = RECORD_BYTES_MAX;
        for slice in slices {
            let taken = slice.len().min(room);
            out.extend_from_slice(&slice[..taken]);
            room -= taken;
            if room == 0 {
                break;
            }
        }
        let taken = RECORD_BYTES_MAX - room;
        if taken == 0 {
            out.truncate(start);
            return 0;
        }
        let length = u32::try_from(taken).expect("a record is far shorter");
        out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        let nonce = self.nonce();
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(&out[start..]), &mut []);
        out.extend_from_slice(tag.expect("GCM authenticates 64 KiB").as_ref());
        taken
    }

    /// The length of the record at the front of `received` with everything around it; `None` while it is not there
    /// wholly.
    ///
    /// # Errors
    /// [`RecordError::Length`].
    pub(super) fn whole(received: &[u8]) -> Result<Option<usize>, RecordError> {
        let Some(length) = received.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length);
        let bytes = length as usize;
        if bytes == 0 || bytes > RECORD_BYTES_MAX {
            return Err(RecordError::Length(length));
        }
        let whole = LENGTH_BYTES + bytes + TAG_BYTES;
        Ok((received.len() >= whole).then_some(whole))
    }

    /// The bytes of a whole record, if it is the next one as it was sent.
    ///
    /// # Errors
    /// [`RecordError::Tag`]; nothing that comes after it can be believed.
    pub(super) fn open<'a>(&mut self, record: &'a [u8]) -> Result<&'a [u8], RecordError> {
        let (covered, tag) = record.split_at(record.len() - TAG_BYTES);
        let mut tag: [u8; TAG_BYTES] = tag.try_into().expect("split at its length");
        let nonce = self.nonce();
        self.key.open_in_place(nonce, Aad::from(covered), &mut tag).map_err(|_| RecordError::Tag)?;
        Ok(&covered[LENGTH_BYTES..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];

    fn sealed(direction: &mut Direction, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(direction.seal([bytes].into_iter(), &mut out), bytes.len());
        assert_eq!(Direction::whole(&out), Ok(Some(out.len())));
        out
    }

    #[test]
    fn records_in_their_order_give_what_was_sent() {
        let (mut from, mut to) = (Direction::new(&KEY), Direction::new(&KEY));
        for n in 0..100u8 {
            let bytes = vec![n; 1 + usize::from(n) * 31];
            let record = sealed(&mut from, &bytes);
            assert_eq!(to.open(&record), Ok(&bytes[..]));
            assert_eq!(record.len(), LENGTH_BYTES + bytes.len() + TAG_BYTES);
            assert_eq!(record[LENGTH_BYTES..][..bytes.len()], bytes, "it travels as it is");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_record_is_found() {
        let record = sealed(&mut Direction::new(&KEY), b"a frame");
        for bit in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            match Direction::whole(&bad) {
                // The length says something else: the record ends elsewhere, is awaited, or is none.
                Ok(None) | Err(_) => assert!(bit < LENGTH_BYTES * 8),
                Ok(Some(whole)) => {
                    assert_eq!(Direction::new(&KEY).open(&bad[..whole]), Err(RecordError::Tag), "{bit}");
                }
            }
        }
    }

    #[test]
    fn a_record_left_out_repeated_reordered_or_of_another_key_is_found() {
        let mut from = Direction::new(&KEY);
        let [first, second] = [b"one", b"two"].map(|bytes| sealed(&mut from, bytes));
        let mut to = Direction::new(&KEY);
        assert_eq!(to.open(&second), Err(RecordError::Tag), "the first was left out");
        let mut to = Direction::new(&KEY);
        assert_eq!(to.open(&first), Ok(&b"one"[..]));
        assert_eq!(to.open(&first), Err(RecordError::Tag), "it was sent twice");
        assert_eq!(Direction::new(&[8; KEY_BYTES]).open(&first), Err(RecordError::Tag));
    }

    #[test]
    fn a_length_that_no_record_has_is_refused_before_anything_is_awaited() {
        for length in [0, RECORD_BYTES_MAX as u32 + 1, u32::MAX] {
            assert_eq!(Direction::whole(&length.to_le_bytes()), Err(RecordError::Length(length)));
        }
        assert_eq!(Direction::whole(&[1, 0, 0]), Ok(None));
        assert_eq!(Direction::whole(&(RECORD_BYTES_MAX as u32).to_le_bytes()), Ok(None));
    }

    #[test]
    fn many_slices_make_one_record_up_to_its_bound() {
        let (mut from, mut to) = (Direction::new(&KEY), Direction::new(&KEY));
        let (a, b) = (vec![1; RECORD_BYTES_MAX - 10], vec![2; 20]);
        let mut out = Vec::new();
        assert_eq!(from.seal([&a[..], &b[..]].into_iter(), &mut out), RECORD_BYTES_MAX);
        let opened = to.open(&out).unwrap();
        assert_eq!((opened.len(), opened[RECORD_BYTES_MAX - 1]), (RECORD_BYTES_MAX, 2));
        let before = out.len();
        assert_eq!(from.seal(std::iter::empty(), &mut out), 0);
        assert_eq!(out.len(), before);
    }
}
