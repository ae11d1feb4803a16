//! Reading the fields of a CDB.

use crate::sense::Sense;

/// Bytes of the longest CDB that is not a variable-length one.
pub(crate) const CDB_BYTES: usize = 16;

/// A CDB; bytes behind its length are zero or meaningless.
#[derive(Clone, Copy)]
pub(crate) struct Cdb<'a>(pub(crate) &'a [u8; CDB_BYTES]);

impl Cdb<'_> {
    pub(crate) fn u8(self, at: usize) -> u8 {
        self.0[at]
    }

    pub(crate) fn bit(self, at: usize, bit: u8) -> bool {
        self.0[at] >> bit & 1 == 1
    }

    pub(crate) fn u16(self, at: usize) -> u16 {
        u16::from_be_bytes(self.bytes(at))
    }

    pub(crate) fn u24(self, at: usize) -> u32 {
        let [high, middle, low] = self.bytes(at);
        u32::from_be_bytes([0, high, middle, low])
    }

    pub(crate) fn u32(self, at: usize) -> u32 {
        u32::from_be_bytes(self.bytes(at))
    }

    pub(crate) fn u64(self, at: usize) -> u64 {
        u64::from_be_bytes(self.bytes(at))
    }

    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("the slice is N bytes long")
    }
}

/// The command is refused because of the field that fills this byte and perhaps more.
pub(crate) const fn invalid_byte(byte: u16) -> Sense {
    Sense::invalid_field_in_cdb(byte, None)
}

/// The command is refused because of the field whose most significant bit is this one.
pub(crate) const fn invalid_bit(byte: u16, bit: u8) -> Sense {
    Sense::invalid_field_in_cdb(byte, Some(bit))
}
