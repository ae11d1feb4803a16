//! The store of a stopped server, for damage that no command makes.

use evenkeel_store::{Disk, DiskError, OpenOptions, Store, run_io};
use evenkeel_types::ServerId;
use evenkeel_types::checksum::Crc32c;
use evenkeel_types::store_op::{StoreOp, StoreOutcome, StoreTicket};
use std::fs::{File, OpenOptions as FileOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where the two copies of the superblock lie, in bytes.
pub const SUPERBLOCK_COPIES: [u64; 2] = [0, 64 << 10];
/// Bytes of a superblock.
const SUPERBLOCK_BYTES: usize = 4096;
/// Where the fields of a superblock lie, in bytes (docs/on-disk-format.md).
const VERSION_AT: usize = 8;
const CHECKSUM_AT: usize = 12;
const SERVER_AT: usize = 40;
const GROUP_LEN_AT: usize = 44;
const GROUP_AT: usize = 48;
const TABLE_OFFSET_AT: usize = 128;
const UNITS_OFFSET_AT: usize = 136;

/// A file as a disk, through the page cache.
#[derive(Debug)]
struct FileDisk(File);

fn failed(e: &std::io::Error) -> DiskError {
    DiskError::Io { code: e.raw_os_error().unwrap_or(0) }
}

impl Disk for FileDisk {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        self.0.read_exact_at(buf, offset).map_err(|e| failed(&e))
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.0.write_all_at(data, offset).map_err(|e| failed(&e))
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.0.sync_data().map_err(|e| failed(&e))
    }
}

/// The bytes of a stopped server's store.
#[derive(Debug)]
pub struct StoppedStore(FileDisk);

impl StoppedStore {
    /// Opens the file.
    ///
    /// # Panics
    /// If it cannot be opened.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let file = FileOptions::new().read(true).write(true).open(path);
        Self(FileDisk(file.unwrap_or_else(|e| panic!("{}: {e}", path.display()))))
    }

    /// Bytes from an offset on.
    ///
    /// # Panics
    /// If they cannot be read.
    #[must_use]
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.0.read_exact_at(&mut bytes, offset).expect("the store can be read");
        bytes
    }

    /// Overwrites bytes.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        self.0.0.write_all_at(bytes, offset).expect("the store can be written");
    }

    /// Flips one bit.
    pub fn flip_bit(&self, offset: u64) {
        let byte = self.read(offset, 1)[0];
        self.write(offset, &[byte ^ 0x10]);
    }

    /// Cuts the file, or makes it longer.
    ///
    /// # Panics
    /// If that fails.
    pub fn set_len(&self, len: u64) {
        self.0.0.set_len(len).expect("the store can be cut");
    }

    fn number(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.read(at as u64, 8).try_into().expect("eight bytes"))
    }

    /// The first place from `from` up to `to`, in whole blocks of 4 KiB, at which these bytes lie.
    #[must_use]
    fn find(&self, from: u64, to: u64, bytes: &[u8]) -> Option<u64> {
        (from..to).step_by(4096).find(|offset| self.read(*offset, bytes.len()) == bytes)
    }

    /// Where a block of data lies, found by its content among the units that the scenario can have used.
    ///
    /// # Panics
    /// If no block has this content.
    #[must_use]
    pub fn find_data(&self, content: &[u8], units_bytes: u64) -> u64 {
        let units = self.number(UNITS_OFFSET_AT);
        self.find(units, units + units_bytes, content).expect("the block lies in a unit")
    }

    /// Where the first page of the extent record table lies that holds a live record.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn find_live_page(&self) -> u64 {
        let (table, units) = (self.number(TABLE_OFFSET_AT), self.number(UNITS_OFFSET_AT));
        let is_live = |page: &u64| {
            let head = self.read(*page, 37);
            head[..4] == *b"EVKX" && head[36] == 1
        };
        (table..units).step_by(8192).find(is_live).expect("the table holds a record")
    }

    /// Where the last record of the journal begins that was written since the store was opened; its sequence number is
    /// the highest.
    ///
    /// # Panics
    /// If the journal is empty.
    #[must_use]
    pub fn find_last_journal_record(&self) -> u64 {
        let (journal, table) = (128 << 10, self.number(TABLE_OFFSET_AT));
        let records = (journal..table).step_by(4096).filter_map(|at| {
            let head = self.read(at, 64);
            let sequence = u64::from_le_bytes(head[56..64].try_into().expect("eight bytes"));
            (head[..8] == *b"EVKJRNL\x01").then_some((sequence, at))
        });
        records.max().expect("the journal holds a record").1
    }

    /// Changes the format version in both copies of the superblock, with their checksums.
    pub fn set_format_version(&self, version: u32) {
        for copy in SUPERBLOCK_COPIES {
            let mut block = self.read(copy, SUPERBLOCK_BYTES);
            block[VERSION_AT..VERSION_AT + 4].copy_from_slice(&version.to_le_bytes());
            block[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
            let mut checksum = Crc32c::default();
            checksum.update(&block);
            block[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.value().to_le_bytes());
            self.write(copy, &block);
        }
    }

    /// Opens the store as its server does, carries out operations, and closes it with nothing to replay.
    ///
    /// # Panics
    /// If it cannot be opened or closed, or an operation is refused.
    pub fn change(mut self, operations: impl IntoIterator<Item = StoreOp>) {
        let head = self.read(0, SUPERBLOCK_BYTES);
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let group = &head[GROUP_AT..GROUP_AT + word(GROUP_LEN_AT) as usize];
        let group = String::from_utf8(group.to_vec()).expect("a group's name");
        let options = OpenOptions::new(group, ServerId(word(SERVER_AT)));
        let (mut store, _) = Store::open(&mut self.0, &options).expect("the store opens");
        for (ticket, operation) in (1..).zip(operations) {
            store.submit(StoreTicket(ticket), operation);
            run_io(&mut store, &mut self.0);
            let outcomes: Vec<StoreOutcome> =
                std::iter::from_fn(|| store.poll_done()).map(|(_, outcome)| outcome).collect();
            assert!(matches!(&outcomes[..], [Ok(_)]), "operation {ticket}: {outcomes:?}");
        }
        store.shutdown();
        while !store.is_quiescent() {
            run_io(&mut store, &mut self.0);
        }
    }
}
