//! What a configuration must keep to.

use super::{GROUP_NAME_CHARS_MAX, SERVER_NAME_CHARS_MAX, SERVERS_PER_PROCESS_MAX, ServeConfig};
use crate::error::{ServeError, error};
use evenkeel_api::parse_size;

/// Whether a group can have this name.
pub(crate) fn check_group_name(name: &str) -> Result<(), ServeError> {
    check_word("group", name, GROUP_NAME_CHARS_MAX)
}

/// Whether a server can have this name.
pub(crate) fn check_server_name(name: &str) -> Result<(), ServeError> {
    check_word("server name", name, SERVER_NAME_CHARS_MAX)
}

fn check_word(what: &str, value: &str, max: usize) -> Result<(), ServeError> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if value.is_empty() || value.len() > max || !value.chars().all(ok) {
        return Err(error(format!("{what} '{value}': use 1 to {max} of a-z, 0-9 and -")));
    }
    Ok(())
}

impl ServeConfig {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One line with the offending key and value.
    pub fn validate(&self) -> Result<(), ServeError> {
        check_group_name(&self.group)?;
        self.scrub.rate_bytes()?;
        if !self.iqn_prefix.starts_with("iqn.")
            || self.iqn_prefix.len() > 96
            || self.iqn_prefix.contains(char::is_whitespace)
        {
            return Err(error(format!(
                "iqn_prefix '{}': must begin with iqn. and have at most 96 characters",
                self.iqn_prefix
            )));
        }
        self.etcd()?;
        self.check_api_address()?;
        if !self.api.ip().is_loopback() && self.api_token_path().is_none() {
            return Err(error(format!(
                "api '{}': must be a loopback address such as 127.0.0.1:8260, there is no token; 'evenkeel group init' \
                 makes one, api_token names another file",
                self.api
            )));
        }
        if self.api.port() == 0 {
            return Err(error(format!("api '{}': port 0 is none, name the port to listen on", self.api)));
        }
        for (what, weight) in
            [("storage_weight", self.balance.storage_weight), ("server_weight", self.balance.server_weight)]
        {
            if !weight.is_finite() || weight < 0.0 {
                return Err(error(format!("balance.{what} {weight}: must be a number from 0 on")));
            }
        }
        if self.servers.is_empty() || self.servers.len() > SERVERS_PER_PROCESS_MAX {
            return Err(error(format!(
                "{} servers: one process runs 1 to {SERVERS_PER_PROCESS_MAX}",
                self.servers.len()
            )));
        }
        if let Some(text) = &self.disk.read_cache {
            parse_size(text).map_err(|e| error(format!("disk.read_cache: {e}")))?;
        }
        let mut taken = vec![(self.api, "api".to_owned())];
        for (n, server) in self.servers.iter().enumerate() {
            check_server_name(&server.name)?;
            if self.servers[..n].iter().any(|other| other.name == server.name) {
                return Err(error(format!("server name '{}': given twice", server.name)));
            }
            if !server.peer.ip().is_loopback() && !self.has_authority() {
                return Err(error(format!(
                    "peer of {} '{}': other machines reach it, and there are no certificates in '{}'; make the group's \
                     with 'evenkeel group init', or join it, or name an address of loopback",
                    server.name,
                    server.peer,
                    self.secrets().display()
                )));
            }
            for (address, what) in [(server.portal, "portal"), (server.peer, "peer")] {
                if address.port() == 0 {
                    return Err(error(format!(
                        "{what} of {} '{address}': port 0 is none, name the port to listen on",
                        server.name
                    )));
                }
                if let Some((_, other)) = taken.iter().find(|(a, _)| *a == address) {
                    return Err(error(format!(
                        "{what} of {} '{address}': already the address of {other}",
                        server.name
                    )));
                }
                taken.push((address, format!("{what} of {}", server.name)));
            }
            server.check_sizes()?;
            server.check_advertised(&self.servers[..n])?;
            if server.domain.as_ref().is_some_and(String::is_empty) {
                return Err(error(format!("domain of {} '': give it a name or leave it out", server.name)));
            }
            if let Some(capacity) = &server.capacity {
                let figures = [
                    capacity.disk_read_iops,
                    capacity.disk_write_iops,
                    capacity.net_mib_s,
                    capacity.cpu_cores,
                ];
                if figures.iter().any(|figure| !figure.is_finite() || *figure <= 0.0) {
                    return Err(error(format!(
                        "capacity of {} {figures:?}: every figure must be above zero",
                        server.name
                    )));
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_api_address(&self) -> Result<(), ServeError> {
        match self.advertise_api {
            Some(address) if address.ip().is_unspecified() || address.port() == 0 => Err(error(format!(
                "advertise_api '{address}': name an address and a port that other processes can connect to"
            ))),
            _ => Ok(()),
        }
    }
}
