//! The store as a whole, over a simulated disk.

mod harness;
mod model;
mod opening;
mod operations;
mod recovery;
mod space;
