//! `evenkeel demo`: three servers, a hot spot, and how the load evens itself.
//!
//! * [`scenario`]: the figures of group, load, hot spots and phases, and what must hold.
//! * [`group`]: the servers in this process; [`crate::load`]: the load on them.
//! * [`phases`]: the course from the fill to reading everything back; [`watch`] and [`window`]: what is seen meanwhile.
//!   Who served a request is taken from the routes, not from the servers' own monitors: these are what is judged.
//! * [`live`], [`report`], [`connect_lines`]: what a person and a script get to see.

mod connect_lines;
mod group;
mod live;
mod phases;
mod report;
mod scenario;
mod watch;
mod window;

use crate::failure::{Exit, Failure};
use crate::output::{Format, print};
use evenkeel_api::Volume;
use evenkeel_workload::{Load, LoadOptions};
use group::Group;
use live::Live;
use phases::{Stage, Wishes};
use report::Outcome;
use scenario::Plan;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use watch::Watch;

/// Name under which the load logs in.
const INITIATOR: &str = "iqn.2026-01.io.evenkeel:demo-load";
/// How often it is looked whether to end, while the group stays.
const STAY_TICK: Duration = Duration::from_millis(100);

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// Draws the hot spots and the load.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// End with one line of JSON on stdout; progress goes to stderr.
    #[arg(long)]
    json: bool,
    /// Keep the servers running at the end and print how to connect.
    #[arg(long)]
    stay: bool,
    /// Do not balance: the load must stay uneven.
    #[arg(long)]
    no_balance: bool,
    /// Seconds of load in all, at most [default: 143]. With less than 80 what waited before would be in the way after.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(80..=86_400))]
    seconds: Option<u64>,
    /// What the servers log on stderr: error, warn, info, debug, trace, or a list.
    #[arg(long, env = "EVENKEEL_LOG", value_name = "LEVEL", default_value = "error")]
    log: String,
}

pub(crate) fn run(format: Format, flags: &Flags) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&flags.log)
        .map_err(|e| Failure::new(Exit::Usage, format_args!("--log '{}': {e}", flags.log)))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|e| Failure::failed(format_args!("cannot wait for signals: {e}")))?;
    }
    let json = flags.json || format == Format::Json;
    let mut live = Live::new(json);
    let group = Group::start()?;
    let shown = show(&group, &mut live, flags, json, &interrupted);
    let stopped = group.stop();
    shown.and(stopped)
}

/// Everything between the start of the servers and their end.
fn show(
    group: &Group,
    live: &mut Live,
    flags: &Flags,
    json: bool,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let volume = group.create_volume()?;
    let outcome = play(group, &volume, live, flags, interrupted)?;
    if json {
        print(&outcome.json())?;
    } else {
        live.say(&outcome.words(group.names()));
    }
    if flags.stay {
        live.say(&connect_lines::connect_lines(&volume.iqn, group.portals(), group.api(), group.folder()));
        while !interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(STAY_TICK);
        }
    }
    match outcome.failures().as_slice() {
        [] => Ok(()),
        failures => Err(Failure::new(Exit::Found, format_args!("demo: {}", failures.join("; ")))),
    }
}

fn play(
    group: &Group,
    volume: &Volume,
    live: &mut Live,
    flags: &Flags,
    interrupted: &AtomicBool,
) -> Result<Outcome, Failure> {
    let options = LoadOptions {
        portals: group.portals().to_vec(),
        target: volume.iqn.clone(),
        initiator: INITIATOR.to_owned(),
        sessions_per_portal: scenario::SESSIONS_PER_PORTAL,
        depth: scenario::DEPTH,
        settings: evenkeel_iscsi::Settings::default(),
        verify: true,
        seed: flags.seed,
    };
    let mut load = Load::start(&options).map_err(Failure::failed)?;
    let portals: Vec<_> = group.portals().iter().map(ToString::to_string).collect();
    live.say(&format!(
        "{} servers with portals {}, API http://{}, a volume of {}, seed {}",
        scenario::SERVERS,
        portals.join(" "),
        group.api(),
        evenkeel_api::show_size(load.volume_bytes()),
        flags.seed,
    ));
    let wishes = Wishes { seed: flags.seed, balance: !flags.no_balance, plan: Plan::of(flags.seconds) };
    let outcome = Watch::new(group)
        .and_then(|watch| Stage { group, load: &mut load, live, interrupted, watch, wishes }.run());
    load.stop();
    outcome
}
