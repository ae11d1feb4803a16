//! The only source of chance: a small generator, split by name so that a draw more in one component leaves the others
//! as they were.

use std::time::Duration;

/// A generator (xoshiro256**, seeded by splitmix64).
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut at = seed;
        Self { state: std::array::from_fn(|_| splitmix(&mut at)) }
    }

    /// A generator of its own for a component. Depends on this one's present state and the name alone.
    #[must_use]
    pub fn split(&self, name: &str, number: u64) -> Self {
        let mut at =
            self.state[0] ^ self.state[2].rotate_left(17) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in name.bytes() {
            at = splitmix(&mut at) ^ u64::from(byte);
        }
        Self::new(at)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing lies below 0");
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True in `per_mille` of 1000 cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of the list's entries.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }

    /// A time between two, given in microseconds.
    pub fn micros(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_nanos(self.between(from * 1000, to * 1000))
    }

    /// A time between two, given in milliseconds.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        self.micros(from * 1000, to * 1000)
    }

    /// A time of any size between two in microseconds: small ones are as likely as large ones.
    pub fn any_size(&mut self, from: u64, to: u64) -> Duration {
        let doublings = (to / from.max(1)).max(1).ilog2();
        let low = from.max(1) << self.between(0, u64::from(doublings));
        self.micros(low, (low * 2).min(to).max(low))
    }
}

fn splitmix(at: &mut u64) -> u64 {
    *at = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*at)
}

/// Spreads the bits of a number over all of it; 0 stays 0.
#[must_use]
pub fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers_and_a_split_leaves_its_parent_alone() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        let mut child = b.split("net", 1);
        let _ = child.draw();
        assert_eq!((a.draw(), a.draw()), (b.draw(), b.draw()));
        assert_ne!(Rng::new(7).split("net", 1).draw(), Rng::new(7).split("net", 2).draw());
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut rng = Rng::new(1);
        for _ in 0..10_000 {
            assert!((3..=9).contains(&rng.between(3, 9)));
            let time = rng.any_size(10, 10_000);
            assert!(time >= Duration::from_micros(10) && time <= Duration::from_micros(10_000), "{time:?}");
        }
    }
}
