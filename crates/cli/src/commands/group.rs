//! `evenkeel group ...`

mod certificates;
mod init;
mod token;

use super::Context;
use crate::args::Asking;
use crate::failure::Failure;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Make the group's authority and the token of its admin API, on its first machine.
    Init(init::Flags),
    /// Make a token by which a machine can join as certain servers, once.
    Token(Asking<token::Flags>),
    /// The certificates by which servers know each other.
    Certificates(Asking<certificates::List>),
    /// Have nobody believe a certificate any more.
    Revoke(Asking<certificates::Revoke>),
}

pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Init(flags) => init::run(context, flags),
        Command::Token(asking) => token::run(context, &context.client(&asking.api)?, &asking.flags),
        Command::Certificates(asking) => certificates::list(context, &context.client(&asking.api)?),
        Command::Revoke(asking) => {
            certificates::revoke(context, &context.client(&asking.api)?, &asking.flags)
        }
    }
}
