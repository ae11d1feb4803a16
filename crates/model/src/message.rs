//! Messages on their way. They arrive in any order, late, or never.

use crate::history::History;
use crate::server::{Region, Version};
use crate::set::ServerId;

/// Messages on their way at once; one more is lost.
pub(crate) const MESSAGES_MAX: usize = 4;

/// From whom to whom, and in which reign.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Route {
    pub(crate) from: ServerId,
    pub(crate) to: ServerId,
    pub(crate) epoch: u8,
    pub(crate) incarnation: u8,
}

/// The part of a message that a write and a copy share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Change {
    pub(crate) region: Region,
    pub(crate) version: Version,
    pub(crate) previous: Version,
}

/// A transaction on the route entry: who sent it in which reign, and the entry that it was made on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Proposal {
    pub(crate) by: ServerId,
    pub(crate) incarnation: u8,
    pub(crate) epoch: u8,
    pub(crate) entry: u8,
}

/// What is on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Message {
    /// To a replica: apply a write.
    Write { route: Route, change: Change, write: u8 },
    /// To a replica: take the content of a region.
    Copy { route: Route, change: Change, content: History },
    /// To the directory: a syncing server becomes up, if its record is still the one of that revision.
    Up { server: ServerId, record: u8 },
    /// To the directory: `to` takes the place of `replaces`.
    Propose { proposal: Proposal, to: ServerId, replaces: ServerId },
    /// To the directory: the replica `to` comes first and owns. `replicas` is what the entry said.
    Switch { proposal: Proposal, to: ServerId, replicas: [Option<ServerId>; 3] },
}

impl Message {
    /// The server that it goes to; none for the directory.
    pub(crate) fn receiver(&self) -> Option<ServerId> {
        match self {
            Self::Write { route, .. } | Self::Copy { route, .. } => Some(route.to),
            Self::Up { .. } | Self::Propose { .. } | Self::Switch { .. } => None,
        }
    }

    /// The server that sent it.
    pub(crate) fn sender(&self) -> ServerId {
        match self {
            Self::Write { route, .. } | Self::Copy { route, .. } => route.from,
            Self::Up { server, .. } => *server,
            Self::Propose { proposal, .. } | Self::Switch { proposal, .. } => proposal.by,
        }
    }
}

/// The messages, in an order of their own, so that equal sets are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Network {
    messages: [Option<Message>; MESSAGES_MAX],
}

impl Network {
    pub(crate) fn has_room(&self) -> bool {
        self.messages[MESSAGES_MAX - 1].is_none()
    }

    pub(crate) fn send(&mut self, message: Message) {
        if self.has_room() {
            self.messages[MESSAGES_MAX - 1] = Some(message);
            self.tidy();
        }
    }

    pub(crate) fn take(&mut self, at: usize) {
        self.messages[at] = None;
        self.tidy();
    }

    pub(crate) fn retain(&mut self, wanted: impl Fn(&Message) -> bool) {
        for place in &mut self.messages {
            *place = place.filter(|message| wanted(message));
        }
        self.tidy();
    }

    /// Each message with its place, equal ones once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Message)> {
        let distinct = |at: &usize| *at == 0 || self.messages[*at] != self.messages[at - 1];
        (0..MESSAGES_MAX).filter(distinct).filter_map(|at| Some((at, self.messages[at]?)))
    }

    pub(crate) fn any(&self, wanted: impl Fn(&Message) -> bool) -> bool {
        self.messages.iter().flatten().any(wanted)
    }

    /// Messages first, so that the last place tells whether there is room.
    fn tidy(&mut self) {
        self.messages.sort_unstable_by(|a, b| b.cmp(a));
    }
}
