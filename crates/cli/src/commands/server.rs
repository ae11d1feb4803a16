//! `evenkeel server list`, `evenkeel server drain`, `evenkeel server join`

use super::Context;
use super::volume::name_parser;
use crate::args::Asking;
use crate::failure::Failure;
use crate::output::{Column, Human, show, table};
use evenkeel_api::{Draining, ServerState, ServersTable, show_size};
use serde::Serialize;
use std::path::PathBuf;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// All servers.
    List(Asking<List>),
    /// Empty a server: its copies move to others, and it takes none.
    Drain(Asking<Drain>),
    /// Make this machine one of a group, with a token of 'evenkeel group token'.
    Join(Join),
}

#[derive(clap::Args, Debug)]
pub(crate) struct List {}

#[derive(clap::Args, Debug)]
pub(crate) struct Drain {
    /// Its name.
    #[arg(value_parser = name_parser())]
    server: String,
    /// End it: the server takes copies again.
    #[arg(long)]
    undo: bool,
}

/// What became of a server.
#[derive(Serialize)]
struct Drained<'a> {
    server: &'a str,
    draining: bool,
}

impl Human for Drained<'_> {
    fn human(&self) -> String {
        if self.draining {
            format!("{} is being emptied; 'evenkeel server list' shows what it still holds", self.server)
        } else {
            format!("{} takes copies again", self.server)
        }
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct Join {
    /// Data folder of this machine, as for 'evenkeel serve'.
    #[arg(long, env = "EVENKEEL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Peer port of a server on the machine where the group was begun.
    #[arg(long, value_name = "HOST:PORT")]
    from: String,
    /// The token.
    #[arg(long, env = "EVENKEEL_JOIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: String,
}

/// What joining gave.
#[derive(Serialize)]
struct Joined {
    group: String,
    servers: Vec<String>,
    folder: PathBuf,
}

pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(asking) => {
            show(context.format, &context.client(&asking.api)?.get::<ServersTable>("/v1/servers")?)
        }
        Command::Drain(asking) => {
            let server = &asking.flags.server;
            let path = format!("/v1/servers/{}/draining", crate::client::segment(server));
            let wanted = Draining { draining: !asking.flags.undo };
            let done: Draining = context.client(&asking.api)?.put(&path, &wanted)?;
            show(context.format, &Drained { server, draining: done.draining })
        }
        Command::Join(flags) => {
            let joined = evenkeel_server::join(&flags.data, &flags.from, &flags.token);
            let evenkeel_server::Joined { group, servers, folder } = joined.map_err(Failure::failed)?;
            show(context.format, &Joined { group, servers, folder })
        }
    }
}

impl Human for Joined {
    fn human(&self) -> String {
        format!(
            "this machine may run {} of group {}; keys and certificates are in {}\n",
            self.servers.join(", "),
            self.group,
            self.folder.display()
        )
    }
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
                if server.draining {
                    format!("{}, draining", state(server.state))
                } else {
                    state(server.state).to_owned()
                },
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
        let waits = self.servers.iter().filter_map(|server| {
            let missing = server.waiting_for.as_ref()?;
            Some(format!("\n{} waits for {missing}, with what was written last", server.server))
        });
        let below = reasons.chain(waits).collect::<String>();
        format!("group {}\n{}{below}", self.group, table(&columns, rows))
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
