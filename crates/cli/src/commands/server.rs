//! `evenkeel server list`, `drain`, `remove`, `forget`, `join`

use super::Context;
use super::volume::name_parser;
use crate::args::Asking;
use crate::failure::Failure;
use crate::output::{Column, Human, show, table};
use evenkeel_api::{Draining, Forget, Gone, LostOfVolume, ServerRow, ServerState, ServersTable, show_size};
use serde::Serialize;
use std::path::PathBuf;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// All servers.
    List(Asking<List>),
    /// Empty a server: its copies move to others, and it takes none.
    Drain(Asking<Drain>),
    /// Take a server out of the group that has been emptied.
    Remove(Asking<Remove>),
    /// Take a server out of the group that does not come back.
    Forget(Asking<ForgetArgs>),
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

#[derive(clap::Args, Debug)]
pub(crate) struct Remove {
    /// Its name.
    #[arg(value_parser = name_parser())]
    server: String,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ForgetArgs {
    /// Its name.
    #[arg(value_parser = name_parser())]
    server: String,
    /// Also if it has the last good copy of something, which is given up for ever.
    #[arg(long)]
    accept_loss: bool,
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
        Command::Remove(asking) => {
            let path = format!("/v1/servers/{}/remove", crate::client::segment(&asking.flags.server));
            show(context.format, &context.client(&asking.api)?.post::<_, Gone>(&path, &())?)
        }
        Command::Forget(asking) => {
            let ForgetArgs { server, accept_loss } = &asking.flags;
            let path = format!("/v1/servers/{}/forget", crate::client::segment(server));
            let wanted = Forget { accept_loss: *accept_loss };
            show(context.format, &context.client(&asking.api)?.post::<_, Gone>(&path, &wanted)?)
        }
        Command::Join(flags) => {
            let joined = evenkeel_server::join(&flags.data, &flags.from, &flags.token);
            let evenkeel_server::Joined { group, servers, folder } = joined.map_err(Failure::failed)?;
            show(context.format, &Joined { group, servers, folder })
        }
    }
}

impl Human for Gone {
    fn human(&self) -> String {
        let mut text = format!("{} is gone from the group\n", self.server);
        for LostOfVolume { volume, extents, older } in &self.lost {
            if *extents > 0 {
                text += &format!("volume {volume}: {extents} extents are lost, and read as medium errors\n");
            }
            if *older > 0 {
                text += &format!("volume {volume}: an older copy of {older} extents takes its place\n");
            }
        }
        text
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
                match (server.draining, server.drained) {
                    (_, true) => format!("{}, drained", state(server.state)),
                    (true, false) => format!("{}, draining", state(server.state)),
                    (false, false) => state(server.state).to_owned(),
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
        let line = |server: &ServerRow| {
            let routed = server.routed.filter(|_| !server.drained);
            let routed = routed.map(|count| format!("{count} extents are still routed to it"));
            let lines = [server.reason.clone(), routed].into_iter().flatten();
            lines.map(|line| format!("\n{}: {line}", server.server)).collect::<String>()
        };
        let reasons = self.servers.iter().map(line);
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
