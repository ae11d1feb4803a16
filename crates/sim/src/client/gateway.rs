//! A client and its session with one gateway: what it has open, and what it tells the register checker.

use super::sector;
use super::workload::Wish;
use crate::checkers::Violation;
use crate::checkers::register::{Effect, End, OpNumber, Registers, Tag};
use crate::rng::Rng;
use crate::scenario::Scenario;
use evenkeel_engine::RequestId;
use evenkeel_types::geometry::{EXTENT_BYTES, SECTOR_BYTES};
use evenkeel_types::{
    AlignedBuf, BlockError, BlockOp, BlockOutcome, ByteRange, Payload, ServerId, Time, VolumeId,
};
use std::collections::BTreeMap;

const SECTOR: usize = SECTOR_BYTES as usize;

/// An operation of a client, from its submission to its answer.
#[derive(Clone, Debug)]
pub(crate) struct OpenOp {
    pub(crate) number: OpNumber,
    pub(crate) wish: Wish,
    pub(crate) volume: VolumeId,
    pub(crate) at: ByteRange,
    pub(crate) begun: Time,
    /// What an exchange expects in its sectors.
    expected: Vec<Tag>,
}

/// A host with one session.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) gateway: ServerId,
    /// Operations that it keeps open at most.
    pub(crate) depth: usize,
    pub(crate) open: BTreeMap<RequestId, OpenOp>,
    /// Whether it only reads, and only what its gateway itself owns, as far as that knows: such reads go on when
    /// everything else waits.
    pub(crate) is_local_reader: bool,
    /// Whether it gives a silent path up and goes on through another gateway.
    pub(crate) has_paths: bool,
    /// Whether its session goes on answering the gateway's proofs.
    pub(crate) is_alive: bool,
}

/// How an answer is to be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Done(Wish),
    Miscompare,
    Busy,
    NoSpace,
    Unknown,
    Medium {
        /// Offset of the damaged block in the volume.
        offset: u64,
    },
    Aborted,
}

impl OpenOp {
    /// Draws up an operation and tells the checker that it begins.
    pub(crate) fn begin(
        number: OpNumber,
        wish: Wish,
        volume: VolumeId,
        at: ByteRange,
        now: Time,
        registers: &mut Registers,
    ) -> (Self, BlockOp) {
        let sectors = sector::sectors(volume, at);
        let mut op = Self { number, wish, volume, at, begun: now, expected: Vec::new() };
        let request = match wish {
            Wish::Read => {
                registers.begin_open(number, sectors);
                BlockOp::Read { at }
            }
            Wish::Write => {
                registers.begin(number, sectors.map(|sector| (sector, Effect::Set(number))));
                BlockOp::Write { at, data: op.bytes_of(&|_| number) }
            }
            Wish::Zero => {
                registers.begin(number, sectors.map(|sector| (sector, Effect::Set(0))));
                BlockOp::Zero { at }
            }
            Wish::Exchange => {
                op.expected = sectors.clone().map(|sector| registers.likely(sector)).collect();
                // Now and then something that is not there.
                if number.is_multiple_of(5) {
                    op.expected[0] = number;
                }
                registers.begin_open(number, sectors);
                let expected = op.bytes_of(&|n| op.expected[n]);
                BlockOp::CompareAndWrite { at, expected, data: op.bytes_of(&|_| number) }
            }
        };
        (op, request)
    }

    /// The bytes of the whole range, at an address that is aligned like the range's place in its volume.
    fn bytes_of(&self, tag: &dyn Fn(usize) -> Tag) -> evenkeel_types::Bytes {
        let skew = (self.at.offset % evenkeel_types::aligned_buf::BUFFER_ALIGNMENT as u64) as usize;
        let mut buf = AlignedBuf::zeroed(skew + self.at.len as usize);
        for (n, number) in sector::sectors(self.volume, self.at).enumerate() {
            sector::fill(&mut buf[skew + n * SECTOR..][..SECTOR], number, tag(n));
        }
        buf.freeze().slice(skew..)
    }

    /// The extent in which it begins.
    pub(crate) fn first_extent(&self) -> evenkeel_types::ExtentId {
        let index = (self.at.offset / u64::from(EXTENT_BYTES)) as u32;
        evenkeel_types::ExtentId { volume: self.volume, index }
    }

    pub(crate) fn is_write(&self) -> bool {
        self.wish != Wish::Read
    }

    pub(crate) fn crosses_extents(&self) -> bool {
        self.at.offset / u64::from(EXTENT_BYTES) != (self.at.end() - 1) / u64::from(EXTENT_BYTES)
    }

    pub(crate) fn sectors(&self) -> impl Iterator<Item = u64> + Clone + use<> {
        sector::sectors(self.volume, self.at)
    }

    fn exchange_effects(&self) -> impl Iterator<Item = (u64, Effect)> {
        let effect = |(sector, expected): (u64, &Tag)| {
            (sector, Effect::Exchange { expected: *expected, new: self.number })
        };
        self.sectors().zip(&self.expected).map(effect)
    }

    /// The client has its answer: the checker judges it.
    pub(crate) fn answered(
        &self,
        outcome: BlockOutcome,
        registers: &mut Registers,
        late: Time,
    ) -> Result<Answer, Violation> {
        match outcome {
            Ok(payload) => self.done(payload, registers),
            Err(BlockError::Miscompare { offset }) => self.miscompared(offset, registers),
            Err(BlockError::Busy) => self.never(registers).map(|()| Answer::Busy),
            Err(BlockError::Aborted) => self.never(registers).map(|()| Answer::Aborted),
            Err(BlockError::NoSpace) => self.refused(registers).map(|()| Answer::NoSpace),
            Err(BlockError::Medium { offset }) => {
                self.check_medium(offset)?;
                self.refused(registers).map(|()| Answer::Medium { offset })
            }
            Err(BlockError::Unknown) => {
                if !self.is_write() {
                    return Err(self.wrong("a read ended with an unknown outcome"));
                }
                self.lost(registers, late).map(|()| Answer::Unknown)
            }
            Err(BlockError::NoVolume) => Err(self.wrong("the volume exists, and \"no volume\" was answered")),
        }
    }

    fn done(&self, payload: Payload, registers: &mut Registers) -> Result<Answer, Violation> {
        let wanted = if self.wish == Wish::Read { self.at.len as usize } else { 0 };
        if payload.len() != wanted {
            return Err(self.wrong(format!("an answer of {} bytes instead of {wanted}", payload.len())));
        }
        let done = || self.sectors().map(|sector| (sector, End::Done));
        match self.wish {
            Wish::Write | Wish::Zero => registers.end(self.number, done())?,
            Wish::Exchange => {
                registers.amounts_to(self.number, self.exchange_effects())?;
                registers.end(self.number, done())?;
            }
            Wish::Read => {
                let bytes = payload.into_bytes();
                let mut seen = Vec::with_capacity(bytes.len() / SECTOR);
                for (sector, bytes) in self.sectors().zip(bytes.chunks(SECTOR)) {
                    let tag = sector::read(bytes, sector).map_err(|what| self.wrong(what))?;
                    seen.push((sector, Some(Effect::See { tag, equal: true })));
                }
                registers.end_read(self.number, seen)?;
            }
        }
        Ok(Answer::Done(self.wish))
    }

    /// The sectors before the one with the offset were as expected, and this one was not; of the others nothing is said.
    fn miscompared(&self, offset: u32, registers: &mut Registers) -> Result<Answer, Violation> {
        if self.wish != Wish::Exchange || offset >= self.at.len {
            return Err(self.wrong(format!("a miscompare at offset {offset} makes no sense")));
        }
        let first = offset as usize / SECTOR;
        let seen = self.sectors().zip(&self.expected).enumerate().map(|(n, (sector, expected))| {
            let effect = (n <= first).then_some(Effect::See { tag: *expected, equal: n < first });
            (sector, effect)
        });
        registers.end_read(self.number, seen)?;
        Ok(Answer::Miscompare)
    }

    /// It took no effect and will not.
    fn never(&self, registers: &mut Registers) -> Result<(), Violation> {
        match self.wish {
            Wish::Read | Wish::Exchange => {
                registers.end_read(self.number, self.sectors().map(|sector| (sector, None)))
            }
            Wish::Write | Wish::Zero => {
                registers.end(self.number, self.sectors().map(|sector| (sector, End::Never)))
            }
        }
    }

    /// It ended with an error that concerns one piece of it; the others may have taken effect. A gateway cuts requests
    /// at extents, and a zeroing also where whole blocks begin and end.
    fn refused(&self, registers: &mut Registers) -> Result<(), Violation> {
        let is_cut = self.crosses_extents() || self.wish == Wish::Zero && !self.at.is_block_aligned();
        let end = if is_cut { End::Unclear } else { End::Never };
        match self.wish {
            Wish::Read | Wish::Exchange => self.never(registers),
            Wish::Write | Wish::Zero => {
                registers.end(self.number, self.sectors().map(|sector| (sector, end)))
            }
        }
    }

    /// There will be no answer any more; until `late` it may still take effect.
    pub(crate) fn lost(&self, registers: &mut Registers, late: Time) -> Result<(), Violation> {
        match self.wish {
            Wish::Read => return self.never(registers),
            Wish::Exchange => registers.amounts_to(self.number, self.exchange_effects())?,
            Wish::Write | Wish::Zero => {}
        }
        registers.lose(self.number, self.sectors(), late);
        Ok(())
    }

    /// A medium error must lie in a block that the operation touches.
    fn check_medium(&self, offset: u64) -> Result<(), Violation> {
        let block = u64::from(evenkeel_types::geometry::BLOCK_BYTES);
        let (first, end) = (self.at.offset / block * block, self.at.end().div_ceil(block) * block);
        if (first..end).contains(&offset) {
            return Ok(());
        }
        Err(self.wrong(format!("a medium error at {offset}, outside of the request")))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Violation {
        Violation::new(
            "client",
            self.first_extent(),
            format!("operation {} ({:?} of {:?}): {what}", self.number, self.wish, self.at),
        )
    }
}

/// The clients of all servers.
pub(crate) fn clients(servers: &[ServerId], scenario: &Scenario, rng: &mut Rng) -> Vec<Client> {
    let mut clients = Vec::new();
    for gateway in servers {
        for _ in 0..scenario.clients_per_server {
            let depth = rng.between(2, 6) as usize;
            let (has_paths, is_local_reader) = (rng.chance(500), rng.chance(300));
            let (gateway, open) = (*gateway, BTreeMap::new());
            clients.push(Client { gateway, depth, open, is_local_reader, has_paths, is_alive: true });
        }
    }
    clients
}
