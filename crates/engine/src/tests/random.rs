//! Everything at once, in orders drawn from a seed, judged block by block.

use super::world::{TxnFate, World};
use evenkeel_meta::MemberState;
use evenkeel_meta::change::withdraw_place;
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES};
use evenkeel_types::{BlockError, BlockOp, ByteRange, Bytes, ServerId};

const BLOCKS: u64 = 24;
const EXTENTS: u64 = 8;
/// Rounds after which another block is used: extents are written to for the first time all along.
const ROUNDS_PER_BLOCK: u64 = 60;
const SERVERS: u32 = 3;

/// What a block may read as.
#[derive(Clone, Debug)]
struct Block {
    /// Values that it may have. The first is the one known last.
    may_be: Vec<u8>,
    /// The write under way: through which server, its number, its value.
    writing: Option<(u32, u64, u8)>,
    reading: Option<(u32, u64)>,
    next: u8,
}

struct Run {
    world: World,
    blocks: Vec<Block>,
    seed: u64,
    replicas: u8,
    acknowledged: u64,
    round: u64,
    swaps: u64,
}

fn offset(block: usize) -> u64 {
    let (extent, within) = (block as u64 % EXTENTS, block as u64 / EXTENTS);
    // Some in one region, some far apart.
    extent * u64::from(EXTENT_BYTES) + within * 11 * u64::from(BLOCK_BYTES)
}

impl Run {
    fn new(seed: u64) -> Self {
        let replicas = 1 + (seed % 3) as u8;
        let mut world = World::with_replicas(SERVERS, replicas);
        world.pass_ms(3_000);
        world.randomise(seed + 1);
        let block = Block { may_be: vec![0], writing: None, reading: None, next: 0 };
        Self {
            world,
            blocks: vec![block; BLOCKS as usize],
            seed,
            replicas,
            acknowledged: 0,
            round: 0,
            swaps: 0,
        }
    }

    fn collect(&mut self) {
        for (n, block) in self.blocks.iter_mut().enumerate() {
            if let Some((server, id, value)) = block.writing
                && let Some(outcome) = self.world.outcome(server, id)
            {
                match outcome {
                    Ok(_) => {
                        block.may_be = vec![value];
                        self.acknowledged += 1;
                    }
                    Err(BlockError::Busy | BlockError::Aborted) => {
                        block.may_be.retain(|known| *known != value);
                    }
                    Err(BlockError::Unknown) => {}
                    Err(other) => panic!("seed {}: block {n}: {other:?}", self.seed),
                }
                block.writing = None;
            }
            if let Some((server, id)) = block.reading
                && let Some(outcome) = self.world.outcome(server, id)
            {
                block.reading = None;
                if let Ok(data) = outcome {
                    let byte = data.clone().into_bytes()[0];
                    assert!(
                        block.may_be.contains(&byte),
                        "seed {}: block {n} read {byte}: {block:?}",
                        self.seed
                    );
                    if block.writing.is_none() {
                        block.may_be = vec![byte];
                    }
                }
            }
        }
    }

    fn client(&mut self) {
        let n = self.world.draw(BLOCKS.min(3 + self.round / ROUNDS_PER_BLOCK)) as usize;
        let server = 1 + self.world.draw(u64::from(SERVERS)) as u32;
        if self.world.servers[&server].engine.is_none() {
            return;
        }
        let write = self.world.draw(3) > 0;
        let block = &mut self.blocks[n];
        if write && block.writing.is_none() && block.reading.is_none() {
            block.next = block.next % 250 + 1;
            let value = block.next;
            block.may_be.push(value);
            let at = ByteRange::new(offset(n), BLOCK_BYTES);
            let op = if value.is_multiple_of(10) {
                *block.may_be.last_mut().unwrap() = 0;
                BlockOp::Zero { at }
            } else {
                BlockOp::Write { at, data: Bytes::from(vec![value; BLOCK_BYTES as usize]) }
            };
            let id = self.world.request(server, op);
            self.world.note(|| format!("block {n} is written through server {server}, request {id}"));
            let value = *self.blocks[n].may_be.last().unwrap();
            self.blocks[n].writing = Some((server, id, value));
        } else if !write && block.writing.is_none() && block.reading.is_none() {
            let id = self.world.read(server, offset(n), 512);
            self.blocks[n].reading = Some((server, id));
        }
    }

    fn fault(&mut self) {
        let n = 1 + self.world.draw(u64::from(SERVERS)) as u32;
        let other = 1 + n % SERVERS;
        let kind = self.world.draw(12);
        self.world.note(|| format!("fault {kind} at server {n}, and {other}"));
        match kind {
            0 if self.world.servers[&n].engine.is_some() => {
                // The front ends of a server die with it: what they wanted may or may not have been done.
                for block in &mut self.blocks {
                    block.writing.take_if(|(server, ..)| *server == n);
                    block.reading.take_if(|(server, _)| *server == n);
                }
                self.world.crash(n);
            }
            1 | 2 => {
                if self.world.servers[&n].engine.is_none() {
                    self.world.start(n);
                }
            }
            3 => self.world.disconnect(n, other),
            4 | 5 => self.world.connect(n, other),
            6 => {
                self.world.hold_views.insert(n);
            }
            7 => self.world.hold_views.clear(),
            8 => {
                let fates = [TxnFate::HappensUnanswered, TxnFate::StaysUnderWay, TxnFate::Unavailable];
                let fate = fates[self.world.draw(3) as usize];
                self.world.fates.push_back(fate);
            }
            9 => {
                self.world.hold_stores.insert(n);
            }
            10 => self.world.hold_stores.clear(),
            _ => {
                if !self.world.under_way.is_empty() {
                    self.world.late_txn();
                }
            }
        }
    }

    fn some_move(&mut self) {
        let index = self.world.draw(EXTENTS) as u32;
        let route = self.world.view().route(self.world.extent(index)).unwrap();
        let Some(from) = route.owner() else { return };
        let to = 1 + self.world.draw(u64::from(SERVERS)) as u32;
        let rate = [None, Some(4 << 20)][self.world.draw(2) as usize];
        let replaced = route.replicas[self.world.draw(route.replicas.len() as u64) as usize];
        if self.world.draw(2) == 0 {
            self.world.start_move_of(from.0, index, replaced.0, to);
        } else {
            self.world.start_move_at(from.0, index, to, rate);
        }
    }

    /// Another place for the volume is published, swapped in, or withdrawn.
    fn place(&mut self) {
        let Some(actor) = self.world.actor() else { return };
        let view = self.world.view();
        if view.next_place(self.world.volume).is_some() {
            if self.world.swap() {
                self.swaps += 1;
            } else if self.world.draw(8) == 0 {
                self.world.commit(&withdraw_place(&view, actor, self.world.volume).unwrap());
            }
            return;
        }
        let mut order: Vec<u32> = (1..=SERVERS).collect();
        for n in (1..order.len()).rev() {
            let other = self.world.draw(n as u64 + 1) as usize;
            order.swap(n, other);
        }
        self.world.note(|| format!("the volume is to be at {order:?}"));
        self.world.publish(&order);
    }

    fn run(mut self, rounds: u32) -> (u64, u64, u64) {
        for round in 0..rounds {
            self.round = round.into();
            match self.world.draw(40) {
                0..=15 => self.client(),
                16 => self.fault(),
                17 => self.some_move(),
                19 => self.place(),
                18 => {
                    let ms = self.world.draw(300);
                    self.world.pass_ms(ms);
                }
                _ => {
                    self.world.step();
                }
            }
            self.collect();
        }
        self.heal();
        let moves = self
            .world
            .servers
            .values()
            .map(|server| server.engine.as_ref().map_or(0, |engine| engine.counters().moves_done));
        (self.acknowledged, moves.sum(), self.swaps)
    }

    /// The faults stop: the group has to serve again, and to have everything that was acknowledged, once.
    fn heal(&mut self) {
        self.world.hold_views.clear();
        self.world.hold_stores.clear();
        self.world.fates.clear();
        for n in 1..=SERVERS {
            if self.world.servers[&n].engine.is_none() {
                self.world.start(n);
            }
        }
        for (a, b) in [(1, 2), (2, 3), (1, 3)] {
            self.world.connect(a, b);
        }
        self.world.pass_ms(20_000);
        while !self.world.under_way.is_empty() {
            self.world.late_txn();
        }
        self.world.pass_ms(20_000);
        self.collect();
        for n in 0..self.blocks.len() {
            for server in 1..=SERVERS {
                let id = self.world.read(server, offset(n), 512);
                self.world.pass_ms(10);
                assert!(!self.world.is_open(server, id), "seed {}: block {n} is not served", self.seed);
                let byte = self.world.read_byte(server, id);
                let block = &mut self.blocks[n];
                assert!(block.may_be.contains(&byte), "seed {}: block {n} has {byte}: {block:?}", self.seed);
                block.may_be = vec![byte];
            }
        }
        for index in 0..EXTENTS as u32 {
            let route = self.world.view().route(self.world.extent(index)).unwrap();
            assert!(route.intent.is_none(), "seed {}: extent {index} has an intent", self.seed);
            assert_eq!(route.replicas.len(), usize::from(self.replicas), "seed {}", self.seed);
            let owner = route.owner().unwrap().0;
            for server in 1..=SERVERS {
                let holds = self.world.holds(server, index);
                let is_named = route.replicas.iter().any(|replica| replica.0 == server);
                assert!(!holds || is_named, "seed {}: extent {index} at {server}, owner {owner}", self.seed);
                assert!(
                    !is_named || self.world.hash(server, index) == self.world.hash(owner, index),
                    "seed {}: extent {index} differs at {server} and {owner}",
                    self.seed
                );
            }
        }
        for n in 1..=SERVERS {
            let member = self.world.view().member(ServerId(n)).unwrap().record.state;
            assert_eq!(member, MemberState::Up, "seed {}: server {n}", self.seed);
            assert_eq!(self.world.engine(n).open_requests(), 0, "seed {}", self.seed);
            assert_eq!(self.world.engine(n).open_operations(), 0, "seed {}", self.seed);
        }
    }
}

#[test]
fn whatever_happens_acknowledged_writes_last_and_reads_never_go_back() {
    let seeds = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60u64);
    let first = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0u64);
    let (mut acknowledged, mut moves, mut swaps) = (0, 0, 0);
    for seed in first..first + seeds {
        let (writes, moved, swapped) = Run::new(seed).run(2_000);
        acknowledged += writes;
        moves += moved;
        swaps += swapped;
    }
    println!("{acknowledged} writes, {moves} moves, {swaps} places swapped in");
    assert!(acknowledged > seeds * 20, "{acknowledged} writes");
    assert!(seeds < 10 || moves > seeds / 2, "{moves} moves");
    assert!(seeds < 10 || swaps > seeds / 2, "{swaps} places swapped in");
}
