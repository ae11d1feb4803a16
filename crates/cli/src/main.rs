//! The evenkeel program: serve, demo and every admin command.
fn main() {}
