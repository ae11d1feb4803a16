//! Between an engine and its store, and between the store and its disk.

use crate::checkers::Violation;
use crate::coverage::Row;
use crate::faults::Fault;
use crate::log::About;
use crate::world::{Happening, Life, World};
use evenkeel_engine::Event;
use evenkeel_store::{IoId, IoKind};
use evenkeel_types::store_op::{StoreError, StoreOp, StoreOutcome, StoreReply, StoreTicket};
use evenkeel_types::{BlockRange, Epoch, ExtentId, Region, Regions, ServerId};
use std::time::Duration;

/// What the judges want to know of a store operation when it ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum OpNote {
    Accept { extent: ExtentId, epoch: Epoch },
    Describe { extent: ExtentId },
    ReadRegion { extent: ExtentId, region: Region },
    Read { extent: ExtentId },
    Install { extent: ExtentId, region: Region, bad: u16 },
    Write { extent: ExtentId, blocks: BlockRange },
    Free { extent: ExtentId },
    Forget { extent: ExtentId },
}

impl World<'_> {
    pub(super) fn store_op(
        &mut self,
        id: ServerId,
        ticket: StoreTicket,
        op: StoreOp,
    ) -> Result<(), Violation> {
        let (extent, note) = match &op {
            StoreOp::Write(write) => {
                self.routing.given(id, write.extent, write.version)?;
                self.note(
                    About::Extent(write.extent),
                    format_args!(
                        "{id} writes {} blocks {}+{} version {} replacing {}",
                        write.extent,
                        write.blocks.first,
                        write.blocks.count,
                        write.version,
                        write.replaces.first().copied().unwrap_or_default()
                    ),
                );
                (write.extent, Some(OpNote::Write { extent: write.extent, blocks: write.blocks }))
            }
            StoreOp::Accept { extent, epoch, .. } => {
                (*extent, Some(OpNote::Accept { extent: *extent, epoch: *epoch }))
            }
            StoreOp::Describe { extent } => (*extent, Some(OpNote::Describe { extent: *extent })),
            StoreOp::ReadRegion { extent, region } => {
                (*extent, Some(OpNote::ReadRegion { extent: *extent, region: *region }))
            }
            StoreOp::Read { extent, .. } => (*extent, Some(OpNote::Read { extent: *extent })),
            StoreOp::InstallRegion { extent, region, replaces, image } => {
                // What cannot be read is taken once more from a copy that can. And an owner without room for a write does not
                // know which copies had it already.
                let is_known = !self.damage.is_in(id, *extent, *region)
                    && !self.without_room.contains(&(*extent, *region));
                if *replaces == image.version && is_known {
                    let what = format!("{id} gets region {region} again, which it has in version {replaces}");
                    return Err(Violation::new("versions", *extent, what));
                }
                self.versions.saw(id, *extent, *region, image)?;
                self.coverage.count(Row::RegionsHashed);
                self.damage.put(id, *extent, *region, image);
                (*extent, Some(OpNote::Install { extent: *extent, region: *region, bad: image.bad }))
            }
            StoreOp::Free { extent } => {
                self.routing.freed(id, *extent)?;
                (*extent, Some(OpNote::Free { extent: *extent }))
            }
            StoreOp::Forget { extent } => {
                self.routing.freed(id, *extent)?;
                (*extent, Some(OpNote::Forget { extent: *extent }))
            }
            StoreOp::Reserve { extent, .. } | StoreOp::Unreserve { extent, .. } => (*extent, None),
            StoreOp::List { from, .. } => (*from, None),
        };
        if !matches!(op, StoreOp::Write(_)) {
            self.note(About::Extent(extent), format_args!("{id} store {}", Brief(&op)));
        }
        let running = self.server(id).running.as_mut().expect("it just spoke");
        if let Some(note) = note {
            running.notes.insert(ticket, note);
        }
        running.store.submit(ticket, op);
        Ok(())
    }

    pub(super) fn store_done(
        &mut self,
        id: ServerId,
        ticket: StoreTicket,
        outcome: StoreOutcome,
    ) -> Result<(), Violation> {
        let running = self.server(id).running.as_mut().expect("its store just spoke");
        let note = running.notes.remove(&ticket);
        match (note, &outcome) {
            (Some(OpNote::Accept { extent, epoch }), Ok(_)) => self.routing.accepted(id, extent, epoch)?,
            (Some(OpNote::Describe { extent }), Ok(StoreReply::Description(Some(found)))) => {
                self.routing.accepted(id, extent, found.accepted)?;
            }
            (Some(OpNote::ReadRegion { extent, region }), Ok(StoreReply::Image(image))) => {
                self.versions.saw(id, extent, region, image)?;
                self.found_in_image(id, extent, region, image)?;
                self.coverage.count(Row::RegionsHashed);
            }
            (Some(OpNote::Read { extent }), Err(StoreError::BadBlock { block })) => {
                self.found_bad(id, extent, *block)?;
            }
            (Some(OpNote::Install { extent, region, bad }), Ok(_)) => {
                self.damage.has_put(id, extent, region, bad);
            }
            (Some(OpNote::Write { extent, blocks }), Err(StoreError::NoSpace)) => {
                self.without_room.extend(Regions::touched_by(blocks).iter().map(|region| (extent, region)));
            }
            (Some(OpNote::Forget { extent }), Ok(_)) => self.routing.forgotten(id, extent),
            (Some(OpNote::Free { extent }), Ok(_)) => {
                self.note(About::Extent(extent), format_args!("{id} freed {extent}"));
            }
            (_, Err(StoreError::Stopped)) => {
                return Err(Violation::new(
                    "store",
                    None,
                    format!("the store of {id} stopped without an I/O error"),
                ));
            }
            _ => {}
        }
        if let Err(error) = &outcome {
            let error = format!("{error:?}");
            self.note(About::Routine, format_args!("{id} store operation {ticket:?} ends with {error}"));
        }
        let now = self.now();
        let server = self.server(id);
        let local = server.clock.local(now);
        let running = server.running.as_mut().expect("its store just spoke");
        running.engine.handle(local, Event::Store { ticket, outcome });
        Ok(())
    }

    pub(super) fn issue_io(&mut self, id: ServerId, io: evenkeel_store::DiskIo) {
        let now = self.now();
        let server = self.server(id);
        let life = server.life();
        let is_write = matches!(io.kind, IoKind::Write { .. });
        let is_caught = is_write && server.trap == Some(0);
        let (io, delay) = server.bay.issue(now, io, is_caught);
        if is_write && let Some(trap) = &mut server.trap {
            if *trap == 0 {
                server.trap = None;
                let nanos = u64::try_from(delay.as_nanos()).expect("a short time");
                let within = Duration::from_nanos(self.rng.below(nanos));
                self.clock.after(within, Happening::Fault(Fault::CrashOf(id)));
            } else {
                *trap -= 1;
            }
        }
        self.clock.after(delay, Happening::DiskDone { life, io });
    }

    pub(crate) fn disk_done(&mut self, life: Life, io: IoId) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        let server = self.server(life.server);
        let result = server.bay.complete(io);
        if let Some(running) = &mut server.running {
            running.store.handle_io(io, result);
        }
        self.pump(life.server)
    }

    pub(crate) fn store_idle(&mut self, life: Life) -> Result<(), Violation> {
        if !self.is_over(life)
            && let Some(running) = &mut self.server(life.server).running
        {
            running.store.maybe_checkpoint();
        }
        self.pump(life.server)
    }
}

/// A store operation in a few words, for the log.
struct Brief<'a>(&'a StoreOp);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            StoreOp::Read { extent, blocks } => write!(f, "read {extent} {}+{}", blocks.first, blocks.count),
            StoreOp::Write(write) => write!(f, "write {} {}", write.extent, write.version),
            StoreOp::ReadRegion { extent, region } => write!(f, "read-region {extent} {region}"),
            StoreOp::InstallRegion { extent, region, replaces, image } => {
                write!(f, "install {extent} {region} {replaces} -> {}", image.version)
            }
            StoreOp::Accept { extent, epoch, live, reserve_all, .. } => {
                write!(f, "accept {extent} epoch {epoch} live {live} reserve {reserve_all}")
            }
            StoreOp::Reserve { extent, blocks } => {
                write!(f, "reserve {extent} {}+{}", blocks.first, blocks.count)
            }
            StoreOp::Unreserve { extent, regions } => write!(f, "unreserve {extent} {:016x}", regions.0),
            StoreOp::Describe { extent } => write!(f, "describe {extent}"),
            StoreOp::Free { extent } => write!(f, "free {extent}"),
            StoreOp::Forget { extent } => write!(f, "forget {extent}"),
            StoreOp::List { from, max } => write!(f, "list {from} {max}"),
        }
    }
}
