//! Waiting awake for a short time. Going to sleep and being woken costs more than a request; with few requests on their
//! way that cost is all of their latency. So after a little work the server's thread looks for more for a while before
//! it sleeps. Where that was in vain it is tried less and less often, so that it costs nothing without load, nor where
//! what is waited for needs this very processor.

use std::cell::Cell;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::yield_now;

/// How long is waited awake behind the last work: about what it takes to sleep and to be woken, twice.
const AWAKE_MAX: Duration = Duration::from_micros(60);
/// How long while something is with the disk: about what a durable write to a fast device takes, twice. Asleep, the
/// thread, and often the processor with it, has to be woken from the device's interrupt first.
const AWAKE_FOR_DISK_MAX: Duration = Duration::from_micros(250);
/// Work that came at once in larger batches than this needs no waiting awake: there is enough to do each time.
const BATCH_MAX: usize = 4;
/// Occasions that are let pass after a wait in vain: at first, and at most.
const PASSES: (u32, u32) = (8, 4096);

/// One for each server's thread.
#[derive(Default)]
pub(crate) struct Spinner {
    begin: Notify,
    /// When something last came; none while nobody waits awake.
    last: Cell<Option<Instant>>,
    /// Whether something came since waiting awake began.
    hit: Cell<bool>,
    pass: Cell<u32>,
    pass_next: Cell<u32>,
}

impl Spinner {
    /// So much work has just come.
    pub(crate) fn worked(&self, batch: usize) {
        if batch == 0 {
            return;
        }
        if self.last.get().is_some() {
            self.hit.set(true);
            if batch <= BATCH_MAX {
                self.last.set(Some(Instant::now()));
            }
        } else if self.pass.get() > 0 {
            self.pass.set(self.pass.get() - 1);
        } else if batch <= BATCH_MAX {
            self.last.set(Some(Instant::now()));
            self.hit.set(false);
            self.begin.notify_one();
        }
    }

    /// Waits awake whenever that is worth while, longer while the disk is at work; never ends. Each turn lets all other
    /// tasks run and looks at all sockets and at the disk.
    pub(crate) async fn run(&self, disk_is_at_work: impl Fn() -> bool) {
        loop {
            self.begin.notified().await;
            while let Some(last) = self.last.get()
                && last.elapsed() < if disk_is_at_work() { AWAKE_FOR_DISK_MAX } else { AWAKE_MAX }
            {
                // What is waited for may need this processor: a disk's thread, a client on the same machine.
                std::thread::yield_now();
                yield_now().await;
            }
            self.last.set(None);
            self.judge();
        }
    }

    /// What the last wait was worth decides when the next is tried: more and more often where at least a third of them
    /// are not in vain.
    fn judge(&self) {
        if self.hit.get() {
            self.pass_next.set(if self.pass_next.get() <= PASSES.0 { 0 } else { self.pass_next.get() / 4 });
        } else {
            self.pass_next.set((self.pass_next.get() * 2).clamp(PASSES.0, PASSES.1));
        }
        self.pass.set(self.pass_next.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_in_vain_become_rare_and_those_that_are_not_frequent_again() {
        let spinner = Spinner::default();
        let mut waits = 0;
        for _ in 0..20_000 {
            spinner.worked(1);
            if spinner.last.take().is_some() {
                waits += 1;
                spinner.judge();
            }
        }
        assert!((5..20).contains(&waits), "{waits} waits in vain");
        let mut occasions = 0;
        while spinner.pass_next.get() > 0 {
            occasions += 1;
            spinner.worked(1);
            if spinner.last.get().is_some() {
                spinner.worked(1);
                spinner.last.set(None);
                spinner.judge();
            }
        }
        assert!(occasions < 3 * PASSES.1, "{occasions} until every occasion is taken again");
        spinner.worked(1);
        assert!(spinner.last.get().is_some());
    }

    #[test]
    fn large_batches_are_no_occasion_and_do_not_prolong_a_wait() {
        let spinner = Spinner::default();
        spinner.worked(BATCH_MAX + 1);
        assert!(spinner.last.get().is_none());
        spinner.worked(0);
        assert!(spinner.last.get().is_none());
        spinner.worked(BATCH_MAX);
        let began = spinner.last.get();
        assert!(began.is_some());
        spinner.worked(BATCH_MAX + 1);
        assert_eq!(spinner.last.get(), began);
    }

    /// How long is waited awake behind one piece of work, with nothing else coming.
    fn awake(disk_is_at_work: bool) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let spinner = Spinner::default();
            let began = Instant::now();
            spinner.worked(1);
            let ended = async {
                while spinner.last.get().is_some() {
                    yield_now().await;
                }
            };
            tokio::select! {
                biased;
                () = spinner.run(|| disk_is_at_work) => unreachable!("it never ends"),
                () = ended => began.elapsed(),
            }
        })
    }

    #[test]
    fn a_wait_lasts_until_the_disk_may_have_answered() {
        assert!(awake(true) >= AWAKE_FOR_DISK_MAX);
        let shortest = (0..1000).map(|_| awake(false)).min().unwrap();
        assert!(shortest >= AWAKE_MAX && shortest < AWAKE_FOR_DISK_MAX, "{shortest:?}");
    }
}
