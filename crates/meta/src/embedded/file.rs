//! The file below the embedded engine.
//!
//! | table | key | value |
//! |---|---|---|
//! | `about` | `format`, `revision`, `last-lease` | numbers |
//! | `entries` | the key | create revision, mod revision, version, lease (0 for none): 8 bytes each, little-endian; then the value |
//! | `leases` | the lease | its length in milliseconds |

use crate::directory::{Entry, Key, LeaseId, Revision};
use crate::ledger::Ledger;
use evenkeel_types::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use snafu::Snafu;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The format that this program writes and reads.
const FORMAT: u64 = 1;
/// Bytes of memory that redb may use for its pages.
const CACHE_BYTES: usize = 8 << 20;
/// Bytes in front of the value of an entry.
const HEADER_BYTES: usize = 32;

const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
const LEASES: TableDefinition<'_, u64, u64> = TableDefinition::new("leases");

/// Why a directory file cannot be opened.
#[derive(Debug, Snafu)]
pub enum OpenError {
    /// Another process has it open.
    #[snafu(display("{}: the directory is in use by another process; stop that process first", path.display()))]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a newer program.
    #[snafu(display(
        "{}: the directory has format {found}; this program reads up to {FORMAT}: upgrade it", path.display()
    ))]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// It is not what was once written, or no directory at all.
    #[snafu(display("{}: the directory is damaged or is no directory: {what}", path.display()))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system does not let it be opened.
    #[snafu(display("{}: {source}", path.display()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// An open file, locked against other processes.
#[derive(Debug)]
pub(super) struct File {
    database: Database,
    saved_leases: BTreeMap<LeaseId, Duration>,
}

impl File {
    /// Opens the file, or makes one where there is none or an empty one.
    pub(super) fn open(path: &Path, history_max: usize) -> Result<(Self, Ledger), OpenError> {
        // A damaged file can trip an assertion of the database before it reports an error.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::try_open(path, history_max)));
        let damaged = |what: String| OpenError::Damaged { path: path.to_owned(), what };
        match opened {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(Failure::Open(error))) => Err(error),
            Ok(Err(Failure::Database(error))) => Err(classify(path, error)),
            Ok(Err(Failure::Content(what))) => Err(damaged(what)),
            Err(_) => Err(damaged("the database gave up on it".into())),
        }
    }

    fn try_open(path: &Path, history_max: usize) -> Result<(Self, Ledger), Failure> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            // A plain open trusts every page that it does not need at once.
            .set_check_integrity_on_open(true)
            .create(path)?;
        let fresh = database.begin_read()?.list_tables()?.next().is_none();
        if fresh {
            let ledger = Ledger::new(history_max);
            let mut file = Self { database, saved_leases: BTreeMap::new() };
            file.save(&ledger, ledger.revision())?;
            sync_parent(path)
                .map_err(|source| Failure::Open(OpenError::Io { path: path.to_owned(), source }))?;
            return Ok((file, ledger));
        }
        let read = database.begin_read()?;
        let about = read.open_table(ABOUT)?;
        let number = |name: &str| -> Result<u64, Failure> {
            let kept = about.get(name)?.ok_or_else(|| Failure::Content(format!("{name} is missing")))?;
            Ok(kept.value())
        };
        let found = number("format")?;
        if found > FORMAT {
            return Err(Failure::Open(OpenError::Newer { path: path.to_owned(), found }));
        }
        let (revision, last_lease) = (Revision(number("revision")?), LeaseId(number("last-lease")?));
        let mut leases = BTreeMap::new();
        for row in read.open_table(LEASES)?.iter()? {
            let (lease, ttl) = row?;
            leases.insert(LeaseId(lease.value()), Duration::from_millis(ttl.value()));
        }
        let mut entries = BTreeMap::new();
        for row in read.open_table(ENTRIES)?.iter()? {
            let (key, value) = row?;
            let entry = decode(key.value(), value.value())?;
            let sound =
                entry.mod_revision <= revision && entry.lease.is_none_or(|id| leases.contains_key(&id));
            if !sound {
                return Err(Failure::Content(format!("the entry {} does not fit the others", entry.key)));
            }
            entries.insert(entry.key.clone(), entry);
        }
        drop(read);
        let ledger = Ledger::restore(history_max, revision, entries, leases.clone(), last_lease);
        Ok((Self { database, saved_leases: leases }, ledger))
    }

    /// Saves what changed after revision `since`, durably, in one commit.
    pub(super) fn save(&mut self, ledger: &Ledger, since: Revision) -> Result<(), redb::Error> {
        let leases = ledger.leases();
        let write = self.database.begin_write()?;
        {
            let mut about = write.open_table(ABOUT)?;
            about.insert("format", FORMAT)?;
            about.insert("revision", ledger.revision().0)?;
            about.insert("last-lease", ledger.last_lease().0)?;
            let mut entries = write.open_table(ENTRIES)?;
            for (key, entry) in ledger.changes_since(since) {
                match entry {
                    Some(entry) => entries.insert(key.as_str(), encode(entry).as_slice())?,
                    None => entries.remove(key.as_str())?,
                };
            }
            let mut table = write.open_table(LEASES)?;
            for gone in self.saved_leases.keys().filter(|lease| !leases.contains_key(lease)) {
                table.remove(gone.0)?;
            }
            for (lease, ttl) in leases.iter().filter(|(lease, _)| !self.saved_leases.contains_key(lease)) {
                table.insert(lease.0, u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))?;
            }
        }
        write.commit()?;
        self.saved_leases = leases;
        Ok(())
    }
}

/// Makes the file's name durable.
fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn encode(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + entry.value.len());
    let lease = entry.lease.map_or(0, |lease| lease.0);
    for number in [entry.create_revision.0, entry.mod_revision.0, entry.version, lease] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&entry.value);
    out
}

fn decode(key: &str, row: &[u8]) -> Result<Entry, Failure> {
    let short = || Failure::Content(format!("the entry {key} has {} bytes", row.len()));
    let (header, value) = row.split_at_checked(HEADER_BYTES).ok_or_else(short)?;
    let number = |n: usize| u64::from_le_bytes(header[8 * n..8 * (n + 1)].try_into().expect("8 bytes"));
    Ok(Entry {
        key: Key::from(key),
        value: Bytes::copy_from_slice(value),
        create_revision: Revision(number(0)),
        mod_revision: Revision(number(1)),
        version: number(2),
        lease: Some(LeaseId(number(3))).filter(|lease| lease.0 != 0),
    })
}

/// What goes wrong while a file is being opened.
enum Failure {
    Open(OpenError),
    Database(redb::Error),
    Content(String),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

fn classify(path: &Path, error: redb::Error) -> OpenError {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => OpenError::InUse { path },
        redb::Error::Io(source) if !matches!(source.kind(), InvalidData | UnexpectedEof) => {
            OpenError::Io { path, source }
        }
        other => OpenError::Damaged { path, what: other.to_string() },
    }
}

/// Makes a closed file say that it has another format.
#[cfg(test)]
pub(super) fn write_format_for_tests(path: &Path, format: u64) {
    let database = Database::open(path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(ABOUT).unwrap().insert("format", format).unwrap();
    write.commit().unwrap();
}
