//! `evenkeel server list`

use super::Context;
use crate::args::Asking;
use crate::failure::Failure;
use crate::output::{Column, Human, show, table};
use evenkeel_api::{ServerState, ServersTable, show_size};

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// All servers.
    List(Asking<List>),
}

#[derive(clap::Args, Debug)]
pub(crate) struct List {}

pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    let Command::List(asking) = command;
    show(context.format, &context.client(&asking.api)?.get::<ServersTable>("/v1/servers")?)
}

impl Human for ServersTable {
    fn human(&self) -> String {
        let columns = [
            Column::Text("SERVER"),
            Column::Text("STATE"),
            Column::Text("PORTAL"),
            Column::Text("PEER"),
            Column::Number("SESSIONS"),
            Column::Number("USED"),
            Column::Number("STORE"),
            Column::Text("DISK"),
            Column::Text("CONNECTED"),
            Column::Number("STARTS"),
        ];
        let rows = self.servers.iter().map(|server| {
            vec![
                server.server.clone(),
                state(server.state).to_owned(),
                server.portal.clone(),
                server.peer.clone(),
                server.sessions.to_string(),
                show_size(server.allocated_bytes),
                show_size(server.total_bytes),
                server.disk.clone(),
                if server.connected.is_empty() { "-".to_owned() } else { server.connected.join(" ") },
                server.incarnation.to_string(),
            ]
        });
        let reasons = self
            .servers
            .iter()
            .filter_map(|server| server.reason.as_ref().map(|why| format!("\n{}: {why}", server.server)));
        format!("group {}\n{}{}", self.group, table(&columns, rows), reasons.collect::<String>())
    }
}

fn state(state: ServerState) -> &'static str {
    match state {
        ServerState::Up => "up",
        ServerState::Syncing => "syncing",
        ServerState::Down => "down",
        ServerState::Stopped => "stopped",
    }
}
