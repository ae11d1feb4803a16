//! The command line.

use crate::commands::{
    bench, check, completions, doctor, explain, group, load, move_extent, moves, route, scrub, serve, server,
    session, version, volume, wait,
};
use crate::output::Format;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A self-balancing SAN.
#[derive(Parser, Debug)]
#[command(name = "evenkeel", version, about, subcommand_required = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 3 a check found something, 4 unreachable or timed out."
)]
pub(crate) struct Cli {
    /// Address of the admin API [env: EVENKEEL_API=] [default: http://127.0.0.1:8260].
    #[arg(long = "api", id = "api_in_front", value_name = "URL")]
    pub(crate) api: Option<String>,

    /// File with the token of the admin API [env: EVENKEEL_TOKEN_FILE=, or the token itself: EVENKEEL_TOKEN=]
    /// [default: tls/api-token in EVENKEEL_DATA or in /var/lib/evenkeel, if it can be read].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// How to show the answer.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// `--api` behind the command, where it is as welcome as in front of it. Not one global flag, because `serve` has a
/// flag of that name with another meaning.
#[derive(Args, Debug, Default)]
pub(crate) struct ApiFlag {
    /// Address of the admin API [env: EVENKEEL_API=] [default: http://127.0.0.1:8260].
    #[arg(long, value_name = "URL")]
    pub(crate) api: Option<String>,
}

/// The commands that ask the API.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run one or more servers of the group until SIGTERM or Ctrl-C.
    Serve(Box<serve::Flags>),
    /// Show how a group evens its load: three servers in this process, a hot spot, real iSCSI sessions.
    Demo(crate::demo::Flags),
    /// Wait until the group serves.
    Wait(Asking<wait::Flags>),
    /// Begin a group of several machines, and let others in.
    #[command(subcommand)]
    Group(group::Command),
    /// Create, list, show and delete volumes.
    #[command(subcommand)]
    Volume(volume::Command),
    /// The servers of the group.
    #[command(subcommand)]
    Server(server::Command),
    /// The load of every server, as one of them sees it.
    Load(Asking<load::Flags>),
    /// Where the extents of a volume are, as one server sees it.
    Route(Asking<route::Flags>),
    /// Read and compare all copies before somebody needs them, or see what that found.
    Scrub(Asking<scrub::Flags>),
    /// Move an extent to another server.
    Move(Asking<move_extent::Flags>),
    /// Moves in progress and past ones, the newest first.
    Moves(Asking<moves::Flags>),
    /// Why a move was made.
    Explain(Asking<explain::Flags>),
    /// iSCSI sessions.
    #[command(subcommand)]
    Session(session::Command),
    /// Measure any iSCSI target through one session.
    Bench(bench::Flags),
    /// Check a stopped server's store.
    Check(check::Flags),
    /// Mend a group whose directory was restored from a backup.
    #[command(subcommand)]
    Doctor(doctor::Command),
    /// Versions of everything that can disagree.
    Version(Asking<version::Flags>),
    /// Print a completion script for a shell.
    Completions(completions::Flags),
}

/// A command's own flags, and the flags of every command that asks the API.
#[derive(Args, Debug)]
pub(crate) struct Asking<F: Args> {
    #[command(flatten)]
    pub(crate) flags: F,
    #[command(flatten)]
    pub(crate) api: ApiFlag,
}
