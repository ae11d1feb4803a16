//! Where an etcd is, as people write it: `etcd://HOST[:PORT][,HOST[:PORT]...]`, or `etcds://` for TLS.

use crate::error::{ServeError, error};
use std::fmt;
use std::path::PathBuf;

/// etcd's port for clients.
const PORT: u16 = 2379;
/// Members that can be named.
const MEMBERS_MAX: usize = 16;

/// One member: a host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The members of an etcd and how they are spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdAddress {
    pub(super) members: Vec<Member>,
    pub(super) tls: bool,
}

/// Files for TLS with etcd, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdTls {
    /// Certificates of the authority that signed etcd's.
    pub ca: Option<PathBuf>,
    /// This client's certificate and key, where etcd asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl EtcdAddress {
    /// Whether it is spoken to with TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Reads an address as people write it.
    ///
    /// # Errors
    /// One line with the address and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ServeError> {
        let wrong = |why: String| {
            error(format!(
                "directory '{text}': {why}; write embedded, or etcd://HOST:PORT with more after commas"
            ))
        };
        let (tls, members) = match text.split_once("://") {
            Some(("etcd", members)) => (false, members),
            Some(("etcds", members)) => (true, members),
            _ => return Err(wrong("is not known".to_owned())),
        };
        let members: Result<Vec<Member>, String> = members.split(',').map(member).collect();
        let members = members.map_err(wrong)?;
        if members.len() > MEMBERS_MAX {
            return Err(wrong(format!(
                "names {} members, at most {MEMBERS_MAX} are possible",
                members.len()
            )));
        }
        Ok(Self { members, tls })
    }
}

impl fmt::Display for EtcdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<String> = self.members.iter().map(Member::to_string).collect();
        write!(f, "{}://{}", if self.tls { "etcds" } else { "etcd" }, members.join(","))
    }
}

fn member(text: &str) -> Result<Member, String> {
    // The port is behind the last colon, unless that one is within the brackets of an IPv6 address.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0);
            (host, port.ok_or_else(|| format!("'{text}' has no port from 1 to 65535 behind its colon"))?)
        }
        _ => (text, PORT),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_sound = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.len() <= 253 && host.chars().all(ok)
        }
    };
    if is_sound {
        Ok(Member { host: bare.unwrap_or(host).to_owned(), port })
    } else {
        Err(format!("'{text}' is no host with a port"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_members_with_etcds_port_by_default() {
        let address = EtcdAddress::parse("etcd://a:1,b-2.lan,[::1]:3,[::1],10.0.0.1").unwrap();
        let members: Vec<String> = address.members.iter().map(ToString::to_string).collect();
        assert_eq!(members, ["a:1", "b-2.lan:2379", "[::1]:3", "[::1]:2379", "10.0.0.1:2379"]);
        assert!(!address.tls);
        assert!(EtcdAddress::parse("etcds://a").unwrap().tls);
        assert_eq!(EtcdAddress::parse("etcds://a").unwrap().to_string(), "etcds://a:2379");
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_text() {
        for text in [
            "",
            "etcd",
            "a:1",
            "http://a:1",
            "etcd://",
            "etcd://a,",
            "etcd://a:0",
            "etcd://a:x",
            "etcd://a b",
            "etcd://::1",
            "etcd://[a]:1",
            "etcd://user:pw@a:1",
            "etcd://a:1/x",
        ] {
            let line = EtcdAddress::parse(text).unwrap_err().to_string();
            assert!(line.contains(&format!("'{text}'")) && !line.contains('\n'), "{line}");
        }
        assert!(EtcdAddress::parse(&format!("etcd://{}a", "a,".repeat(16))).is_err());
    }
}
