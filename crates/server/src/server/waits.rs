//! A server that came back may have to wait for another one that is away: whoever was up last of the replicas of an extent
//! has what was written last, and nobody serves the extent without it. People are told for whom, so that they know what to
//! put right first.

use super::core::Core;
use evenkeel_meta::records::MemberState;
use evenkeel_types::ServerId;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// How often it is looked; who is missing at two looks in a row is told.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The names of the servers for which this one waits; none if it is up, or nothing is missing.
pub(super) fn waits_for(core: &Core) -> Option<String> {
    let connected: BTreeSet<ServerId> = core.with_links(|links| links.connected().collect());
    let missing = core.with_view(|view| {
        let own = view.member(core.me())?;
        if own.record.state != MemberState::Syncing {
            return None;
        }
        let owners = view.owners_for(core.me());
        Some(owners.present.union(&owners.away).copied().filter(|owner| !connected.contains(owner)).collect())
    });
    let missing: Vec<ServerId> = missing??;
    let name = |server: &ServerId| core.server_name(*server).unwrap_or_else(|| server.to_string());
    let names: Vec<String> = missing.iter().map(name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Tells once for whom this server waits, and again when that changes; never ends.
pub(super) async fn tell(core: Rc<Core>) {
    let (mut seen, mut told) = (None, None);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let missing = waits_for(&core);
        if missing == seen && missing != told {
            if let Some(names) = &missing {
                tracing::warn!(
                    server = %core.name(),
                    "waits for {names}: what was written last is there, and hosts wait until it is back"
                );
            }
            told.clone_from(&missing);
        }
        seen = missing;
    }
}
