//! What a seed makes of itself: how many servers, which volumes, how rough it gets.

use crate::directory::Haze;
use crate::net::Weather;
use crate::rng::Rng;
use evenkeel_engine::config::REBUILD_AFTER;
use evenkeel_types::geometry::{EXTENT_BYTES, EXTENTS_PER_RUN};
use std::time::Duration;

/// A volume of a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VolumePlan {
    pub(crate) bytes: u64,
    pub(crate) replicas: u8,
}

/// What every seed must reach before its faults end.
pub(crate) const OPERATIONS_MIN: u64 = 2000;
/// Moves carried out at least, if there is a server to which anything can move.
pub(crate) const MOVES_MIN: u64 = 20;
/// The same where the disks are full: most moves find no room.
const MOVES_MIN_FULL: u64 = 3;
/// Crashes at least.
pub(crate) const CRASHES_MIN: u64 = 5;
/// Virtual time after which the faults end in any case: a seed that has not reached its numbers by then has failed.
pub(crate) const FAULTS_MAX: Duration = Duration::from_secs(400);
/// Virtual time that healing may take: requests are retried for 10 s, an unreachable target is waited for 10 s.
pub(crate) const HEAL_MAX: Duration = Duration::from_secs(60);

/// The disk of a server that alone has too little room.
const CRAMPED_BYTES: u64 = 16 << 20;

/// The drawn parameters of a seed.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Nothing happens but what a script asks for.
    pub(crate) is_scripted: bool,
    pub(crate) servers: u32,
    pub(crate) volumes: Vec<VolumePlan>,
    pub(crate) disk_bytes: u64,
    /// The disks are too small for what the clients write.
    pub(crate) is_full: bool,
    /// The number of a server whose disk alone is too small.
    pub(crate) cramped: Option<u32>,
    pub(crate) journal_bytes: u64,
    pub(crate) clients_per_server: u64,
    /// Mean time between a client's operations.
    pub(crate) think: Duration,
    pub(crate) weather: Weather,
    pub(crate) haze: Haze,
    /// Mean times between faults of each kind.
    pub(crate) crash_every: Duration,
    pub(crate) disconnect_every: Duration,
    pub(crate) pause_every: Duration,
    pub(crate) slow_disk_every: Duration,
    pub(crate) rot_every: Option<Duration>,
    pub(crate) random_move_every: Duration,
    pub(crate) one_way_every: Option<Duration>,
    pub(crate) cut_off_every: Option<Duration>,
    pub(crate) blackout_every: Option<Duration>,
    pub(crate) drain_every: Option<Duration>,
    /// The first volume is of a whole run, is older than the last server, and is written to all over first.
    pub(crate) is_filled: bool,
    /// Mean time between resets of volumes.
    pub(crate) reset_every: Option<Duration>,
    /// Mean time between backups of the directory that are needed.
    pub(crate) restore_every: Option<Duration>,
    /// How long a server may be away before its copies are made anew elsewhere.
    pub(crate) rebuild_after: Duration,
    /// Revisions of the directory whose changes are kept.
    pub(crate) history: usize,
    pub(crate) operations: u64,
    pub(crate) moves: u64,
    pub(crate) crashes: u64,
}

impl Scenario {
    /// The size of a server's disk.
    pub(crate) fn disk_of(&self, number: u32) -> u64 {
        if self.cramped == Some(number) { self.disk_bytes.min(CRAMPED_BYTES) } else { self.disk_bytes }
    }

    /// Whether a request may be refused for want of space.
    pub(crate) const fn may_want_space(&self) -> bool {
        self.is_full || self.cramped.is_some()
    }

    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let servers = *rng.pick(&[2, 3, 3, 3, 3, 3, 4, 5]);
        let volumes = match rng.below(3) {
            0 => vec![VolumePlan::draw(rng, servers, 8, 24)],
            1 => vec![VolumePlan::draw(rng, servers, 4, 16), VolumePlan::draw(rng, servers, 4, 16)],
            _ => vec![VolumePlan::draw(rng, servers, 16, 64)],
        };
        let has_copies = volumes.iter().any(|volume| volume.replicas > 1);
        // Where every server holds everything, nothing can move.
        let can_move = volumes.iter().any(|volume| u32::from(volume.replicas) < servers);
        let rough = rng.chance(700);
        let is_full = rng.chance(150);
        let mut scenario = Self {
            is_scripted: false,
            servers,
            volumes,
            disk_bytes: match (is_full, has_copies) {
                (true, false) => rng.between(14, 20) << 20,
                (true, true) => rng.between(20, 36) << 20,
                (false, false) => *rng.pick(&[96u64, 128, 192]) << 20,
                (false, true) => *rng.pick(&[192u64, 256]) << 20,
            },
            is_full,
            cramped: rng.chance(150).then(|| rng.between(1, u64::from(servers)) as u32),
            journal_bytes: *rng.pick(&[1u64, 1, 2, 4]) << 20,
            clients_per_server: rng.between(1, 2),
            think: rng.millis(10, 40),
            weather: if rough {
                Weather { late: rng.between(2, 30), late_max: rng.between(20_000, 1_500_000) }
            } else {
                Weather { late: 5, late_max: 50_000 }
            },
            haze: Haze {
                late: rng.between(0, 150),
                unavailable: rng.between(0, 60),
                unknown: rng.between(20, 150),
                news_late: rng.between(0, 100),
            },
            crash_every: rng.millis(2000, 6000),
            disconnect_every: rng.millis(1000, 6000),
            pause_every: rng.millis(4000, 20_000),
            slow_disk_every: rng.millis(5000, 20_000),
            rot_every: rng.chance(350).then(|| rng.millis(2000, 10_000)),
            random_move_every: rng.millis(300, 1200),
            one_way_every: rng.chance(350).then(|| rng.millis(5000, 20_000)),
            cut_off_every: rng.chance(350).then(|| rng.millis(5000, 20_000)),
            blackout_every: rng.chance(250).then(|| rng.millis(8000, 30_000)),
            drain_every: rng.chance(300).then(|| rng.millis(5000, 20_000)),
            is_filled: false,
            reset_every: None,
            restore_every: rng.chance(300).then(|| rng.millis(4000, 16_000)),
            rebuild_after: if rng.chance(500) { rng.millis(2000, 6000) } else { REBUILD_AFTER },
            history: *rng.pick(&[4, 16, 1 << 20]),
            operations: OPERATIONS_MIN + rng.below(600),
            moves: match (can_move, is_full) {
                (false, _) => 0,
                (true, false) => MOVES_MIN + rng.below(8),
                (true, true) => MOVES_MIN_FULL + rng.below(4),
            },
            crashes: CRASHES_MIN + rng.below(4),
        };
        if scenario.cramped.is_some() {
            scenario.moves = scenario.moves.min(MOVES_MIN_FULL);
        }
        // Drawn last: seeds that have none of this are what they were without it.
        let first = &mut scenario.volumes[0];
        if scenario.drain_every.is_some() && !is_full && u32::from(first.replicas) < servers {
            scenario.is_filled = scenario.cramped.is_none() && rng.chance(700);
            if scenario.is_filled {
                first.bytes = u64::from(EXTENTS_PER_RUN) * u64::from(EXTENT_BYTES);
            }
        }
        scenario.reset_every = rng.chance(400).then(|| rng.millis(800, 6000));
        scenario
    }
}

impl VolumePlan {
    /// A size between two, in extents, and as many copies as there are servers for, mostly with one to spare.
    fn draw(rng: &mut Rng, servers: u32, from: u64, to: u64) -> Self {
        let bytes = volume_bytes(rng, from, to);
        let replicas = *rng.pick(&[1, 1, 2, 2, 2, 2, 3, 3]);
        let spare = u8::from(rng.chance(850));
        let most = u8::try_from(servers).unwrap_or(u8::MAX) - spare;
        Self { bytes, replicas: replicas.min(most).max(1) }
    }
}

/// A size between two, in extents; half of the volumes end within an extent.
fn volume_bytes(rng: &mut Rng, from: u64, to: u64) -> u64 {
    let whole = rng.between(from, to) * u64::from(EXTENT_BYTES);
    if rng.chance(500) { whole } else { whole - 512 * rng.between(1, 4000) }
}
