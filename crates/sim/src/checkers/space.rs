//! A store's free space adds up: the units in use are exactly those that its records name.

use super::Violation;
use evenkeel_store::StoreStats;
use evenkeel_types::ServerId;
use evenkeel_types::store_op::InventoryEntry;

/// Compares a store's count with its records, with nothing under way.
pub(crate) fn adds_up(
    server: ServerId,
    stats: &StoreStats,
    inventory: &[InventoryEntry],
) -> Result<(), Violation> {
    let named: u64 = inventory.iter().map(|entry| u64::from(entry.units)).sum();
    if named == stats.units_used {
        return Ok(());
    }
    let what = format!("{server} counts {} units in use, its records name {named}", stats.units_used);
    Err(Violation::new("space", None, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_types::{Epoch, ExtentId, VolumeId};

    #[test]
    fn a_unit_that_no_record_names_is_noticed_and_so_is_one_that_is_not_counted() {
        let entry = InventoryEntry {
            extent: ExtentId { volume: VolumeId(1), index: 0 },
            accepted: Epoch(1),
            replicas: vec![ServerId(1)],
            has_data: true,
            units: 3,
            versions_hash: 7,
        };
        let judge = |units_used| {
            let stats = StoreStats { units_used, ..StoreStats::default() };
            adds_up(ServerId(1), &stats, std::slice::from_ref(&entry))
        };
        judge(3).unwrap();
        judge(4).unwrap_err();
        judge(2).unwrap_err();
    }
}
