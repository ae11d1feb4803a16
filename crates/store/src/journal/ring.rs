//! Where the next record goes in the ring, and how full the ring is.
//!
//! A record never straddles the end: one that does not fit behind the head begins at block 0, and the blocks left
//! over count as used until they are retired. The reader follows the same rule, so no mark is needed.

/// The writer's view of the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ring {
    blocks: u32,
    head: u32,
    used: u32,
}

impl Ring {
    /// A ring with nothing to replay, whose next record begins at `head`.
    pub(crate) fn new(blocks: u32, head: u32) -> Self {
        assert!(head < blocks, "ring position {head} of {blocks}");
        Self { blocks, head, used: 0 }
    }

    /// Blocks in all.
    pub(crate) const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Blocks from the tail to the head, with those left over at the end.
    pub(crate) const fn used(&self) -> u32 {
        self.used
    }

    /// Where the next record begins if it fits there.
    pub(crate) const fn head(&self) -> u32 {
        self.head
    }

    /// Blocks of the largest record that fits now.
    pub(crate) fn largest(&self) -> u32 {
        let free = self.blocks - self.used;
        let to_end = self.blocks - self.head;
        to_end.min(free).max(free.saturating_sub(to_end))
    }

    /// Places a record of `blocks`, at most [`Self::largest`]; gives its first block.
    pub(crate) fn place(&mut self, blocks: u32) -> u32 {
        assert!(blocks <= self.largest(), "no room for {blocks} blocks in {self:?}");
        let to_end = self.blocks - self.head;
        let position = if blocks <= to_end {
            self.head
        } else {
            self.used += to_end;
            0
        };
        self.used += blocks;
        self.head = (position + blocks) % self.blocks;
        assert!(self.used <= self.blocks, "journal ring overrun");
        position
    }

    /// Frees what was used when a checkpoint began.
    pub(crate) fn retire(&mut self, used_then: u32) {
        assert!(used_then <= self.used, "more of the ring retired than used");
        self.used -= used_then;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_does_not_fit_before_the_end_begins_at_the_start() {
        let mut ring = Ring::new(10, 0);
        assert_eq!(ring.place(7), 0);
        assert_eq!(ring.largest(), 3);
        ring.retire(7);
        assert_eq!(ring.largest(), 7);
        assert_eq!(ring.place(4), 0);
        assert_eq!((ring.used(), ring.head()), (7, 4));
        assert_eq!(ring.largest(), 3);
    }

    #[test]
    fn a_record_that_ends_at_the_end_leaves_the_head_at_the_start() {
        let mut ring = Ring::new(10, 0);
        ring.place(10);
        assert_eq!((ring.head(), ring.used(), ring.largest()), (0, 10, 0));
    }
}
