//! The tasks that a server cannot be without. None of them ever ends by itself.

use std::future::{Future, pending};
use tokio::task::{AbortHandle, JoinSet};

/// The tasks, all of one server's thread. Dropping it ends them.
#[derive(Default)]
pub(super) struct Vital {
    tasks: JoinSet<&'static str>,
}

impl Vital {
    /// Begins a task for what `name` says.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + 'static,
    ) -> AbortHandle {
        self.tasks.spawn_local(async move {
            task.await;
            name
        })
    }

    /// Waits for the end of one, which must be the end of the server; says which it was and why. Without an end it
    /// waits for ever. It may be dropped and called again.
    pub(super) async fn end(&mut self) -> String {
        match self.tasks.join_next().await {
            None => pending().await,
            Some(Ok(name)) => format!("its task for {name} ended"),
            Some(Err(e)) => format!("one of its tasks is no more: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(task: impl Future<Output = ()> + 'static) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut vital = Vital::default();
            vital.spawn("nothing", pending());
            vital.spawn("something", task);
            let ended = tokio::time::timeout(std::time::Duration::from_secs(30), vital.end()).await;
            ended.expect("the end of a vital task is noticed")
        })
    }

    #[test]
    fn the_end_of_a_vital_task_is_told_with_its_name() {
        assert_eq!(end_of(async {}), "its task for something ended");
    }

    #[test]
    fn the_panic_of_a_vital_task_is_told_with_its_reason() {
        let line = end_of(async { panic!("planted panic") });
        assert!(line.contains("planted panic"), "{line}");
    }
}
