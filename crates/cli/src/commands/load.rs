//! `evenkeel load [--server NAME]`

use super::Context;
use crate::client::{Client, server_query};
use crate::display::{per_second, percent};
use crate::duration::show_duration;
use crate::failure::Failure;
use crate::output::{Column, Human, show, table};
use evenkeel_api::{LoadTable, ServerLoadRow, show_size};
use std::time::Duration;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// The server whose view is wanted.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    let path = format!("/v1/load{}", server_query(flags.server.as_deref()));
    show(context.format, &client.get::<LoadTable>(&path)?)
}

/// The resources in the order of the columns: the API's name, and the column's.
const RESOURCES: [(&str, &str); 5] = [
    ("cpu", "CPU"),
    ("net_in", "NET IN"),
    ("net_out", "NET OUT"),
    ("disk_read", "DISK READ"),
    ("disk_write", "DISK WRITE"),
];

impl Human for LoadTable {
    fn human(&self) -> String {
        let columns = [Column::Text("SERVER"), Column::Text("REPORT"), Column::Text("STATE")]
            .into_iter()
            .chain(["LOAD", "SLOW", "STORAGE", "SERVER LOAD"].map(Column::Number))
            .chain(RESOURCES.map(|(_, column)| Column::Number(column)))
            .chain([Column::Number("COPIES")])
            .chain(["RAND R/s", "SEQ R/s", "RAND W/s", "SEQ W/s", "USED"].map(Column::Number))
            .chain([Column::Text("MOVES")])
            .collect::<Vec<_>>();
        let imbalance = self.imbalance.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        format!(
            "seen by {}, mean load {}, imbalance {imbalance} (highest over mean)\n{}\n\
             resources: work for extents + front-end work, which moves cannot take away; 100% is all the server has\n\
             SLOW: the load over a longer time; COPIES: moving extents, in its busiest resource, no part of the load",
            self.seen_by,
            percent(self.mean_load),
            table(&columns, self.servers.iter().map(cells)),
        )
    }
}

fn cells(row: &ServerLoadRow) -> Vec<String> {
    let resource = |name: &str| match row.resources.iter().find(|resource| resource.name == name) {
        Some(resource) => format!("{}+{}", percent(resource.extents), percent(resource.front_end)),
        None => "-".to_owned(),
    };
    let head = [row.server.clone(), report_age(row), row.state.clone()];
    let loads = [row.load, row.load_slow, row.storage_load, row.server_load].map(percent);
    let copies = row.resources.iter().map(|resource| resource.copies).reduce(f64::max);
    let rates =
        [row.random_reads, row.sequential_reads, row.random_writes, row.sequential_writes].map(per_second);
    let used = format!("{}/{}", show_size(row.allocated_bytes), show_size(row.total_bytes));
    let moves = match (row.moves_out, row.moves_in) {
        (0, 0) => "-".to_owned(),
        (out, into) => format!("{out} out {into} in"),
    };
    head.into_iter()
        .chain(loads)
        .chain(RESOURCES.map(|(name, _)| resource(name)))
        .chain([copies.map_or("-".to_owned(), percent)])
        .chain(rates)
        .chain([used, moves])
        .collect()
}

fn report_age(row: &ServerLoadRow) -> String {
    match row.age_ms {
        None => "never".to_owned(),
        Some(ms) if row.stale => format!("stale {}", show_duration(Duration::from_millis(ms))),
        Some(ms) => show_duration(Duration::from_millis(ms)),
    }
}
