//! Where requests go: addresses at random, in sequence, or around a hot spot.

use crate::random::Random;
use crate::zipf::Zipf;
use evenkeel_types::geometry::{EXTENT_BYTES, extents_of};

/// Part of a volume that requests of one size go to.
#[derive(Clone, Debug)]
pub struct Pattern {
    spread: Spread,
    volume_bytes: u64,
    op_bytes: u32,
}

#[derive(Clone, Debug)]
enum Spread {
    Random,
    Sequential { next: u64 },
    Streams { next: u64 },
    HotSpot { zipf: Zipf, by_rank: Vec<u32> },
}

impl Pattern {
    /// Anywhere in the volume, each place as often as any other.
    pub fn random(volume_bytes: u64, op_bytes: u32) -> Self {
        Self::new(Spread::Random, volume_bytes, op_bytes)
    }

    /// One behind the other, and again from the start.
    pub fn sequential(volume_bytes: u64, op_bytes: u32) -> Self {
        Self::new(Spread::Sequential { next: 0 }, volume_bytes, op_bytes)
    }

    /// A stream in each extent, all at once: an operation in each extent in turn, from the extent's start to its end, and
    /// again. Each extent is asked for as much as by [`Self::random`]; only the order differs.
    pub fn streams(volume_bytes: u64, op_bytes: u32) -> Self {
        assert!(volume_bytes.is_multiple_of(u64::from(EXTENT_BYTES)), "all extents are whole");
        Self::new(Spread::Streams { next: 0 }, volume_bytes, op_bytes)
    }

    /// Around an extent: the extents of the volume by Zipf's law in order of their distance from it, each place in
    /// an extent as often as any other.
    pub fn hot_spot(volume_bytes: u64, op_bytes: u32, extent: u32, exponent: f64) -> Self {
        let by_rank = by_distance(extent, extents_of(volume_bytes));
        let zipf = Zipf::new(by_rank.len(), exponent);
        Self::new(Spread::HotSpot { zipf, by_rank }, volume_bytes, op_bytes)
    }

    fn new(spread: Spread, volume_bytes: u64, op_bytes: u32) -> Self {
        assert!(
            op_bytes > 0
                && EXTENT_BYTES.is_multiple_of(op_bytes)
                && volume_bytes.is_multiple_of(u64::from(op_bytes)),
            "requests of {op_bytes} bytes fill extents and a volume of {volume_bytes} bytes"
        );
        Self { spread, volume_bytes, op_bytes }
    }

    /// Bytes of each request.
    pub const fn op_bytes(&self) -> u32 {
        self.op_bytes
    }

    /// The place of the next request, in bytes from the volume's start.
    pub fn next(&mut self, random: &mut Random) -> u64 {
        let op = u64::from(self.op_bytes);
        match &mut self.spread {
            Spread::Random => random.below(self.volume_bytes / op) * op,
            Spread::Sequential { next } => {
                let at = *next;
                *next = (at + op) % self.volume_bytes;
                at
            }
            Spread::Streams { next } => {
                let extents = self.volume_bytes / u64::from(EXTENT_BYTES);
                let (extent, turn) = (*next % extents, *next / extents);
                *next += 1;
                extent * u64::from(EXTENT_BYTES) + turn * op % u64::from(EXTENT_BYTES)
            }
            Spread::HotSpot { zipf, by_rank } => {
                let extent = by_rank[zipf.rank(random.unit())];
                let start = u64::from(extent) * u64::from(EXTENT_BYTES);
                let len = u64::from(EXTENT_BYTES).min(self.volume_bytes - start);
                start + random.below(len / op) * op
            }
        }
    }

    /// The share of all requests that each extent gets in the long run.
    pub fn shares(&self) -> Vec<f64> {
        let extents = extents_of(self.volume_bytes) as usize;
        match &self.spread {
            Spread::HotSpot { zipf, by_rank } => {
                let mut shares = vec![0.0; extents];
                for (rank, extent) in by_rank.iter().enumerate() {
                    shares[*extent as usize] = zipf.share(rank);
                }
                shares
            }
            Spread::Random | Spread::Sequential { .. } | Spread::Streams { .. } => {
                vec![1.0 / extents as f64; extents]
            }
        }
    }
}

/// All extents of a volume of `count`, the nearest to `centre` first; of two at the same distance the one behind it.
fn by_distance(centre: u32, count: u32) -> Vec<u32> {
    assert!(centre < count, "the hot spot lies in the volume");
    let pairs = (1..count).flat_map(|distance| {
        let behind = centre.checked_add(distance).filter(|extent| *extent < count);
        [behind, centre.checked_sub(distance)]
    });
    std::iter::once(centre).chain(pairs.flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn every_extent_has_one_rank_and_the_nearest_are_first() {
        assert_eq!(by_distance(1, 5), [1, 2, 0, 3, 4]);
        assert_eq!(by_distance(4, 5), [4, 3, 2, 1, 0]);
        assert_eq!(by_distance(0, 1), [0]);
    }

    #[test]
    fn a_hot_spot_draws_requests_to_its_neighbourhood() {
        let mut pattern = Pattern::hot_spot(4096 * MIB, 4096, 700, 1.0);
        let mut random = Random::new(5);
        let mut counts = vec![0u32; 1024];
        for _ in 0..200_000 {
            let at = pattern.next(&mut random);
            assert!(at < 4096 * MIB && at.is_multiple_of(4096));
            counts[(at / u64::from(EXTENT_BYTES)) as usize] += 1;
        }
        let near: u32 = counts[668..732].iter().sum();
        assert!((0.61..0.65).contains(&(f64::from(near) / 200_000.0)), "{near}");
        let shares = pattern.shares();
        assert!((f64::from(counts[700]) / 200_000.0 - shares[700]).abs() < 0.005);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_sequence_covers_the_volume_and_begins_again() {
        let mut pattern = Pattern::sequential(8 * MIB, 1 << 20);
        let mut random = Random::new(5);
        let places: Vec<u64> = (0..9).map(|_| pattern.next(&mut random) / MIB).collect();
        assert_eq!(places, [0, 1, 2, 3, 4, 5, 6, 7, 0]);
        let mut streams = Pattern::streams(8 * MIB, 2 << 20);
        let places: Vec<u64> = (0..6).map(|_| streams.next(&mut random) / MIB).collect();
        assert_eq!(places, [0, 4, 2, 6, 0, 4]);
        let mut anywhere = Pattern::random(8 * MIB, 4096);
        assert!((0..1000).all(|_| anywhere.next(&mut random) < 8 * MIB));
    }
}
