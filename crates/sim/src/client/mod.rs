//! Clients: what they ask for, what they put into sectors, and what they make of the answers.

pub(crate) mod gateway;
pub(crate) mod sector;
pub(crate) mod workload;
