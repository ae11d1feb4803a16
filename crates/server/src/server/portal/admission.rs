//! Who may do what with a volume, as the sessions of this portal have to hear of it.
//!
//! What all sessions share, on all servers, is a record of the directory: who may use the volume, and how often it was reset.
//! Each change of it is judged here as soon as this server's view has it, before anything is admitted by it. What one session
//! asks for is a change of that record, and answered when all servers have judged.

use super::Portal;
use super::connection::Connected;
use crate::clock::now;
use crate::server::access::{self, Failure};
use crate::server::front_end::Judge;
use evenkeel_iscsi::target::{CloseReason, ConnectionId, ManagementId, ManagementScope};
use evenkeel_meta::records::{AccessRecord, Resets};
use evenkeel_types::VolumeId;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

/// What was judged last, and who changes something.
#[derive(Default)]
pub(super) struct Admission {
    /// The resets that the sessions of a volume have carried out.
    resets: BTreeMap<VolumeId, Resets>,
    /// Changes under way by number, and whose they are.
    changes: BTreeMap<u64, ConnectionId>,
}

impl Admission {
    pub(super) fn forget_if(&mut self, gone: impl Fn(&VolumeId) -> bool) {
        self.resets.retain(|volume, _| !gone(volume));
    }
}

/// How far the resets go that one record has more than another.
fn reset_between(before: Resets, after: Resets) -> Option<ManagementScope> {
    if after.targets != before.targets {
        Some(ManagementScope::ColdReset)
    } else if after.units != before.units {
        Some(ManagementScope::Reset)
    } else if after.task_sets != before.task_sets {
        Some(ManagementScope::ClearTaskSet)
    } else {
        None
    }
}

const fn with_reset(mut resets: Resets, scope: ManagementScope) -> Resets {
    match scope {
        ManagementScope::ClearTaskSet => resets.task_sets += 1,
        ManagementScope::Reset => resets.units += 1,
        ManagementScope::ColdReset => resets.targets += 1,
    }
    resets
}

impl Portal {
    /// A session is about to begin: what was reset before does not concern it.
    pub(super) fn begin_admission(&self, volume: VolumeId) {
        let resets = self.access(volume).map_or_else(Resets::default, |record| record.resets);
        self.admission.borrow_mut().resets.entry(volume).or_insert(resets);
    }

    fn access(&self, volume: VolumeId) -> Option<AccessRecord> {
        self.core.with_view(|view| view.access(volume).map(|kept| kept.record.clone())).flatten()
    }

    /// The sessions of a volume, of those that are logged in.
    fn sessions_of(&self, volume: VolumeId) -> Vec<Rc<Connected>> {
        self.all().into_iter().filter(|connected| connected.volume() == Some(volume)).collect()
    }

    /// Has all other sessions of a volume, on all servers, carry a task management function out.
    pub(super) fn manage_others(
        portal: &Rc<Self>,
        connected: &Rc<Connected>,
        id: ManagementId,
        volume: VolumeId,
        scope: ManagementScope,
    ) {
        let (portal, origin) = (Rc::clone(portal), connected.id());
        tokio::task::spawn_local(async move {
            let number = portal.core.next_change();
            portal.admission.borrow_mut().changes.insert(number, origin);
            let decide = |record: &AccessRecord| {
                let resets = with_reset(record.resets, scope);
                Ok::<_, Infallible>(Some(AccessRecord { resets, ..record.clone() }))
            };
            let done = access::change(&portal.core, portal.actor, volume, number, decide).await;
            portal.admission.borrow_mut().changes.remove(&number);
            let Some(origin) = portal.connection(origin) else { return };
            match done {
                // Without a volume there are no other sessions.
                Ok(()) | Err(Failure::NoVolume) => {
                    origin.with(|connection| connection.handle_others_managed(now(), id));
                }
                Err(Failure::Refused(never)) => match never {},
                Err(Failure::NotDone(why) | Failure::Unknown(why)) => {
                    tracing::warn!(server = %portal.core.name(), "a reset of {volume} is not in force everywhere: {why}");
                    origin.with(|connection| connection.handle_others_not_managed(now(), id));
                }
            }
        });
    }
}

impl Judge for Portal {
    fn judge(&self, volume: VolumeId) {
        let Some(record) = self.access(volume) else { return };
        let reset = {
            let mut admission = self.admission.borrow_mut();
            let before = admission.resets.insert(volume, record.resets).unwrap_or(record.resets);
            reset_between(before, record.resets)
        };
        // Whoever asked for the change has carried it out.
        let origin = record
            .changes
            .back()
            .filter(|change| {
                change.server == self.actor.server && change.incarnation == self.actor.incarnation
            })
            .and_then(|change| self.admission.borrow().changes.get(&change.number).copied());
        for connected in self.sessions_of(volume) {
            if connected.initiator().is_some_and(|initiator| !record.permits(&initiator)) {
                self.cancel_all(&connected);
                connected.with(|connection| connection.close(CloseReason::AccessRevoked));
            } else if let Some(scope) = reset
                && Some(connected.id()) != origin
            {
                self.cancel_all(&connected);
                // All ends of commands are waited for by the barrier, not by this function.
                connected.with(|connection| connection.handle_management(now(), scope, 0));
            }
        }
    }
}

impl Portal {
    /// Cancels everything of a session that has not ended.
    fn cancel_all(&self, connected: &Connected) {
        for id in connected.open() {
            self.core.cancel(id);
        }
    }
}
