//! A store on a simulated disk, driven step by step.

use crate::journal::record::{Header, RECORD_MAGIC};
use crate::layout::JOURNAL_OFFSET;
use crate::{
    CheckDepth, Disk, DiskIo, FindingKind, FormatOptions, IoKind, OpenOptions, OpenReport, SimDisk, Store,
    StoreFault, check,
};
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::store_op::{
    Content, ExtentDescription, RegionImage, StoreError, StoreOp, StoreOutcome, StoreReply, StoreTicket,
    StoreWrite,
};
use evenkeel_types::{AlignedBuf, BlockRange, Bytes, Epoch, ExtentId, Region, ServerId, Version, VolumeId};
use smallvec::SmallVec;
use std::collections::BTreeMap;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GROUP: &str = "harbour";
pub(super) const SERVER: ServerId = ServerId(7);
pub(super) const STORE_ID: u128 = 0x1234_5678_9abc_def0_0fed_cba9_8765_4321;

pub(super) fn extent(index: u32) -> ExtentId {
    ExtentId { volume: VolumeId(1), index }
}

pub(super) fn version(sequence: u64) -> Version {
    Version { epoch: Epoch(1), sequence }
}

pub(super) fn blocks(first: u16, count: u16) -> BlockRange {
    BlockRange::new(first, count).unwrap()
}

pub(super) fn region(number: u8) -> Region {
    Region::new(number).unwrap()
}

/// `count` blocks, each full of `byte` and different from its neighbours.
pub(super) fn pattern(byte: u8, count: u16) -> Bytes {
    let mut buf = AlignedBuf::zeroed(usize::from(count) * BLOCK_BYTES as usize);
    for (number, block) in (0u8..=255).cycle().zip(buf.chunks_exact_mut(BLOCK_BYTES as usize)) {
        block.fill(byte);
        block[0] = number;
        block[4095] = byte ^ 0xff;
    }
    buf.freeze()
}

pub(super) fn open_options() -> OpenOptions {
    OpenOptions {
        cache_bytes: 1 << 20,
        read_cache_bytes: 64 << 10,
        overlay_bytes_max: 1 << 20,
        ..OpenOptions::new(GROUP, SERVER)
    }
}

pub(super) struct Harness {
    pub(super) disk: SimDisk,
    pub(super) store: Store,
    pub(super) report: OpenReport,
    pub(super) answers: BTreeMap<u64, StoreOutcome>,
    next: u64,
}

pub(super) fn formatted(bytes: u64, journal_bytes: u64) -> SimDisk {
    let mut disk = SimDisk::new(bytes, 1);
    let options = FormatOptions { store_id: STORE_ID, group: GROUP.into(), server: SERVER, journal_bytes };
    Store::format(&mut disk, &options).unwrap();
    disk
}

impl Harness {
    pub(super) fn new(bytes: u64) -> Self {
        Self::open(formatted(bytes, MIB)).unwrap()
    }

    pub(super) fn open(mut disk: SimDisk) -> Result<Self, StoreFault> {
        let (store, report) = Store::open(&mut disk, &open_options())?;
        Ok(Self { disk, store, report, answers: BTreeMap::new(), next: 0 })
    }

    pub(super) fn submit(&mut self, op: StoreOp) -> u64 {
        self.next += 1;
        self.store.submit(StoreTicket(self.next), op);
        self.next
    }

    pub(super) fn collect(&mut self) {
        while let Some((ticket, outcome)) = self.store.poll_done() {
            assert!(self.answers.insert(ticket.0, outcome).is_none(), "answered twice");
        }
    }

    /// All requests that the store asks for now.
    pub(super) fn poll(&mut self) -> Vec<DiskIo> {
        std::iter::from_fn(|| self.store.poll_io()).collect()
    }

    pub(super) fn complete(&mut self, io: &DiskIo) {
        let result = self.disk.carry_out(&io.kind);
        self.store.handle_io(io.id, result);
        self.collect();
    }

    pub(super) fn run(&mut self) {
        loop {
            let ios = self.poll();
            self.collect();
            if ios.is_empty() {
                return;
            }
            for io in ios {
                self.complete(&io);
            }
        }
    }

    pub(super) fn outcome(&mut self, op: StoreOp) -> StoreOutcome {
        let ticket = self.submit(op);
        self.run();
        self.answers.remove(&ticket).expect("every operation is answered")
    }

    pub(super) fn checkpoint(&mut self) {
        let before = self.store.stats().checkpoints;
        self.store.maybe_checkpoint();
        self.run();
        assert!(self.store.stats().checkpoints > before, "there was nothing to make final");
    }

    /// The process dies; what was not durable is as the disk's seed decides.
    pub(super) fn crash(mut self) -> Self {
        self.disk.crash();
        Self::open(self.disk).unwrap()
    }

    pub(super) fn close(mut self) -> SimDisk {
        self.store.shutdown();
        self.run();
        assert!(self.store.is_quiescent());
        self.disk
    }

    pub(super) fn describe(&mut self, extent: ExtentId) -> Option<ExtentDescription> {
        match self.outcome(StoreOp::Describe { extent }) {
            Ok(StoreReply::Description(description)) => description,
            other => panic!("{other:?}"),
        }
    }

    /// A write that fits the versions as they are, and gets the next one.
    pub(super) fn write_op(&mut self, extent: ExtentId, blocks: BlockRange, content: Content) -> StoreOp {
        let versions = self.describe(extent).map(|description| description.versions);
        let touched = blocks.split_by_region().map(|(region, _)| region as usize);
        let replaces: SmallVec<[Version; 2]> =
            touched.map(|region| versions.as_ref().map_or(Version::NONE, |all| all[region])).collect();
        let highest = versions.map_or(0, |all| all.iter().map(|version| version.sequence).max().unwrap());
        write_of(extent, blocks, content, version(highest + 1), replaces)
    }

    pub(super) fn write(
        &mut self,
        extent: ExtentId,
        blocks: BlockRange,
        data: Bytes,
    ) -> Result<(), StoreError> {
        let op = self.write_op(extent, blocks, Content::Data(data));
        self.outcome(op).map(|_| ())
    }

    pub(super) fn zero(&mut self, extent: ExtentId, blocks: BlockRange) -> Result<(), StoreError> {
        let op = self.write_op(extent, blocks, Content::Absent);
        self.outcome(op).map(|_| ())
    }

    pub(super) fn read(&mut self, extent: ExtentId, blocks: BlockRange) -> Result<Bytes, StoreError> {
        match self.outcome(StoreOp::Read { extent, blocks }) {
            Ok(StoreReply::Data(data)) => Ok(data.into_bytes()),
            Err(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn accept(
        &mut self,
        extent: ExtentId,
        epoch: u64,
        reserve_all: bool,
    ) -> Result<(), StoreError> {
        self.outcome(accept_of(extent, epoch, reserve_all)).map(|_| ())
    }
}

impl Harness {
    pub(super) fn image(&mut self, region: Region) -> RegionImage {
        match self.outcome(StoreOp::ReadRegion { extent: extent(0), region }) {
            Ok(StoreReply::Image(image)) => image,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn accept_of(extent: ExtentId, epoch: u64, reserve_all: bool) -> StoreOp {
    StoreOp::Accept {
        extent,
        epoch: Epoch(epoch),
        replicas: SmallVec::from_slice(&[SERVER]),
        live: true,
        reserve_all,
        forget_below: Vec::new(),
    }
}

pub(super) fn write_of(
    extent: ExtentId,
    blocks: BlockRange,
    content: Content,
    version: Version,
    replaces: SmallVec<[Version; 2]>,
) -> StoreOp {
    StoreOp::Write(StoreWrite {
        extent,
        blocks,
        content,
        version,
        replaces,
        identity: None,
        forget_below: None,
    })
}

/// A write of one block into a region that has `replaces` now.
pub(super) fn block_write(
    extent: ExtentId,
    block: u16,
    byte: u8,
    sequence: u64,
    replaces: Version,
) -> StoreOp {
    let data = Content::Data(pattern(byte, 1));
    write_of(extent, blocks(block, 1), data, version(sequence), SmallVec::from_slice(&[replaces]))
}

/// Whether a request is a journal record.
pub(super) fn is_journal(io: &DiskIo) -> bool {
    matches!(&io.kind, IoKind::Write { offset, durable: true, pieces }
        if *offset >= JOURNAL_OFFSET && pieces[0][..8] == RECORD_MAGIC)
}

/// Where the disk has a block of an extent, found by its content.
pub(super) fn find_block(disk: &SimDisk, content: &[u8]) -> Vec<u64> {
    let mut buf = AlignedBuf::zeroed(BLOCK_BYTES as usize);
    let offsets = (0..disk.len()).step_by(BLOCK_BYTES as usize);
    offsets
        .filter(|offset| {
            disk.read_at(*offset, &mut buf).unwrap();
            buf[..] == *content
        })
        .collect()
}

pub(super) fn kinds(disk: &SimDisk) -> Vec<FindingKind> {
    let report = check(disk, Some((GROUP, SERVER)), CheckDepth::Data);
    assert!(report.findings.iter().all(|finding| !finding.line.contains('\n')));
    report.findings.iter().map(|finding| finding.kind).collect()
}

/// Positions of all journal records on the disk, in the order of their sequences.
pub(super) fn records(disk: &SimDisk) -> Vec<(u64, Header)> {
    let mut buf = AlignedBuf::zeroed(4096);
    let mut found = Vec::new();
    for offset in (JOURNAL_OFFSET..JOURNAL_OFFSET + MIB).step_by(4096) {
        disk.read_at(offset, &mut buf).unwrap();
        if buf[..8] == RECORD_MAGIC {
            found.push((offset, Header::peek(&buf).unwrap()));
        }
    }
    found.sort_by_key(|(_, header)| header.sequence);
    found
}

pub(super) fn block_at(disk: &SimDisk, offset: u64) -> Vec<u8> {
    let mut buf = AlignedBuf::zeroed(4096);
    disk.read_at(offset, &mut buf).unwrap();
    buf.to_vec()
}

pub(super) fn put(disk: &mut SimDisk, offset: u64, bytes: &[u8]) {
    disk.write_at(offset, &AlignedBuf::copy_of(bytes)).unwrap();
    disk.flush().unwrap();
}

pub(super) fn open_fault(disk: &SimDisk) -> StoreFault {
    Harness::open(disk.clone()).err().expect("the store must be refused")
}

/// A store with three single-block writes in its journal, each its own record, and none of them in place.
pub(super) fn three_records() -> Harness {
    let mut h = Harness::new(64 * MIB);
    for block in 0..3 {
        h.write(extent(0), blocks(block, 1), pattern(10 + block as u8, 1)).unwrap();
    }
    h
}
