//! Random operations and crashes against a model: what was acknowledged is there, what was not is there as a whole or
//! not at all, equal versions mean equal content, no two extents share a unit.

use super::harness::*;
use crate::{CheckDepth, DiskIo, SimDisk, Store, check};
use evenkeel_types::geometry::{BLOCKS_PER_EXTENT, BLOCKS_PER_REGION, REGIONS_PER_EXTENT};
use evenkeel_types::store_op::{Content, RegionImage, StoreError, StoreOp, StoreReply, StoreTicket};
use evenkeel_types::{BlockRange, Bytes, Epoch, ExtentId, Payload, Region, Version};
use proptest::prelude::*;
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};

const EXTENTS: u32 = 4;

/// Content of a block: 0 is absent, anything else the number of the write that put it there.
type Content64 = [u64; BLOCKS_PER_EXTENT as usize];

/// An extent as it should be.
#[derive(Clone, PartialEq, Eq)]
struct State {
    live: bool,
    has_data: bool,
    accepted: Epoch,
    versions: [Version; REGIONS_PER_EXTENT],
    blocks: Box<Content64>,
}

impl State {
    fn absent() -> Self {
        Self {
            live: false,
            has_data: false,
            accepted: Epoch::ZERO,
            versions: [Version::NONE; REGIONS_PER_EXTENT],
            blocks: Box::new([0; BLOCKS_PER_EXTENT as usize]),
        }
    }
}

/// A small random source; the seed comes from proptest.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A block's bytes for a write number.
fn block_bytes(number: u64) -> [u8; 4096] {
    let mut block = [(number % 251) as u8; 4096];
    block[..8].copy_from_slice(&number.to_le_bytes());
    block[4088..].copy_from_slice(&(!number).to_le_bytes());
    block
}

fn number_of(block: &[u8]) -> u64 {
    let number = u64::from_le_bytes(block[..8].try_into().unwrap());
    let expected = if number == 0 { [0; 4096] } else { block_bytes(number) };
    assert!(block == expected, "block {number} is torn");
    number
}

/// One extent's history: the states that acknowledged and pending changes lead to, oldest first.
struct History {
    /// The last acknowledged state, and one after each change that is pending.
    states: VecDeque<State>,
    /// Tickets of the pending changes.
    pending: VecDeque<u64>,
    /// States that ended while reads were under way.
    ended: Vec<State>,
}

/// A read under way.
struct Read {
    index: usize,
    blocks: BlockRange,
    /// States of the extent that had ended before.
    since: usize,
}

struct World {
    disk: SimDisk,
    store: Store,
    histories: Vec<History>,
    reads: BTreeMap<u64, Read>,
    in_flight: Vec<DiskIo>,
    random: Random,
    next_ticket: u64,
    next_number: u64,
    next_sequence: u64,
    versions_seen: BTreeMap<(ExtentId, usize, Version), Vec<u64>>,
    refused_for_space: u64,
    /// The disk is nearly full of four extents: changes wait for space, and some are refused.
    tight: bool,
}

impl World {
    fn new(seed: u64, tight: bool) -> Self {
        let mut disk = SimDisk::new(if tight { 20 * MIB } else { 96 * MIB }, seed);
        if seed.is_multiple_of(2) {
            disk.fill_with_garbage();
        }
        let options = crate::FormatOptions {
            store_id: STORE_ID,
            group: GROUP.into(),
            server: SERVER,
            journal_bytes: MIB,
        };
        Store::format(&mut disk, &options).unwrap();
        let (store, _) = Store::open(&mut disk, &open_options()).unwrap();
        let history = || History {
            states: VecDeque::from([State::absent()]),
            pending: VecDeque::new(),
            ended: Vec::new(),
        };
        Self {
            disk,
            store,
            histories: (0..EXTENTS).map(|_| history()).collect(),
            reads: BTreeMap::new(),
            in_flight: Vec::new(),
            random: Random(seed),
            next_ticket: 0,
            next_number: 0,
            next_sequence: 0,
            versions_seen: BTreeMap::new(),
            refused_for_space: 0,
            tight,
        }
    }

    fn submit(&mut self, op: StoreOp) -> u64 {
        self.next_ticket += 1;
        self.store.submit(StoreTicket(self.next_ticket), op);
        self.next_ticket
    }

    fn random_range(&mut self) -> BlockRange {
        let (first, count) = match self.random.below(10) {
            0..=4 => (self.random.below(64), 1 + self.random.below(3)),
            5 => (self.random.below(4) * 16, 16),
            6 => (self.random.below(2) * 32, 48),
            7 => (self.random.below(40), 1 + self.random.below(80)),
            8 => (self.random.below(1024), 1),
            9 if self.random.below(4) == 0 => (0, 1024),
            _ => (self.random.below(1024), 1),
        };
        let count = count.min(1024 - first);
        blocks(first as u16, count as u16)
    }

    fn step_submit(&mut self) {
        let index = self.random.below(u64::from(EXTENTS)) as usize;
        match self.random.below(20) {
            0..=9 => self.submit_write(index, false),
            10..=11 => self.submit_write(index, true),
            12..=13 => self.submit_install(index),
            14 => self.submit_accept(index),
            15 if self.random.below(3) == 0 => self.submit_free(index),
            16 if self.random.below(4) == 0 => self.submit_forget(index),
            _ => {
                let blocks = self.random_range();
                let ticket = self.submit(StoreOp::Read { extent: extent(index as u32), blocks });
                let since = self.histories[index].ended.len();
                self.reads.insert(ticket, Read { index, blocks, since });
            }
        }
    }

    fn push(&mut self, index: usize, ticket: u64, state: State) {
        self.histories[index].states.push_back(state);
        self.histories[index].pending.push_back(ticket);
    }

    fn next_version(&mut self, state: &State) -> Version {
        self.next_sequence += 1;
        Version { epoch: state.accepted.max(Epoch(1)), sequence: self.next_sequence }
    }

    fn submit_write(&mut self, index: usize, zero: bool) {
        let mut state = self.histories[index].states.back().unwrap().clone();
        let blocks = self.random_range();
        let version = self.next_version(&state);
        let mut replaces: SmallVec<[Version; 2]> = SmallVec::new();
        for (region, _) in blocks.split_by_region() {
            replaces.push(state.versions[region as usize]);
            state.versions[region as usize] = version;
        }
        let mut bytes = Vec::new();
        for block in blocks.first..blocks.end() {
            self.next_number += 1;
            state.blocks[block as usize] = if zero { 0 } else { self.next_number };
            bytes.extend_from_slice(&block_bytes(self.next_number));
        }
        (state.live, state.has_data) = (true, true);
        state.accepted = state.accepted.max(version.epoch);
        let content = if zero { Content::Absent } else { Content::Data(bytes.into()) };
        let ticket = self.submit(write_of(extent(index as u32), blocks, content, version, replaces));
        self.push(index, ticket, state);
    }

    fn submit_install(&mut self, index: usize) {
        let mut state = self.histories[index].states.back().unwrap().clone();
        if !state.live {
            return;
        }
        let region = region(self.random.below(5) as u8);
        let present = match self.random.below(4) {
            0 => 0,
            1 => u16::MAX,
            _ => self.random.next() as u16,
        };
        let version = self.next_version(&state);
        let mut data = Vec::new();
        for within in 0..BLOCKS_PER_REGION {
            let block = &mut state.blocks[usize::from(region.blocks().first + within)];
            *block = 0;
            if present >> within & 1 == 1 {
                self.next_number += 1;
                *block = self.next_number;
                data.extend_from_slice(&block_bytes(self.next_number));
            }
        }
        let replaces = std::mem::replace(&mut state.versions[region.index()], version);
        state.has_data = true;
        let image = RegionImage {
            version,
            present,
            bad: 0,
            data: Payload::from(Bytes::from(data)),
            identities: Vec::new(),
        };
        let op = StoreOp::InstallRegion { extent: extent(index as u32), region, replaces, image };
        let ticket = self.submit(op);
        self.push(index, ticket, state);
    }

    fn submit_accept(&mut self, index: usize) {
        let mut state = self.histories[index].states.back().unwrap().clone();
        state.accepted = Epoch(state.accepted.0 + self.random.below(2));
        (state.live, state.has_data) = (true, true);
        let reserve_all = self.random.below(4) == 0;
        let op = accept_of(extent(index as u32), state.accepted.0, reserve_all);
        let ticket = self.submit(op);
        self.push(index, ticket, state);
    }

    fn submit_free(&mut self, index: usize) {
        let before = self.histories[index].states.back().unwrap();
        let state = State { live: before.live, accepted: before.accepted, ..State::absent() };
        let ticket = self.submit(StoreOp::Free { extent: extent(index as u32) });
        self.push(index, ticket, state);
    }

    fn submit_forget(&mut self, index: usize) {
        let ticket = self.submit(StoreOp::Forget { extent: extent(index as u32) });
        self.push(index, ticket, State::absent());
    }

    fn poll(&mut self) {
        while let Some(io) = self.store.poll_io() {
            self.in_flight.push(io);
        }
        self.collect();
    }

    fn collect(&mut self) {
        while let Some((ticket, outcome)) = self.store.poll_done() {
            if let Some(read) = self.reads.remove(&ticket.0) {
                self.check_read(&read, outcome);
            } else {
                self.check_change(ticket.0, outcome.map(|_| ()));
            }
        }
    }

    /// A change ends in the order of its extent; a refused one changes nothing, and what was built on it fails too.
    fn check_change(&mut self, ticket: u64, outcome: Result<(), StoreError>) {
        let find = |history: &History| history.pending.iter().position(|pending| *pending == ticket);
        let Some(history) = self.histories.iter_mut().find(|history| find(history).is_some()) else {
            // Built on a refused one.
            assert!(outcome.is_err() || self.refused_for_space > 0);
            return;
        };
        assert_eq!(find(history), Some(0), "answered in order");
        match outcome {
            Ok(()) => {
                let ended = history.states.pop_front().unwrap();
                history.pending.pop_front();
                history.ended.push(ended);
                if self.reads.is_empty() {
                    self.histories.iter_mut().for_each(|history| history.ended.clear());
                }
            }
            Err(StoreError::NoSpace) if self.tight => self.refused_for_space += 1,
            Err(error) => panic!("{error:?}"),
        }
        if outcome.is_err() {
            // The model's later states assumed it; let the dust settle and start from what the store says.
            self.resync();
        }
    }

    /// After a refusal: waits for everything, and takes the store's word for the present state.
    fn resync(&mut self) {
        while !self.store.is_quiescent() {
            while let Some(io) = self.store.poll_io() {
                self.in_flight.push(io);
            }
            while let Some(io) = self.in_flight.pop() {
                let result = self.disk.carry_out(&io.kind);
                self.store.handle_io(io.id, result);
            }
        }
        while self.store.poll_done().is_some() {}
        self.reads.clear();
        for index in 0..EXTENTS {
            let found = self.read_state(index);
            self.histories[index as usize] =
                History { states: VecDeque::from([found]), pending: VecDeque::new(), ended: Vec::new() };
        }
    }

    /// A read gives, block by block, what the extent held at some time since its submission.
    fn check_read(&mut self, read: &Read, outcome: Result<StoreReply, StoreError>) {
        let Ok(StoreReply::Data(data)) = outcome else { panic!("{outcome:?}") };
        let data = data.into_bytes();
        let history = &self.histories[read.index];
        for (block, bytes) in (read.blocks.first..).zip(data.chunks_exact(4096)) {
            let number = number_of(bytes);
            let was = |state: &State| state.blocks[block as usize] == number;
            let possible = history.states.iter().any(was) || history.ended[read.since..].iter().any(was);
            assert!(possible, "extent {} block {block} reads {number}", read.index);
        }
    }

    fn step_complete(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let pick = self.random.below(self.in_flight.len() as u64) as usize;
        let io = self.in_flight.swap_remove(pick);
        let result = self.disk.carry_out(&io.kind);
        self.store.handle_io(io.id, result);
        self.collect();
    }

    fn crash(&mut self) {
        if self.tight {
            // What is built on a refused change may happen without it: let all changes end first.
            while self.histories.iter().any(|history| !history.pending.is_empty()) {
                self.poll();
                self.step_complete();
            }
        }
        // Writes under way may have reached the disk's cache, in any order.
        for io in std::mem::take(&mut self.in_flight) {
            if let crate::IoKind::Write { offset, pieces, .. } = io.kind
                && self.random.below(2) == 0
            {
                let kind = crate::IoKind::Write { offset, pieces, durable: false };
                self.disk.carry_out(&kind).unwrap();
            }
        }
        self.disk.crash();
        self.reads.clear();
        let report = check(&self.disk, None, CheckDepth::Data);
        assert!(report.is_sound(), "{:?}", report.findings);
        // Opening may crash too, several times.
        while self.random.below(3) == 0 {
            let mut disk = self.disk.clone();
            disk.fail_after(self.random.below(40));
            if Store::open(&mut disk, &open_options()).is_ok() {
                break;
            }
            disk.crash();
            self.disk = disk;
        }
        let (store, _) = Store::open(&mut self.disk, &open_options()).unwrap();
        self.store = store;
        for index in 0..EXTENTS {
            let found = self.read_state(index);
            let history = &mut self.histories[index as usize];
            let at = history.states.iter().position(|state| *state == found);
            assert!(at.is_some(), "extent {index} is in no state that its history allows");
            *history =
                History { states: VecDeque::from([found]), pending: VecDeque::new(), ended: Vec::new() };
        }
        let report = check(&self.disk, None, CheckDepth::Data);
        assert!(report.is_sound(), "{:?}", report.findings);
    }

    fn run_one(&mut self, op: StoreOp) -> Result<StoreReply, StoreError> {
        let ticket = self.submit(op);
        loop {
            while let Some((done, outcome)) = self.store.poll_done() {
                if done.0 == ticket {
                    return outcome;
                }
            }
            let io = self.store.poll_io().expect("an operation under way needs the disk");
            let result = self.disk.carry_out(&io.kind);
            self.store.handle_io(io.id, result);
        }
    }

    fn read_state(&mut self, index: u32) -> State {
        let mut state = State::absent();
        let Ok(StoreReply::Description(description)) =
            self.run_one(StoreOp::Describe { extent: extent(index) })
        else {
            panic!()
        };
        if let Some(description) = description {
            (state.live, state.has_data) = (true, description.has_data);
            state.accepted = description.accepted;
            state.versions.copy_from_slice(&description.versions);
        }
        let read = StoreOp::Read { extent: extent(index), blocks: BlockRange::ALL };
        let Ok(StoreReply::Data(data)) = self.run_one(read) else { panic!() };
        for (block, bytes) in state.blocks.iter_mut().zip(data.into_bytes().chunks_exact(4096)) {
            *block = number_of(bytes);
        }
        for region in Region::all() {
            let version = state.versions[region.index()];
            let first = usize::from(region.blocks().first);
            let content = state.blocks[first..first + usize::from(BLOCKS_PER_REGION)].to_vec();
            let key = (extent(index), region.index(), version);
            let known = self.versions_seen.entry(key).or_insert_with(|| content.clone());
            assert!(version == Version::NONE || *known == content, "version {version} names two contents");
        }
        state
    }
}

fn run(seed: u64, steps: u64, crash_every: u64, tight: bool) {
    let mut world = World::new(seed, tight);
    for _ in 0..steps {
        match world.random.below(8) {
            0..=2 => world.step_submit(),
            3 => world.poll(),
            _ => {
                if world.in_flight.is_empty() {
                    world.poll();
                }
                world.step_complete();
            }
        }
        if world.random.below(200) == 0 {
            world.store.maybe_checkpoint();
        }
        if world.random.below(crash_every) == 0 {
            world.crash();
        }
    }
    world.crash();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() })]
    #[test]
    fn acknowledged_changes_survive_crashes_and_others_are_all_or_nothing(seed: u64) {
        run(seed, 800, 100, false);
    }

    #[test]
    fn a_store_that_is_nearly_full_loses_nothing_either(seed: u64) {
        run(seed, 600, 200, true);
    }
}

#[test]
fn a_long_life_between_crashes_wraps_the_journal_many_times() {
    for seed in 0..2 {
        run(seed, 8_000, 3_000, false);
    }
}
