//! `evenkeel route VOLUME [--server NAME | --verify]`

use super::{Context, volume};
use crate::client::{Client, server_query};
use crate::failure::{Exit, Failure};
use crate::output::{Column, Human, count, show, table};
use evenkeel_api::{RouteRow, RouteTable, VerifyReport};

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// The volume.
    #[arg(value_parser = volume::name_parser())]
    volume: String,
    /// The server whose view is wanted.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Ask every server which extents its store holds and compare with the directory; exit code 3 if something is
    /// not as it should be.
    #[arg(long, conflicts_with = "server")]
    verify: bool,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    let volume = volume::path(&flags.volume);
    if flags.verify {
        let report: VerifyReport = client.get(&format!("{volume}/verify"))?;
        return judge(context, &report, &format!("volume {}", flags.volume));
    }
    let path = format!("{volume}/route{}", server_query(flags.server.as_deref()));
    show(context.format, &client.get::<RouteTable>(&path)?)
}

/// Shows the report of a check of `what`; findings are a failure of their own kind.
pub(crate) fn judge(context: &Context, report: &VerifyReport, what: &str) -> Result<(), Failure> {
    show(context.format, report)?;
    match report.findings.len() {
        0 => Ok(()),
        found => Err(Failure::new(Exit::Found, format_args!("{what}: {}", count(found, "finding")))),
    }
}

impl Human for VerifyReport {
    fn human(&self) -> String {
        let (extents, records) = (self.extents as usize, self.records as usize);
        let looked_at = format!("{} and {} looked at", count(extents, "extent"), count(records, "record"));
        if self.findings.is_empty() {
            return format!("{looked_at}: all well");
        }
        let columns = [Column::Text("FINDING"), Column::Text("SERVER"), Column::Text("DETAIL")];
        let rows = self.findings.iter().map(|f| vec![f.kind.clone(), f.server.clone(), f.detail.clone()]);
        format!("{}\n{looked_at}", table(&columns, rows))
    }
}

impl Human for RouteTable {
    /// Neighbours with the same route share a row: a volume has many extents and few routes.
    fn human(&self) -> String {
        let columns = [
            Column::Text("EXTENTS"),
            Column::Text("OWNER"),
            Column::Text("COPIES"),
            Column::Text("PLACED"),
            Column::Text("MOVING TO"),
            Column::Number("EPOCH"),
        ];
        let rows = self.extents.chunk_by(same_route).map(|run| {
            let (first, last) = (&run[0], &run[run.len() - 1]);
            vec![
                if run.len() == 1 {
                    first.extent.to_string()
                } else {
                    format!("{}-{}", first.extent, last.extent)
                },
                first.owner.clone(),
                first.replicas.join(" "),
                if first.moved { "moved" } else { "computed" }.to_owned(),
                first.moving_to.clone().unwrap_or_else(|| "-".to_owned()),
                first.epoch.to_string(),
            ]
        });
        format!(
            "volume {} seen by {} at revision {}\n{}",
            self.volume,
            self.seen_by,
            self.revision,
            table(&columns, rows)
        )
    }
}

fn same_route(left: &RouteRow, right: &RouteRow) -> bool {
    let next = RouteRow { extent: left.extent + 1, ..left.clone() };
    next == *right
}
