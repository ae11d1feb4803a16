//! Cuts of the network that are more than a broken connection: of one direction only, and of one server from everybody.

use crate::coverage::Row;
use crate::faults::Fault;
use crate::log::About;
use crate::net::pair_of;
use crate::world::{Happening, World};
use evenkeel_types::ServerId;

impl World<'_> {
    /// Nothing gets from one server to another for a while, while the other direction is as ever; now and then to or from
    /// all others.
    pub(crate) fn cut_one_way(&mut self, server: ServerId) {
        self.coverage.count(Row::OneWay);
        let others: Vec<ServerId> = self.servers.keys().copied().filter(|peer| *peer != server).collect();
        let peers = if self.rng.chance(600) { vec![*self.rng.pick(&others)] } else { others };
        let (until, is_out) = (self.now() + self.rng.millis(300, 9000), self.rng.chance(500));
        for peer in peers {
            let (from, to) = if is_out { (server, peer) } else { (peer, server) };
            self.net.stall(from, to, until);
            self.note(About::Group, format_args!("nothing gets from {from} to {to} until {until}"));
        }
    }

    /// A server is cut off from all others and from the directory, and no connection says so; its hosts reach it.
    pub(crate) fn cut_off(&mut self, server: ServerId) {
        self.coverage.count(Row::CutOff);
        let until = self.now() + self.rng.millis(1500, 8000);
        self.note(About::Group, format_args!("{server} is cut off until {until}"));
        let mine = self.server(server);
        mine.deaf_until = mine.deaf_until.max(until);
        mine.dark_until = until;
        let others: Vec<ServerId> = self.servers.keys().copied().filter(|peer| *peer != server).collect();
        for peer in others {
            self.net.cut(pair_of(server, peer), true);
            self.net.break_off(server, peer, None);
            self.clock.at(until, Happening::Fault(Fault::Mend(pair_of(server, peer))));
        }
    }
}
