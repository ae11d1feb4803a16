//! What tests ask of a world, as hosts and people do, and what they look at.

use super::World;
use crate::tests::store::Record;
use crate::{Engine, EngineEvent, Event, MoveOrder, MoveStage, RequestId};
use evenkeel_peer::Message;
use evenkeel_types::{BlockError, BlockOp, BlockOutcome, ByteRange, Bytes, ServerId};

impl World {
    // ---- front ends ----

    pub(in crate::tests) fn request(&mut self, n: u32, op: BlockOp) -> u64 {
        self.next_request += 1;
        let id = self.next_request;
        let volume = self.volume;
        let (proof_at, digest) = (self.now, self.digest);
        self.event(n, Event::Request { id: RequestId(id), volume, op, proof_at, digest });
        id
    }

    pub(in crate::tests) fn write(&mut self, n: u32, offset: u64, len: u32, byte: u8) -> u64 {
        let data = Bytes::from(vec![byte; len as usize]);
        self.request(n, BlockOp::Write { at: ByteRange::new(offset, len), data })
    }

    pub(in crate::tests) fn read(&mut self, n: u32, offset: u64, len: u32) -> u64 {
        self.request(n, BlockOp::Read { at: ByteRange::new(offset, len) })
    }

    pub(in crate::tests) fn outcome(&self, n: u32, id: u64) -> Option<&BlockOutcome> {
        self.servers[&n].done.get(&id)
    }

    pub(in crate::tests) fn is_open(&self, n: u32, id: u64) -> bool {
        self.outcome(n, id).is_none()
    }

    pub(in crate::tests) fn write_now(&mut self, n: u32, offset: u64, len: u32, byte: u8) {
        let id = self.write(n, offset, len, byte);
        self.settle();
        assert!(matches!(self.outcome(n, id), Some(Ok(_))), "{:?}", self.outcome(n, id));
    }

    /// Reads, and gives the one byte that all of the range has.
    pub(in crate::tests) fn byte_at(&mut self, n: u32, offset: u64, len: u32) -> u8 {
        let id = self.read(n, offset, len);
        self.settle();
        self.read_byte(n, id)
    }

    pub(in crate::tests) fn read_byte(&self, n: u32, id: u64) -> u8 {
        let data = self.outcome(n, id).expect("answered").clone().expect("good").into_bytes();
        assert!(data.iter().all(|byte| *byte == data[0]), "the range has several bytes");
        data[0]
    }

    pub(in crate::tests) fn error(&self, n: u32, id: u64) -> Option<BlockError> {
        self.outcome(n, id).and_then(|outcome| outcome.as_ref().err().copied())
    }

    // ---- moves ----

    pub(in crate::tests) fn start_move(&mut self, from: u32, index: u32, to: u32) {
        self.start_move_at(from, index, to, None);
    }

    /// Moves the copy of one replica, by the owner.
    pub(in crate::tests) fn start_move_of(&mut self, owner: u32, index: u32, replaces: u32, to: u32) {
        let order = MoveOrder {
            extent: self.extent(index),
            to: ServerId(to),
            replaces: Some(ServerId(replaces)),
            rate: None,
            reason: serde_json::json!("test"),
            first: Vec::new(),
        };
        self.event(owner, Event::StartMove(order));
    }

    pub(in crate::tests) fn start_move_at(&mut self, from: u32, index: u32, to: u32, rate: Option<u64>) {
        let order = MoveOrder {
            extent: self.extent(index),
            to: ServerId(to),
            replaces: None,
            rate,
            reason: serde_json::json!("test"),
            first: Vec::new(),
        };
        self.event(from, Event::StartMove(order));
    }

    pub(in crate::tests) fn owner(&self, index: u32) -> u32 {
        self.view().route(self.extent(index)).unwrap().owner().unwrap().0
    }

    pub(in crate::tests) fn stages(&self, n: u32) -> Vec<MoveStage> {
        let stage = |event: &EngineEvent| match event {
            EngineEvent::Move(event) => Some(event.stage),
            _ => None,
        };
        self.servers[&n].events.iter().filter_map(stage).collect()
    }

    pub(in crate::tests) fn engine(&self, n: u32) -> &Engine {
        self.servers[&n].engine.as_ref().unwrap()
    }

    /// Lets things happen until a server's last move is at a stage.
    pub(in crate::tests) fn settle_until(&mut self, n: u32, stage: MoveStage) {
        for _ in 0..100_000 {
            if self.stages(n).last() == Some(&stage) {
                return;
            }
            assert!(self.step(), "the world came to rest before {stage:?}: {:?}", self.stages(n));
        }
        panic!("{stage:?} is not reached");
    }

    pub(in crate::tests) fn holds(&self, n: u32, index: u32) -> bool {
        self.servers[&n].store.records.get(&self.extent(index)).is_some_and(|record| record.has_data)
    }

    /// A hash over the versions of a copy; 0 if there is none.
    pub(in crate::tests) fn hash(&self, n: u32, index: u32) -> u64 {
        let record = self.servers[&n].store.records.get(&self.extent(index));
        record.filter(|record| record.has_data).map_or(0, Record::versions_hash)
    }

    /// Messages of a kind that wait on a link.
    pub(in crate::tests) fn waiting(&self, from: u32, to: u32, kind: &str) -> usize {
        let messages = self.links.get(&(from, to)).into_iter().flatten();
        messages.filter(|message| Message::kind_name(message.kind()) == kind).count()
    }

    /// Takes the first message of a kind from a link.
    pub(in crate::tests) fn take_message(&mut self, from: u32, to: u32, kind: &str) -> Message {
        let messages = self.links.get_mut(&(from, to)).unwrap();
        let at = messages.iter().position(|message| Message::kind_name(message.kind()) == kind).unwrap();
        messages.remove(at).unwrap()
    }

    /// How many messages of a kind were sent.
    pub(in crate::tests) fn sent(&self, kind: &str) -> u64 {
        self.sent
            .iter()
            .filter(|(number, _)| Message::kind_name(**number) == kind)
            .map(|(_, count)| count)
            .sum()
    }
}
