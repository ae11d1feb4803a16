//! Attaching copies, and what a lost attachment leaves behind.

use super::link::Attached;
use super::{CopyLink, LinkState, Role};
use crate::config::{RETRY_DELAY_MAX, TARGET_ANSWER_MAX, TARGET_PATIENCE};
use crate::core::Core;
use crate::extent::{Extent, owner_first};
use crate::operation::Stage;
use crate::owner::Phase;
use crate::slots::Key;
use evenkeel_meta::Route;
use evenkeel_peer::{Attach, Detach, Message, Refusal};
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::{Region, Regions, ServerId, Version};

impl Extent {
    /// The servers that the route asks for, in the roles that it gives them. Everything that was attached is attached
    /// anew: an attachment belongs to an epoch.
    pub(crate) fn renew_links(&mut self, core: &mut Core, route: &Route) {
        let me = core.me();
        let Some(reign) = &self.reign else {
            return;
        };
        let target = reign.mover.as_ref().map(|mover| mover.to);
        let role_of = |server: ServerId| {
            if route.in_sync().any(|replica| replica == server) {
                Some(Role::InSync)
            } else if route.present().any(|replica| replica == server) {
                Some(Role::Syncing)
            } else if target == Some(server) {
                Some(Role::Target)
            } else if route.from == Some(server) {
                Some(Role::Replaced)
            } else {
                None
            }
        };
        let known: Vec<ServerId> = reign.links.iter().map(|link| link.server).collect();
        for server in known {
            self.drop_link(core, server);
        }
        let Some(reign) = &mut self.reign else {
            return;
        };
        reign.links.retain_mut(|link| match role_of(link.server) {
            Some(role) => {
                link.role = role;
                true
            }
            None => false,
        });
        for server in route.replicas.iter().copied().chain(route.from) {
            if server != me
                && let Some(role) = role_of(server)
                && reign.link(server).is_none()
            {
                reign.links.push(CopyLink::new(core.now, server, role));
            }
        }
        self.reconsider_writes(core);
    }

    /// Attaches the copies that are not attached, as far as their servers can be reached.
    pub(crate) fn tend_links(&mut self, core: &mut Core) {
        let servers: Vec<ServerId> = match &self.reign {
            Some(reign) => reign.links.iter().map(|link| link.server).collect(),
            None => return,
        };
        for server in servers {
            self.tend_link(core, server);
        }
    }

    /// A move is given up whose target cannot be attached for too long, or keeps a client's write waiting for too long.
    pub(crate) fn judge_target(&mut self, core: &mut Core) {
        let Some(reign) = &self.reign else {
            return;
        };
        let Some(link) = reign.links.iter().find(|link| link.role == Role::Target) else {
            return;
        };
        if reign.is_target_required() {
            return;
        }
        let too_late = [
            (link.unreachable_since, TARGET_PATIENCE, "the target could not be reached"),
            // A write counts from when it was sent, and comes by here at the latest when it is durable at this server.
            (link.unanswered_since(), TARGET_ANSWER_MAX, "the target did not answer in time"),
        ];
        for (since, patience, why) in too_late {
            let Some(since) = since else { continue };
            if core.now.since(since) >= patience {
                self.abort_move(core, why);
                return;
            }
            core.wake_at(self.id, since + patience);
        }
    }

    fn tend_link(&mut self, core: &mut Core, server: ServerId) {
        let (Some(reign), Some(route)) = (&mut self.reign, core.route(self.id)) else {
            return;
        };
        let (phase, epoch) = (reign.phase, reign.epoch);
        let is_linked = reign.mover.as_ref().is_some_and(|mover| mover.is_linked());
        let Some(link) = reign.link_mut(server) else {
            return;
        };
        let is_wanted = match link.role {
            Role::Target => phase == Phase::Serving && is_linked,
            _ => matches!(phase, Phase::Gathering | Phase::Entering | Phase::Serving),
        };
        let LinkState::Down { retry_at } = link.state else {
            return;
        };
        if !is_wanted {
            return;
        }
        if core.now < retry_at {
            core.wake_at(self.id, retry_at);
            return;
        }
        if core.session(server).is_some() {
            let attachment = core.serial();
            link.state = LinkState::Attaching { attachment };
            let part = link.role.part();
            let replicas = owner_first(&route.replicas, core.me()).to_vec();
            core.send(server, Message::Attach(Attach { extent: self.id, epoch, attachment, part, replicas }));
        }
    }

    /// A server attached: it has promised to follow this epoch only. Regions with equal versions are equal.
    pub(crate) fn handle_attached(
        &mut self,
        core: &mut Core,
        from: ServerId,
        answer: &evenkeel_peer::Attached,
    ) {
        let id = self.id;
        let Some(reign) = &mut self.reign else {
            return;
        };
        let (epoch, versions) = (reign.epoch, reign.versions.clone());
        let Some(link) = reign.link_mut(from) else {
            return;
        };
        let is_expected =
            matches!(link.state, LinkState::Attaching { attachment } if attachment == answer.attachment);
        if !is_expected || answer.epoch != epoch {
            return;
        }
        let theirs = if link.role == Role::Replaced {
            Box::new([Version::NONE; REGIONS_PER_EXTENT])
        } else {
            match <Box<[Version; REGIONS_PER_EXTENT]>>::try_from(answer.versions.clone().into_boxed_slice()) {
                Ok(theirs) => theirs,
                Err(_) => return,
            }
        };
        let equal = |region: &Region| versions[region.index()] == theirs[region.index()];
        let current = Region::all().filter(equal).fold(Regions::NONE, Regions::with);
        if link.role != Role::Replaced {
            link.count(&mut core.counters, |sum| sum.regions_equal += u64::from(current.count()));
        }
        link.unreachable_since = None;
        let is_replica = link.role.is_replica();
        let mut attached = Attached::new(answer.attachment, current, theirs);
        attached.space = if link.role == Role::Target { Regions::ALL } else { answer.space };
        link.state = LinkState::Attached(Box::new(attached));
        if is_replica && let Some(reign) = &mut self.reign {
            // It may have what was good nowhere before.
            reign.damaged.clear();
        }
        // Whatever lease this server once gave to it is void now.
        core.voided.remove(&(from, id));
        self.reconsider_writes(core);
        self.progress_reign(core);
    }

    /// A server refused an attach, or something under it.
    pub(crate) fn handle_link_refused(
        &mut self,
        core: &mut Core,
        from: ServerId,
        attachment: u64,
        refusal: Refusal,
    ) {
        let Some(link) = self.reign.as_mut().and_then(|reign| reign.link_mut(from)) else {
            return;
        };
        if link.attachment() != Some(attachment) {
            return;
        }
        let role = link.role;
        core.counters.stale_refusals += u64::from(matches!(refusal, Refusal::Stale { .. }));
        self.drop_link(core, from);
        if !matches!(refusal, Refusal::NotAttached)
            && let Some(link) = self.reign.as_mut().and_then(|reign| reign.link_mut(from))
        {
            link.state = LinkState::Down { retry_at: core.now + RETRY_DELAY_MAX };
            core.wake_at(self.id, core.now + RETRY_DELAY_MAX);
        }
        match refusal {
            Refusal::NoSpace if role == Role::Target => self.abort_move(core, "the target has no space"),
            Refusal::Stopped if role == Role::Target => {
                self.abort_move(core, "the target's store has stopped");
            }
            _ => {}
        }
        self.progress_reign(core);
    }

    /// Forgets an attachment: nothing is known of the copy any more. Writes that it has not answered stay unanswered
    /// until it is known again whether their regions are current there.
    pub(crate) fn drop_link(&mut self, core: &mut Core, server: ServerId) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(link) = reign.links.iter_mut().find(|link| link.server == server) else {
            return;
        };
        let state = std::mem::replace(&mut link.state, LinkState::Down { retry_at: core.now });
        link.unreachable_since.get_or_insert(core.now);
        let LinkState::Attached(attached) = state else {
            return;
        };
        let mut unanswered: Vec<Key> = Vec::new();
        for write in attached.writes.values() {
            if let Some(Stage::Writing(in_flight)) =
                core.operations.get_mut(write.operation).map(|operation| &mut operation.stage)
            {
                in_flight.unanswered -= 1;
                in_flight.owe(server, write.regions);
                unanswered.push(write.operation);
            }
        }
        for operation in unanswered {
            self.consider_write(core, operation);
        }
        self.lose_mender(core, server);
        self.lose_checked(core, server);
        self.unblock(core);
    }

    /// The owner itself needs an attached copy no longer.
    pub(crate) fn detach(&mut self, core: &mut Core, server: ServerId) {
        let attachment = self.reign.as_ref().and_then(|reign| reign.link(server)?.attachment());
        if let Some(attachment) = attachment {
            core.send(server, Message::Detach(Detach { extent: self.id, attachment }));
        }
        self.drop_link(core, server);
    }

    /// The extent's state is forgotten: its copies are attached anew when it is used again.
    pub(crate) fn detach_all(&mut self, core: &mut Core) {
        let servers: Vec<ServerId> = match &self.reign {
            Some(reign) => reign.links.iter().map(|link| link.server).collect(),
            None => return,
        };
        for server in servers {
            self.detach(core, server);
        }
    }

    /// Ends the part of a move's target.
    pub(crate) fn drop_target(&mut self, core: &mut Core) {
        let Some(link) = self.reign.as_ref().and_then(|reign| reign.target_link()) else {
            return;
        };
        let server = link.server;
        self.detach(core, server);
        if let Some(reign) = &mut self.reign {
            if let (Some(mover), Some(link)) =
                (&mut reign.mover, reign.links.iter().find(|link| link.server == server))
            {
                mover.counters = link.counters;
            }
            reign.links.retain(|link| link.server != server);
        }
        self.reconsider_writes(core);
    }

    /// A move's target gets a link of its own.
    pub(crate) fn link_target(&mut self, core: &Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if let Some(mover) = &reign.mover
            && reign.link(mover.to).is_none()
        {
            let mut link = CopyLink::new(core.now, mover.to, Role::Target);
            link.order.clone_from(&mover.order);
            link.rate = mover.rate;
            reign.links.push(link);
        }
    }

    /// Looks again at the writes that wait for a copy.
    pub(crate) fn reconsider_writes(&mut self, core: &mut Core) {
        let open: Vec<Key> = match &self.reign {
            Some(reign) => reign.open_writes.values().copied().collect(),
            None => return,
        };
        for key in open {
            self.consider_write(core, key);
        }
    }
}
