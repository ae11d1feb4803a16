//! The store as a whole, over a simulated disk.

mod damage;
mod disk_errors;
mod harness;
mod late_reads;
mod model;
mod opening;
mod operations;
mod recovery;
mod space;
