//! The `evenkeel` program: the daemon and every admin command in one binary.
//!
//! A command is a file under `commands`: its flags, what it asks of the API, and how its answer looks to a person.
//! What all of them share is the contract with scripts:
//!
//! * What was asked for goes to stdout: a table, or with `-o json` the API's own object. Everything else goes to
//!   stderr.
//! * A failure is one line, `evenkeel: what failed, on what, and what to do`, and an exit code that says of which
//!   kind it is: see [`failure::Exit`].

mod args;
mod client;
mod commands;
mod demo;
mod display;
mod duration;
mod failure;
mod output;

use args::Cli;
use clap::Parser;
use failure::{Exit, Failure};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(error) if error.use_stderr() => Err(Failure::usage(&error)),
        Err(help) => output::print(&help.render().to_string()),
    };
    match outcome {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            failure.report();
            failure.exit.into()
        }
    }
}
