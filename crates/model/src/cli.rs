//! The command line.

use crate::cases::{Case, DEEP, Held, QUICK, WIDE};
use crate::rule::{Rule, Rules};
use crate::search::{Limits, Outcome, Verdict, search};
use crate::soak::soak;
use crate::{Bound, Property, Violation};
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: evenkeel-model [--list]
       evenkeel-model --without RULE [--bound NAME] [--set KEY=N]... [--heals] [--seconds N] [--memory MIB]
       evenkeel-model --bound NAME [--set KEY=N]... [--heals] [--seconds N] [--memory MIB]
       evenkeel-model --soak SECONDS [--seed N] [--memory MIB]

Without arguments: searches the quick bounds with all rules, and the case of each rule without it.

  --list          the rules, and what goes wrong without each
  --without RULE  leave a rule out, and print the shortest way in which something goes wrong
  --bound NAME    search this bound instead of the rule's own; --list names them
  --set KEY=N     change the bound: servers, replicas, writes, in-flight, crashes, marks, expiries, moves, switches, revisions;
                  1 or 0, one-down, one-gone, one-region, own-loss, marks-dead-only, rebuilds-only, warm, frees, forgets, retries,
                  slow-up, lost-answers
  --heals         also ask of every state whether there is a way back to a group that serves
  --seconds N     stop after that time
  --memory MIB    stop when the states seen take so much (4096)
  --soak SECONDS  searches of the deep bounds and random walks in the wide ones, for that long
  --seed N        the number of the first random walk (1)

Exit code 0: everything holds, and what a left-out rule was to break was found; 1: not so; 2: usage.";

#[derive(Default)]
struct Arguments {
    list: bool,
    without: Option<Rule>,
    bound: Option<Bound>,
    set: Vec<(String, u8)>,
    heals: bool,
    limits: Limits,
    soak: Option<Duration>,
    seed: u64,
}

/// Does what the arguments ask for.
pub fn command(arguments: impl Iterator<Item = String>) -> ExitCode {
    let done = match parse(arguments) {
        Ok(None) => {
            say(&USAGE);
            Ok(true)
        }
        Ok(Some(arguments)) => run(&arguments),
        Err(problem) => Err(problem),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("evenkeel-model: {problem}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut parsed = Arguments { seed: 1, ..Arguments::default() };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--list" => parsed.list = true,
            "--heals" => parsed.heals = true,
            "--without" => parsed.without = Some(rule(&value()?)?),
            "--bound" => parsed.bound = Some(bound(&value()?)?),
            "--set" => parsed.set.push(setting(&value()?)?),
            "--seconds" => parsed.limits.time = Some(Duration::from_secs(number(&argument, &value()?)?)),
            "--memory" => parsed.limits.bytes = memory(number(&argument, &value()?)?)?,
            "--soak" => parsed.soak = Some(Duration::from_secs(number(&argument, &value()?)?)),
            "--seed" => parsed.seed = number(&argument, &value()?)?,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    if !parsed.set.is_empty() && parsed.bound.is_none() && parsed.without.is_none() {
        return Err("--set changes a bound: name one with --bound, or a rule with --without".into());
    }
    Ok(Some(parsed))
}

fn number(argument: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{argument} {value}: not a number"))
}

fn memory(mebibytes: u64) -> Result<usize, String> {
    let bytes = usize::try_from(mebibytes).ok().and_then(|mebibytes| mebibytes.checked_mul(1 << 20));
    bytes.filter(|bytes| *bytes >= 64 << 20).ok_or(format!("--memory {mebibytes}: at least 64, in MiB"))
}

fn rule(name: &str) -> Result<Rule, String> {
    Rule::named(name).ok_or(format!("{name}: no rule has that name; --list names them"))
}

fn bound(name: &str) -> Result<Bound, String> {
    let known =
        QUICK.iter().chain(DEEP).map(|held| held.bound).chain(WIDE.iter().copied()).chain([Bound::QUIET]);
    let mut known = known.chain(Rule::ALL.iter().map(|rule| Case::of(*rule).bound));
    known.find(|bound| bound.name == name).ok_or(format!("{name}: no bound has that name; --list names them"))
}

fn setting(text: &str) -> Result<(String, u8), String> {
    let (key, value) = text.split_once('=').ok_or(format!("--set {text}: wants KEY=N"))?;
    let value = value.parse().map_err(|_| format!("--set {text}: not a small number"))?;
    Ok((key.to_owned(), value))
}

/// Prints a line. Who reads no further has seen enough.
pub(crate) fn say(line: &dyn Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let Arguments { without, limits, .. } = arguments;
    if arguments.list {
        list();
        return Ok(true);
    }
    if let Some(time) = arguments.soak {
        return Ok(soak(time, arguments.seed, limits.bytes));
    }
    let case = without.map(Case::of);
    let own = case.map(|case| case.bound);
    let Some(mut bound) = arguments.bound.or(own) else {
        return Ok(everything(*limits));
    };
    for (key, value) in &arguments.set {
        bound.set(key, *value)?;
    }
    bound.check()?;
    let heals = arguments.heals || case.is_some_and(|case| case.property == Property::Heals);
    Ok(one(&bound, *without, heals, *limits))
}

fn list() {
    for rule in Rule::ALL.iter().copied() {
        let Case { bound, property, .. } = Case::of(rule);
        say(&format_args!("{:>3} {rule}\n      {}", rule.number(), rule.says()));
        say(&format_args!("      without it (bound {}): {property}", bound.name));
    }
    let names = |held: &[Held]| held.iter().map(|held| held.bound.name).collect::<Vec<_>>().join(", ");
    let wide: Vec<&str> = WIDE.iter().map(|bound| bound.name).collect();
    say(&format_args!("\nquick bounds: {}\ndeep bounds: {}", names(QUICK), names(DEEP)));
    say(&format_args!("wide bounds: {}", wide.join(", ")));
}

/// Searches one bound, with all rules or without one. Whether it came out as it should.
fn one(bound: &Bound, without: Option<Rule>, heals: bool, limits: Limits) -> bool {
    let began = Instant::now();
    let rules = without.map_or(Rules::ALL, |rule| Rules::ALL.without(rule));
    let outcome = search(bound, rules, heals, limits);
    tell(bound, without, &outcome, began.elapsed());
    if let Verdict::Violated(violation) = &outcome.verdict {
        say(violation);
    }
    let violated = matches!(outcome.verdict, Verdict::Violated(_));
    violated == without.is_some()
}

fn everything(limits: Limits) -> bool {
    let mut well = true;
    for Held { bound, heals, .. } in QUICK {
        well &= one(bound, None, *heals, limits);
    }
    for rule in Rule::ALL.iter().copied() {
        let began = Instant::now();
        let Case { bound, property } = Case::of(rule);
        let outcome = search(&bound, Rules::ALL.without(rule), property == Property::Heals, limits);
        tell(&bound, Some(rule), &outcome, began.elapsed());
        well &= matches!(outcome.verdict, Verdict::Violated(Violation { property: found, .. }) if found == property);
    }
    well
}

/// A line about a search.
pub(crate) fn tell(bound: &Bound, without: Option<Rule>, outcome: &Outcome, took: Duration) {
    let rules = without.map_or("all rules".to_owned(), |rule| format!("without {rule}"));
    let verdict = match &outcome.verdict {
        Verdict::Holds => "holds".to_owned(),
        Verdict::Cut => "holds as far as it was searched".to_owned(),
        Verdict::Violated(violation) => format!("in {} steps {}", violation.steps.len(), violation.property),
    };
    let Outcome { states, events, depth, coverage, .. } = outcome;
    say(&format_args!(
        "{} ({rules}): {verdict}; {states} states, {events} events, depth {depth}, {:.1} s",
        bound.name,
        took.as_secs_f64()
    ));
    if without.is_none() {
        say(&format_args!("    {coverage}"));
    }
}
