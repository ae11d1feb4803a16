//! The measure of loading: storage load, server load, and both combined; means and imbalance of a group.

use crate::capacity::Capacity;
use crate::resource::{Load, Resource};
use serde::{Deserialize, Serialize};

/// How much the two terms of the measure count. Zero switches a term off: nothing is then judged or moved for it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Weights {
    /// Weight of the storage load (disk reads and writes).
    pub storage: f64,
    /// Weight of the server load (processor and network).
    pub server: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { storage: 1.0, server: 1.0 }
    }
}

/// The norm with exponent 4: close to the larger part, but a second busy part still counts a little.
fn norm4(parts: impl IntoIterator<Item = f64>) -> f64 {
    parts.into_iter().map(|part| (part * part) * (part * part)).sum::<f64>().sqrt().sqrt()
}

/// Storage load: how busy the disk is, reading and writing.
#[must_use]
pub fn storage_load(load: &Load) -> f64 {
    norm4([load.of(Resource::DiskRead), load.of(Resource::DiskWrite)])
}

/// Server load: how busy the processor and the network are.
#[must_use]
pub fn server_load(load: &Load) -> f64 {
    norm4([load.of(Resource::Cpu), load.of(Resource::NetIn), load.of(Resource::NetOut)])
}

impl Weights {
    /// The combined measure.
    #[must_use]
    pub fn combined(&self, load: &Load) -> f64 {
        norm4([self.storage * storage_load(load), self.server * server_load(load)])
    }

    /// Whether a resource counts at all.
    #[must_use]
    pub fn counts(&self, resource: Resource) -> bool {
        if resource.is_storage() { self.storage > 0.0 } else { self.server > 0.0 }
    }

    /// The busiest resource that counts, and its utilisation. Without any that counts, an idle processor.
    #[must_use]
    pub fn busiest(&self, load: &Load) -> (Resource, f64) {
        let counting = Resource::ALL.into_iter().filter(|resource| self.counts(*resource));
        counting
            .map(|resource| (resource, load.of(resource)))
            .fold((Resource::Cpu, 0.0), |best, one| if one.1 > best.1 { one } else { best })
    }
}

/// The mean utilisation of each resource over a group: all that is asked for, divided by all that there is. With it,
/// servers of unequal capacity are even when each carries load in proportion to its capacity.
#[must_use]
pub fn mean_load<'a>(servers: impl IntoIterator<Item = (&'a Capacity, Load)>) -> Load {
    let mut demand = Load::ZERO;
    let mut capacity = Load::ZERO;
    for (has, load) in servers {
        demand += load.zip(has.weights(), |utilisation, units| utilisation * units);
        capacity += has.weights();
    }
    demand.zip(capacity, |demand, capacity| if capacity > 0.0 { demand / capacity } else { 0.0 })
}

/// The utilisation that work of `load` on a server of capacity `from` makes on one of capacity `to`.
#[must_use]
pub fn carried_over(load: Load, from: &Capacity, to: &Capacity) -> Load {
    let (from, to) = (from.weights(), to.weights());
    Load(std::array::from_fn(|n| load.0[n] * from.0[n] / to.0[n]))
}

/// Imbalance: the largest of the values divided by their mean; 1.0 is even, and so is nothing at all.
#[must_use]
pub fn imbalance(loads: &[f64]) -> f64 {
    let mean = loads.iter().sum::<f64>() / loads.len().max(1) as f64;
    if mean > 0.0 { loads.iter().copied().fold(0.0, f64::max) / mean } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Capacity = Capacity {
        disk_read_iops: 100.0,
        disk_write_iops: 100.0,
        disk_mib_s: None,
        net_mib_s: 10.0,
        cpu_cores: 1.0,
    };
    const LARGE: Capacity = Capacity {
        disk_read_iops: 400.0,
        disk_write_iops: 400.0,
        disk_mib_s: None,
        net_mib_s: 40.0,
        cpu_cores: 4.0,
    };

    fn disk_read(utilisation: f64) -> Load {
        Load([0.0, 0.0, 0.0, utilisation, 0.0])
    }

    #[test]
    fn a_term_forced_to_zero_does_not_count() {
        let load = Load([0.9, 0.0, 0.0, 0.4, 0.0]);
        let storage_only = Weights { storage: 1.0, server: 0.0 };
        let server_only = Weights { storage: 0.0, server: 1.0 };
        assert!((storage_only.combined(&load) - 0.4).abs() < 1e-12);
        assert!((server_only.combined(&load) - 0.9).abs() < 1e-12);
        assert_eq!(storage_only.busiest(&load).0, Resource::DiskRead);
        assert_eq!(server_only.busiest(&load).0, Resource::Cpu);
    }

    #[test]
    fn the_measure_lies_between_the_largest_part_and_the_sum() {
        let load = Load([0.5, 0.1, 0.1, 0.5, 0.5]);
        let combined = Weights::default().combined(&load);
        assert!(combined > 0.5 && combined < 0.8, "{combined}");
    }

    #[test]
    fn the_mean_counts_what_servers_can_do() {
        let mean = mean_load([(&SMALL, disk_read(1.0)), (&LARGE, disk_read(0.0))]);
        assert!((mean.of(Resource::DiskRead) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn work_weighs_less_on_a_larger_server() {
        let there = carried_over(disk_read(0.8), &SMALL, &LARGE);
        assert!((there.of(Resource::DiskRead) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn imbalance_is_the_largest_over_the_mean() {
        assert!((imbalance(&[3.0, 1.0, 2.0]) - 1.5).abs() < 1e-12);
        assert_eq!(imbalance(&[0.0, 0.0]), 1.0);
        assert_eq!(imbalance(&[]), 1.0);
    }
}
