//! What end-to-end scenarios need: a running group, and initiators that nobody here wrote.
//!
//! A scenario runs the real program in processes of its own, on free ports of loopback, with its data in a temporary
//! folder. Programs of others (`qemu-img`, `qemu-io`, `iscsi-test-cu`, ...) must be installed: a scenario that misses
//! one fails and says which, it does not pass quietly.

mod api;
mod blocks;
mod chain;
mod conformance;
mod delay;
mod etcd;
mod filesystem;
mod foreground;
mod group;
mod hosts;
mod image;
mod initiator;
mod line;
mod loop_device;
mod moves;
mod namespace;
mod ports;
mod process;
mod processes;
mod program;
mod register;
mod relay;
mod session;
mod small_disk;
mod stage;
mod steady;
mod stopped_store;
mod tamper;
mod waiting;
mod writer;

pub use api::Api;
pub use blocks::Blocks;
pub use chain::{Host, Kills, Steps, Way};
pub use conformance::{Outcome, Verdict, conformance_table, conformance_tests, run_conformance};
pub use delay::Delay;
pub use etcd::Etcd;
pub use filesystem::Filesystem;
pub use foreground::{CALM, Foreground, Rounds, Stretch};
pub use group::{Group, GroupOptions, Secrets};
pub use hosts::Hosts;
pub use image::{compare_files, random_image};
pub use initiator::{INITIATOR_NAME, Initiator, initiator_config};
pub use line::Line;
pub use loop_device::LoopDevice;
pub use moves::{Mover, owners, views_are_equal};
pub use namespace::{Namespace, in_own_network};
pub use ports::free_port;
pub use process::Process;
pub use processes::{Processes, count_of, states, wait_until};
pub use program::{Ran, run, run_within};
pub use register::Register;
pub use relay::{PeerRelays, RegionCopies, Sent};
pub use rustix::process::Signal;
pub use session::{Ended, Session};
pub use small_disk::SmallDisk;
pub use stage::{Place, Stage};
pub use steady::{Steady, SteadyOptions, Window, load_of, owner_places};
pub use stopped_store::{SUPERBLOCK_COPIES, StoppedStore};
pub use tamper::Tamper;
pub use waiting::comes_true;
pub use writer::{StopAtEnd, Tally, Waits, Writer};
