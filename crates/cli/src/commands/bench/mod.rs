//! `evenkeel bench`: measures any iSCSI target through one session of this program's own initiator.

mod target;

use super::Context;
use crate::failure::{Exit, Failure};
use crate::output::{Human, show};
use evenkeel_api::{parse_size, show_size};
use evenkeel_iscsi::initiator::InitiatorConfig;
use evenkeel_iscsi::negotiate::Settings;
use evenkeel_iscsi::pdu::Isid;
use evenkeel_workload::{Session, Shape, Until, run_closed_loop};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::time::Duration;
use target::Target;

/// Requests that may be open at once: what the initiator keeps of a session.
const DEPTH_MAX: u16 = 1024;
/// Bytes of a request at most.
const OP_BYTES_MAX: u64 = 16 << 20;
/// Longest measurement.
const SECONDS_MAX: f64 = 86_400.0;
/// Every length and address is a multiple of this: the largest logical block.
const GRAIN_BYTES: u64 = 4096;

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {
    /// What to measure: a logical unit of any iSCSI target.
    #[arg(long, value_name = "iscsi://HOST:PORT/IQN/LUN")]
    target: Target,
    /// Read, or write. Writing destroys what the logical unit holds.
    #[arg(long, value_enum, value_name = "OP")]
    op: Op,
    /// Bytes of each request, a multiple of 4KiB.
    #[arg(long, default_value = "4KiB", value_name = "SIZE", value_parser = parse_size)]
    size: u64,
    /// Requests open at any time.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(DEPTH_MAX)))]
    depth: u16,
    /// Anywhere in the span, or through it from its start to its end.
    #[arg(long, value_enum, default_value_t, value_name = "PATTERN")]
    pattern: Pattern,
    /// How long to measure.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", conflicts_with = "one_pass")]
    seconds: f64,
    /// How long to run before measuring.
    #[arg(long, default_value_t = 0.3, value_name = "SECONDS")]
    ramp: f64,
    /// Go through the span once, one request after the other, instead of for a time: to fill it.
    #[arg(long)]
    one_pass: bool,
    /// How much of the logical unit to use, from its start [default: all].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    span: Option<u64>,
    /// Name of the initiator.
    #[arg(long, default_value = "iqn.2026-01.io.evenkeel:bench", value_name = "IQN")]
    initiator: String,
    /// Of the order of requests, and of what is written.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Read,
    Write,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Pattern {
    #[default]
    Random,
    Sequential,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    target: String,
    op: Op,
    pattern: Pattern,
    size_bytes: u64,
    depth: u16,
    /// Most requests open at once: less than `depth` if the target's window is narrower.
    depth_reached: usize,
    span_bytes: u64,
    seconds: f64,
    /// Requests within the measured time, and in all.
    ops: u64,
    ops_in_all: u64,
    iops: f64,
    mib_s: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    /// CPU time of this client for each request.
    client_cpu_us: f64,
}

pub(crate) fn run(context: &Context, flags: &Flags) -> Result<(), Failure> {
    check(flags)?;
    let failed = |why: String| Failure::failed(format_args!("bench: {why}"));
    let address = flags.target.address().map_err(|why| Failure::new(Exit::Unreachable, why))?;
    let config = InitiatorConfig {
        initiator_name: flags.initiator.clone(),
        // The random format of RFC 7143 section 11.12.5; a session at a time with this name.
        isid: Isid([0x80, 0x65, 0x6b, 0, 0, 0]),
        target_name: Some(flags.target.name.clone()),
        settings: Settings::default(),
    };
    let mut session = Session::open(address, flags.target.lun, config)
        .map_err(|why| Failure::new(Exit::Unreachable, format_args!("bench: {why}")))?;
    let volume_bytes = session.volume_bytes();
    let span_bytes = flags.span.unwrap_or(volume_bytes);
    if span_bytes > volume_bytes || span_bytes < flags.size {
        let line = format!(
            "bench: --span {} does not fit: give a size from {} (--size) to {} (the logical unit)",
            show_size(span_bytes),
            show_size(flags.size),
            show_size(volume_bytes)
        );
        return Err(Failure::new(Exit::Usage, line));
    }
    let until = if flags.one_pass {
        Until::OnePass
    } else {
        Until::Elapsed {
            ramp: Duration::from_secs_f64(flags.ramp),
            measured: Duration::from_secs_f64(flags.seconds),
        }
    };
    let shape = Shape {
        write: flags.op == Op::Write,
        op_bytes: u32::try_from(flags.size).expect("checked above"),
        depth: usize::from(flags.depth),
        sequential: flags.one_pass || flags.pattern == Pattern::Sequential,
        span_bytes,
        until,
        seed: flags.seed,
    };
    let cpu_before = cpu_time();
    let measured = run_closed_loop(&mut session, &shape).map_err(failed)?;
    let cpu = cpu_time().saturating_sub(cpu_before);
    session.close();
    if let Some(first) = &measured.first_error {
        return Err(failed(format!(
            "{} of {} requests failed; the first: {first}",
            measured.errors, measured.ops_in_all
        )));
    }
    let seconds = measured.elapsed.as_secs_f64();
    let iops = measured.ops as f64 / seconds.max(1e-9);
    let report = Report {
        target: flags.target.to_string(),
        op: flags.op,
        pattern: if shape.sequential { Pattern::Sequential } else { Pattern::Random },
        size_bytes: flags.size,
        depth: flags.depth,
        depth_reached: measured.depth_reached,
        span_bytes,
        seconds,
        ops: measured.ops,
        ops_in_all: measured.ops_in_all,
        iops,
        mib_s: iops * flags.size as f64 / f64::from(1 << 20),
        p50_us: measured.percentile_us(50.0),
        p99_us: measured.percentile_us(99.0),
        p999_us: measured.percentile_us(99.9),
        max_us: measured.percentile_us(100.0),
        client_cpu_us: cpu.as_secs_f64() * 1e6 / measured.ops_in_all.max(1) as f64,
    };
    show(context.format, &report)
}

/// Looks at what the parser cannot.
fn check(flags: &Flags) -> Result<(), Failure> {
    let wrong = |line: String| Err(Failure::new(Exit::Usage, line));
    if flags.size == 0 || flags.size > OP_BYTES_MAX || !flags.size.is_multiple_of(GRAIN_BYTES) {
        return wrong(format!("--size {}: use a multiple of 4KiB, up to 16MiB", show_size(flags.size)));
    }
    if let Some(span) = flags.span
        && !span.is_multiple_of(GRAIN_BYTES)
    {
        return wrong(format!("--span {span}: use a multiple of 4KiB"));
    }
    if !(flags.seconds > 0.0 && flags.seconds <= SECONDS_MAX) {
        return wrong(format!("--seconds {}: use a number above 0, up to {SECONDS_MAX}", flags.seconds));
    }
    if !(flags.ramp >= 0.0 && flags.ramp <= SECONDS_MAX) {
        return wrong(format!("--ramp {}: use a number from 0 to {SECONDS_MAX}", flags.ramp));
    }
    Ok(())
}

/// CPU time of this process so far.
fn cpu_time() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or(0))
}

impl Human for Report {
    fn human(&self) -> String {
        let (op, pattern) = match (self.op, self.pattern) {
            (Op::Read, Pattern::Random) => ("reads", "random"),
            (Op::Read, Pattern::Sequential) => ("reads", "sequential"),
            (Op::Write, Pattern::Random) => ("writes", "random"),
            (Op::Write, Pattern::Sequential) => ("writes", "sequential"),
        };
        format!(
            "{pattern} {op} of {} at depth {} for {:.1} s: {:.0} IOPS, {:.1} MiB/s, p50 {:.1} us, p99 {:.1} us, \
             p99.9 {:.1} us, client {:.1} us of CPU each",
            show_size(self.size_bytes),
            self.depth_reached,
            self.seconds,
            self.iops,
            self.mib_s,
            self.p50_us,
            self.p99_us,
            self.p999_us,
            self.client_cpu_us
        )
    }
}
