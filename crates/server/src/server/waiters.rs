//! Who waits for which request of a server.

use super::front_end::FrontEnd;
use evenkeel_engine::RequestId;
use std::rc::Rc;

/// Who waits for a request.
#[derive(Clone)]
pub(super) struct Waiter {
    pub(super) front_end: Rc<dyn FrontEnd>,
    pub(super) task: u64,
}

/// Open requests by number; numbers are reused, so the table stays as small as the most that were ever open at once.
#[derive(Default)]
pub(super) struct Waiters {
    slots: Vec<Option<Waiter>>,
    free: Vec<usize>,
}

impl Waiters {
    pub(super) fn insert(&mut self, waiter: Waiter) -> RequestId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(waiter);
        RequestId(slot as u64)
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Waiter> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Waiter> {
        let waiter = self.slots.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0 as usize);
        Some(waiter)
    }
}
