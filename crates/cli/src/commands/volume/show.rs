//! `evenkeel volume show NAME`

use super::{Context, name_parser, path};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Human, show};
use evenkeel_api::{Volume, show_size};

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// Its name.
    #[arg(value_parser = name_parser())]
    name: String,
}

pub(crate) fn run(context: &Context, client: &Client, flags: &Flags) -> Result<(), Failure> {
    show(context.format, &client.get::<Volume>(&path(&flags.name))?)
}

/// Who may log in.
pub(super) fn allowed(allow: &[String]) -> String {
    if allow.is_empty() { "nobody".to_owned() } else { allow.join(" ") }
}

impl Human for Volume {
    fn human(&self) -> String {
        let mut lines = vec![
            format!("volume     {}", self.name),
            format!("target     {}", self.iqn),
            format!("size       {} ({} bytes)", show_size(self.size_bytes), self.size_bytes),
            format!("allocated  {}", show_size(self.allocated_bytes)),
            format!("copies     {}", self.replicas),
            format!("allowed    {}", allowed(&self.allow)),
        ];
        lines.extend(self.notice.iter().map(|notice| format!("notice     {notice}")));
        lines.extend(self.portals.iter().map(|portal| format!("portal     {portal}")));
        lines.join("\n")
    }
}
