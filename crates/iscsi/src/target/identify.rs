//! Who wants in, and what to: the keys of a login request, and the judgement of names (RFC 7143 section 6.3.1).

use super::config::{Lookup, TargetPorts};
use super::core::Core;
use super::login::{Login, Refusal};
use super::security::SecurityKeys;
use crate::keys::{self, KeyId};
use crate::pdu::LoginStatus;
use crate::text::{TextWriter, pairs};

/// Bytes of an iSCSI name at most (RFC 7143 section 4.2.7.1).
const NAME_BYTES_MAX: usize = 223;

/// Whether a text can be a name: no space and no control character is ever part of one, whatever its form.
fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

impl Core {
    /// Answers the keys of a request, but for those of the security stage, which it gives back.
    pub(super) fn read_keys<'a>(
        &mut self,
        login: &mut Login,
        text: &'a [u8],
        answer: &mut TextWriter,
    ) -> Result<SecurityKeys<'a>, Refusal> {
        let mut security = SecurityKeys::default();
        // The answer to FirstBurstLength depends on keys that may come behind it.
        let mut first_burst = None;
        for pair in pairs(text) {
            let (name, value) = pair.map_err(|_| LoginStatus::INITIATOR_ERROR)?;
            let Some(key) = keys::find(name) else {
                answer.push(name, "NotUnderstood");
                continue;
            };
            login.negotiation.note(key)?;
            match key.id {
                KeyId::InitiatorName => value.clone_into(&mut self.facts.initiator),
                KeyId::InitiatorAlias => value.clone_into(&mut self.facts.initiator_alias),
                KeyId::TargetName => login.target_name = Some(value.to_owned()),
                KeyId::SessionType => {
                    login.session_type = Some(value.to_owned());
                    login.negotiation.set_discovery(value == "Discovery");
                }
                // Only the target may say these, or only in the full feature phase.
                KeyId::TargetAlias
                | KeyId::TargetAddress
                | KeyId::TargetPortalGroupTag
                | KeyId::SendTargets => {
                    return Err(LoginStatus::INITIATOR_ERROR.into());
                }
                KeyId::FirstBurstLength => first_burst = Some((key, value)),
                _ if security.take(key.id, value) => {}
                _ => login.negotiation.respond(key, value, answer),
            }
        }
        if let Some((key, value)) = first_burst {
            login.negotiation.respond(key, value, answer);
        }
        Ok(security)
    }

    /// Judges who wants what, as soon as the first request is complete.
    pub(super) fn identify(&mut self, login: &mut Login, ports: &mut dyn TargetPorts) -> Result<(), Refusal> {
        let initiator = self.facts.initiator.clone();
        if initiator.is_empty() {
            return Err(LoginStatus::MISSING_PARAMETER.into());
        }
        if !is_name(&initiator) {
            // What is no name is not shown as one either.
            self.facts.initiator.clear();
            return Err(LoginStatus::INITIATOR_ERROR.into());
        }
        login.discovery = match login.session_type.as_deref() {
            None | Some("Normal") => false,
            Some("Discovery") => true,
            Some(_) => return Err(LoginStatus::SESSION_TYPE_NOT_SUPPORTED.into()),
        };
        if !login.discovery {
            let name = login.target_name.clone().filter(|name| !name.is_empty());
            let name = name.ok_or(LoginStatus::MISSING_PARAMETER)?;
            self.find_target(&initiator, name, ports)?;
        }
        self.check_session(login, ports)?;
        login.security.demand(ports.authentication(&initiator, self.facts.target.as_deref()));
        Ok(())
    }

    fn find_target(
        &mut self,
        initiator: &str,
        name: String,
        ports: &mut dyn TargetPorts,
    ) -> Result<(), Refusal> {
        match ports.lookup(initiator, &name) {
            Lookup::Found { unit, volume } => self.target = Some((unit, volume)),
            Lookup::NotFound => return Err(LoginStatus::NOT_FOUND.into()),
            Lookup::Forbidden => return Err(LoginStatus::AUTHORIZATION_FAILURE.into()),
            Lookup::Removed => return Err(LoginStatus::TARGET_REMOVED.into()),
            Lookup::Unavailable => return Err(LoginStatus::SERVICE_UNAVAILABLE.into()),
            Lookup::Moved { address, permanent } => return Err(Refusal::moved(&address, permanent)),
        }
        self.facts.target = Some(name);
        Ok(())
    }

    /// A request that names a session wants to add a connection to it, or to put one in the place of its own. A session
    /// has one connection here (MaxConnections=1), and at error recovery level 0 nothing of it outlives that one.
    fn check_session(&self, login: &Login, ports: &mut dyn TargetPorts) -> Result<(), Refusal> {
        if login.tsih == 0 {
            return Ok(());
        }
        let its_own = ports.session(login.tsih).is_some_and(|nexus| {
            nexus.initiator == self.facts.initiator
                && nexus.isid == self.facts.isid
                && nexus.target == self.facts.target
        });
        // Of the sessions of others nothing is told, not even that they exist.
        let status =
            if its_own { LoginStatus::TOO_MANY_CONNECTIONS } else { LoginStatus::SESSION_DOES_NOT_EXIST };
        Err(status.into())
    }
}
