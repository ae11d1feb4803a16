//! The clients' side of a run: when they ask, what becomes of their sessions, and who judges the answers.

use crate::checkers::Violation;
use crate::client::gateway::{Answer, OpenOp};
use crate::client::workload::{SimVolume, Wish};
use crate::coverage::Row;
use crate::hosts::Submission;
use crate::log::About;
use crate::world::{Happening, Life, Phase, World};
use evenkeel_engine::{Event, RequestId};
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES, SECTOR_BYTES};
use evenkeel_types::{BlockOutcome, ByteRange, ExtentId, ServerId, Time};
use std::time::Duration;

/// How long after its host gave it up a request may still take effect: an owner sequences it only while the proof that
/// its initiator lives is at most 2 s old, to which its time on the way adds, less than the 2 s of silence after which
/// a connection lapses. With what the clocks are apart.
pub(crate) const ZOMBIE_MAX: Duration = Duration::from_millis(4400);
/// How long a request may take at most: the engine's patience, with what the clocks are apart, the beat in which it looks,
/// and a proof of life that comes late.
const PATIENCE_MAX: Duration = Duration::from_millis(10_900);
/// Of 1000 requests to a gateway that stands still, so many are sent all the same.
const UNREAD_PER_MILLE: u64 = 200;
/// Of so many pieces of a volume, one keeps its data where room is made.
const KEPT_ONE_IN: usize = 50;
/// A read of the last phase, in bytes.
const VERIFY_BYTES: u64 = 256 << 10;
/// Reads of the last phase that are open at once.
const VERIFY_DEPTH: usize = 12;

impl World<'_> {
    /// A client asks for its next operation, if it may.
    pub(crate) fn client_next(&mut self, client: usize) -> Result<(), Violation> {
        if self.phase != Phase::Faults {
            return Ok(());
        }
        let think = u64::try_from(self.scenario.think.as_micros()).expect("a short time");
        let delay = self.rng.any_size(think / 8, think * 4);
        self.clock.after(delay, Happening::ClientNext { client });
        let (gateway, depth) = (self.clients[client].gateway, self.clients[client].depth);
        let busy = self.clients[client].open.len() >= depth;
        let server = &self.servers[&gateway];
        let (is_away, is_asleep) = (server.running.is_none(), server.asleep_until(self.now()).is_some());
        // A host does not know at once that its gateway stands still.
        if busy || is_away || is_asleep && !self.rng.chance(UNREAD_PER_MILLE) {
            return Ok(());
        }
        self.clients[client].is_alive = true;
        if let Some(index) = self.to_fill.pop() {
            let at = ByteRange::new(u64::from(index) * u64::from(EXTENT_BYTES), SECTOR_BYTES);
            let first = self.volumes[0].id;
            return self.ask(client, Wish::Write, first, at);
        }
        let volume = *self.rng.pick(&self.volumes);
        let focus: Vec<ExtentId> =
            self.motion.extents().filter(|extent| extent.volume == volume.id).collect();
        let (wish, at) = match self.clients[client].is_local_reader {
            true => match self.owned_by_its_view(gateway, volume) {
                own if own.is_empty() => return Ok(()),
                own => (Wish::Read, self.workload.next_read(volume, *self.rng.pick(&own))),
            },
            false => self.workload.next(volume, &focus),
        };
        self.ask(client, wish, volume.id, at)
    }

    /// The extents of a volume that a server owns as far as it knows.
    fn owned_by_its_view(&self, server: ServerId, volume: SimVolume) -> Vec<u32> {
        let view = self.servers[&server].running.as_ref().and_then(|running| running.engine.view());
        let is_own = |index: &u32| {
            let route = view.and_then(|view| view.route(ExtentId { volume: volume.id, index: *index }));
            route.is_some_and(|route| route.owner() == Some(server))
        };
        (0..volume.extents()).filter(is_own).collect()
    }

    pub(crate) fn ask(
        &mut self,
        client: usize,
        wish: Wish,
        volume: evenkeel_types::VolumeId,
        at: ByteRange,
    ) -> Result<(), Violation> {
        self.next_op += 1;
        self.next_request += 1;
        let (number, id) = (self.next_op, RequestId(self.next_request));
        let (op, request) = OpenOp::begin(number, wish, volume, at, self.now(), &mut self.registers);
        let gateway = self.clients[client].gateway;
        self.note(
            About::Extent(ExtentId { volume, index: (at.offset / u64::from(EXTENT_BYTES)) as u32 }),
            format_args!(
                "client {client} asks {gateway} {number} {wish:?} {}+{} of {volume}",
                at.offset, at.len
            ),
        );
        self.clients[client].open.insert(id, op);
        self.submit(gateway, Submission { id, volume, op: request })
    }

    /// A gateway has an answer; it is on its way.
    pub(crate) fn completed(&mut self, server: ServerId, id: RequestId, outcome: BlockOutcome) {
        let life = self.servers[&server].life();
        let owner = self.clients.iter().position(|client| client.open.contains_key(&id));
        if let Some(client) = owner {
            let delay = self.rng.micros(20, 200);
            self.clock.after(delay, Happening::Answered { life, client, id, outcome });
        }
    }

    pub(crate) fn answered(
        &mut self,
        life: Life,
        client: usize,
        id: RequestId,
        outcome: BlockOutcome,
    ) -> Result<(), Violation> {
        if self.servers[&life.server].life() != life {
            return Ok(());
        }
        let Some(op) = self.clients[client].open.remove(&id) else { return Ok(()) };
        let late = self.now() + ZOMBIE_MAX;
        let answer = op.answered(outcome, &mut self.registers, late)?;
        self.note(
            About::Extent(op.first_extent()),
            format_args!("client {client} has answer {} {answer:?}", op.number),
        );
        if self.phase == Phase::Faults {
            self.tally.operations += 1;
        }
        self.judge_patience(life.server, &op)?;
        self.count_answer(&op, answer);
        if matches!(answer, Answer::Done(Wish::Write | Wish::Zero)) {
            self.mended(&op);
        }
        self.judge_answer(&op, answer)
    }

    fn count_answer(&mut self, op: &OpenOp, answer: Answer) {
        let row = match answer {
            Answer::Done(Wish::Read) => Row::Reads,
            Answer::Done(Wish::Write) => Row::Writes,
            Answer::Done(Wish::Zero) => Row::Zeros,
            Answer::Done(Wish::Exchange) => Row::Exchanges,
            Answer::Miscompare => Row::Miscompares,
            Answer::Busy => Row::Busy,
            Answer::NoSpace => Row::NoSpace,
            Answer::Unknown => Row::Unknown,
            Answer::Medium { .. } => Row::MediumError,
            Answer::Aborted => Row::Cancelled,
        };
        self.coverage.count(row);
        self.coverage.add(Row::SectorsChecked, u64::from(op.at.len / SECTOR_BYTES));
        self.coverage.add(Row::CrossExtent, op.crosses_extents().into());
        let block = u64::from(BLOCK_BYTES);
        let is_part = !op.at.offset.is_multiple_of(block) || !op.at.end().is_multiple_of(block);
        self.coverage.add(Row::SubBlock, u64::from(op.is_write() && is_part));
    }

    /// A damaged block that was written over as a whole is good again.
    fn mended(&mut self, op: &OpenOp) {
        let block = u64::from(BLOCK_BYTES);
        let (first, end) = (op.at.offset.div_ceil(block), op.at.end() / block);
        let per_extent = u64::from(EXTENT_BYTES) / block;
        for number in first..end {
            let extent = ExtentId { volume: op.volume, index: (number / per_extent) as u32 };
            if self.damage.is_anywhere(extent, (number % per_extent) as u16) {
                self.coverage.count(Row::BlockMended);
            }
        }
    }

    /// However long something lasts, a request is answered after the patience of its gateway, one way or the other.
    fn judge_patience(&self, gateway: ServerId, op: &OpenOp) -> Result<(), Violation> {
        let slept = self.servers[&gateway].last_slept() >= op.begun;
        let took = self.now().since(op.begun);
        if slept || took <= PATIENCE_MAX {
            return Ok(());
        }
        let what = format!("operation {} was answered after {took:?}", op.number);
        Err(Violation::new("client", op.first_extent(), what))
    }

    /// Errors need a cause.
    fn judge_answer(&mut self, op: &OpenOp, answer: Answer) -> Result<(), Violation> {
        let wrong = |what: String| Err(Violation::new("client", op.first_extent(), what));
        match answer {
            Answer::Medium { offset } => {
                let extent = (offset / u64::from(EXTENT_BYTES)) as u32;
                let block = (offset % u64::from(EXTENT_BYTES) / u64::from(BLOCK_BYTES)) as u16;
                let extent = ExtentId { volume: op.volume, index: extent };
                if !self.damage.is_anywhere(extent, block) {
                    return wrong(format!(
                        "operation {} has a medium error at {offset}, where no store found damage",
                        op.number
                    ));
                }
                // With all servers there, a copy that can be read would have been.
                let is_bad_at = |server: &ServerId| self.damage.is_at(*server, extent, block);
                let replicas = self.routing.route(extent).map(|route| route.replicas);
                if !matches!(self.phase, Phase::Faults | Phase::Healing { .. })
                    && !replicas.is_some_and(|replicas| replicas.iter().all(is_bad_at))
                {
                    return wrong(format!(
                        "operation {} has a medium error at {offset}, and not all copies are damaged there",
                        op.number
                    ));
                }
            }
            Answer::NoSpace if op.wish == Wish::Read => {
                return wrong(format!("read {} was refused for want of space", op.number));
            }
            Answer::NoSpace if !self.scenario.may_want_space() => {
                return wrong(format!(
                    "operation {} was refused for want of space, and there is space",
                    op.number
                ));
            }
            Answer::Busy | Answer::Unknown
                if !matches!(self.phase, Phase::Faults | Phase::Healing { .. }) =>
            {
                return wrong(format!(
                    "operation {} ended with {answer:?} though nothing was in its way",
                    op.number
                ));
            }
            Answer::Aborted
                if self.clients.iter().all(|client| client.is_alive)
                    && !self.barriers.has_reset(op.number)
                    && self.phase != Phase::Faults =>
            {
                return wrong(format!("operation {} was aborted, and nobody asked for it", op.number));
            }
            _ => {}
        }
        Ok(())
    }

    /// A gateway wants to know whether the initiator of a request still lives.
    pub(crate) fn prove(&mut self, server: ServerId, id: RequestId) {
        let life = self.servers[&server].life();
        let Some(client) = self.clients.iter().position(|client| client.open.contains_key(&id)) else {
            return;
        };
        if !self.clients[client].is_alive {
            return;
        }
        self.coverage.count(Row::Proofs);
        let asked_at = self.now();
        let delay = self.rng.any_size(50, 50_000);
        self.clock.after(delay, Happening::Proof { life, id, asked_at });
    }

    /// An initiator's answer is read: it lived when it was asked, however long the answer lay unread.
    pub(crate) fn proof(&mut self, life: Life, id: RequestId, asked_at: Time) -> Result<(), Violation> {
        if self.servers[&life.server].life() != life {
            return Ok(());
        }
        let at = self.servers[&life.server].local(asked_at);
        self.tell(life.server, Event::Proof { id, at })
    }

    /// A client vanishes: for it, everything open is lost; its gateway notices a little later.
    pub(crate) fn client_vanishes(&mut self, client: usize, notice: Duration) -> Result<(), Violation> {
        let gateway = self.clients[client].gateway;
        let life = self.servers[&gateway].life();
        let late = self.now() + ZOMBIE_MAX;
        self.clients[client].is_alive = false;
        let open = std::mem::take(&mut self.clients[client].open);
        self.note(About::Group, format_args!("client {client} gives its session up"));
        for (id, op) in open {
            op.lost(&mut self.registers, late)?;
            self.clock.after(notice, Happening::Cancel { life, client, id });
        }
        Ok(())
    }

    pub(crate) fn cancel(&mut self, life: Life, _client: usize, id: RequestId) -> Result<(), Violation> {
        if self.servers[&life.server].life() != life {
            return Ok(());
        }
        self.coverage.count(Row::Cancelled);
        self.tell(life.server, Event::Cancel { id })
    }

    /// A gateway has crashed: its clients' operations have no answer any more.
    pub(crate) fn clients_lose(&mut self, gateway: ServerId) -> Result<(), Violation> {
        let late = self.now() + ZOMBIE_MAX;
        for client in 0..self.clients.len() {
            if self.clients[client].gateway != gateway {
                continue;
            }
            for (_, op) in std::mem::take(&mut self.clients[client].open) {
                self.coverage.add(Row::LostWithGateway, op.is_write().into());
                op.lost(&mut self.registers, late)?;
            }
        }
        Ok(())
    }

    /// Where the disks were too small for what was written, hosts delete most of it: a server that was away must have
    /// room for what it missed.
    pub(crate) fn make_room(&mut self) -> Result<(), Violation> {
        for volume in self.volumes.clone() {
            for (n, offset) in (0..volume.bytes).step_by(VERIFY_BYTES as usize).enumerate() {
                if n % KEPT_ONE_IN != 0 {
                    let at = ByteRange::new(offset, VERIFY_BYTES.min(volume.bytes - offset) as u32);
                    self.ask(n % self.clients.len(), Wish::Zero, volume.id, at)?;
                }
            }
        }
        Ok(())
    }

    /// Everything that was ever touched is to be read again, and its neighbourhood, which must be zeros.
    pub(crate) fn begin_verifying(&mut self) {
        self.note(About::Group, format_args!("everything is read again"));
        self.phase = Phase::Verifying { since: self.now() };
        let piece = VERIFY_BYTES / u64::from(SECTOR_BYTES);
        let mut pieces: Vec<u64> = self.registers.touched().map(|sector| sector / piece).collect();
        pieces.dedup();
        for first in pieces {
            let place = crate::client::sector::place_of(first * piece);
            let volume = self.volumes.iter().position(|volume| volume.id == place.volume);
            let volume = volume.expect("only volumes that exist were touched");
            let offset = place.index * u64::from(SECTOR_BYTES);
            let len = VERIFY_BYTES.min(self.volumes[volume].bytes - offset) as u32;
            self.to_verify.push((volume, ByteRange::new(offset, len)));
        }
    }

    pub(crate) fn verify_more(&mut self) -> Result<(), Violation> {
        let mut open = self.clients.iter().map(|client| client.open.len()).sum::<usize>();
        while open < VERIFY_DEPTH {
            let Some((volume, at)) = self.to_verify.pop() else { break };
            let client = self.to_verify.len() % self.clients.len();
            self.verify(client, volume, at)?;
            open += 1;
        }
        if open == 0 {
            self.registers.expire(Time(u64::MAX))?;
            if let Some(sector) = self.registers.unsettled() {
                let place = crate::client::sector::place_of(sector);
                return Err(Violation::new(
                    "register",
                    place.extent(),
                    format!("{place} is not settled at the end"),
                ));
            }
            self.judge_at_rest()?;
            self.phase = Phase::Over;
        }
        Ok(())
    }

    /// Reads a range; where a block of it is damaged for good, what is around it.
    fn verify(&mut self, client: usize, volume: usize, at: ByteRange) -> Result<(), Violation> {
        let id = self.volumes[volume].id;
        let block = u64::from(BLOCK_BYTES);
        let is_bad = |offset: u64| {
            let extent = ExtentId { volume: id, index: (offset / u64::from(EXTENT_BYTES)) as u32 };
            self.damage.is_anywhere(extent, (offset % u64::from(EXTENT_BYTES) / block) as u16)
        };
        let offsets = (at.offset..at.end()).step_by(BLOCK_BYTES as usize);
        if !offsets.clone().any(is_bad) {
            return self.ask(client, Wish::Read, id, at);
        }
        let pieces: Vec<ByteRange> =
            offsets.map(|offset| ByteRange::new(offset, block.min(at.end() - offset) as u32)).collect();
        pieces.into_iter().try_for_each(|piece| self.ask(client, Wish::Read, id, piece))
    }
}
