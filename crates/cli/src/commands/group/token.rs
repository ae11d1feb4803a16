//! `evenkeel group token NAME...`

use super::Context;
use crate::client::Client;
use crate::display::utc;
use crate::duration::parse_duration;
use crate::failure::Failure;
use crate::output::{Human, show};
use evenkeel_api::{CreateJoinToken, JoinToken};
use std::time::Duration;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// Names of the servers that the machine will run.
    #[arg(required = true, value_name = "NAME")]
    servers: Vec<String>,
    /// For how long the token is good.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    expires: Duration,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    let request = CreateJoinToken { servers: flags.servers.clone(), expires_s: flags.expires.as_secs() };
    let token: JoinToken = client.post("/v1/join-tokens", &request)?;
    show(context.format, &token)
}

impl Human for JoinToken {
    fn human(&self) -> String {
        format!(
            "{}\ngood once, until {} UTC, for a machine with the servers {}\n",
            self.token,
            utc(self.expires_ms),
            self.servers.join(", ")
        )
    }
}
