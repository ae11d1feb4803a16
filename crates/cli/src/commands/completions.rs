//! `evenkeel completions SHELL`

use crate::args::Cli;
use crate::failure::Failure;
use crate::output::print;
use clap::CommandFactory;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// The shell that is to complete.
    shell: clap_complete::Shell,
}

pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Cli::command(), "evenkeel", &mut script);
    print(&String::from_utf8_lossy(&script))
}
