//! What a server of a group with an authority shows its peers, and how a revocation takes effect.

use super::super::core::Core;
use super::join::JoinDesk;
use crate::security::certificate::Fingerprint;
use crate::security::tls::PeerTls;
use evenkeel_meta::View;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

/// What a server of a group with an authority shows its peers.
pub(crate) struct Security {
    pub(crate) tls: PeerTls,
    pub(crate) desk: Arc<JoinDesk>,
}

impl Security {
    pub(super) fn has_revoked(&self, certificate: Fingerprint) -> bool {
        self.tls.revoked.read().unwrap_or_else(PoisonError::into_inner).contains(&certificate)
    }
}

/// The directory has other certificates on record: those that were revoked are believed no longer, and connections that
/// stand by them end.
///
/// # Errors
/// The server's own certificate was revoked: nobody talks to it any more.
pub(crate) fn certificates_changed(core: &Rc<Core>) -> Result<(), String> {
    let Some(security) = core.with_links(|links| links.security.clone()) else { return Ok(()) };
    let revoked: BTreeSet<Fingerprint> =
        core.with_view(|view: &View| view.revoked_certificates().collect()).unwrap_or_default();
    let closed = core.with_links(|links| links.shown(&revoked));
    let own = revoked.contains(&security.tls.fingerprint);
    *security.tls.revoked.write().unwrap_or_else(PoisonError::into_inner) = revoked;
    for server in closed {
        if core.with_links(|links| links.close(server)) {
            tracing::warn!(server = %core.name(), "gave up the connection with {server}: its certificate was revoked");
            core.peer_down(server);
        }
    }
    if own {
        let certificate = security.tls.fingerprint;
        return Err(format!(
            "its certificate {certificate} was revoked; if it is to come back, 'evenkeel server join' gets another one"
        ));
    }
    Ok(())
}
