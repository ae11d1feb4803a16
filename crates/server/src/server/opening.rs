//! Opening a server's store and entering its start in the directory.
//!
//! From its start on, a server that comes back is waited for by all that have to bring it up to date: hosts' writes stand
//! still until it has been connected with. So the start is entered last, behind everything that takes time.

use super::Launch;
use crate::config::{CapacityConfig, STORE_BYTES_MIN};
use crate::disk::{DiskFile, DiskFileOptions, first_trace, sync_folder};
use crate::entropy::random_u64;
use crate::error::{ServeError, error};
use crate::membership;
use crate::probe;
use evenkeel_meta::change::Actor;
use evenkeel_meta::records::{ServerCapacity, ServerRecord};
use evenkeel_store::{Disk, FormatOptions, OpenOptions, OpenReport, Store, StoreFault};
use evenkeel_types::{Epoch, Incarnation, ServerId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Stores are made in whole multiples of this, in bytes.
const STORE_GRAIN: u64 = 64 << 20;
/// Smallest and largest journal by default, in bytes.
const JOURNAL_BYTES: (u64, u64) = (64 << 20, 1 << 30);

/// A server's store, open.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) file: Arc<DiskFile>,
    /// Who it is, and in which life it will be.
    pub(super) actor: Actor,
    pub(super) capacity: CapacityConfig,
    pub(super) direct: bool,
    path: PathBuf,
    formatted: bool,
    took: Duration,
    report: OpenReport,
}

impl Opened {
    /// Enters the start in the directory: from now on the server is there for others.
    pub(super) fn enter(&self, launch: &Launch) -> Result<(), ServeError> {
        membership::start(&*launch.directory, &launch.keys, self.actor)
    }

    /// Says how the opening went. Not before all servers of the process are open: a start that is refused says why in
    /// one line, and nothing else.
    pub(super) fn log(&self, server: &str) {
        if self.formatted {
            tracing::info!(server, "made its store '{}'", self.path.display());
        }
        if self.report.superblock_mended {
            tracing::warn!(server, "mended a damaged copy of the superblock of '{}'", self.path.display());
        }
        tracing::info!(
            server,
            "store open after {:.1} ms: {} records of the journal replayed ({} MiB)",
            self.took.as_secs_f64() * 1e3,
            self.report.records_replayed,
            self.report.journal_bytes_replayed >> 20
        );
    }
}

/// Opens the store, formatting it at the server's first start, and measures what it can do.
pub(super) fn open(launch: &Launch) -> Result<Opened, ServeError> {
    let server = &launch.server;
    let path = launch.config.store_path(server);
    let gone = membership::gone_for_good(&*launch.directory, &launch.keys, &server.name, launch.mark)?;
    if let Some(why) = gone {
        return Err(error(format!("server '{}': {why}", server.name)));
    }
    if server.store.is_none() {
        let folder = launch.config.folder(server);
        std::fs::create_dir_all(&folder)
            .and_then(|()| sync_folder(&launch.config.data))
            .map_err(|e| error(format!("folder '{}': {e}", folder.display())))?;
    }
    let known = known_incarnation(launch)?;
    let new = known == Incarnation(0);
    if !new && !path.exists() {
        return Err(error(format!(
            "store '{}': is missing, and {} was started with it {} times: mount or restore it",
            path.display(),
            server.name,
            known.0
        )));
    }
    let create = if new { Some(size_to_make(launch, &path)?) } else { None };
    let options = DiskFileOptions { create, direct: launch.config.disk.direct, lock: true, read_only: false };
    let file = DiskFile::open(&path, &options)?;
    let wrong = |e: StoreFault| error(format!("store '{}': {e}", path.display()));
    let id = register(launch, &file)?;
    let group = membership::group_on_disk(&launch.config.group, launch.group_id);
    let mut disk = &file;
    let trace = first_trace(&file).map_err(|e| error(format!("store '{}': {e}", path.display())))?;
    let blank = new && trace.is_none();
    if blank {
        format(launch, &file, group.clone(), id).inspect_err(|_| file.unmake(&path))?;
    }
    let began = Instant::now();
    let mut options = OpenOptions { incarnation_min: known, ..OpenOptions::new(group, id) };
    // Behind the page cache another one would only hold the same again.
    if !file.is_direct() {
        options.read_cache_bytes = 0;
    } else if let Some(text) = &launch.config.disk.read_cache {
        options.read_cache_bytes = evenkeel_api::parse_size(text).map_err(error)?;
    }
    let (store, report) = Store::open(&mut disk, &options).map_err(|fault| match (fault, trace) {
        (StoreFault::NotAStore { .. }, Some(at)) if new => error(format!(
            "store '{}': no store, but not blank either: something is at byte {at}; if nobody needs it, clear the \
             disk (wipefs --all, blkdiscard, or a new file), else name another",
            path.display()
        )),
        (fault, _) => wrong(fault),
    })?;
    let took = began.elapsed();
    refuse_older_directory(launch, &path, &store)?;
    let actor = Actor { server: id, incarnation: report.incarnation };
    let capacity = match server.capacity {
        Some(capacity) => capacity,
        None => probe::capacity(&file, &path, launch.config.servers.len()),
    };
    let direct = file.is_direct();
    Ok(Opened { store, file: Arc::new(file), actor, capacity, direct, path, formatted: blank, took, report })
}

/// A directory elsewhere can be restored from a backup, and would lead to copies that are not there any more.
fn refuse_older_directory(launch: &Launch, path: &Path, store: &Store) -> Result<(), ServeError> {
    if launch.mark == 0 {
        return Ok(());
    }
    let view = membership::read(&*launch.directory, &launch.keys)?;
    let known = store.inventory().iter().map(|record| record.accepted).max().unwrap_or(Epoch::ZERO);
    let reached = Epoch::new(view.generation(), view.revision().0);
    if known <= reached {
        return Ok(());
    }
    Err(error(format!(
        "store '{}': knows epoch {known}, but the directory has come to {reached} only: it was restored from a backup; stop \
         all servers of the group, and go on with 'evenkeel doctor', as docs/operations.md says",
        path.display()
    )))
}

/// The incarnation that the directory knows the server in; 0 before its first start.
fn known_incarnation(launch: &Launch) -> Result<Incarnation, ServeError> {
    let view = membership::read(&*launch.directory, &launch.keys)?;
    let member = view.server_named(&launch.server.name).and_then(|id| view.member(id));
    Ok(member.map_or(Incarnation(0), |kept| kept.record.incarnation))
}

/// How large a store is made that does not exist.
fn size_to_make(launch: &Launch, path: &Path) -> Result<u64, ServeError> {
    let size = match &launch.server.size {
        Some(text) => evenkeel_api::parse_size(text).map_err(error)?,
        None => default_size(path, launch.config.servers.len())?,
    };
    if size < STORE_BYTES_MIN {
        return Err(error(format!(
            "store '{}': {size} bytes are this server's part of the free space, a store has at least {}; make room",
            path.display(),
            evenkeel_api::show_size(STORE_BYTES_MIN)
        )));
    }
    Ok(size / STORE_GRAIN * STORE_GRAIN)
}

fn format(launch: &Launch, file: &DiskFile, group: String, id: ServerId) -> Result<(), ServeError> {
    let random = || random_u64().map_err(|e| error(format!("no random numbers: {e}")));
    let store_id = u128::from(random()?) << 64 | u128::from(random()?);
    let mut disk = file;
    let mut format = FormatOptions::new(store_id, group, id, disk.len());
    format.journal_bytes = match &launch.server.journal {
        Some(text) => evenkeel_api::parse_size(text).map_err(error)?,
        None => format.journal_bytes.min((disk.len() / 32).clamp(JOURNAL_BYTES.0, JOURNAL_BYTES.1)),
    };
    let path = launch.config.store_path(&launch.server);
    let wrong = |e: StoreFault| error(format!("store '{}': {e}", path.display()));
    take_space(launch, file, &path, format.metadata_bytes(disk.len()).map_err(wrong)?)?;
    Store::format(&mut disk, &format).map_err(wrong)
}

/// Takes the space for the store's metadata, or for all of it, if it is a sparse file.
fn take_space(launch: &Launch, file: &DiskFile, path: &Path, metadata_bytes: u64) -> Result<(), ServeError> {
    let whole = launch.config.disk.preallocate;
    let bytes = if whole { file.len() } else { metadata_bytes };
    match file.allocate(bytes) {
        Ok(taken) if taken || !whole => Ok(()),
        Ok(_) => Err(error(format!(
            "store '{}': its file system cannot take space in advance; set disk.preallocate = false",
            path.display()
        ))),
        Err(e) => Err(error(format!(
            "store '{}': cannot take {}: {e}; make room or choose a smaller size",
            path.display(),
            evenkeel_api::show_size(bytes)
        ))),
    }
}

fn register(launch: &Launch, file: &DiskFile) -> Result<ServerId, ServeError> {
    let server = &launch.server;
    let declared = server.capacity;
    let record = ServerRecord {
        name: server.name.clone(),
        portals: vec![server.portal.to_string()],
        peer: server.peer_address().to_string(),
        api: Some(format!("http://{}", launch.config.api_address())),
        domain: server.domain.clone().unwrap_or_else(machine_name),
        capacity: ServerCapacity {
            bytes: file.len(),
            disk_read_iops: declared.map_or(0.0, |c| c.disk_read_iops),
            disk_write_iops: declared.map_or(0.0, |c| c.disk_write_iops),
            net_mib_s: declared.map_or(0.0, |c| c.net_mib_s),
            cpu_cores: declared.map_or(0.0, |c| c.cpu_cores),
        },
        store_id: launch.mark,
    };
    membership::register(&*launch.directory, &launch.keys, &record)
}

/// The name of this machine: servers on it fail together.
fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The server's part of 90 % of the free space.
fn default_size(path: &Path, servers: usize) -> Result<u64, ServeError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let stat =
        rustix::fs::statvfs(folder).map_err(|e| error(format!("folder '{}': {e}", folder.display())))?;
    Ok(stat.f_bavail * stat.f_frsize / 10 * 9 / servers as u64)
}
