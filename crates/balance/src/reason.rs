//! Decisions, and why they were made, for programs (JSON) and for people.

use crate::filter::Filtered;
use crate::judge::Standing;
use crate::pattern::Pattern;
use crate::resource::{Load, Resource};
use crate::view::GroupView;
use evenkeel_types::{ExtentId, ServerId};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};
use std::time::Duration;

/// Candidates that a reason names.
pub const CANDIDATES_NAMED_MAX: usize = 8;

/// Move this extent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// Which extent.
    pub extent: ExtentId,
    /// Its owner.
    pub from: ServerId,
    /// Where it shall go.
    pub to: ServerId,
    /// The utilisation that it causes at its owner.
    pub heat: Load,
    /// Bytes to copy, at most.
    pub bytes: u32,
    /// Why.
    pub reason: MoveReason,
}

/// Why a move was decided: the measure that caused it, the threshold that it was over, what was considered, and what
/// the move is expected to change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MoveReason {
    /// The overloaded server's standing: disproportionate or urgent.
    pub standing: Standing,
    /// The overloaded server.
    pub source: ServerId,
    /// The server chosen to take the extent.
    pub target: ServerId,
    /// The source's combined load, as judged.
    pub load: Filtered<f64>,
    /// The group's mean of it.
    pub mean: Filtered<f64>,
    /// The target's combined load, as judged.
    pub target_load: Filtered<f64>,
    /// The factor over the mean from which a server is disproportionately loaded.
    pub threshold: f64,
    /// How long the source had been over it, in seconds.
    pub over_s: f64,
    /// The source's storage load.
    pub storage_load: f64,
    /// The source's server load.
    pub server_load: f64,
    /// The source's busiest resource.
    pub busiest: Resource,
    /// The utilisation of that resource.
    pub busiest_utilisation: f64,
    /// The utilisation that the extent caused at the source: for whoever plans next, since reports show it late.
    pub heat: Load,
    /// The extent's share of the source's combined load, 0 to 1.
    pub extent_share: f64,
    /// The extent's accesses per second.
    pub pattern: Pattern,
    /// What the move costs: bytes to copy.
    pub cost_bytes: u32,
    /// Expected loads over the group's mean, with the moves under way reckoned in.
    pub predicted: Relief,
    /// What was measured before and some time after the move, once it was.
    pub measured: Option<Measured>,
    /// The hottest extents that were considered, and the chosen one.
    pub candidates: Vec<Candidate>,
}

/// What a move changes: loads over the group's mean.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Relief {
    /// Of the source, before.
    pub source_before: f64,
    /// Of the source, after.
    pub source_after: f64,
    /// Of the target, before.
    pub target_before: f64,
    /// Of the target, after.
    pub target_after: f64,
}

/// What a move has changed, together with everything else that changed meanwhile.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The time from the end of the move to the measurement, in seconds.
    pub after_s: f64,
    /// The loads as they were judged when the move was decided, and as they were then.
    pub relief: Relief,
}

/// An extent that was considered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    /// Which extent.
    pub extent: ExtentId,
    /// By how much its move would relieve the source, as a share of the group's mean load.
    pub relief: f64,
    /// The best target for it, if there was one.
    pub target: Option<ServerId>,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is moved.
    Chosen,
    /// Another one helps more for each byte copied.
    LessGain,
    /// It does not fit on any server: moving it would only move the hot spot.
    FitsNowhere,
    /// It was moved not long ago.
    Cooling,
    /// It is being moved, or must not be.
    Busy,
    /// It was not in use for long enough; a scan passes by.
    TooFresh,
    /// It causes too little load to be worth its bytes.
    TooLittle,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chosen => "chosen",
            Self::LessGain => "helps less for each byte copied",
            Self::FitsNowhere => "fits on no other server, moving it would only move the hot spot",
            Self::Cooling => "was moved not long ago",
            Self::Busy => "is being moved or must not be",
            Self::TooFresh => "was not in use for long enough",
            Self::TooLittle => "causes too little load to be worth its bytes",
        })
    }
}

impl MoveReason {
    /// Notes what the move has changed, from a view `after` its end. False, and nothing is noted, if either server has
    /// no fresh report.
    pub fn measure(&mut self, view: &GroupView, after: Duration) -> bool {
        let now = |server: ServerId| {
            let of = view.servers.iter().find(|of| of.server == server)?;
            view.fresh_report(of).map(|_| of.judgement.ratio())
        };
        let (Some(source_after), Some(target_after)) = (now(self.source), now(self.target)) else {
            return false;
        };
        let relief = Relief {
            source_before: ratio(self.load.fast, self.mean.fast),
            source_after,
            target_before: ratio(self.target_load.fast, self.mean.fast),
            target_after,
        };
        self.measured = Some(Measured { after_s: after.as_secs_f64(), relief });
        true
    }

    /// The reason in whole sentences, a line for each thought. `name` gives the name that people know a server by.
    #[must_use]
    pub fn explain(&self, extent: ExtentId, name: &dyn Fn(ServerId) -> String) -> String {
        let mut text = String::new();
        self.write(extent, name, &mut text).expect("a String takes everything");
        text
    }

    fn write(&self, extent: ExtentId, name: &dyn Fn(ServerId) -> String, text: &mut String) -> fmt::Result {
        let Self { load, mean, .. } = self;
        let (source, target) = (name(self.source), name(self.target));
        let urgency = if self.standing == Standing::Urgent { ", urgently" } else { "" };
        writeln!(
            text,
            "Server {source} carried more than its share{urgency}: {:.2} times the group's mean lately and {:.2} times \
             over a longer time, above the threshold of {:.2} for {:.0} s.",
            ratio(load.fast, mean.fast),
            ratio(load.slow, mean.slow),
            self.threshold,
            self.over_s,
        )?;
        writeln!(
            text,
            "Its combined load was {:.2} (mean {:.2}): storage load {:.2}, server load {:.2}; busiest was {} at {:.0} %.",
            load.fast,
            mean.fast,
            self.storage_load,
            self.server_load,
            self.busiest,
            self.busiest_utilisation * 100.0,
        )?;
        writeln!(
            text,
            "Extent {extent} caused {:.1} % of that: {}, {:.0} accesses per second.",
            self.extent_share * 100.0,
            self.pattern.words(),
            self.pattern.total(),
        )?;
        self.predicted.write("Expected", &source, &target, text)?;
        writeln!(text, "The price: {:.1} MiB to copy.", f64::from(self.cost_bytes) / crate::capacity::MIB)?;
        match self.measured {
            Some(Measured { after_s, relief }) => {
                let what = format!("Measured {after_s:.0} s after it, with all else that changed meanwhile");
                relief.write(&what, &source, &target, text)?;
            }
            None => writeln!(text, "The effect has not been measured yet.")?,
        }
        for candidate in self.candidates.iter().filter(|candidate| candidate.verdict != Verdict::Chosen) {
            let Candidate { extent, relief, verdict, .. } = candidate;
            writeln!(text, "Not chosen: extent {extent} ({:.1} % of the mean), {verdict}.", relief * 100.0)?;
        }
        Ok(())
    }
}

fn ratio(load: f64, mean: f64) -> f64 {
    if mean > 0.0 { load / mean } else { 1.0 }
}

impl Relief {
    fn write(&self, what: &str, source: &str, target: &str, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "{what}, in times the group's mean: {source} from {:.2} to {:.2}, {target} from {:.2} to {:.2}.",
            self.source_before, self.source_after, self.target_before, self.target_after
        )
    }
}
