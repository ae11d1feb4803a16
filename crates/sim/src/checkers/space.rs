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
