//! `evenkeel volume delete NAME`

use super::{Context, name_parser, path};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Human, show};
use serde::Serialize;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// Its name.
    #[arg(value_parser = name_parser())]
    name: String,
}

/// What was deleted.
#[derive(Serialize)]
struct Deleted<'a> {
    deleted: &'a str,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    client.delete(&path(&flags.name))?;
    show(context.format, &Deleted { deleted: &flags.name })
}

impl Human for Deleted<'_> {
    fn human(&self) -> String {
        format!("volume {} is deleted", self.deleted)
    }
}
