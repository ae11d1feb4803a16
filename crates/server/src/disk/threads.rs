//! A pool of threads with blocking calls: for durable writes, and for everything where io_uring is not to be had.

use super::file::{DiskFile, disk_error};
use super::inline::perform;
use super::{Completion, DiskDriver};
use evenkeel_store::DiskIo;
use evenkeel_types::Time;
use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Calls to the disk at the same time.
const THREADS: usize = 8;

struct Shared {
    file: Arc<DiskFile>,
    queue: Mutex<Queue>,
    work: Condvar,
    done: Mutex<Vec<Completion>>,
    /// There is something in `done`; set behind what was put there, so that it is never overlooked.
    has_done: AtomicBool,
    wake: OwnedFd,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<DiskIo>,
    closed: bool,
}

/// The engine.
pub(super) struct Threads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Submitted and not reaped.
    open: usize,
}

impl Threads {
    pub(super) fn start(file: Arc<DiskFile>) -> Self {
        let wake =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("the kernel has eventfd");
        let shared = Arc::new(Shared {
            file,
            queue: Mutex::default(),
            work: Condvar::new(),
            done: Mutex::default(),
            has_done: AtomicBool::new(false),
            wake,
        });
        let threads = (0..THREADS)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&shared))
            })
            .collect();
        Self { shared, threads, open: 0 }
    }
}

fn serve(shared: &Shared) {
    loop {
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let io = loop {
            match queue.waiting.pop_front() {
                Some(io) => break io,
                None if queue.closed => return,
                None => queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(queue);
        let result = perform(&shared.file, &io.kind).map_err(|e| disk_error(&e));
        shared.done.lock().unwrap_or_else(PoisonError::into_inner).push(Completion { id: io.id, result });
        shared.has_done.store(true, Ordering::Release);
        // Every write wakes those who watch, whatever was counted before: nobody reads the counter.
        let _ = rustix::io::write(&shared.wake, &1u64.to_le_bytes());
    }
}

impl DiskDriver for Threads {
    fn submit(&mut self, _now: Time, io: DiskIo) {
        self.open += 1;
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).waiting.push_back(io);
        self.shared.work.notify_one();
    }

    fn kick(&mut self) {}

    fn reap(&mut self, _now: Time, out: &mut Vec<Completion>) {
        if !self.shared.has_done.swap(false, Ordering::Acquire) {
            return;
        }
        let mut done = self.shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        self.open -= done.len();
        out.append(&mut done);
    }

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.shared.wake.as_fd()]
    }

    fn is_at_work(&self) -> bool {
        self.open > 0
    }

    fn name(&self) -> &'static str {
        "threads"
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskFileOptions;
    use evenkeel_store::{IoId, IoKind};
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn the_disk_is_at_work_until_all_that_was_submitted_is_reaped() {
        let folder = tempfile::tempdir().unwrap();
        let options =
            DiskFileOptions { create: Some(1 << 20), direct: Some(false), lock: true, read_only: false };
        let file = DiskFile::open(&folder.path().join("disk"), &options).unwrap();
        let mut disk = Threads::start(Arc::new(file));
        assert!(!disk.is_at_work());
        for id in 0..20 {
            disk.submit(Time::ZERO, DiskIo { id: IoId(id), kind: IoKind::Flush });
        }
        let mut ended = Vec::new();
        while ended.len() < 20 {
            assert!(disk.is_at_work());
            let _ = poll(&mut [PollFd::new(&disk.wake_fds()[0], PollFlags::IN)], None).unwrap();
            disk.reap(Time::ZERO, &mut ended);
        }
        assert!(!disk.is_at_work());
    }
}
