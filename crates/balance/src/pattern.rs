//! Random or sequential: recognising streams within an extent, and counting what was found.

use crate::charge::{Access, Order};
use evenkeel_types::geometry::EXTENT_BYTES;
use serde::{Deserialize, Serialize};

/// How far behind the end of the previous access the next one of a stream may begin, in bytes.
const STREAM_GAP_MAX: u32 = 128 << 10;
/// Streams that are followed in one extent at the same time.
const STREAMS_PER_EXTENT: usize = 2;
/// Accesses in a row after which a stream counts as one. A random access falls behind the end of another now and
/// then; two in a row hardly ever do.
const STREAM_RUN_MIN: u8 = 2;

#[derive(Clone, Copy, Default, Debug)]
struct Stream {
    /// The byte behind the last access, from the extent's start.
    end: u32,
    /// Accesses in a row, counted up to 255; 0 is no stream.
    run: u8,
}

/// The streams that run through one extent.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Streams([Stream; STREAMS_PER_EXTENT]);

impl Streams {
    /// No stream at all.
    pub(crate) const NONE: Self = Self([Stream { end: 0, run: 0 }; STREAMS_PER_EXTENT]);

    /// Takes an access and says whether it continues a stream. `before` are the streams of the extent that lies
    /// before this one in the volume: a stream that leaves that one goes on here.
    pub(crate) fn classify(
        &mut self,
        offset: u32,
        bytes: u32,
        before: impl FnOnce() -> Option<Self>,
    ) -> Order {
        let end = offset.saturating_add(bytes);
        if let Some(stream) = self.0.iter_mut().find(|stream| stream.run > 0 && continues(stream.end, offset))
        {
            let order = if stream.run >= STREAM_RUN_MIN { Order::Sequential } else { Order::Random };
            *stream = Stream { end, run: stream.run.saturating_add(1) };
            return order;
        }
        let inherited =
            if offset <= STREAM_GAP_MAX { before().map_or(0, |streams| streams.leaving()) } else { 0 };
        // The stream with the shorter past makes room. If that was one at all the other ages, so that a dead stream does
        // not stay for ever.
        let (replaced, kept) = if self.0[0].run <= self.0[1].run { (0, 1) } else { (1, 0) };
        if self.0[replaced].run > 0 {
            self.0[kept].run = self.0[kept].run.saturating_sub(1);
        }
        self.0[replaced] = Stream { end, run: inherited.saturating_add(1) };
        if inherited >= STREAM_RUN_MIN { Order::Sequential } else { Order::Random }
    }

    /// The longest run of the streams that end where the extent ends.
    fn leaving(&self) -> u8 {
        let ends = self.0.iter().filter(|stream| stream.end > EXTENT_BYTES - STREAM_GAP_MAX);
        ends.map(|stream| stream.run).max().unwrap_or(0)
    }
}

const fn continues(end: u32, offset: u32) -> bool {
    offset >= end && offset - end <= STREAM_GAP_MAX
}

/// Accesses by kind: counts of one interval, or decayed rates per second.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Pattern {
    /// Reads that stand alone.
    pub random_reads: f32,
    /// Reads that continue a stream.
    pub sequential_reads: f32,
    /// Writes that stand alone.
    pub random_writes: f32,
    /// Writes that continue a stream.
    pub sequential_writes: f32,
}

impl Pattern {
    pub(crate) const fn count(&mut self, access: Access, order: Order) {
        let counter = match (access, order) {
            (Access::Read, Order::Random) => &mut self.random_reads,
            (Access::Read, Order::Sequential) => &mut self.sequential_reads,
            (Access::Write, Order::Random) => &mut self.random_writes,
            (Access::Write, Order::Sequential) => &mut self.sequential_writes,
        };
        *counter += 1.0;
    }

    /// A decayed rate: `keep` of the old one, the rest from the accesses counted in `seconds`.
    pub(crate) fn decay_into(&mut self, counted: Self, keep: f32, seconds: f32) {
        let mix = |old: f32, new: f32| keep * old + (1.0 - keep) * new / seconds;
        *self = Self {
            random_reads: mix(self.random_reads, counted.random_reads),
            sequential_reads: mix(self.sequential_reads, counted.sequential_reads),
            random_writes: mix(self.random_writes, counted.random_writes),
            sequential_writes: mix(self.sequential_writes, counted.sequential_writes),
        };
    }

    /// All accesses.
    #[must_use]
    pub fn total(&self) -> f32 {
        self.random_reads + self.sequential_reads + self.random_writes + self.sequential_writes
    }

    /// The share of accesses that are reads, 0 to 1; 0 without accesses.
    #[must_use]
    pub fn read_share(&self) -> f32 {
        share(self.random_reads + self.sequential_reads, self.total())
    }

    /// The share of accesses that continue a stream, 0 to 1; 0 without accesses.
    #[must_use]
    pub fn sequential_share(&self) -> f32 {
        share(self.sequential_reads + self.sequential_writes, self.total())
    }

    /// The kind in words: "random reads", "sequential mixed", ...
    #[must_use]
    pub fn words(&self) -> String {
        let of = |share: f32, mostly, mixed, hardly| match share {
            share if share > 0.75 => mostly,
            share if share < 0.25 => hardly,
            _ => mixed,
        };
        if self.total() <= 0.0 {
            return "no accesses".to_owned();
        }
        let order = of(self.sequential_share(), "sequential", "partly sequential", "random");
        let access = of(self.read_share(), "reads", "reads and writes", "writes");
        format!("{order} {access}")
    }

    /// Whether every rate is a number and not negative.
    pub(crate) fn is_sane(&self) -> bool {
        [self.random_reads, self.sequential_reads, self.random_writes, self.sequential_writes]
            .iter()
            .all(|rate| rate.is_finite() && *rate >= 0.0)
    }
}

fn share(part: f32, whole: f32) -> f32 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(accesses: impl IntoIterator<Item = (u32, u32)>) -> Vec<Order> {
        let mut streams = Streams::default();
        accesses.into_iter().map(|(offset, bytes)| streams.classify(offset, bytes, || None)).collect()
    }

    #[test]
    fn a_stream_is_recognised_from_its_third_access_on() {
        let found = orders((0..8).map(|n| (n * 65536, 65536)));
        assert_eq!(found[..2], [Order::Random; 2]);
        assert!(found[2..].iter().all(|order| *order == Order::Sequential));
    }

    #[test]
    fn two_interleaved_streams_are_both_recognised() {
        let found = orders((0..20).map(|n| (n / 2 * 4096 + n % 2 * (2 << 20), 4096)));
        assert!(found[4..].iter().all(|order| *order == Order::Sequential), "{found:?}");
    }

    #[test]
    fn scattered_accesses_are_hardly_ever_taken_for_a_stream() {
        let mut state = 1u64;
        let found = orders((0..10_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as u32 % 1024 * 4096, 4096)
        }));
        let sequential = found.iter().filter(|order| **order == Order::Sequential).count();
        assert!(sequential < 200, "{sequential} of 10000");
    }

    #[test]
    fn a_stream_goes_on_in_the_next_extent() {
        let mut first = Streams::default();
        for n in 0..64 {
            first.classify(n * 65536, 65536, || None);
        }
        let mut second = Streams::default();
        assert_eq!(second.classify(0, 65536, || Some(first)), Order::Sequential);
        assert_eq!(Streams::default().classify(1 << 20, 65536, || Some(first)), Order::Random);
    }

    #[test]
    fn patterns_are_said_in_words() {
        let scan = Pattern { sequential_reads: 9.0, random_reads: 1.0, ..Pattern::default() };
        assert_eq!(scan.words(), "sequential reads");
        let database = Pattern { random_reads: 6.0, random_writes: 4.0, ..Pattern::default() };
        assert_eq!(database.words(), "random reads and writes");
        assert_eq!(Pattern::default().words(), "no accesses");
    }
}
