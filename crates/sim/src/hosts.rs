//! Hosts and their paths: what lies unread before a gateway that stands still, and what becomes of it when the gateway
//! goes on.
//!
//! A host with several paths gives one up that has been silent for [`PATH_PATIENCE`], and sends what it has open there
//! through another gateway. What it gave up must not happen any more from then on, whatever the silent gateway had read,
//! sent on, or not even read. A server that stood still for longer than its peers wait for it closes its hosts'
//! connections before it reads a byte from them, as the daemon does.

use crate::checkers::Violation;
use crate::clients::ZOMBIE_MAX;
use crate::coverage::Row;
use crate::log::About;
use crate::world::{Happening, Life, World};
use evenkeel_engine::config::PEER_SILENCE_MAX;
use evenkeel_engine::{Event, RequestId};
use evenkeel_types::{BlockOp, ServerId, Time, VolumeId};
use std::time::Duration;

/// How long a host waits for a sign of life on a path before it gives it up. More than [`ZOMBIE_MAX`]: what was sent
/// before the silence began is carried out by then, or never.
const PATH_PATIENCE: Duration = Duration::from_millis(5000);

/// A request on its way from a host to its gateway.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    pub(crate) id: RequestId,
    pub(crate) volume: VolumeId,
    pub(crate) op: BlockOp,
}

impl World<'_> {
    /// A host sends a request: it is read at once, or when the gateway goes on.
    pub(crate) fn submit(&mut self, gateway: ServerId, submission: Submission) -> Result<(), Violation> {
        let life = self.servers[&gateway].life();
        if self.servers[&gateway].asleep_until(self.now()).is_some() {
            self.clock.after(Duration::ZERO, Happening::Submitted { life, submission });
            return Ok(());
        }
        let proof_at = self.now();
        self.take_up(life, submission, proof_at)
    }

    /// A request that lay unread is read, if its connection is not closed before.
    pub(crate) fn submitted(&mut self, life: Life, submission: Submission) -> Result<(), Violation> {
        let slept_from = self.servers[&life.server].slept_from();
        if self.servers[&life.server].life() != life || self.now().since(slept_from) > PEER_SILENCE_MAX {
            self.coverage.count(Row::UnreadDropped);
            return Ok(());
        }
        // It may have lain there since the gateway read last.
        self.coverage.count(Row::UnreadTaken);
        self.take_up(life, submission, slept_from)
    }

    fn take_up(&mut self, life: Life, submission: Submission, proof_at: Time) -> Result<(), Violation> {
        let Submission { id, volume, op } = submission;
        let proof_at = self.servers[&life.server].local(proof_at);
        self.note_taken(life.server, id, volume);
        self.tell(life.server, Event::Request { id, volume, op, proof_at, digest: false })
    }

    /// A server stands still, as if its process were stopped. Its hosts give their sessions up, or their paths.
    pub(crate) fn pause(&mut self, server: ServerId) -> Result<(), Violation> {
        if self.servers[&server].running.is_none() {
            return Ok(());
        }
        let span = match self.rng.chance(200) {
            true => self.rng.millis(5500, 9000),
            false => self.rng.any_size(100_000, 6_000_000),
        };
        self.stand_still(server, span)
    }

    /// The same for a given time.
    pub(crate) fn stand_still(&mut self, server: ServerId, span: Duration) -> Result<(), Violation> {
        let (now, until) = (self.now(), self.now() + span);
        self.note(About::Group, format_args!("{server} stands still until {until}"));
        self.server(server).sleep(now, until);
        if span < PEER_SILENCE_MAX {
            return Ok(());
        }
        self.coverage.count(Row::Pause);
        let life = self.servers[&server].life();
        for client in 0..self.clients.len() {
            if self.clients[client].gateway != server {
                continue;
            }
            if self.clients[client].has_paths {
                self.clock.after(PATH_PATIENCE, Happening::PathSilent { life, client, since: now });
            } else {
                // The cancellations reach the gateway when it goes on.
                self.client_vanishes(client, Duration::ZERO)?;
            }
        }
        self.clock.at(until, Happening::Woke { life });
        Ok(())
    }

    /// A gateway goes on after it stood still for too long: it closes its hosts' connections.
    pub(crate) fn woke(&mut self, life: Life) -> Result<(), Violation> {
        if self.servers[&life.server].life() != life {
            return Ok(());
        }
        for client in 0..self.clients.len() {
            if self.clients[client].gateway == life.server && !self.clients[client].open.is_empty() {
                self.client_vanishes(client, Duration::ZERO)?;
            }
        }
        Ok(())
    }

    /// A host has heard nothing on a path for too long: it gives it up, and goes on through another one.
    pub(crate) fn path_silent(&mut self, life: Life, client: usize, since: Time) -> Result<(), Violation> {
        let gateway = life.server;
        let server = &self.servers[&gateway];
        let is_silent = server.life() == life
            && server.slept_from() == since
            && server.asleep_until(self.now()).is_some()
            && self.clients[client].gateway == gateway;
        if !is_silent {
            return Ok(());
        }
        let now = self.now();
        let runs = |server: &&crate::server::SimServer| {
            server.id != gateway && server.running.is_some() && server.asleep_until(now).is_none()
        };
        let others: Vec<ServerId> = self.servers.values().filter(runs).map(|server| server.id).collect();
        let open = std::mem::take(&mut self.clients[client].open);
        self.coverage.count(Row::PathGivenUp);
        self.note(About::Group, format_args!("client {client} gives its path through {gateway} up"));
        for (id, op) in &open {
            // Nobody proved since then that the host lives.
            op.lost(&mut self.registers, since + ZOMBIE_MAX)?;
            self.clock.after(Duration::ZERO, Happening::Cancel { life, client, id: *id });
        }
        self.registers.expire(now)?;
        self.clients[client].is_alive = false;
        if others.is_empty() {
            return Ok(());
        }
        self.clients[client].gateway = *self.rng.pick(&others);
        for op in open.into_values() {
            self.coverage.add(Row::PathRetried, op.is_write().into());
            self.ask(client, op.wish, op.volume, op.at)?;
        }
        Ok(())
    }
}
