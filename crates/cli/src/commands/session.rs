//! `evenkeel session list`

use super::Context;
use crate::args::Asking;
use crate::failure::Failure;
use crate::output::{Column, Human, show, table};
use evenkeel_api::{SessionsTable, show_size};

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// All sessions.
    List(Asking<List>),
}

#[derive(clap::Args, Debug)]
pub(crate) struct List {}

pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    let Command::List(asking) = command;
    show(context.format, &context.client(&asking.api)?.get::<SessionsTable>("/v1/sessions")?)
}

impl Human for SessionsTable {
    fn human(&self) -> String {
        if self.sessions.is_empty() {
            return "no sessions".to_owned();
        }
        let columns = [
            Column::Text("SERVER"),
            Column::Text("INITIATOR"),
            Column::Text("ADDRESS"),
            Column::Text("VOLUME"),
            Column::Number("TSIH"),
            Column::Number("COMMANDS"),
            Column::Number("READ"),
            Column::Number("WRITTEN"),
            Column::Text("DIGESTS"),
        ];
        let rows = self.sessions.iter().map(|session| {
            vec![
                session.server.clone(),
                session.initiator.clone(),
                session.address.clone(),
                session.volume.clone().unwrap_or_else(|| "(discovery)".to_owned()),
                session.tsih.to_string(),
                session.commands.to_string(),
                show_size(session.read_bytes),
                show_size(session.written_bytes),
                session.digests.clone(),
            ]
        });
        table(&columns, rows)
    }
}
