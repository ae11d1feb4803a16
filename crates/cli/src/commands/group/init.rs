//! `evenkeel group init`

use super::Context;
use crate::failure::Failure;
use crate::output::{Human, show};
use serde::Serialize;
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// Data folder of this machine, as for 'evenkeel serve'.
    #[arg(long, env = "EVENKEEL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Name of the group.
    #[arg(long, env = "EVENKEEL_GROUP", value_name = "NAME", default_value = "evenkeel")]
    group: String,
}

/// What was made.
#[derive(Serialize)]
struct Initialised {
    group: String,
    data: PathBuf,
    authority_certificate: PathBuf,
    authority_key: PathBuf,
    api_token: PathBuf,
}

pub(crate) fn run(context: &Context, flags: &Flags) -> Result<(), Failure> {
    let made = evenkeel_server::found(&flags.data, &flags.group).map_err(Failure::failed)?;
    let initialised = Initialised {
        group: flags.group.clone(),
        data: flags.data.clone(),
        authority_certificate: made.authority_certificate,
        authority_key: made.authority_key,
        api_token: made.api_token,
    };
    show(context.format, &initialised)
}

impl Human for Initialised {
    fn human(&self) -> String {
        let Self { group, .. } = self;
        let (data, token) = (self.data.display(), self.api_token.display());
        format!(
            "group {group} begins. For root alone:\n\
             \x20 {}  makes servers of the group; keep a copy in a safe place\n\
             \x20 {token}  what admin commands show\n\
             The same on every machine:\n\
             \x20 {}  by which its servers know each other\n\
             Next:\n\
             \x20 here:   evenkeel serve --data {data} --group {group} ...\n\
             \x20 here:   evenkeel --token-file {token} group token NAME...\n\
             \x20 there:  evenkeel server join --data DIR --from HOST:PORT --token TOKEN\n\
             where NAME are the servers of another machine, and HOST:PORT the peer port of a server of this one.\n",
            self.authority_key.display(),
            self.authority_certificate.display(),
        )
    }
}
