//! `evenkeel volume create NAME --size SIZE`

use super::{Context, name_parser};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::show;
use evenkeel_api::{CreateVolume, Volume, parse_size};

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// 1 to 63 of a-z 0-9 . - beginning with a letter or digit.
    #[arg(value_parser = name_parser())]
    name: String,
    /// Its size, for example 10GiB (1G = 1GiB = 2^30 bytes); a multiple of 4096 bytes.
    #[arg(long, value_parser = parse_size, allow_hyphen_values = true)]
    size: u64,
    /// Initiator name that may log in, or `any`; may be given several times. Nobody may log in without it.
    #[arg(long, value_name = "IQN|any", value_delimiter = ',', value_parser = name_parser())]
    allow: Vec<String>,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    let request =
        CreateVolume { name: flags.name.clone(), size_bytes: flags.size, allow: flags.allow.clone() };
    let volume: Volume = client.post("/v1/volumes", &request)?;
    show(context.format, &volume)
}
