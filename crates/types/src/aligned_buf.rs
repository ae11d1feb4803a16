//! Memory aligned for direct I/O. One of the two places in the workspace with `unsafe`.

#![allow(unsafe_code)]

use bytes::Bytes;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Alignment of every buffer, in bytes: what direct I/O asks for on all disks known.
pub const BUFFER_ALIGNMENT: usize = 4096;

/// A buffer of bytes that starts at a multiple of [`BUFFER_ALIGNMENT`].
pub struct AlignedBuf {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the buffer owns its memory and gives it out only through borrows of itself.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared borrows only read.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A buffer of `len` zero bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self::allocate(len, true)
    }

    /// A buffer with a copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buf = Self::allocate(bytes.len(), false);
        // SAFETY: `start` points at `len` bytes that nothing else refers to; `bytes` is as long and does not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buf.start.as_mut(), bytes.len()) };
        buf
    }

    /// Makes the buffer an immutable, shareable piece of data; no bytes are copied and the alignment stays.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        if self.len == 0 { Bytes::new() } else { Bytes::from_owner(self) }
    }

    fn layout(len: usize) -> Layout {
        // A length of zero still gets one byte, so that there is a pointer to free.
        Layout::from_size_align(len.max(1), BUFFER_ALIGNMENT).expect("buffer length fits the address space")
    }

    fn allocate(len: usize, zeroed: bool) -> Self {
        let layout = Self::layout(len);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, len }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated in `allocate` with the same layout.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.len)) }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points at `len` initialised bytes: zeroed, or written by `copy_of` before it returns.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_keep_their_bytes_when_frozen() {
        let buf = AlignedBuf::copy_of(&[7; 5000]);
        assert_eq!(buf.as_ptr() as usize % BUFFER_ALIGNMENT, 0);
        let start = buf.as_ptr();
        let frozen = buf.freeze();
        assert_eq!(frozen.as_ptr(), start);
        assert!(frozen.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn an_empty_buffer_is_harmless() {
        assert!(AlignedBuf::zeroed(0).freeze().is_empty());
    }
}
