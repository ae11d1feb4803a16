//! A server's presence in the directory while it runs: its live key and, of one server, the planner's role.

use crate::checkers::Violation;
use crate::coverage::Row;
use crate::log::About;
use crate::world::{Happening, Life, World};
use evenkeel_meta::change::Actor;
use evenkeel_meta::presence::{RENEW_EVERY, renew};
use evenkeel_meta::{Directory, LeaseId};
use evenkeel_types::{Incarnation, ServerId};

/// Of 1000 servers that crash, so many have a lease that begins anew then, since the directory's members elect another of
/// them: the live key stays for longer than anybody expects.
const PROLONGED_PER_MILLE: u64 = 300;

/// What a server remembers of its presence.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Presence {
    lease: Option<LeaseId>,
    /// Whether it takes itself for the planner.
    pub(crate) is_elected: bool,
}

impl World<'_> {
    /// A server renews its lease, and puts back what is not there.
    pub(crate) fn renew_presence(&mut self, life: Life) -> Result<(), Violation> {
        if self.is_over(life) {
            return Ok(());
        }
        self.clock.after(RENEW_EVERY, Happening::Presence { life });
        let (now, server) = (self.now(), &self.servers[&life.server]);
        let is_dark = server.is_dark(now) || server.mute_until > now;
        let Some(running) = &self.servers[&life.server].running else { return Ok(()) };
        let actor = Actor { server: life.server, incarnation: running.store.incarnation() };
        let Presence { mut lease, is_elected: was_elected } = running.presence;
        let keys = self.directory.keys().clone();
        let renewed = renew(&self.directory.through_haze(is_dark), &keys, actor, &mut lease);
        let is_elected = renewed.unwrap_or(false);
        let running = self.server(life.server).running.as_mut().expect("it runs");
        running.presence = Presence { lease, is_elected };
        if is_elected != was_elected {
            self.note(About::Group, format_args!("{} is the planner: {is_elected}", life.server));
        }
        self.follow_directory()
    }

    /// A server ends in an orderly way, and its live key with it, if the directory can be reached.
    pub(super) fn end_presence(&mut self, id: ServerId) -> Result<(), Violation> {
        let is_dark = self.servers[&id].is_dark(self.now());
        let Some(running) = &mut self.server(id).running else { return Ok(()) };
        if let Some(lease) = running.presence.lease.take() {
            // If it fails, the lease runs out by itself.
            let _ = self.directory.through_haze(is_dark).revoke_lease(lease);
        }
        self.follow_directory()
    }

    /// A server has crashed: its live key stays until the lease runs out.
    pub(super) fn presence_outlives(&mut self, id: ServerId) {
        let Some(lease) = self.servers[&id].running.as_ref().and_then(|running| running.presence.lease)
        else {
            return;
        };
        if self.rng.chance(PROLONGED_PER_MILLE) {
            let delay = self.rng.millis(500, 4500);
            self.clock.after(delay, Happening::LeasesBeginAnew { lease });
        }
    }

    /// The directory's members have elected another one of them: a lease that nobody renews begins anew.
    pub(crate) fn leases_begin_anew(&mut self, lease: LeaseId) {
        if self.directory.through_haze(false).keep_alive(lease).is_ok() {
            self.coverage.count(Row::LeaseProlonged);
            self.note(About::Group, format_args!("{lease:?} begins anew, though nobody renewed it"));
        }
    }

    /// A live key is gone: did its server run on?
    pub(super) fn live_key_gone(&mut self, server: ServerId) {
        let runs = self.servers.get(&server).is_some_and(|server| server.running.is_some());
        if runs {
            self.coverage.count(Row::LiveRanOut);
        }
    }

    /// A server that runs and has no live key of its own, if there is one.
    pub(crate) fn without_live_key(&self) -> Option<ServerId> {
        let incarnation = |id: ServerId| -> Option<Incarnation> {
            Some(self.servers[&id].running.as_ref()?.store.incarnation())
        };
        self.servers.keys().copied().find(|id| self.routing.live_of(*id) != incarnation(*id))
    }
}
