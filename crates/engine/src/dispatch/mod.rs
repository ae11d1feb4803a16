//! Answers of the store, messages of peers, and news of the directory: to whom they belong.

mod answers;
mod connections;
mod messages;
mod news;

use crate::core::Core;
use crate::engine::Engine;
use crate::extent::Extent;
use crate::slots::Key;
use evenkeel_types::ExtentId;

impl Engine {
    pub(crate) fn with_extent(&mut self, id: ExtentId, act: impl FnOnce(&mut Extent, &mut Core)) {
        if let Some(extent) = self.extents.get_mut(&id) {
            act(extent, &mut self.core);
        }
    }

    fn with_operation(&mut self, operation: Key, act: impl FnOnce(&mut Extent, &mut Core)) {
        if let Some(extent) = self.core.operations.get(operation).map(|operation| operation.extent) {
            self.with_extent(extent, act);
        }
    }
}
