//! Memory aligned for direct I/O. One of the two places in the workspace with `unsafe`.

#![allow(unsafe_code)]

use bytes::Bytes;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Alignment of every buffer, in bytes: what direct I/O asks for on all disks known.
pub const BUFFER_ALIGNMENT: usize = 4096;

/// Buffers up to this many bytes are kept for the next use; larger ones are rare.
const KEPT_BUFFER_BYTES_MAX: usize = 1 << 20;
/// Sizes that buffers are kept in: the powers of two from [`BUFFER_ALIGNMENT`] to [`KEPT_BUFFER_BYTES_MAX`].
const SIZES: usize = (KEPT_BUFFER_BYTES_MAX / BUFFER_ALIGNMENT).ilog2() as usize + 1;
/// Bytes of unused buffers of one size that a thread keeps: a few of the largest, many of the small ones.
const KEPT_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept([const { Vec::new() }; SIZES])) };
}

/// Unused buffers of a thread by size. Making and zeroing one takes longer than filling it, so those that are used up
/// serve again, with what was in them.
struct Kept([Vec<NonNull<u8>>; SIZES]);

impl Drop for Kept {
    fn drop(&mut self) {
        for (size, buffers) in self.0.iter_mut().enumerate() {
            for start in buffers.drain(..) {
                // SAFETY: only buffers made in `allocate` with this capacity were kept, and each is given up once.
                unsafe { dealloc(start.as_ptr(), AlignedBuf::layout(BUFFER_ALIGNMENT << size)) }
            }
        }
    }
}

/// The place in [`Kept`] of buffers with this capacity; none if they are not kept.
fn size_of_capacity(capacity: usize) -> Option<usize> {
    (capacity <= KEPT_BUFFER_BYTES_MAX).then(|| (capacity / BUFFER_ALIGNMENT).ilog2() as usize)
}

/// A buffer of bytes that starts at a multiple of [`BUFFER_ALIGNMENT`].
pub struct AlignedBuf {
    start: NonNull<u8>,
    len: usize,
    /// Bytes that `start` points at, all of them initialised: at least `len`.
    capacity: usize,
}

// SAFETY: the buffer owns its memory and gives it out only through borrows of itself.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared borrows only read.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A buffer of `len` zero bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let (mut buf, is_zeroed) = Self::allocate(len);
        if !is_zeroed {
            buf.fill(0);
        }
        buf
    }

    /// A buffer of `len` bytes that hold anything, perhaps of another use: for those who overwrite all of them.
    #[must_use]
    pub fn for_overwrite(len: usize) -> Self {
        Self::allocate(len).0
    }

    /// A buffer with a copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buf = Self::for_overwrite(bytes.len());
        buf.copy_from_slice(bytes);
        buf
    }

    /// Makes the buffer an immutable, shareable piece of data; no bytes are copied and the alignment stays.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        if self.len == 0 { Bytes::new() } else { Bytes::from_owner(self) }
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, BUFFER_ALIGNMENT).expect("buffer length fits the address space")
    }

    /// A buffer, and whether its bytes are known to be zero.
    fn allocate(len: usize) -> (Self, bool) {
        let capacity = match len.max(BUFFER_ALIGNMENT) {
            small if small <= KEPT_BUFFER_BYTES_MAX => small.next_power_of_two(),
            large => large,
        };
        // A thread that ends has nothing kept any more.
        let kept = size_of_capacity(capacity)
            .and_then(|size| KEPT.try_with(|kept| kept.borrow_mut().0[size].pop()).ok().flatten());
        if let Some(start) = kept {
            return (Self { start, len, capacity }, false);
        }
        let layout = Self::layout(capacity);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        (Self { start, len, capacity }, true)
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        let keep = |kept: &RefCell<Kept>, size: usize| {
            let buffers = &mut kept.borrow_mut().0[size];
            let has_room = (buffers.len() + 1) * self.capacity <= KEPT_BYTES_MAX;
            if has_room {
                buffers.push(self.start);
            }
            has_room
        };
        let is_kept = size_of_capacity(self.capacity)
            .is_some_and(|size| KEPT.try_with(|kept| keep(kept, size)) == Ok(true));
        if !is_kept {
            // SAFETY: allocated in `allocate` with the same layout, and not kept.
            unsafe { dealloc(self.start.as_ptr(), Self::layout(self.capacity)) }
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points at `len` initialised bytes: zeroed when they were made, perhaps written since then.
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
    fn a_zeroed_buffer_is_zero_though_its_memory_was_used_before() {
        for len in [1, 4096, 5000, 1 << 20, (1 << 20) + 1] {
            let mut used = AlignedBuf::zeroed(len);
            used.fill(7);
            let start = used.as_ptr();
            drop(used);
            let again = AlignedBuf::zeroed(len);
            assert!(len > KEPT_BUFFER_BYTES_MAX || again.as_ptr() == start, "{len}: it was kept");
            assert!(again.iter().all(|byte| *byte == 0) && again.len() == len, "{len}");
        }
    }

    #[test]
    fn no_more_unused_memory_is_kept_than_its_bound() {
        let used: Vec<_> = (0..3000).map(|_| AlignedBuf::zeroed(4096)).collect();
        drop(used);
        let kept = KEPT.with(|kept| kept.borrow().0[0].len());
        assert_eq!(kept * 4096, KEPT_BYTES_MAX);
    }

    #[test]
    fn a_buffer_may_be_given_up_in_another_thread() {
        let buf = AlignedBuf::copy_of(&[3; 9000]).freeze();
        let part = buf.slice(5000..5010);
        drop(buf);
        std::thread::spawn(move || assert_eq!(&part[..], [3; 10])).join().unwrap();
    }

    #[test]
    fn an_empty_buffer_is_harmless() {
        assert!(AlignedBuf::zeroed(0).freeze().is_empty());
    }
}
