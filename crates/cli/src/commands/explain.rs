//! `evenkeel explain MOVE`: why a move was made.

use super::{Context, moves};
use crate::client::Client;
use crate::display::utc;
use crate::failure::Failure;
use crate::output::{Human, show};
use evenkeel_api::MoveRow;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// The move's number, from 'evenkeel moves'.
    #[arg(value_name = "MOVE")]
    id: u64,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    show(context.format, &client.get::<MoveRow>(&format!("/v1/moves/{}", flags.id))?)
}

impl Human for MoveRow {
    fn human(&self) -> String {
        let took = moves::took(self).map(|took| format!(", took {took}")).unwrap_or_default();
        let mut lines = vec![
            format!(
                "move {}: extent {} of volume {} from {} to {}, {}",
                self.id,
                self.extent,
                self.volume,
                self.from,
                self.to,
                moves::progress(self)
            ),
            format!("started {} UTC{took}, {} regions sent", utc(self.started_ms), self.regions_sent),
            format!("reason: {}", self.reason),
        ];
        lines.extend(self.explanation.iter().map(|line| format!("  {line}")));
        lines.join("\n")
    }
}
