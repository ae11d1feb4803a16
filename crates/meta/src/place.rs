//! Placement: which servers hold an extent that was never moved. Part of the format: it never changes for a volume.
//!
//! A volume's record holds a *place*: a frozen list of servers with weights and failure domains. For each run of 64
//! extents, every server of the place gets a cost from a hash of (volume seed, run, server); the servers with the
//! lowest costs hold the run, at most one of each domain. This is weighted rendezvous hashing: a server's share is
//! proportional to its weight, and a place with one server more moves only that server's share. All arithmetic is in
//! integers, so that every machine and every later version computes the same; `docs/routing.md` holds test vectors.

use crate::records::{REPLICAS_MAX, Replicas};
use evenkeel_types::ServerId;
use serde::{Deserialize, Serialize};
use snafu::{Snafu, ensure};

#[cfg(test)]
mod tests;

/// Servers of a place at most.
pub const PLACE_SERVERS_MAX: usize = 256;

/// Fraction bits of [`neg_log2`].
const LOG_FRACTION_BITS: u32 = 48;
/// What separates the steps of the hash: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One server of a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlacedServer {
    /// Which.
    pub server: ServerId,
    /// Its share, relative to the others'; not 0.
    pub weight: u32,
    /// Its failure domain, as a number that has a meaning within this place only.
    pub domain: u32,
}

/// A frozen list of servers over which a volume is placed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<PlacedServer>", into = "Vec<PlacedServer>")]
pub struct Place {
    servers: Vec<PlacedServer>,
}

/// A list of servers that cannot be a place.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
pub enum PlaceError {
    /// None, or too many.
    #[snafu(display("a place of {count} servers; 1 to {PLACE_SERVERS_MAX} are possible"))]
    Count {
        /// How many.
        count: usize,
    },
    /// A server of weight 0, or with the id 0, or twice.
    #[snafu(display("a place with server {server} twice, or without weight"))]
    Server {
        /// Which.
        server: ServerId,
    },
}

impl Place {
    /// A place of these servers, in any order.
    ///
    /// # Errors
    /// If the servers cannot be a place.
    pub fn new(mut servers: Vec<PlacedServer>) -> Result<Self, PlaceError> {
        let count = servers.len();
        ensure!((1..=PLACE_SERVERS_MAX).contains(&count), CountSnafu { count });
        servers.sort_by_key(|placed| placed.server);
        for (n, placed) in servers.iter().enumerate() {
            let twice = n > 0 && servers[n - 1].server == placed.server;
            let sound = !twice && placed.weight > 0 && placed.server != ServerId(0);
            ensure!(sound, ServerSnafu { server: placed.server });
        }
        Ok(Self { servers })
    }

    /// Its servers in order of their ids.
    #[must_use]
    pub fn servers(&self) -> &[PlacedServer] {
        &self.servers
    }

    /// Number of distinct failure domains: replicas that are possible at most.
    #[must_use]
    pub fn domains(&self) -> usize {
        let mut domains: Vec<u32> = self.servers.iter().map(|placed| placed.domain).collect();
        domains.sort_unstable();
        domains.dedup();
        domains.len()
    }

    /// The servers that hold run `run` of the volume with this seed: `replicas` of them (1 to 3) in distinct domains,
    /// or one of each domain where there are fewer. The first is the owner while it is up.
    #[must_use]
    pub fn locate(&self, seed: u64, run: u32, replicas: u8) -> Replicas {
        let wanted = usize::from(replicas);
        assert!((1..=REPLICAS_MAX).contains(&wanted), "a volume has 1 to 3 replicas");
        let key = mix(mix(seed) ^ u64::from(run));
        // The cheapest server of each of the cheapest domains, cheapest first.
        let mut best: [Option<Cost>; REPLICAS_MAX] = [None; REPLICAS_MAX];
        for placed in &self.servers {
            let cost = Cost::of(key, placed);
            let same =
                best.iter().position(|kept| kept.is_some_and(|kept| kept.placed.domain == placed.domain));
            let mut at = match same {
                Some(at) if best[at].is_some_and(|kept| cost.is_below(&kept)) => at,
                Some(_) => continue,
                None => match best[wanted - 1] {
                    Some(last) if !cost.is_below(&last) => continue,
                    _ => wanted - 1,
                },
            };
            // Costs before `at` are in order; the gap at `at` moves up to the new cost's place.
            while at > 0 && best[at - 1].is_none_or(|kept| cost.is_below(&kept)) {
                best[at] = best[at - 1];
                at -= 1;
            }
            best[at] = Some(cost);
        }
        let mut servers = [ServerId(0); REPLICAS_MAX];
        let mut count = 0;
        for cost in best.iter().flatten() {
            servers[count] = cost.placed.server;
            count += 1;
        }
        Replicas::new(&servers[..count]).expect("a place has at least one server, and each once")
    }
}

impl TryFrom<Vec<PlacedServer>> for Place {
    type Error = PlaceError;
    fn try_from(servers: Vec<PlacedServer>) -> Result<Self, PlaceError> {
        Self::new(servers)
    }
}

impl From<Place> for Vec<PlacedServer> {
    fn from(place: Place) -> Self {
        place.servers
    }
}

/// What it would cost to put a run on a server: `neg_log2(hash) / weight`, kept as its two parts.
#[derive(Clone, Copy)]
struct Cost {
    neg_log2: u64,
    placed: PlacedServer,
}

impl Cost {
    fn of(key: u64, placed: &PlacedServer) -> Self {
        Self { neg_log2: neg_log2(mix(key ^ u64::from(placed.server.0))), placed: *placed }
    }

    /// Compares `a / weight_a < b / weight_b` without a division; equal costs go to the lower server id.
    fn is_below(&self, other: &Self) -> bool {
        let mine = u128::from(self.neg_log2) * u128::from(other.placed.weight);
        let others = u128::from(other.neg_log2) * u128::from(self.placed.weight);
        (mine, self.placed.server) < (others, other.placed.server)
    }
}

/// Every bit of the result depends on every bit of `x`: the finalizer of SplitMix64, after adding [`GOLDEN`].
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(GOLDEN);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `-log2((x | 1) / 2^64)` with [`LOG_FRACTION_BITS`] bits behind the point, rounded up: the integer part is the number
/// of leading zeros and the fraction comes from squaring the mantissa, one bit for each squaring.
const fn neg_log2(x: u64) -> u64 {
    let x = x | 1;
    let zeros = x.leading_zeros();
    // From 1.0 (2^63) up to, and without, 2.0.
    let mut mantissa = x << zeros;
    let mut fraction: u64 = 0;
    let mut bit = 0;
    while bit < LOG_FRACTION_BITS {
        let square = mantissa as u128 * mantissa as u128;
        // The square is from 2^126 (1.0) up to 2^128 (4.0): from 2.0 on the bit is set and the mantissa halved.
        let set = (square >> 127) as u64;
        mantissa = (square >> (63 + set)) as u64;
        fraction = fraction << 1 | set;
        bit += 1;
    }
    (((zeros as u64) + 1) << LOG_FRACTION_BITS) - fraction
}
