//! A group under virtual time: monitors, judge and decisions together, second by second.

mod convergence;
mod harness;
mod restraint;
