//! What another server's store holds, page by page, for verification.

use evenkeel_types::ExtentId;
use evenkeel_types::store_op::InventoryEntry;
use serde::{Deserialize, Serialize};

/// Entries in one page at most.
pub const INVENTORY_PAGE_MAX: u32 = 256;

/// Asks for a page of the extent records in the receiver's store.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Inventory {
    /// Ties the reply to it.
    pub number: u64,
    /// The first extent of the page.
    pub from: ExtentId,
    /// How many at most; [`INVENTORY_PAGE_MAX`] bounds it further.
    pub max: u32,
}

/// A page of extent records, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InventoryReply {
    /// The number of the question.
    pub number: u64,
    /// The page; none if the store has stopped.
    pub entries: Option<Vec<InventoryEntry>>,
}
