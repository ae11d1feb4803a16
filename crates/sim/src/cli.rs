//! The command line: seeds in, a line for each seed and the coverage table out.

use crate::coverage::{Coverage, SEEDS_FOR_COVERAGE};
use crate::log::LogMode;
use crate::run::{run_seed, run_seeds};
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
usage: evenkeel-sim [--seeds N [--from N]] [--seed N [--log]] [--threads N] [--keep-going]

  --seeds N       run N seeds, from 1 or from --from on (200)
  --seed N        run one seed
  --log           print every event of it; docs/simulator.md has the legend
  --threads N     run so many seeds at once (2)
  --keep-going    do not stop at the first seed that fails

Exit code 0: all passed; 1: a seed failed, or many ran and a row of the coverage table stayed zero; 2: usage.";

struct Arguments {
    from: u64,
    seeds: u64,
    seed: Option<u64>,
    log: bool,
    threads: usize,
    keep_going: bool,
}

/// Runs what the arguments ask for.
pub fn command(arguments: impl Iterator<Item = String>) -> ExitCode {
    match parse(arguments) {
        Err(problem) => {
            eprintln!("evenkeel-sim: {problem}\n{USAGE}");
            ExitCode::from(2)
        }
        Ok(None) => {
            say(&USAGE);
            ExitCode::SUCCESS
        }
        Ok(Some(arguments)) => match arguments.seed {
            Some(seed) => one(seed, arguments.log),
            None => many(&arguments),
        },
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut parsed = Arguments { from: 1, seeds: 200, seed: None, log: false, threads: 2, keep_going: false };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().ok_or(format!("{argument} needs a number"))?;
            value.parse::<u64>().map_err(|_| format!("{argument} {value}: not a number"))
        };
        match argument.as_str() {
            "--seeds" => parsed.seeds = number()?,
            "--from" => parsed.from = number()?,
            "--seed" => parsed.seed = Some(number()?),
            "--threads" => parsed.threads = usize::try_from(number()?.clamp(1, 64)).unwrap_or(1),
            "--log" => parsed.log = true,
            "--keep-going" => parsed.keep_going = true,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    if parsed.log && parsed.seed.is_none() {
        return Err("--log goes with --seed".into());
    }
    Ok(Some(parsed))
}

/// Prints a line. Who reads no further has seen enough.
fn say(line: &dyn Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn one(seed: u64, log: bool) -> ExitCode {
    let mode = if log { LogMode::Print } else { LogMode::Hash };
    match run_seed(seed, mode, &mut Coverage::default()) {
        Ok(summary) => {
            say(&summary);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            say(&failure);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the whole took is printed, and nothing depends on it"
)]
fn many(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let mut coverage = Coverage::default();
    let (mut passed, mut failed) = (0u64, 0u64);
    run_seeds(arguments.from, arguments.seeds, arguments.threads, &mut coverage, |outcome| match outcome {
        Ok(summary) => {
            say(&summary);
            passed += 1;
            true
        }
        Err(failure) => {
            say(&failure);
            failed += 1;
            arguments.keep_going
        }
    });
    say(&format_args!("\n{}", coverage.table()));
    say(&format_args!("{passed} seeds passed, {failed} failed, {:.1} s", began.elapsed().as_secs_f64()));
    if failed > 0 {
        return ExitCode::FAILURE;
    }
    let missing: Vec<&str> = coverage.missing().collect();
    if arguments.seeds >= SEEDS_FOR_COVERAGE && !missing.is_empty() {
        say(&format_args!("never seen: {}", missing.join("; ")));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
