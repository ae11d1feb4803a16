//! `evenkeel moves`

use super::Context;
use crate::client::Client;
use crate::display::utc;
use crate::duration::show_duration;
use crate::failure::Failure;
use crate::output::{Column, Human, show, table};
use evenkeel_api::{MoveRow, MoveState, MovesTable, show_size};
use std::time::Duration;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {}

pub(crate) fn run(context: &Context, client: &Client) -> Result<(), Failure> {
    show(context.format, &client.get::<MovesTable>("/v1/moves")?)
}

/// How far a move is, in one word or share.
pub(crate) fn progress(row: &MoveRow) -> String {
    match row.state {
        MoveState::Running => format!("running {}/64", row.regions_current),
        MoveState::Done => "done".to_owned(),
        MoveState::Aborted => "aborted".to_owned(),
    }
}

/// How long a move took, if it has ended.
pub(crate) fn took(row: &MoveRow) -> Option<String> {
    row.ended_ms.map(|ended| show_duration(Duration::from_millis(ended.saturating_sub(row.started_ms))))
}

impl Human for MovesTable {
    fn human(&self) -> String {
        let counters = format!(
            "{} completed, {} aborted, {} regions and {} sent; writes: {} to both copies, {} waited for the region \
             in motion, {} before their region's copy; {} requests pinned over a cut-over, {} answered \"moved\"",
            self.completed,
            self.aborted,
            self.regions_sent,
            show_size(self.bytes_sent),
            self.writes_mirrored,
            self.writes_waited,
            self.writes_not_yet_copied,
            self.pinned_over_cutover,
            self.answered_moved
        );
        if self.moves.is_empty() {
            return format!("no moves\n{counters}");
        }
        let columns = [
            Column::Number("MOVE"),
            Column::Text("VOLUME"),
            Column::Number("EXTENT"),
            Column::Text("FROM"),
            Column::Text("TO"),
            Column::Text("STATE"),
            Column::Text("STARTED (UTC)"),
            Column::Number("TOOK"),
            Column::Text("REASON"),
        ];
        let rows = self.moves.iter().map(|row| {
            vec![
                row.id.to_string(),
                row.volume.clone(),
                row.extent.to_string(),
                row.from.clone(),
                row.to.clone(),
                progress(row),
                utc(row.started_ms),
                took(row).unwrap_or_else(|| "-".to_owned()),
                row.reason.clone(),
            ]
        });
        format!("{}\n{counters}", table(&columns, rows))
    }
}
