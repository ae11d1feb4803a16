//! Whether a server that the group went on without reaches those whom it needs, before it comes back.
//!
//! As soon as it is syncing, the owners of its extents wait for it with every write and every lease, until they have it
//! marked down again. One that reaches the directory but not its owners would stand in their way for seconds, for nothing:
//! it cannot catch up. So it stays down until it reaches them.

use crate::error::{ServeError, error};
use evenkeel_meta::View;
use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long an owner's peer port may take to accept a connection: as a connection between servers may be silent.
const REACHED_WITHIN: Duration = Duration::from_secs(2);

/// Tries the peer ports of all servers that own extents of which this one has copies.
///
/// # Errors
/// One line: whom it does not reach.
pub(super) fn owners(view: &View, server: &str) -> Result<(), ServeError> {
    let Some(me) = view.server_named(server) else { return Ok(()) };
    for owner in view.owners_for(me).present {
        let Some(kept) = view.server(owner) else { continue };
        let (name, address) = (&kept.record.name, &kept.record.peer);
        connect(address).map_err(|e| {
            error(format!(
                "server '{server}': owners of its extents have to bring it up to date, and it does not reach '{name}' at \
                 {address}: {e}"
            ))
        })?;
    }
    Ok(())
}

fn connect(address: &str) -> io::Result<()> {
    let nowhere = || io::Error::new(ErrorKind::InvalidInput, "the address leads nowhere");
    let address = address.to_socket_addrs()?.next().ok_or_else(nowhere)?;
    TcpStream::connect_timeout(&address, REACHED_WITHIN).map(drop)
}
