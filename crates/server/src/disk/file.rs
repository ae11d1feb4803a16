//! A file or block device opened for one server alone.

use crate::error::{ServeError, error};
use evenkeel_store::{Disk, DiskError};
use evenkeel_types::AlignedBuf;
use rustix::fs::{FallocateFlags, FileType, FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;
/// Largest piece that synchronous access copies through an aligned buffer, in bytes.
const BOUNCE_BYTES: usize = 1 << 20;
/// How long the lock of a process that has just ended is waited for, and how often it is tried.
const LOCK_WITHIN: Duration = Duration::from_secs(3);
const LOCK_EVERY: Duration = Duration::from_millis(20);
const ALIGNMENT: usize = evenkeel_types::aligned_buf::BUFFER_ALIGNMENT;

/// Makes the names in a folder durable. One that may not be opened, or whose file system has no such call, is left to
/// the file system.
///
/// # Errors
/// The disk's.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => Ok(()),
        synced => synced,
    }
}

/// How to open a disk.
pub(crate) struct DiskFileOptions {
    /// Make the file, sparse and of this size, if it does not exist.
    pub(crate) create: Option<u64>,
    /// Go around the page cache; `None` where the file system can.
    pub(crate) direct: Option<bool>,
    /// Take the exclusive lock; offline checks of a store in use do without.
    pub(crate) lock: bool,
    /// Open for reading only.
    pub(crate) read_only: bool,
}

/// An open disk.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    len: u64,
    direct: bool,
    in_memory: bool,
    made: bool,
}

impl DiskFile {
    /// Opens a file or block device.
    ///
    /// # Errors
    /// One line naming the path: missing, locked by another process, or not a disk.
    pub(crate) fn open(path: &Path, options: &DiskFileOptions) -> Result<Self, ServeError> {
        let shown = path.display();
        let wrong = |what: &str, e: rustix::io::Errno| error(format!("store '{shown}': cannot {what}: {e}"));
        let access = if options.read_only { OFlags::RDONLY } else { OFlags::RDWR };
        let create = if options.create.is_some() { OFlags::CREATE } else { OFlags::empty() };
        // Of a block device the kernel gives exclusive use to one, and none while it is mounted.
        let is_device = rustix::fs::stat(path)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice);
        let exclusive = if is_device && options.lock { OFlags::EXCL } else { OFlags::empty() };
        let create = if is_device { OFlags::empty() } else { create };
        let flags = access | create | exclusive | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let try_open = |direct: bool| {
            let flags = if direct { flags | OFlags::DIRECT } else { flags };
            when_free(rustix::io::Errno::BUSY, || rustix::fs::open(path, flags, mode))
        };
        let (fd, mut direct) = match (
            options.direct.unwrap_or(true),
            try_open(options.direct.unwrap_or(true)),
        ) {
            (direct, Ok(fd)) => (fd, direct),
            (true, Err(rustix::io::Errno::INVAL)) if options.direct.is_none() => {
                (try_open(false).map_err(|e| wrong("open", e))?, false)
            }
            (true, Err(rustix::io::Errno::INVAL)) => {
                return Err(error(format!(
                    "store '{shown}': its file system has no direct I/O; set disk.direct = false"
                )));
            }
            (_, Err(rustix::io::Errno::BUSY)) => {
                return Err(error(format!(
                    "store '{shown}': another process uses it or it is mounted; stop that process or unmount it"
                )));
            }
            (_, Err(e)) => return Err(wrong("open", e)),
        };
        if options.lock {
            let lock = || rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive);
            when_free(rustix::io::Errno::AGAIN, lock).map_err(|e| match e {
                rustix::io::Errno::AGAIN => {
                    error(format!("store '{shown}': another process uses it; stop that process first"))
                }
                e => wrong("lock", e),
            })?;
        }
        let stat = rustix::fs::fstat(&fd).map_err(|e| wrong("inspect", e))?;
        let in_memory =
            rustix::fs::fstatfs(&fd).is_ok_and(|s| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&s.f_type));
        if in_memory {
            // The page cache is the disk: going around it only copies more.
            direct = false;
            let plain = rustix::fs::fcntl_getfl(&fd).map_err(|e| wrong("inspect", e))? - OFlags::DIRECT;
            rustix::fs::fcntl_setfl(&fd, plain).map_err(|e| wrong("set up", e))?;
        }
        let file = File::from(fd);
        let mut made = false;
        let len = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => match (stat.st_size.unsigned_abs(), options.create) {
                (0, Some(size)) => {
                    file.set_len(size).map_err(|e| {
                        error(format!("store '{shown}': cannot make it {size} bytes long: {e}"))
                    })?;
                    // The file's own bytes become durable with what is written to it; its name is the folder's.
                    let folder = path.parent().unwrap_or(Path::new("/"));
                    sync_folder(folder).map_err(|e| {
                        error(format!("folder '{}': cannot make it durable: {e}", folder.display()))
                    })?;
                    made = true;
                    size
                }
                (len, _) => len,
            },
            FileType::BlockDevice => {
                use std::io::{Seek, SeekFrom};
                (&file).seek(SeekFrom::End(0)).map_err(|e| error(format!("store '{shown}': no size: {e}")))?
            }
            _ => return Err(error(format!("store '{shown}': neither a file nor a block device"))),
        };
        Ok(Self { file, len, direct, in_memory, made })
    }

    /// Takes a file away again that this opening made: nothing came of it, and the next start may want another size.
    pub(crate) fn unmake(&self, path: &Path) {
        if self.made {
            // One that stays does no harm but to keep its size.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Takes space for the first `len` bytes of a file that has none yet; what is there stays. A block device has its
    /// space. False if the file system cannot do that.
    ///
    /// # Errors
    /// There is not that much space.
    pub(crate) fn allocate(&self, len: u64) -> io::Result<bool> {
        if !self.file.metadata()?.is_file() {
            return Ok(true);
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether the page cache is bypassed.
    pub(crate) const fn is_direct(&self) -> bool {
        self.direct
    }

    /// Whether it lies in memory, where calls never wait.
    pub(crate) const fn in_memory(&self) -> bool {
        self.in_memory
    }

    /// The open file.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }
}

/// Tries to take something until nobody else has it. The kernel takes an io_uring down only after its process has ended,
/// and until then the lock of a killed process, its exclusive use of a device and its last writes are still there: so the
/// next start waits for them a little.
fn when_free<T>(taken: rustix::io::Errno, take: impl Fn() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    let began = Instant::now();
    loop {
        match take() {
            Err(e) if e == taken && began.elapsed() < LOCK_WITHIN => std::thread::sleep(LOCK_EVERY),
            result => return result,
        }
    }
}

/// A failed call as the store wants it.
pub(super) fn disk_error(e: &io::Error) -> DiskError {
    let code = e.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error());
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::NoSpace { code },
        _ => DiskError::Io { code },
    }
}

impl Disk for &DiskFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        if (buf.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            return self.file.read_exact_at(buf, offset).map_err(|e| disk_error(&e));
        }
        let mut bounce = AlignedBuf::zeroed(buf.len().min(BOUNCE_BYTES));
        let mut at = offset;
        for piece in buf.chunks_mut(BOUNCE_BYTES) {
            let bounce = &mut bounce[..piece.len()];
            self.file.read_exact_at(bounce, at).map_err(|e| disk_error(&e))?;
            piece.copy_from_slice(bounce);
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        if (data.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            return self.file.write_all_at(data, offset).map_err(|e| disk_error(&e));
        }
        let mut at = offset;
        for piece in data.chunks(BOUNCE_BYTES) {
            self.file.write_all_at(&AlignedBuf::copy_of(piece), at).map_err(|e| disk_error(&e))?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|e| disk_error(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: DiskFileOptions =
        DiskFileOptions { create: Some(1 << 20), direct: Some(false), lock: true, read_only: false };

    #[test]
    fn the_lock_of_a_process_that_is_just_ending_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let ending = DiskFile::open(&path, &OPTIONS).unwrap();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(ending);
        });
        assert!(DiskFile::open(&path, &OPTIONS).is_ok());
        thread.join().unwrap();
    }

    #[test]
    fn a_lock_that_stays_is_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let _running = DiskFile::open(&path, &OPTIONS).unwrap();
        let error = DiskFile::open(&path, &OPTIONS).err().unwrap().to_string();
        assert!(error.contains("another process uses it"), "{error}");
    }
}
