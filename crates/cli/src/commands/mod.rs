//! One command per file.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod group;
pub(crate) mod load;
pub(crate) mod move_extent;
pub(crate) mod moves;
pub(crate) mod route;
pub(crate) mod scrub;
pub(crate) mod serve;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod version;
pub(crate) mod volume;
pub(crate) mod wait;

use crate::args::{ApiFlag, Cli, Command};
use crate::client::{API_VARIABLE, Client, DEFAULT_API, token};
use crate::failure::{Exit, Failure};
use crate::output::Format;
use std::path::PathBuf;

/// What every command that asks the API is given.
pub(crate) struct Context {
    /// How the answer is to be shown.
    pub(crate) format: Format,
    /// `--api` in front of the command.
    api_in_front: Option<String>,
    /// `--token-file`.
    token_file: Option<PathBuf>,
}

impl Context {
    /// A client of the API that the command line, the environment or the default names, in this order.
    pub(crate) fn client(&self, behind: &ApiFlag) -> Result<Client, Failure> {
        let flag = behind.api.clone().or_else(|| self.api_in_front.clone());
        let variable = || std::env::var(API_VARIABLE).ok().filter(|url| !url.is_empty());
        let url = flag.or_else(variable).unwrap_or_else(|| DEFAULT_API.to_owned());
        Client::new(&url, token(self.token_file.as_deref())?.as_deref())
    }
}

/// Carries out what the command line asks for.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let context = Context { format: cli.output, api_in_front: cli.api, token_file: cli.token_file };
    match &cli.command {
        Command::Serve(flags) => {
            if let Some(url) = &context.api_in_front {
                let line = format!("--api {url} in front of serve: write 'evenkeel serve --api IP:PORT'");
                return Err(Failure::new(Exit::Usage, line));
            }
            serve::run(flags)
        }
        Command::Demo(flags) => crate::demo::run(context.format, flags),
        Command::Wait(asking) => wait::run(&context, &context.client(&asking.api)?, &asking.flags),
        Command::Group(command) => group::run(&context, command),
        Command::Volume(command) => volume::run(&context, command),
        Command::Server(command) => server::run(&context, command),
        Command::Load(asking) => load::run(&context, &context.client(&asking.api)?, &asking.flags),
        Command::Route(asking) => route::run(&context, &context.client(&asking.api)?, &asking.flags),
        Command::Move(asking) => move_extent::run(&context, &context.client(&asking.api)?, &asking.flags),
        Command::Moves(asking) => moves::run(&context, &context.client(&asking.api)?),
        Command::Explain(asking) => explain::run(&context, &context.client(&asking.api)?, &asking.flags),
        Command::Scrub(asking) => scrub::run(&context, &context.client(&asking.api)?, &asking.flags),
        Command::Session(command) => session::run(&context, command),
        Command::Bench(flags) => bench::run(&context, flags),
        Command::Check(flags) => check::run(&context, flags),
        Command::Doctor(command) => doctor::run(&context, command),
        Command::Version(asking) => version::run(&context, &asking.api, &asking.flags),
        Command::Completions(flags) => completions::run(flags),
    }
}
