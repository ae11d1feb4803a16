//! The sessions of a portal: handles (TSIH), and reinstatement of a session by its initiator (RFC 7143 section 6.3.5).
//! A registry that drivers share among connections; it does no I/O and holds no connection.

use super::config::{NexusName, Opening};
use std::collections::BTreeMap;

/// Sessions of a portal at most.
pub const SESSIONS_MAX: usize = 4096;

/// Names a connection for the driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

#[derive(Clone, Copy, Debug)]
struct Entry {
    tsih: u16,
    connection: ConnectionId,
    /// The connection that takes the place of this one as soon as it has ended.
    successor: Option<ConnectionId>,
}

/// What follows from the wish for a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// What to tell the connection that wished for it.
    pub opening: Opening,
    /// The connection to end first ([`crate::target::Connection::close`] with `Reinstated`).
    pub replaces: Option<ConnectionId>,
    /// A connection that waited for the same place and is outrun: to be closed.
    pub outrun: Option<ConnectionId>,
}

/// The registry.
#[derive(Debug, Default)]
pub struct Sessions {
    by_nexus: BTreeMap<NexusName, Entry>,
    by_tsih: BTreeMap<u16, NexusName>,
    last_tsih: u16,
}

impl Sessions {
    /// Opens a session. A former one of the same nexus has to end first.
    pub fn open(&mut self, nexus: &NexusName, connection: ConnectionId) -> Opened {
        if let Some(former) = self.by_nexus.get_mut(nexus) {
            let outrun = former.successor.replace(connection);
            return Opened { opening: Opening::Wait, replaces: Some(former.connection), outrun };
        }
        let opening = match self.insert(nexus, connection) {
            Some(tsih) => Opening::Ready(tsih),
            None => Opening::Full,
        };
        Opened { opening, replaces: None, outrun: None }
    }

    /// A session has ended (or a connection that waited for one). Gives the connection that takes its place, with its
    /// handle.
    pub fn end(&mut self, nexus: &NexusName, connection: ConnectionId) -> Option<(ConnectionId, u16)> {
        let entry = self.by_nexus.get_mut(nexus)?;
        if entry.connection != connection {
            if entry.successor == Some(connection) {
                entry.successor = None;
            }
            return None;
        }
        let successor = entry.successor;
        self.by_tsih.remove(&entry.tsih);
        self.by_nexus.remove(nexus);
        let next = successor?;
        self.insert(nexus, next).map(|tsih| (next, tsih))
    }

    /// Who the session with this handle is between, if there is one.
    #[must_use]
    pub fn nexus(&self, tsih: u16) -> Option<&NexusName> {
        self.by_tsih.get(&tsih)
    }

    /// Number of sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_nexus.len()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_nexus.is_empty()
    }

    fn insert(&mut self, nexus: &NexusName, connection: ConnectionId) -> Option<u16> {
        if self.by_nexus.len() >= SESSIONS_MAX {
            return None;
        }
        // There are more handles than sessions, so a free one is found; zero is not a handle.
        let tsih = std::iter::successors(Some(self.last_tsih), |tsih| Some(tsih.wrapping_add(1)))
            .skip(1)
            .find(|tsih| *tsih != 0 && !self.by_tsih.contains_key(tsih))?;
        self.last_tsih = tsih;
        self.by_tsih.insert(tsih, nexus.clone());
        self.by_nexus.insert(nexus.clone(), Entry { tsih, connection, successor: None });
        Some(tsih)
    }
}

const _: () = assert!(SESSIONS_MAX < u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdu::Isid;

    fn nexus(n: u8) -> NexusName {
        let target = Some("iqn.2026-01.io.evenkeel:g:v".to_owned());
        NexusName {
            initiator: "iqn.2026-01.test:i".to_owned(),
            isid: Isid([n; 6]),
            target,
            portal_group_tag: 1,
        }
    }

    #[test]
    fn handles_are_not_zero_and_not_shared() {
        let mut sessions = Sessions { last_tsih: u16::MAX, ..Sessions::default() };
        assert_eq!(sessions.open(&nexus(1), ConnectionId(1)).opening, Opening::Ready(1));
        assert_eq!(sessions.open(&nexus(2), ConnectionId(2)).opening, Opening::Ready(2));
        sessions.last_tsih = 0;
        assert_eq!(sessions.open(&nexus(3), ConnectionId(3)).opening, Opening::Ready(3));
        assert_eq!((sessions.nexus(2), sessions.nexus(4)), (Some(&nexus(2)), None));
    }

    #[test]
    fn a_session_of_the_same_nexus_waits_for_the_former_to_end() {
        let mut sessions = Sessions::default();
        sessions.open(&nexus(1), ConnectionId(1));
        let second = sessions.open(&nexus(1), ConnectionId(2));
        let expected = Opened { opening: Opening::Wait, replaces: Some(ConnectionId(1)), outrun: None };
        assert_eq!(second, expected);
        assert_eq!(sessions.open(&nexus(1), ConnectionId(3)).outrun, Some(ConnectionId(2)));
        assert_eq!(sessions.end(&nexus(1), ConnectionId(2)), None);
        assert_eq!(sessions.end(&nexus(1), ConnectionId(1)), Some((ConnectionId(3), 2)));
        assert_eq!(sessions.end(&nexus(1), ConnectionId(3)), None);
        assert!(sessions.is_empty());
    }

    #[test]
    fn sessions_are_bounded() {
        let mut sessions = Sessions::default();
        let name = |n: usize| NexusName { initiator: format!("i{n}"), ..nexus(0) };
        for n in 0..SESSIONS_MAX {
            assert!(matches!(sessions.open(&name(n), ConnectionId(0)).opening, Opening::Ready(_)));
        }
        assert_eq!(sessions.open(&name(SESSIONS_MAX), ConnectionId(0)).opening, Opening::Full);
    }
}
