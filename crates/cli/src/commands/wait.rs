//! `evenkeel wait`: returns when the group serves.

use super::Context;
use crate::client::Client;
use crate::duration::{parse_duration, show_duration};
use crate::failure::{Exit, Failure};
use crate::output::{Human, show};
use evenkeel_api::Health;
use std::time::{Duration, Instant};

/// Time between two questions.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Longest time for one question, so that a server that hangs and is restarted is noticed.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest time that a question gets when the end is near.
const POLL_TIMEOUT_MIN: Duration = Duration::from_millis(10);

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// How long to wait at most.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let left = flags.timeout.saturating_sub(start.elapsed());
        let last = match client.get_within::<Health>("/v1/health", left.clamp(POLL_TIMEOUT_MIN, POLL_TIMEOUT))
        {
            Ok(health) if health.serving => return show(context.format, &health),
            Ok(health) => {
                health.waiting_for.unwrap_or_else(|| "the group says that it does not serve".to_owned())
            }
            Err(failure) if failure.exit == Exit::Unreachable => failure.to_string(),
            Err(failure) => return Err(failure),
        };
        if start.elapsed() + POLL_INTERVAL > flags.timeout {
            let waited = show_duration(flags.timeout);
            let line =
                format!("waited {waited} for the group at {}; it is not serving: {last}", client.base());
            return Err(Failure::new(Exit::Unreachable, line));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

impl Human for Health {
    fn human(&self) -> String {
        match &self.waiting_for {
            _ if self.serving => "serving".to_owned(),
            Some(what) => format!("not serving: {what}"),
            None => "not serving".to_owned(),
        }
    }
}
