//! Servers, and sets of them.

use std::fmt::{Display, Formatter};

/// Servers that a state has room for.
pub(crate) const SERVERS_MAX: usize = 4;

/// A server of the group. Timelines call them A, B, C and D.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ServerId(pub(crate) u8);

impl ServerId {
    /// Its place in arrays.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Display for ServerId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", char::from(b'A' + self.0))
    }
}

/// A set of servers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Servers(u8);

impl Servers {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn one(server: ServerId) -> Self {
        Self(1 << server.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn contains(self, server: ServerId) -> bool {
        self.0 >> server.0 & 1 == 1
    }

    pub(crate) const fn with(self, server: ServerId) -> Self {
        Self(self.0 | 1 << server.0)
    }

    pub(crate) const fn without(self, server: ServerId) -> Self {
        Self(self.0 & !(1 << server.0))
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = ServerId> {
        (0..SERVERS_MAX as u8).map(ServerId).filter(move |server| self.contains(*server))
    }
}

impl FromIterator<ServerId> for Servers {
    fn from_iter<I: IntoIterator<Item = ServerId>>(servers: I) -> Self {
        servers.into_iter().fold(Self::NONE, Self::with)
    }
}
