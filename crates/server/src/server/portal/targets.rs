//! What a connection may ask about its surroundings: targets, their portals, who may use them, and sessions.

use super::Portal;
use super::connection::Connected;
use crate::names::volume_uuid;
use evenkeel_iscsi::target::{
    Authentication, CloseReason, DiscoveredTarget, Lookup, NexusName, Opening, TargetPorts,
};
use evenkeel_meta::Revision;
use evenkeel_meta::records::VolumeRecord;
use evenkeel_scsi::{LogicalUnit, LunConfig};
use evenkeel_types::VolumeId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Logical units by volume, as of a revision of the volume's record.
#[derive(Default)]
pub(super) struct Units(BTreeMap<VolumeId, (Revision, Arc<LogicalUnit>)>);

impl Units {
    pub(super) fn forget_if(&mut self, gone: impl Fn(&VolumeId) -> bool) {
        self.0.retain(|volume, _| !gone(volume));
    }
}

/// The questions of one connection.
pub(super) struct Ports<'a> {
    pub(super) portal: &'a Portal,
    pub(super) connected: &'a Connected,
}

impl TargetPorts for Ports<'_> {
    fn discover(&mut self, initiator: &str) -> Vec<DiscoveredTarget> {
        let names = &self.portal.names;
        let found = self.portal.core.with_view(|view| {
            // Each server's portals form a portal group with the server's number as its tag.
            let addresses: Vec<String> = view
                .servers()
                .flat_map(|(id, kept)| {
                    kept.record.portals.iter().map(move |portal| format!("{portal},{}", id.0))
                })
                .collect();
            let permitted = view.volumes().filter(|(id, _)| view.permits(*id, initiator));
            permitted
                .map(|(_, kept)| DiscoveredTarget {
                    name: names.of(&kept.record.name),
                    addresses: addresses.clone(),
                })
                .collect()
        });
        found.unwrap_or_default()
    }

    fn lookup(&mut self, initiator: &str, target: &str) -> Lookup {
        let portal = self.portal;
        let Some(name) = portal.names.volume(target) else { return Lookup::NotFound };
        let found = portal.core.with_view(|view| {
            let Some(volume) = view.volume_named(name).map(|kept| kept.record) else {
                return Lookup::NotFound;
            };
            if !view.permits(volume, initiator) {
                return Lookup::Forbidden;
            }
            let Some(kept) = view.volume(volume) else { return Lookup::NotFound };
            match portal.unit(volume, kept.revision, &kept.record, target) {
                Some(unit) => Lookup::Found { unit, volume },
                None => Lookup::Unavailable,
            }
        });
        let found = found.unwrap_or(Lookup::Unavailable);
        if let Lookup::Found { volume, .. } = &found {
            self.connected.set_volume(*volume);
            self.portal.begin_admission(*volume);
        }
        found
    }

    fn authentication(&mut self, _: &str, _: Option<&str>) -> Authentication {
        Authentication::None
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        aws_lc_rs::rand::fill(out).expect("the system has a source of random bytes");
    }

    fn open_session(&mut self, nexus: &NexusName) -> Opening {
        self.connected.set_nexus(nexus.clone());
        let opened = self.portal.sessions.borrow_mut().open(nexus, self.connected.id());
        for (ended, why) in
            [(opened.replaces, CloseReason::Reinstated), (opened.outrun, CloseReason::Reinstated)]
        {
            if let Some(former) = ended.and_then(|id| self.portal.connection(id)) {
                former.with(|connection| connection.close(why));
            }
        }
        opened.opening
    }

    fn session(&mut self, tsih: u16) -> Option<NexusName> {
        self.portal.sessions.borrow().nexus(tsih).cloned()
    }
}

impl Portal {
    /// The logical unit of a volume: the same object for all sessions while the volume's record is the same.
    fn unit(
        &self,
        volume: VolumeId,
        revision: Revision,
        record: &VolumeRecord,
        target: &str,
    ) -> Option<Arc<LogicalUnit>> {
        let mut units = self.units.borrow_mut();
        if let Some((known, unit)) = units.0.get(&volume)
            && *known == revision
        {
            return Some(Arc::clone(unit));
        }
        let uuid = volume_uuid(self.group_id, volume);
        let mut config = LunConfig::new(volume, &record.name, record.size_bytes, uuid, target);
        config.relative_port = self.config.portal_group_tag;
        config.target_port_group = self.config.portal_group_tag;
        match LogicalUnit::new(config) {
            Ok(unit) => {
                let unit = Arc::new(unit);
                units.0.insert(volume, (revision, Arc::clone(&unit)));
                Some(unit)
            }
            Err(e) => {
                tracing::error!(server = %self.core.name(), "volume '{}' cannot be presented: {e}", record.name);
                None
            }
        }
    }
}
