//! `evenkeel scrub [--start] [--rate RATE]`

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Column, Human, show, table};
use evenkeel_api::{ScrubRow, ScrubTable, StartScrub, parse_rate, show_size};

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// Begin a pass over everything now, at all servers.
    #[arg(long)]
    start: bool,
    /// Read no faster than this at each server, for example 100MiB/s, until the servers start anew.
    #[arg(long, value_name = "RATE", value_parser = parse_rate, requires = "start")]
    rate: Option<u64>,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    let table: ScrubTable = if flags.start {
        client.put("/v1/scrub", &StartScrub { rate: flags.rate })?
    } else {
        client.get("/v1/scrub")?
    };
    show(context.format, &table)
}

impl Human for ScrubTable {
    fn human(&self) -> String {
        let columns = [
            Column::Text("SERVER"),
            Column::Text("STATE"),
            Column::Number("RATE"),
            Column::Number("PASSES"),
            Column::Number("REGIONS"),
            Column::Number("MENDED HERE"),
            Column::Number("AT COPIES"),
            Column::Number("DIVERGED"),
            Column::Number("UNREADABLE"),
        ];
        format!(
            "{}\nregions of 64 KiB, counted since each server's start; UNREADABLE: good at no copy",
            table(&columns, self.servers.iter().map(cells))
        )
    }
}

fn cells(row: &ScrubRow) -> Vec<String> {
    let (state, rate) = match (row.rate, row.running) {
        (0, _) => ("off", "-".to_owned()),
        (rate, true) => ("reading", format!("{}/s", show_size(rate))),
        (rate, false) => ("resting", format!("{}/s", show_size(rate))),
    };
    let counts = [row.passes, row.regions, row.mended, row.copies_mended, row.diverged, row.unreadable];
    [row.server.clone(), state.to_owned(), rate]
        .into_iter()
        .chain(counts.map(|count| count.to_string()))
        .collect()
}
