//! Answers of the store: to whom they belong.

use crate::core::Pending;
use crate::engine::Engine;
use crate::event::EngineEvent;
use crate::replica::copy_outcome;
use crate::slots::Key;
use evenkeel_peer::{
    Checked, Copied, CopyOutcome, Fetched, Found, InventoryReply, Message, Part, Refusal, Reserved, Written,
};
use evenkeel_types::store_op::{RegionImage, StoreError, StoreOutcome, StoreReply, StoreTicket};

impl Engine {
    pub(crate) fn handle_store(&mut self, ticket: StoreTicket, outcome: StoreOutcome) {
        let Some((_, pending)) = self.core.pending.remove(Key::from_bits(ticket.0)) else {
            return;
        };
        self.core.store_stopped |= matches!(outcome, Err(StoreError::Stopped));
        match pending {
            Pending::Read { operation, part } => {
                self.with_operation(operation, |extent, core| {
                    extent.handle_blocks(core, operation, part, outcome);
                });
            }
            Pending::Reserve { operation } => {
                self.with_operation(operation, |extent, core| {
                    extent.handle_reserved(core, operation, &outcome);
                });
            }
            Pending::Unreserve => {}
            Pending::Write { operation } => {
                self.with_operation(operation, |extent, core| {
                    extent.handle_written_here(core, operation, &outcome);
                });
            }
            Pending::Reign { extent, reign, step } => {
                self.with_extent(extent, |extent, core| extent.handle_reign_step(core, reign, step, outcome));
            }
            Pending::CopyRead { extent, server, region, read } => {
                self.with_extent(extent, |extent, core| {
                    extent.handle_region_read(core, server, region, read, outcome);
                });
            }
            Pending::Join { extent, attachment, step } => {
                self.with_extent(extent, |extent, core| {
                    extent.handle_join_step(core, attachment, step, outcome);
                });
            }
            Pending::Promise { extent, attachment } => {
                self.with_extent(extent, |extent, core| extent.handle_promised(core, attachment, &outcome));
            }
            Pending::Release { extent } => {
                self.with_extent(extent, |extent, core| extent.handle_released(core, &outcome));
            }
            Pending::MendRead { extent, region } => {
                self.with_extent(extent, |extent, core| {
                    extent.handle_read_to_mend(core, region, image_of(outcome));
                });
            }
            Pending::Mend { extent, region } => {
                self.with_extent(extent, |extent, core| extent.handle_mended(core, region, &outcome));
            }
            Pending::Check { extent, region } => {
                self.with_extent(extent, |extent, core| {
                    extent.handle_check_read(core, region, image_of(outcome));
                });
            }
            Pending::Scrub => {
                let page = match outcome {
                    Ok(StoreReply::Inventory(page)) => page,
                    _ => Vec::new(),
                };
                self.handle_scrub_page(&page);
            }
            Pending::Sweep => self.handle_sweep(outcome),
            Pending::Rebuild => {
                let page = match outcome {
                    Ok(StoreReply::Inventory(page)) => page,
                    _ => Vec::new(),
                };
                self.handle_rebuild_page(&page);
            }
            Pending::Placing { number } => {
                if let Ok(StoreReply::Inventory(page)) = outcome {
                    self.handle_placing_page(number, &page);
                }
            }
            Pending::Compare { server, number } => {
                if let Ok(StoreReply::Inventory(page)) = outcome {
                    self.handle_own_page(server, number, page);
                }
            }
            pending => self.answer_copy(pending, outcome),
        }
    }

    /// Answers a peer whose message the store has carried out.
    fn answer_copy(&mut self, pending: Pending, outcome: StoreOutcome) {
        match pending {
            Pending::ReplicaWrite { server, session, extent, attachment, tag, version } => {
                let is_replica = || {
                    self.extents.get(&extent).is_some_and(|extent| extent.copy.part() == Some(Part::Replica))
                };
                if matches!(outcome, Err(StoreError::NoSpace)) && is_replica() {
                    self.core.event(EngineEvent::CannotKeepUp { extent });
                }
                let outcome = copy_outcome(&outcome);
                let written = Written { extent, attachment, tag, version, outcome };
                self.core.answer(server, session, Message::Written(written));
            }
            Pending::Install { server, session, extent, attachment, region, version } => {
                let outcome = copy_outcome(&outcome);
                let copied = Copied { extent, attachment, region, version, outcome };
                self.core.answer(server, session, Message::Copied(copied));
            }
            Pending::Fetch { server, session, extent, attachment, region } => {
                let image = image_of(outcome);
                self.core.answer(
                    server,
                    session,
                    Message::Fetched(Fetched { extent, attachment, region, image }),
                );
            }
            Pending::CheckForOwner { server, session, extent, attachment, region } => {
                let found = image_of(outcome).map(|image| Found {
                    version: image.version,
                    bad: image.bad,
                    digest: image.digest(),
                });
                let checked = Checked { extent, attachment, region, found };
                self.core.answer(server, session, Message::Checked(checked));
            }
            Pending::ReplicaReserve { server, session, extent, attachment, regions } => {
                let refusal = match copy_outcome(&outcome) {
                    CopyOutcome::Applied => None,
                    CopyOutcome::Refused(refusal) => Some(refusal),
                    CopyOutcome::Mismatch { .. } => Some(Refusal::NotAttached),
                };
                let reserved = Reserved { extent, attachment, regions, refusal };
                self.core.answer(server, session, Message::Reserved(reserved));
            }
            Pending::Inventory { server, session, number } => {
                let entries = match outcome {
                    Ok(StoreReply::Inventory(entries)) => Some(entries),
                    _ => None,
                };
                self.core.answer(
                    server,
                    session,
                    Message::InventoryReply(InventoryReply { number, entries }),
                );
            }
            other => unreachable!("{other:?} is handled where the store answers"),
        }
    }
}

fn image_of(outcome: StoreOutcome) -> Option<RegionImage> {
    match outcome {
        Ok(StoreReply::Image(image)) => Some(image),
        _ => None,
    }
}
