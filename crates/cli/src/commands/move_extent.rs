//! `evenkeel move VOLUME EXTENT --to SERVER`

use super::{Context, volume};
use crate::client::Client;
use crate::duration::{parse_duration, show_duration};
use crate::failure::{Exit, Failure};
use crate::output::show;
use evenkeel_api::{MoveRequest, MoveRow, MoveState, parse_rate};
use std::time::{Duration, Instant};

/// Time between two looks at the move with `--wait`.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// The volume.
    #[arg(value_parser = volume::name_parser())]
    volume: String,
    /// The extent's number, from 0: 4 MiB each from the volume's start.
    extent: u32,
    /// The server to move it to.
    #[arg(long, value_name = "SERVER", value_parser = volume::name_parser())]
    to: String,
    /// Copy no faster than this, for example 1MiB/s.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<u64>,
    /// Return when the move has ended.
    #[arg(long)]
    wait: bool,
    /// How long to wait at most; the move goes on without us.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration, requires = "wait")]
    timeout: Duration,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    let request = MoveRequest {
        volume: flags.volume.clone(),
        extent: flags.extent,
        to: flags.to.clone(),
        rate: flags.rate,
    };
    let mut row: MoveRow = client.post("/v1/moves", &request)?;
    if flags.wait {
        row = wait_for_end(client, row, flags.timeout)?;
    }
    show(context.format, &row)?;
    match row.state {
        MoveState::Running | MoveState::Done => Ok(()),
        MoveState::Aborted => Err(Failure::failed(format_args!(
            "move {}: given up, extent {} of volume {} stays on {}: {}; 'evenkeel explain {}' says more",
            row.id, row.extent, row.volume, row.from, row.reason, row.id
        ))),
    }
}

fn wait_for_end(client: &Client, mut row: MoveRow, timeout: Duration) -> Result<MoveRow, Failure> {
    let start = Instant::now();
    while row.state == MoveState::Running {
        if start.elapsed() + POLL_INTERVAL > timeout {
            let line = format!(
                "move {}: still running after {}, {} of 64 regions copied; it goes on, 'evenkeel moves' shows it",
                row.id,
                show_duration(timeout),
                row.regions_current
            );
            return Err(Failure::new(Exit::Unreachable, line));
        }
        std::thread::sleep(POLL_INTERVAL);
        row = client.get(&format!("/v1/moves/{}", row.id))?;
    }
    Ok(row)
}
