//! The address of a logical unit: `iscsi://HOST:PORT/IQN/LUN`, as libiscsi and QEMU write it.

use std::fmt::{self, Display};
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Well-known port of iSCSI (RFC 7143 section 4.2.7).
const PORT: u16 = 3260;

/// A logical unit of a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    host: String,
    port: u16,
    /// Name of the target.
    pub(super) name: String,
    /// Number of the logical unit.
    pub(super) lun: u8,
}

impl Target {
    /// Where its portal is.
    ///
    /// # Errors
    /// One line with the host that cannot be found.
    pub(super) fn address(&self) -> Result<SocketAddr, String> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        found
            .map_err(|e| format!("host '{}': {e}", self.host))?
            .next()
            .ok_or_else(|| format!("host '{}' has no address", self.host))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what}; write iscsi://HOST:PORT/IQN/LUN");
        let rest = text.strip_prefix("iscsi://").ok_or_else(|| wrong("it does not begin with iscsi://"))?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [portal, name, lun] = parts[..] else {
            return Err(wrong("it does not have a portal, a target name and a LUN"));
        };
        let (host, port) = match portal.strip_prefix('[') {
            // An IPv6 address is in brackets.
            Some(bracketed) => {
                let (host, rest) =
                    bracketed.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
                let port = if rest.is_empty() { Some("3260") } else { rest.strip_prefix(':') };
                (host, port.ok_or_else(|| wrong("there is no port behind the bracket"))?.parse())
            }
            None => match portal.split_once(':') {
                Some((host, port)) => (host, port.parse()),
                None => (portal, Ok(PORT)),
            },
        };
        let port = port.ok().filter(|port| *port != 0).ok_or_else(|| wrong("its port is no port number"))?;
        if host.is_empty() || name.is_empty() {
            return Err(wrong("it names no host or no target"));
        }
        let lun = lun.parse().map_err(|_| wrong("its LUN is no number from 0 to 255"))?;
        Ok(Self { host: host.to_owned(), port, name: name.to_owned(), lun })
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "iscsi://{open}{}{close}:{}/{}/{}", self.host, self.port, self.name, self.lun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host, port, shown) in [
            ("iscsi://h/iqn.a:b/0", "h", 3260, "iscsi://h:3260/iqn.a:b/0"),
            ("iscsi://127.0.0.1:3261/iqn.a:b/0", "127.0.0.1", 3261, "iscsi://127.0.0.1:3261/iqn.a:b/0"),
            ("iscsi://[::1]:99/iqn.a:b/0", "::1", 99, "iscsi://[::1]:99/iqn.a:b/0"),
            ("iscsi://[::1]/iqn.a:b/0", "::1", 3260, "iscsi://[::1]:3260/iqn.a:b/0"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port), "{text}");
            assert_eq!((target.name.as_str(), target.lun), ("iqn.a:b", 0));
            assert_eq!(target.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_what_is_wrong() {
        for (text, word) in [
            ("http://h/a/0", "begin with iscsi://"),
            ("iscsi://h/a", "a target name and a LUN"),
            ("iscsi://h/a/0/1", "a target name and a LUN"),
            ("iscsi://h:x/a/0", "port"),
            ("iscsi://h:0/a/0", "port"),
            ("iscsi://[::1/a/0", "bracket"),
            ("iscsi://[::1]9/a/0", "bracket"),
            ("iscsi:///a/0", "no host"),
            ("iscsi://h//0", "no target"),
            ("iscsi://h/a/256", "0 to 255"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(word) && error.contains("iscsi://HOST:PORT/IQN/LUN"), "{text}: {error}");
        }
    }
}
