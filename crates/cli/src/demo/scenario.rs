//! What the demo does: the group, the load, the hot spots, and for how long.

use evenkeel_server::config::CapacityConfig;
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENTS_PER_RUN, extents_of};
use evenkeel_workload::{Pattern, Random};
use std::time::Duration;

/// Servers of the group.
pub(super) const SERVERS: usize = 3;
/// Name of the volume.
pub(super) const VOLUME: &str = "demo";
/// Size of the volume in bytes.
pub(super) const VOLUME_BYTES: u64 = 4 << 30;
/// Bytes of each request.
pub(super) const OP_BYTES: u32 = BLOCK_BYTES;
/// Share of reads.
pub(super) const READ_SHARE: f64 = 0.7;
/// Exponent of Zipf's law.
pub(super) const ZIPF_EXPONENT: f64 = 1.0;
/// Sessions with each portal.
pub(super) const SESSIONS_PER_PORTAL: usize = 2;
/// Requests under way on each session at most.
pub(super) const DEPTH: usize = 12;
/// What each server can do, and is held to. Reads are what runs short: writes, network and processor have room.
pub(super) const CAPACITY: CapacityConfig = CapacityConfig {
    disk_read_iops: 900.0,
    disk_write_iops: 2500.0,
    net_mib_s: 400.0,
    cpu_cores: 0.5,
    enforce: true,
};
/// The load is such that the server of the hot spot is asked for so much more than its disk can do. Not all reads get
/// there: blocks that were just written are read from memory, the more the longer the hot spot stays.
pub(super) const OVERLOAD: f64 = 1.5;

/// Highest over mean that must be seen before anything is balanced, ...
pub(super) const IMBALANCE_BEFORE_MIN: f64 = 1.8;
/// ... that balancing must get it down to, before and after the shift, ...
pub(super) const IMBALANCE_AFTER_MAX: f64 = 1.25;
/// ... and that must remain where nothing is balanced.
pub(super) const IMBALANCE_UNBALANCED_MIN: f64 = 1.6;
/// Share of the volume that may be moved in all.
pub(super) const MOVED_SHARE_MAX: f64 = 0.25;

/// A phase ends early when a whole window was as even as this, ...
pub(super) const IMBALANCE_SETTLED: f64 = 1.12;
/// ... 99 % of its requests took no longer than this, ...
pub(super) const P99_SETTLED: Duration = Duration::from_millis(100);
/// ... and this share of the offered load was served.
pub(super) const SERVED_SETTLED: f64 = 0.98;

/// A hot spot is worth showing if it alone makes the load so uneven.
const IMBALANCE_WANTED: f64 = 1.9;
/// Hot spots that are drawn before the best of them is taken.
const DRAWS_MAX: usize = 256;

/// How long everything takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    /// Before the first window.
    pub(super) warm_up: Duration,
    /// In which figures are taken.
    pub(super) window: Duration,
    /// For evening the load, before and after the shift, each.
    pub(super) phase: Duration,
}

impl Plan {
    /// The usual one: 3 + 20 s before, then twice 60 s at most.
    const USUAL: Self = Self {
        warm_up: Duration::from_secs(3),
        window: Duration::from_secs(20),
        phase: Duration::from_secs(60),
    };
    /// Shortest window; the monitors of the servers need a few seconds.
    const WINDOW_MIN: Duration = Duration::from_secs(4);

    /// With this many seconds of load in all. Windows never get longer than usual.
    pub(super) fn of(seconds: Option<u64>) -> Self {
        let Some(seconds) = seconds else { return Self::USUAL };
        let usual = Self::USUAL;
        let factor = seconds as f64 / (usual.warm_up + usual.window + usual.phase * 2).as_secs_f64();
        Self {
            warm_up: usual.warm_up,
            window: usual.window.mul_f64(factor).clamp(Self::WINDOW_MIN, usual.window),
            phase: usual.phase.mul_f64(factor),
        }
    }
}

/// Where the load is hottest.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct HotSpot {
    /// The hottest extent.
    pub(super) extent: u32,
    /// The server with most of the load, by number.
    pub(super) server: usize,
    /// Its share of all requests.
    pub(super) share: f64,
}

impl HotSpot {
    /// Draws one. It lies well within a run, so that one server has the hot neighbourhood; a second one at another
    /// server and at least a quarter of the volume away from `before`, if such a place exists.
    ///
    /// `owners` names the server of each extent now.
    pub(super) fn draw(random: &mut Random, owners: &[usize], before: Option<Self>) -> Self {
        let extents = extents_of(VOLUME_BYTES);
        assert_eq!(owners.len(), extents as usize, "each extent has an owner");
        let far = |extent: u32| before.is_none_or(|before| before.extent.abs_diff(extent) >= extents / 4);
        let elsewhere = |spot: &Self| before.is_none_or(|before| before.server != spot.server);
        let rank = |spot: &Self| (elsewhere(spot), far(spot.extent), spot.imbalance().min(IMBALANCE_WANTED));
        let mut best: Option<Self> = None;
        for _ in 0..DRAWS_MAX {
            let run = random.below(u64::from(extents / EXTENTS_PER_RUN)) as u32;
            let quarter = EXTENTS_PER_RUN / 4;
            let within = quarter + random.below(u64::from(2 * quarter)) as u32;
            let spot = Self::at(run * EXTENTS_PER_RUN + within, owners);
            if best.is_none_or(|best| rank(&spot) > rank(&best)) {
                best = Some(spot);
            }
            if best.is_some_and(|best| rank(&best) >= (true, true, IMBALANCE_WANTED)) {
                break;
            }
        }
        best.expect("at least one was drawn")
    }

    fn at(extent: u32, owners: &[usize]) -> Self {
        let mut shares = [0.0; SERVERS];
        for (owner, share) in owners.iter().zip(pattern(extent).shares()) {
            shares[*owner] += share;
        }
        let (server, share) =
            shares.into_iter().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).expect("there are servers");
        Self { extent, server, share }
    }

    /// Highest over mean that is to be expected.
    pub(super) fn imbalance(&self) -> f64 {
        self.share * SERVERS as f64
    }

    /// Requests per second that ask of the hottest server [`OVERLOAD`] of what it can do.
    pub(super) fn offered(&self) -> f64 {
        (OVERLOAD * CAPACITY.disk_read_iops / (READ_SHARE * self.share)).round()
    }

    /// The load around it.
    pub(super) fn pattern(&self) -> Pattern {
        pattern(self.extent)
    }
}

fn pattern(extent: u32) -> Pattern {
    Pattern::hot_spot(VOLUME_BYTES, OP_BYTES, extent, ZIPF_EXPONENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1024 extents in runs of 64, placed by `place`.
    fn owners(place: impl Fn(usize) -> usize) -> Vec<usize> {
        (0..1024).map(|extent| place(extent / 64)).collect()
    }

    #[test]
    fn a_hot_spot_always_overloads_one_server_and_the_group_can_carry_it() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let places: Vec<usize> = (0..16).map(|_| random.below(3) as usize).collect();
            let owners = owners(|run| places[run]);
            let first = HotSpot::draw(&mut random, &owners, None);
            assert!(first.imbalance() > IMBALANCE_BEFORE_MIN, "seed {seed}: {first:?}");
            let reads = first.offered() * READ_SHARE;
            assert!(reads * first.share > 1.1 * CAPACITY.disk_read_iops);
            let evened = reads / SERVERS as f64 * IMBALANCE_AFTER_MAX;
            assert!(evened < CAPACITY.disk_read_iops, "seed {seed}: {evened}");
            assert!(first.offered() * (1.0 - READ_SHARE) < CAPACITY.disk_write_iops);
        }
    }

    #[test]
    fn the_second_hot_spot_is_far_away_and_at_another_server() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let owners = owners(|run| run % 3);
            let first = HotSpot::draw(&mut random, &owners, None);
            let second = HotSpot::draw(&mut random, &owners, Some(first));
            assert!(
                second.server != first.server && second.extent.abs_diff(first.extent) >= 256,
                "{first:?} {second:?}"
            );
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_hot_spot() {
        let owners = owners(|run| run % 3);
        let draw = |seed| HotSpot::draw(&mut Random::new(seed), &owners, None).extent;
        assert_eq!(draw(1), draw(1));
        assert!((1..9).any(|seed| draw(seed) != draw(0)));
    }

    #[test]
    fn fewer_seconds_shorten_windows_and_more_do_not_lengthen_them() {
        assert_eq!(Plan::of(Some(143)), Plan::USUAL);
        let short = Plan::of(Some(36));
        assert!(short.window < Duration::from_secs(6) && short.phase < Duration::from_secs(16));
        assert_eq!(Plan::of(Some(500)).window, Duration::from_secs(20));
        assert!(Plan::of(Some(500)).phase > Duration::from_secs(200));
    }
}
