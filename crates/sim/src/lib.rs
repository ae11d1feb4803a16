//! Deterministic simulator: clock, network, disks, clients and checkers under one seed.
//!
//! One seed is a whole scenario: a group of servers, each with the engine and the store that the daemon runs, over a
//! simulated network, simulated disks and the directory in memory, under virtual time. Clients read and write small
//! volumes while extents move and everything goes wrong that may: crashes at any point, lost and late messages, torn
//! and lost disk writes, damaged blocks, a directory that answers late or never. Then nothing goes wrong any more, and
//! the group must heal. The same seed gives the same run, event by event.
//!
//! * [`rng`], `clock`, `log`: chance, time, and the record of a run.
//! * `scenario`, `faults`: what a seed draws, and what goes wrong.
//! * `net`, `links`, `disk`, `directory`: the world around a server; `server` is the glue that the daemon has too.
//! * `client`, `clients`, `hosts`, `moves`, `upkeep`: what is asked of the group.
//! * `partition`: cuts of the network. `damage`: blocks that cannot be read. `restore`: a directory from a backup.
//! * [`checkers`]: the judges. [`coverage`], `rules`: what the runs came across.

mod barriers;
pub mod checkers;
mod cli;
mod client;
mod clients;
mod clock;
pub mod coverage;
mod damage;
mod directory;
mod disk;
mod faults;
mod hosts;
mod links;
mod log;
mod moves;
mod net;
mod partition;
mod restore;
pub mod rng;
mod rules;
mod run;
mod scenario;
mod server;
#[cfg(test)]
mod timelines;
mod upkeep;
mod world;

pub use cli::command;
pub use log::{Log, LogMode};
pub use run::{Failure, Summary, run_seed, run_seeds};
