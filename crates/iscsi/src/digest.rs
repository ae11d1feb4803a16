//! Header and data digests: CRC-32C over what they cover, padding included, least significant byte first (RFC 7143
//! sections 11.2.3 and 13.1).

use evenkeel_types::checksum::{Crc32c, crc32c};

/// Bytes of a digest.
pub(crate) const DIGEST_BYTES: usize = 4;

const PADDING: [u8; 3] = [0; 3];

/// Which digests PDUs carry; none during login.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Digests {
    /// HeaderDigest=CRC32C was agreed.
    pub header: bool,
    /// DataDigest=CRC32C was agreed.
    pub data: bool,
}

/// Zero bytes that fill a segment of `len` bytes up to a word.
pub(crate) const fn padding_of(len: usize) -> usize {
    len.next_multiple_of(4) - len
}

/// The digest of these bytes as it stands on the wire.
pub(crate) fn digest(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    crc32c(bytes).to_le_bytes()
}

/// The digest of a data segment in pieces, with its padding.
pub(crate) fn padded_digest<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> [u8; DIGEST_BYTES] {
    let mut crc = Crc32c::default();
    let mut len = 0;
    for piece in pieces {
        crc.update(piece);
        len += piece.len();
    }
    crc.update(&PADDING[..padding_of(len)]);
    crc.value().to_le_bytes()
}
