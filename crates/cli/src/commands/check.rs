//! `evenkeel check DIR`: reads stores of stopped servers, changes nothing.

use super::{Context, route};
use crate::failure::Failure;
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// The data directory of a group or of one server, none of them running.
    dir: PathBuf,
}

pub(crate) fn run(context: &Context, flags: &Flags) -> Result<(), Failure> {
    let report = evenkeel_server::check(&flags.dir)
        .map_err(|error| Failure::failed(format_args!("check: {error}")))?;
    route::judge(context, &report, &format!("check of {}", flags.dir.display()))
}
