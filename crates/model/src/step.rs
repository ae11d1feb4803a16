//! What happens between two states: a line of a timeline.

use crate::directory::MemberState;
use crate::history::History;
use crate::server::{Region, Version};
use crate::set::ServerId;
use std::fmt::{Display, Formatter};

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Starts { server: ServerId, incarnation: u8, state: MemberState },
    Sees { server: ServerId, revision: u8 },
    Returns { server: ServerId, incarnation: u8 },
    MarksDown { by: ServerId, server: ServerId, revision: u8 },
    BecomesUp { server: ServerId, alone: bool },
    SendsUp { server: ServerId },
    UpDecided { server: ServerId, taken: bool },
    TakesOver { server: ServerId, epoch: u8 },
    Attaches { owner: ServerId, replica: ServerId, epoch: u8, current: [bool; 2] },
    AttachesReplaced { owner: ServerId, replaced: ServerId, epoch: u8 },
    GivesLease { replica: ServerId, owner: ServerId },
    LeaseEnds { owner: ServerId, replica: ServerId },
    GuardEnds { replica: ServerId, owner: ServerId },
    SendsCopy { owner: ServerId, to: ServerId, region: Region },
    Drops { owner: ServerId, replica: ServerId },
    Promises { owner: ServerId, to: ServerId, epoch: u8 },
    Serves { server: ServerId, epoch: u8 },
    Writes { owner: ServerId, write: u8, region: Region, version: Version },
    Retries { owner: ServerId, write: u8, found: bool },
    Acknowledges { owner: ServerId, write: u8 },
    Reads { owner: ServerId, region: Region, content: History },
    AppliesWrite { server: ServerId, write: u8, version: Version, answered: bool },
    AppliesCopy { server: ServerId, region: Region, version: Version, answered: bool },
    Prepares { owner: ServerId, to: ServerId, replaces: ServerId },
    Proposes { owner: ServerId, to: ServerId, replaces: ServerId },
    Proposed { by: ServerId, taken: bool, answered: bool, rebuild: bool },
    ReadsEntry { owner: ServerId, moved: bool },
    Clears { owner: ServerId, taken: bool },
    Switches { owner: ServerId, to: ServerId },
    Switched { by: ServerId, to: ServerId, taken: bool, answered: bool },
    Frees { server: ServerId },
    Forgets { server: ServerId },
    Crashes { server: ServerId, lost: u8, undone: bool },
    IsLost { from: ServerId, to: Option<ServerId> },
}

const fn verdict(taken: bool) -> &'static str {
    if taken { "takes" } else { "refuses" }
}

const fn unless_answered(answered: bool) -> &'static str {
    if answered { "" } else { "; the answer is lost" }
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "({}, {})", self.epoch, self.sequence)
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Starts { server, incarnation, state } => {
                write!(f, "{server} restarts: incarnation {incarnation}, {}", state.name())
            }
            Self::Sees { server, revision } => write!(f, "{server} sees revision {revision}"),
            Self::Returns { server, incarnation } => {
                write!(f, "{server} finds itself down and returns as syncing, incarnation {incarnation}")
            }
            Self::MarksDown { by, server, revision } => {
                write!(f, "{by} marks {server} down: revision {revision}")
            }
            Self::BecomesUp { server, alone: false } => write!(f, "{server} becomes up"),
            Self::BecomesUp { server, alone: true } => {
                write!(f, "{server} finds nobody to catch up with, and becomes up")
            }
            Self::SendsUp { server } => write!(f, "{server} sends its transaction to up"),
            Self::UpDecided { server, taken } => {
                write!(f, "the directory {} {server}'s transaction to up", verdict(taken))
            }
            Self::TakesOver { server, epoch } => write!(f, "{server} takes over: accepts epoch {epoch}"),
            Self::Attaches { owner, replica, epoch, current } => {
                let equal = match current {
                    [true, true] => "both regions are equal",
                    [true, false] => "region 0 is equal, region 1 is not",
                    [false, true] => "region 1 is equal, region 0 is not",
                    [false, false] => "no region is equal",
                };
                write!(f, "{owner} attaches {replica} in epoch {epoch}: {equal}")
            }
            Self::AttachesReplaced { owner, replaced, epoch } => {
                write!(f, "{owner} attaches {replaced}, which owned before, in epoch {epoch}")
            }
            Self::GivesLease { replica, owner } => {
                write!(f, "{replica} answers {owner}'s heartbeat: a lease")
            }
            Self::LeaseEnds { owner, replica } => write!(f, "{owner}'s lease from {replica} runs out"),
            Self::GuardEnds { replica, owner } => {
                write!(f, "G has passed since {replica} answered a heartbeat of {owner}")
            }
            Self::SendsCopy { owner, to, region } => {
                write!(f, "{owner} sends {to} a copy of region {region}")
            }
            Self::Drops { owner, replica } => write!(f, "{owner} drops {replica}"),
            Self::Promises { owner, to, epoch } => {
                write!(f, "{owner} promises {to} that all regions are current there, in epoch {epoch}")
            }
            Self::Serves { server, epoch } => write!(f, "{server} has settled and serves in epoch {epoch}"),
            Self::Writes { owner, write, region, version } => {
                write!(f, "{owner} takes w{write} to region {region}: version {version}")
            }
            Self::Retries { owner, write, found: true } => {
                write!(f, "{owner} is sent w{write} again, finds it and answers")
            }
            Self::Retries { owner, write, found: false } => {
                write!(f, "{owner} is sent w{write} again and applies it")
            }
            Self::Acknowledges { owner, write } => write!(f, "{owner} acknowledges w{write}"),
            Self::Reads { owner, region, content } => {
                write!(f, "{owner} answers a read of region {region}: {content}")
            }
            Self::AppliesWrite { server, write, version, answered } => {
                write!(f, "{server} applies w{write} {version}{}", unless_answered(answered))
            }
            Self::AppliesCopy { server, region, version, answered } => {
                write!(f, "{server} takes the copy of region {region} {version}{}", unless_answered(answered))
            }
            Self::Prepares { owner, to, replaces } => {
                write!(f, "{owner} prepares a move to {to}, in the place of {replaces}")
            }
            Self::Proposes { owner, to, replaces } => {
                write!(f, "{owner} proposes {to} in the place of {replaces}, and goes on serving")
            }
            Self::Proposed { by, taken, answered, .. } => {
                write!(f, "the directory {} {by}'s Propose{}", verdict(taken), unless_answered(answered))
            }
            Self::ReadsEntry { owner, moved: false } => {
                write!(
                    f,
                    "{owner} hears nothing, reads the entry, finds it unchanged and goes on without the target"
                )
            }
            Self::ReadsEntry { owner, moved: true } => {
                write!(f, "{owner} hears nothing, reads the entry and finds that it moved")
            }
            Self::Clears { owner, taken: true } => write!(f, "{owner} clears the intent"),
            Self::Clears { owner, taken: false } => {
                write!(f, "{owner} tries to clear the intent and finds that the entry has changed")
            }
            Self::Switches { owner, to } => write!(f, "{owner} asks the directory to make {to} the owner"),
            Self::Switched { by, to, taken, answered } => {
                write!(
                    f,
                    "the directory {} {by}'s switch to {to}{}",
                    verdict(taken),
                    unless_answered(answered)
                )
            }
            Self::Frees { server } => write!(f, "{server} frees its copy"),
            Self::Forgets { server } => write!(f, "{server} forgets the epoch that it accepted"),
            Self::Crashes { server, lost, undone } => {
                write!(f, "{server} crashes")?;
                match (lost, undone) {
                    (0, false) => Ok(()),
                    (_, true) => write!(f, " and loses what was not durable"),
                    (1, false) => write!(f, " and loses its last write, which was not answered"),
                    (lost, false) => write!(f, " and loses its last {lost} writes, which were not answered"),
                }
            }
            Self::IsLost { from, to: Some(to) } => write!(f, "a message from {from} to {to} is lost"),
            Self::IsLost { from, to: None } => write!(f, "a message from {from} to the directory is lost"),
        }
    }
}
