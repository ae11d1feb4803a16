//! Little-endian fields one behind the other: the variable-length parts of journal records.

use evenkeel_types::{Epoch, ExtentId, Incarnation, ServerId, Version, VolumeId, WriteId};

/// Appends fields to a buffer.
pub(crate) struct Encoder<'a>(pub(crate) &'a mut Vec<u8>);

impl Encoder<'_> {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub(crate) fn version(&mut self, value: Version) {
        self.u64(value.epoch.0);
        self.u64(value.sequence);
    }
    pub(crate) fn extent(&mut self, value: ExtentId) {
        self.u64(value.volume.0);
        self.u32(value.index);
    }
    pub(crate) fn write_id(&mut self, value: WriteId) {
        self.u32(value.gateway.0);
        self.u64(value.incarnation.0);
        self.u64(value.number);
    }
}

/// Takes fields from the front of a slice; `None` where it is too short.
pub(crate) struct Decoder<'a>(pub(crate) &'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
    pub(crate) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(slice)
    }
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
    pub(crate) fn version(&mut self) -> Option<Version> {
        Some(Version { epoch: Epoch(self.u64()?), sequence: self.u64()? })
    }
    pub(crate) fn extent(&mut self) -> Option<ExtentId> {
        Some(ExtentId { volume: VolumeId(self.u64()?), index: self.u32()? })
    }
    pub(crate) fn write_id(&mut self) -> Option<WriteId> {
        let gateway = ServerId(self.u32()?);
        Some(WriteId { gateway, incarnation: Incarnation(self.u64()?), number: self.u64()? })
    }
}
