//! Connections between servers: in order and complete while they stand, like TCP; when one breaks, what was on its way
//! is lost, and each side learns of it in its own time, or never.

use crate::rng::Rng;
use evenkeel_types::{ServerId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// How the network behaves at present.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Of 1000 messages, so many are late.
    pub(crate) late: u64,
    /// The longest delay of a late one, in microseconds.
    pub(crate) late_max: u64,
}

impl Weather {
    pub(crate) const FAIR: Self = Self { late: 0, late_max: 0 };
}

/// Names a connection; one number for each that is made between two servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wire {
    pub(crate) pair: (ServerId, ServerId),
    pub(crate) number: u64,
}

#[derive(Debug, Default)]
struct Link {
    number: u64,
    /// Whether bytes still get to the first and to the second of the pair.
    passes: [bool; 2],
    /// Whether the first and the second of the pair take the connection for standing.
    up: [bool; 2],
    /// When the last message arrives at the first and the second.
    last: [Time; 2],
    /// Until when nothing gets to the first and to the second: it waits, as what TCP has not delivered does.
    stalled: [Time; 2],
    is_cut: bool,
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Net {
    links: BTreeMap<(ServerId, ServerId), Link>,
    rng: Rng,
    pub(crate) weather: Weather,
}

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It arrives then, if the connection stands so long.
    Arrives(Wire, Time),
    /// There is no connection, or it leads nowhere any more.
    Lost,
}

/// Two servers in order of their ids.
pub(crate) fn pair_of(a: ServerId, b: ServerId) -> (ServerId, ServerId) {
    if a < b { (a, b) } else { (b, a) }
}

impl Net {
    pub(crate) fn new(servers: &[ServerId], rng: Rng) -> Self {
        let mut links = BTreeMap::new();
        for a in servers {
            for b in servers.iter().filter(|b| a < *b) {
                links.insert((*a, *b), Link::default());
            }
        }
        Self { links, rng, weather: Weather::FAIR }
    }

    /// All pairs of servers.
    pub(crate) fn pairs(&self) -> Vec<(ServerId, ServerId)> {
        self.links.keys().copied().collect()
    }

    fn link(&mut self, a: ServerId, b: ServerId) -> &mut Link {
        self.links.get_mut(&pair_of(a, b)).expect("every pair of servers has a link")
    }

    pub(crate) fn send(&mut self, now: Time, from: ServerId, to: ServerId) -> Fate {
        let late = self.weather.late > 0 && self.rng.chance(self.weather.late);
        let delay =
            if late { self.rng.any_size(1000, self.weather.late_max) } else { self.rng.micros(30, 300) };
        let pair = pair_of(from, to);
        let link = self.link(from, to);
        let side = usize::from(to > from);
        if !link.up[1 - side] || !link.passes[side] {
            return Fate::Lost;
        }
        let at = (now + delay).max(link.last[side] + Duration::from_nanos(1)).max(link.stalled[side]);
        link.last[side] = at;
        Fate::Arrives(Wire { pair, number: link.number }, at)
    }

    /// Whether a message that was sent over this connection still arrives at the server.
    pub(crate) fn arrives(&mut self, wire: Wire, to: ServerId) -> bool {
        let side = usize::from(to == wire.pair.1);
        let link = self.link(wire.pair.0, wire.pair.1);
        link.number == wire.number && link.passes[side] && link.up[side]
    }

    /// Breaks the connection of a pair; what is on its way to either is lost, except to `spared`. The connection, if
    /// there was one.
    pub(crate) fn break_off(&mut self, a: ServerId, b: ServerId, spared: Option<ServerId>) -> Option<Wire> {
        let pair = pair_of(a, b);
        let link = self.link(a, b);
        let stood = link.passes[0] || link.passes[1];
        link.passes = [spared == Some(pair.0), spared == Some(pair.1)];
        stood.then_some(Wire { pair, number: link.number })
    }

    /// A side takes the connection for gone. False if it did already, or has another one.
    pub(crate) fn hang_up(&mut self, wire: Wire, server: ServerId) -> bool {
        let side = usize::from(server == wire.pair.1);
        let link = self.link(wire.pair.0, wire.pair.1);
        if link.number != wire.number || !link.up[side] {
            return false;
        }
        link.up[side] = false;
        link.passes = [false; 2];
        true
    }

    /// A side is gone altogether; what it sent may still arrive.
    pub(crate) fn forget_side(&mut self, wire: Wire, server: ServerId) {
        let side = usize::from(server == wire.pair.1);
        let link = self.link(wire.pair.0, wire.pair.1);
        if link.number == wire.number {
            link.up[side] = false;
        }
    }

    /// The present connection between two servers, as one of them sees it.
    pub(crate) fn wire(&mut self, server: ServerId, peer: ServerId) -> Option<Wire> {
        let pair = pair_of(server, peer);
        let link = self.link(server, peer);
        link.up[usize::from(server == pair.1)].then_some(Wire { pair, number: link.number })
    }

    /// The first of the pair makes a new connection, unless it takes the old one for standing or the link is cut, be it
    /// in one direction only.
    pub(crate) fn dial(&mut self, now: Time, pair: (ServerId, ServerId)) -> Option<Wire> {
        let link = self.link(pair.0, pair.1);
        if link.up[0] || link.is_cut || link.stalled.iter().any(|until| *until > now) {
            return None;
        }
        link.number += 1;
        link.passes = [true; 2];
        // Neither may use it before it is told; until then the second may take the old one for standing.
        link.up = [false; 2];
        Some(Wire { pair, number: link.number })
    }

    /// A side takes up a new connection; nothing arrives there before.
    pub(crate) fn answer(&mut self, now: Time, wire: Wire, server: ServerId) -> bool {
        let side = usize::from(server == wire.pair.1);
        let link = self.link(wire.pair.0, wire.pair.1);
        if link.number != wire.number || !link.passes[side] {
            return false;
        }
        link.up[side] = true;
        link.last[side] = link.last[side].max(now);
        true
    }

    /// Nothing sent over this connection arrives at the server before this time.
    pub(crate) fn hold_until(&mut self, wire: Wire, server: ServerId, at: Time) {
        let side = usize::from(server == wire.pair.1);
        let link = self.link(wire.pair.0, wire.pair.1);
        link.last[side] = link.last[side].max(at);
    }

    pub(crate) fn is_cut(&self, pair: (ServerId, ServerId)) -> bool {
        self.links.get(&pair).is_some_and(|link| link.is_cut)
    }

    pub(crate) fn cut(&mut self, pair: (ServerId, ServerId), is_cut: bool) {
        self.link(pair.0, pair.1).is_cut = is_cut;
    }

    /// Nothing more gets from one server to another until then; the other direction is not touched.
    pub(crate) fn stall(&mut self, from: ServerId, to: ServerId, until: Time) {
        let link = self.link(from, to);
        let side = usize::from(to > from);
        link.stalled[side] = link.stalled[side].max(until);
    }

    pub(crate) fn mend_all(&mut self) {
        for link in self.links.values_mut() {
            link.is_cut = false;
            link.stalled = [Time::ZERO; 2];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ServerId = ServerId(1);
    const B: ServerId = ServerId(2);

    fn connected() -> (Net, Wire) {
        let mut net = Net::new(&[A, B], Rng::new(1));
        let wire = net.dial(Time(5), (A, B)).unwrap();
        assert!(net.answer(Time(5), wire, A) && net.answer(Time(5), wire, B));
        (net, wire)
    }

    #[test]
    fn messages_of_one_connection_arrive_in_order() {
        let (mut net, _) = connected();
        net.weather = Weather { late: 500, late_max: 1_000_000 };
        let mut last = Time(0);
        for n in 0..100 {
            let Fate::Arrives(_, at) = net.send(Time(n), A, B) else { panic!("the connection stands") };
            assert!(at > last);
            last = at;
        }
    }

    #[test]
    fn what_is_on_its_way_is_lost_with_its_connection_and_never_comes_over_the_next() {
        let (mut net, old) = connected();
        assert!(matches!(net.send(Time(9), A, B), Fate::Arrives(..)));
        assert_eq!(net.break_off(A, B, None), Some(old));
        assert!(!net.arrives(old, B));
        assert!(net.hang_up(old, A));
        let new = net.dial(Time(10), (A, B)).unwrap();
        assert!(net.answer(Time(10), new, B));
        assert!(!net.arrives(old, B) && net.arrives(new, B));
    }

    #[test]
    fn a_side_that_has_not_noticed_sends_into_the_void() {
        let (mut net, old) = connected();
        net.break_off(A, B, None);
        assert_eq!(net.send(Time(9), A, B), Fate::Lost);
        assert_eq!(net.dial(Time(9), (A, B)), None);
        assert!(net.hang_up(old, A) && !net.hang_up(old, A));
        assert!(net.dial(Time(9), (A, B)).is_some());
    }

    #[test]
    fn one_direction_stalls_and_the_other_does_not() {
        let (mut net, old) = connected();
        net.stall(A, B, Time(1_000_000_000));
        let arrives =
            |fate| if let Fate::Arrives(_, at) = fate { at } else { panic!("the connection stands") };
        assert!(arrives(net.send(Time(9), A, B)) >= Time(1_000_000_000));
        assert!(arrives(net.send(Time(9), B, A)) < Time(1_000_000));
        // Who gives the connection up gets no other one meanwhile.
        assert!(net.hang_up(old, A));
        assert_eq!(net.dial(Time(10), (A, B)), None);
        assert!(net.dial(Time(1_000_000_000), (A, B)).is_some());
    }
}
