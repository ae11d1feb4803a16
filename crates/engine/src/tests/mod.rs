//! Scenarios of several engines that are connected by queues, each with a store in memory and its own view of a
//! directory in memory. Each scenario is named after what has to hold; the timelines behind many of them are the
//! shortest ways in which the protocol loses data without one of its rules.

mod barriers;
mod crashes;
mod directory;
mod fencing;
mod links;
mod load;
mod moves;
mod once;
mod placing;
mod random;
mod rebuild;
mod replicas;
mod requests;
mod resync;
mod scrub;
mod space;
mod store;
mod world;
