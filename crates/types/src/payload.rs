//! Data as a list of shared pieces, so that the parts of a read are joined without copying.

use crate::aligned_buf::AlignedBuf;
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::LazyLock;

const ZERO_PIECE_BYTES: usize = 64 << 10;
static ZEROS: LazyLock<Bytes> = LazyLock::new(|| AlignedBuf::zeroed(ZERO_PIECE_BYTES).freeze());

/// Bytes in pieces; cloning shares them.
#[derive(Clone, Default, Debug)]
pub struct Payload {
    pieces: SmallVec<[Bytes; 1]>,
    len: usize,
}

impl Payload {
    /// `len` zero bytes, made of shared pieces.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let mut payload = Self::default();
        payload.push_zeros(len);
        payload
    }

    /// Total length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Appends `len` zero bytes.
    pub fn push_zeros(&mut self, len: usize) {
        let mut left = len;
        while left > 0 {
            let piece = left.min(ZERO_PIECE_BYTES);
            self.push(ZEROS.slice(..piece));
            left -= piece;
        }
    }

    /// Appends all pieces of another payload.
    pub fn append(&mut self, other: Self) {
        self.len += other.len;
        self.pieces.extend(other.pieces);
    }

    /// The pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// The bytes from `start` (at most the length) on, at most `len` of them, sharing the pieces.
    #[must_use]
    pub fn slice(&self, start: usize, len: usize) -> Self {
        let mut out = Self::default();
        let (mut skip, mut left) = (start, len);
        for piece in &self.pieces {
            if left == 0 {
                break;
            }
            if skip >= piece.len() {
                skip -= piece.len();
                continue;
            }
            let take = left.min(piece.len() - skip);
            out.push(piece.slice(skip..skip + take));
            left -= take;
            skip = 0;
        }
        out
    }

    /// The bytes in one piece: shared where there is only one, else copied into an aligned buffer.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.pieces.len() {
            0 => Bytes::new(),
            1 => self.pieces.into_iter().next().unwrap_or_default(),
            _ => {
                let mut buf = AlignedBuf::for_overwrite(self.len);
                let mut at = 0;
                for piece in &self.pieces {
                    buf[at..at + piece.len()].copy_from_slice(piece);
                    at += piece.len();
                }
                buf.freeze()
            }
        }
    }
}

impl From<Bytes> for Payload {
    fn from(piece: Bytes) -> Self {
        let mut payload = Self::default();
        payload.push(piece);
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_spans_pieces() {
        let mut payload = Payload::from(Bytes::from_static(b"abc"));
        payload.push_zeros(2);
        payload.push(Bytes::from_static(b"def"));
        assert_eq!(payload.len(), 8);
        assert_eq!(&payload.slice(2, 4).into_bytes()[..], b"c\0\0d");
        assert_eq!(&payload.slice(7, 100).into_bytes()[..], b"f");
        assert!(payload.slice(8, 1).is_empty());
    }
}
