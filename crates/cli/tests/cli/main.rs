//! The program as scripts and people see it: what it prints, where, and with which exit code. It runs as a process
//! of its own against an API that answers with the types of `evenkeel_api`.

// The lint's own exception for tests ends at the functions that tests share.
#![allow(clippy::unwrap_used)]

mod answers;
mod exit_codes;
mod fake_api;
mod requests;
mod run;
mod schemas;
mod tables;
