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
        Self { shared, threads }
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
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).waiting.push_back(io);
        self.shared.work.notify_one();
    }

    fn kick(&mut self) {}

    fn reap(&mut self, _now: Time, out: &mut Vec<Completion>) {
        if !self.shared.has_done.swap(false, Ordering::Acquire) {
            return;
        }
        out.append(&mut self.shared.done.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.shared.wake.as_fd()]
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
