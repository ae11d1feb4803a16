//! Who a nexus is: an initiator port and a target port (SAM-5 clause 4.8; RFC 7143 section 4.4.2).

use std::fmt;

/// Bytes of an iSCSI name at most (RFC 7143 section 4.2.7.1).
pub const NAME_BYTES_MAX: usize = 223;

/// An iSCSI initiator port: the name of the initiator and the ISID of its session.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InitiatorPort {
    name: String,
    isid: [u8; 6],
}

impl InitiatorPort {
    /// The port with this name, in lower case as iSCSI names are compared (RFC 7143 section 4.2.7.2), and this ISID.
    /// `None` if the name is empty, longer than [`NAME_BYTES_MAX`] or has control characters.
    #[must_use]
    pub fn new(name: &str, isid: [u8; 6]) -> Option<Self> {
        let possible = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
        possible.then(|| Self { name: name.to_ascii_lowercase(), isid })
    }

    /// The iSCSI name of the initiator.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The initiator's part of the session's identity.
    #[must_use]
    pub const fn isid(&self) -> [u8; 6] {
        self.isid
    }
}

impl fmt::Display for InitiatorPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},i,0x", self.name)?;
        self.isid.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An I_T nexus. It is the same after the session has ended and a new one has taken its place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Nexus {
    /// The initiator port.
    pub initiator: InitiatorPort,
    /// RELATIVE TARGET PORT IDENTIFIER of the target port.
    pub port: u16,
}

impl Nexus {
    /// The nexus of these two ports.
    #[must_use]
    pub const fn new(initiator: InitiatorPort, port: u16) -> Self {
        Self { initiator, port }
    }
}

impl fmt::Display for Nexus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at port {}", self.initiator, self.port)
    }
}

/// A session of a nexus, which a reservation by RESERVE ends with. Given by the transport, never used again for another
/// session at the same target port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SessionId {
    /// Which start of the target port the session belongs to.
    pub incarnation: u64,
    /// Its number among the sessions of that.
    pub number: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_lower_case() {
        let port = |name| InitiatorPort::new(name, [1; 6]).unwrap();
        assert_eq!(port("iqn.2026-01.Test:Host"), port("iqn.2026-01.test:host"));
        assert_eq!(port("iqn.a").to_string(), "iqn.a,i,0x010101010101");
    }

    #[test]
    fn a_name_that_none_may_have_is_refused() {
        let longest = "i".repeat(NAME_BYTES_MAX);
        assert!(InitiatorPort::new(&longest, [0; 6]).is_some());
        for name in ["", "a\0b", "a\nb", &format!("{longest}i")] {
            assert!(InitiatorPort::new(name, [0; 6]).is_none(), "{name:?}");
        }
    }
}
