//! `evenkeel-sim`: runs seeds. See the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel_sim::command(std::env::args().skip(1))
}
