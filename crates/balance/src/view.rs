//! A server's view of the group's load: what decisions are made from, and what people are shown.

use crate::filter::{Filtered, HalfLives};
use crate::judge::{Judgement, Standing};
use crate::measure::{Weights, server_load, storage_load};
use crate::pattern::Pattern;
use crate::report::{Parts, Report};
use evenkeel_types::{ExtentId, ServerId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the directory says of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// In service.
    Up,
    /// In service, but to be emptied: takes nothing.
    Draining,
    /// Being brought up to date.
    Syncing,
    /// Out of service.
    Down,
}

/// One server in the view of another.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerView {
    /// Which server.
    pub server: ServerId,
    /// What the directory says of it.
    pub membership: Membership,
    /// Its last report, if one ever came.
    pub report: Option<Report>,
    /// How long ago the report came.
    pub age: Duration,
    /// What is thought of it.
    pub judgement: Judgement,
}

/// The group as one server sees it at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupView {
    /// All members in order of their ids.
    pub servers: Vec<ServerView>,
    /// The filters behind the reports.
    pub half_lives: HalfLives,
    /// The weights of the measure.
    pub weights: Weights,
    /// A report older than this counts as none.
    pub stale_after: Duration,
    /// A server whose monitor is younger than this takes nothing yet.
    pub warm_up: Duration,
    /// Extents that must not be chosen: in a move that was not decided here, for example.
    pub busy: BTreeSet<ExtentId>,
    /// Servers to which an extent must not go: they hold another copy of it, or would fail together with one.
    pub barred: BTreeMap<ExtentId, Vec<ServerId>>,
}

impl GroupView {
    /// A server's report, if the server is up and the report fresh.
    #[must_use]
    pub fn fresh_report<'a>(&self, server: &'a ServerView) -> Option<&'a Report> {
        let is_fresh = server.membership == Membership::Up && server.age <= self.stale_after;
        server.report.as_ref().filter(|_| is_fresh)
    }

    /// Largest combined load over the group's mean, on the fast filter, over the servers with fresh reports.
    #[must_use]
    pub fn imbalance(&self) -> f64 {
        let fresh = self.servers.iter().filter(|server| self.fresh_report(server).is_some());
        fresh.map(|server| server.judgement.ratio()).fold(1.0, f64::max)
    }
}

/// A line of the table that each server prints of the group.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServerLoad {
    /// Which server.
    pub server: ServerId,
    /// What the directory says of it.
    pub membership: Membership,
    /// How long ago its last report came, in milliseconds; absent if none ever came.
    pub report_age_ms: Option<u64>,
    /// Whether the report is too old, or missing.
    pub is_stale: bool,
    /// Storage load.
    pub storage_load: Filtered<f64>,
    /// Server load.
    pub server_load: Filtered<f64>,
    /// Both combined: the measure of loading.
    pub combined: Filtered<f64>,
    /// The group's mean of the measure.
    pub mean: Filtered<f64>,
    /// Utilisation by resource and cause.
    pub utilisation: Filtered<Parts>,
    /// Accesses per second at the owner, by kind.
    pub pattern: Pattern,
    /// What is thought of the server.
    pub standing: Standing,
    /// The figures that this follows from.
    pub judgement: Judgement,
    /// Bytes of its store in use.
    pub allocated_bytes: u64,
    /// Bytes of its store in all.
    pub total_bytes: u64,
    /// Moves under way from it.
    pub moves_out: u16,
    /// Moves under way to it.
    pub moves_in: u16,
}

impl ServerLoad {
    pub(crate) fn new(view: &GroupView, of: &ServerView) -> Self {
        let utilisation = of.report.as_ref().map(|report| report.utilisation).unwrap_or_default();
        let offered = utilisation.map(Parts::offered);
        Self {
            server: of.server,
            membership: of.membership,
            report_age_ms: of.report.as_ref().map(|_| u64::try_from(of.age.as_millis()).unwrap_or(u64::MAX)),
            is_stale: of.report.is_none() || of.age > view.stale_after,
            storage_load: offered.map(storage_load),
            server_load: offered.map(server_load),
            combined: offered.map(|load| view.weights.combined(load)),
            mean: of.judgement.mean,
            utilisation,
            pattern: of.report.as_ref().map(|report| report.pattern).unwrap_or_default(),
            standing: of.judgement.standing,
            judgement: of.judgement,
            allocated_bytes: of.report.as_ref().map_or(0, |report| report.allocated_bytes),
            total_bytes: of.report.as_ref().map_or(0, |report| report.total_bytes),
            moves_out: of.report.as_ref().map_or(0, |report| report.moves_out),
            moves_in: of.report.as_ref().map_or(0, |report| report.moves_in),
        }
    }
}
