//! `evenkeel volume ...`

mod create;
mod delete;
mod list;
mod show;

use super::Context;
use crate::args::Asking;
use crate::failure::Failure;
use clap::builder::{NonEmptyStringValueParser, TypedValueParser};

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Create a volume.
    Create(Asking<create::Flags>),
    /// All volumes.
    List(Asking<list::Flags>),
    /// One volume.
    Show(Asking<show::Flags>),
    /// Delete a volume and all its data.
    Delete(Asking<delete::Flags>),
}

pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Create(asking) => create::run(context, &context.client(&asking.api)?, &asking.flags),
        Command::List(asking) => list::run(context, &context.client(&asking.api)?),
        Command::Show(asking) => show::run(context, &context.client(&asking.api)?, &asking.flags),
        Command::Delete(asking) => delete::run(context, &context.client(&asking.api)?, &asking.flags),
    }
}

/// Takes any name but the empty one, which would ask for another path of the API. What a name may be is the
/// server's to say.
pub(crate) fn name_parser() -> impl TypedValueParser<Value = String> {
    NonEmptyStringValueParser::new()
}

/// The API's path of a volume.
pub(crate) fn path(volume: &str) -> String {
    format!("/v1/volumes/{}", crate::client::segment(volume))
}
