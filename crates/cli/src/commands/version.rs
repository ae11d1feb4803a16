//! `evenkeel version`

use super::Context;
use crate::args::ApiFlag;
use crate::failure::Failure;
use crate::output::{Human, show};
use evenkeel_api::VersionInfo;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// Ask the running group instead of telling this program's own versions.
    #[arg(long)]
    remote: bool,
}

pub(crate) fn run(context: &Context, api: &ApiFlag, flags: &Flags) -> Result<(), Failure> {
    let versions =
        if flags.remote { context.client(api)?.get("/v1/version")? } else { evenkeel_server::version() };
    show(context.format, &versions)
}

impl Human for VersionInfo {
    fn human(&self) -> String {
        format!(
            "evenkeel {}, store format {}, peer protocol {}, API {}",
            self.program, self.store, self.peer, self.api
        )
    }
}
