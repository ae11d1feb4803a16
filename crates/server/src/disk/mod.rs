//! The disk of a server: how the store's reads, writes and flushes reach a file or block device.
//!
//! Three engines stand behind one trait: [`uring`] where the kernel allows it, with threads for durable writes
//! ([`split`]), [`threads`] for everything where not, and [`inline`] for memory file systems, where a call never blocks
//! and a ring or a thread would only cost wake-ups. [`paced`] wraps any of them and holds the disk to a declared capacity. [`open`] chooses once at the start and says so.

mod blank;
mod file;
mod inline;
mod paced;
mod split;
mod threads;
mod uring;

use crate::config::{DiskConfig, DiskEngine};
use crate::error::{ServeError, error};
pub(crate) use blank::first_trace;
use evenkeel_store::{DiskError, DiskIo, IoId};
use evenkeel_types::{AlignedBuf, Time};
pub(crate) use file::{DiskFile, DiskFileOptions, sync_folder};
pub(crate) use paced::Pace;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
pub(crate) use uring::watch;

/// An I/O that ended: the buffer of a read, nothing for others.
pub(crate) struct Completion {
    pub(crate) id: IoId,
    pub(crate) result: Result<Option<AlignedBuf>, DiskError>,
}

/// Drives one disk for one thread. Nothing here blocks.
pub(crate) trait DiskDriver {
    /// Takes an I/O; it may wait in a batch until [`Self::kick`].
    fn submit(&mut self, now: Time, io: DiskIo);
    /// Hands everything submitted to the kernel at once.
    fn kick(&mut self);
    /// Appends what ended.
    fn reap(&mut self, now: Time, out: &mut Vec<Completion>);
    /// One of them becomes readable when something ended, anew each time; none if everything ends within `kick`.
    fn wake_fds(&self) -> Vec<BorrowedFd<'_>>;
    /// When to call [`Self::reap`] although nothing woke.
    fn next_due(&self) -> Option<Time> {
        None
    }
    /// Whether something is with the device, and so may end at any moment.
    fn is_at_work(&self) -> bool {
        false
    }
    /// Its name in logs and tables.
    fn name(&self) -> &'static str;
}

/// Chooses the engine for a disk.
///
/// # Errors
/// When the configuration asks for an engine that does not work here.
pub(crate) fn drive(
    file: Arc<DiskFile>,
    config: &DiskConfig,
    pace: Option<Pace>,
) -> Result<Box<dyn DiskDriver>, ServeError> {
    let ring = |file: &Arc<DiskFile>| uring::Uring::start(Arc::clone(file));
    let threads = |file| Box::new(threads::Threads::start(file)) as Box<dyn DiskDriver>;
    let driver: Box<dyn DiskDriver> = match config.engine {
        DiskEngine::Inline => Box::new(inline::Inline::new(file)),
        DiskEngine::Threads => threads(file),
        DiskEngine::Uring => Box::new(ring(&file).map_err(|e| {
            error(format!(
                "disk engine 'uring': the kernel refuses io_uring ({e}); set disk.engine to auto or threads"
            ))
        })?),
        DiskEngine::Auto if file.in_memory() => Box::new(inline::Inline::new(file)),
        DiskEngine::Auto => match ring(&file) {
            Ok(ring) => Box::new(split::Split::new(ring, threads::Threads::start(file))),
            Err(e) => {
                tracing::info!("io_uring is not to be had here ({e}): the disk is driven by threads");
                threads(file)
            }
        },
    };
    Ok(match pace {
        Some(pace) => Box::new(paced::Paced::new(driver, pace)),
        None => driver,
    })
}
