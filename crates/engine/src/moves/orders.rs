//! Moves that were ordered, and wait for their turn.

use crate::config::{MOVES_OUT_MAX, MOVES_QUEUED_MAX};
use crate::engine::Engine;
use crate::event::{EngineEvent, MoveOrder};
use crate::owner::Phase;
use evenkeel_types::ExtentId;

impl Engine {
    pub(crate) fn handle_order(&mut self, order: MoveOrder) {
        let route = self.core.route(order.extent);
        let why = match route {
            _ if self.orders.len() >= MOVES_QUEUED_MAX => Some("too many moves wait already"),
            _ if self.orders.contains_key(&order.extent) => Some("a move of the extent waits already"),
            None => Some("there is no such extent"),
            Some(route) if route.owner() != Some(self.core.me()) => {
                Some("this server does not own the extent")
            }
            Some(_) => None,
        };
        match why {
            Some(why) => self.core.event(EngineEvent::MoveRefused {
                extent: order.extent,
                to: order.to,
                why: why.to_owned(),
            }),
            None => {
                self.orders.insert(order.extent, order);
            }
        }
    }

    /// Begins moves that wait, as many as may be under way; whether something was begun.
    pub(crate) fn begin_ordered_moves(&mut self) -> bool {
        let free = MOVES_OUT_MAX.saturating_sub(self.core.moving.len());
        let next: Vec<ExtentId> = self.orders.keys().copied().take(free).collect();
        let mut begun = false;
        for id in next {
            let owned = self.core.route(id).is_some_and(|route| route.owner() == Some(self.core.me()));
            let extent = self.extent_mut(id);
            let serving = extent.reign.as_ref().is_some_and(|reign| reign.phase == Phase::Serving);
            if owned && !serving {
                // Once; from then on the reign's beginning goes its way, and brings the extent here again.
                if !extent.move_wanted {
                    extent.move_wanted = true;
                    self.core.wake(id);
                    begun = true;
                }
            } else if let Some(order) = self.orders.remove(&id) {
                begun = true;
                self.with_extent(id, |extent, core| extent.begin_move(core, &order));
            }
        }
        begun
    }

    pub(crate) fn handle_abort(&mut self, id: ExtentId) {
        if let Some(order) = self.orders.remove(&id) {
            self.with_extent(id, |extent, _| extent.move_wanted = false);
            let why = "given up on request".to_owned();
            self.core.event(EngineEvent::MoveRefused { extent: id, to: order.to, why });
        }
        self.with_extent(id, |extent, core| extent.abort_move(core, "given up on request"));
    }

    pub(crate) fn set_move_rate(&mut self, id: ExtentId, rate: Option<u64>) {
        self.with_extent(id, |extent, core| {
            let Some(reign) = &mut extent.reign else {
                return;
            };
            let Some(mover) = &mut reign.mover else {
                return;
            };
            mover.rate = rate;
            let to = mover.to;
            if let Some(link) = reign.link_mut(to) {
                link.rate = rate;
                link.next_copy_at = core.now;
            }
            extent.progress_reign(core);
        });
    }
}
