//! `evenkeel-model`: searches the model. See the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel_model::command(std::env::args().skip(1))
}
