//! The open connections of one server, and what waits to be sent on them.

use super::security::Security;
use crate::clock::now;
use crate::security::certificate::Fingerprint;
use evenkeel_peer::{Encoder, Local, Message, Peer};
use evenkeel_types::{Bytes, ServerId, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use tokio::sync::Notify;

/// The open connections of one server.
pub(crate) struct PeerLinks {
    encoder: Encoder,
    pub(super) local: Local,
    /// What the server shows and believes, if its group has an authority.
    pub(super) security: Option<Rc<Security>>,
    pub(super) links: BTreeMap<ServerId, Link>,
    next_link: u64,
}

pub(super) struct Link {
    pub(super) number: u64,
    pub(super) peer: Peer,
    /// What the peer has shown.
    pub(super) certificate: Option<Fingerprint>,
    pub(super) outbox: VecDeque<Bytes>,
    pub(super) outbox_bytes: usize,
    /// When the kernel last took something, or nothing was left to be taken.
    pub(super) taken_at: Time,
    pub(super) wake: Rc<Notify>,
}

impl PeerLinks {
    pub(crate) fn new(local: Local, security: Option<Security>) -> Self {
        let me = Peer { server: local.server, incarnation: local.incarnation };
        Self {
            encoder: Encoder::new(me, local.group_hash()),
            local,
            security: security.map(Rc::new),
            links: BTreeMap::new(),
            next_link: 0,
        }
    }

    /// Queues a message. Without a connection it is gone, as on a connection that breaks: the engine knows.
    pub(crate) fn send(&mut self, to: ServerId, message: &Message) {
        let Some(link) = self.links.get_mut(&to) else { return };
        if link.outbox.is_empty() {
            link.taken_at = now();
        }
        for piece in self.encoder.encode(message) {
            link.outbox_bytes += piece.len();
            link.outbox.push_back(piece);
        }
        link.wake.notify_one();
    }

    /// The servers that there is a connection to.
    pub(crate) fn connected(&self) -> impl Iterator<Item = ServerId> {
        self.links.keys().copied()
    }

    pub(super) fn open(&mut self, peer: Peer, certificate: Option<Fingerprint>) -> (u64, Rc<Notify>) {
        let wake = Rc::new(Notify::new());
        self.next_link += 1;
        let link = Link {
            number: self.next_link,
            peer,
            certificate,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            taken_at: now(),
            wake: Rc::clone(&wake),
        };
        if let Some(old) = self.links.insert(peer.server, link) {
            // Its task finds that the link is no longer its own, and ends.
            old.wake.notify_one();
        }
        (self.next_link, wake)
    }

    /// Gives a connection up; true if there was one. What still arrives on it is not carried out.
    pub(crate) fn close(&mut self, server: ServerId) -> bool {
        match self.links.remove(&server) {
            Some(link) => {
                link.wake.notify_one();
                true
            }
            None => false,
        }
    }

    /// The peers whose connections were made with one of these certificates.
    pub(super) fn shown(&self, certificates: &BTreeSet<Fingerprint>) -> Vec<ServerId> {
        let with = |link: &Link| link.certificate.is_some_and(|shown| certificates.contains(&shown));
        self.links.iter().filter(|(_, link)| with(link)).map(|(server, _)| *server).collect()
    }

    /// The link, if it still is this one.
    pub(super) fn own(&mut self, peer: Peer, number: u64) -> Option<&mut Link> {
        self.links.get_mut(&peer.server).filter(|link| link.number == number)
    }
}
