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
    /// Copies of each extent in all: 1, 2 or 3. Without it 2 if the group has two failure domains, else 1.
    #[arg(long, value_name = "COPIES", value_parser = clap::value_parser!(u8).range(1..=3))]
    replicas: Option<u8>,
    /// Let copies of an extent be at different servers of one machine: they are lost together with it.
    #[arg(long)]
    same_host: bool,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    let request = CreateVolume {
        name: flags.name.clone(),
        size_bytes: flags.size,
        allow: flags.allow.clone(),
        replicas: flags.replicas,
        same_host: flags.same_host,
    };
    let volume: Volume = client.post("/v1/volumes", &request)?;
    show(context.format, &volume)
}
