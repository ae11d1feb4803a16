//! Looking through stores: after a start, and at the end.

use super::{GROUP, options};
use crate::checkers::{Violation, space};
use crate::coverage::Row;
use crate::world::World;
use evenkeel_store::{CheckDepth, Finding, FindingKind, Store};
use evenkeel_types::ServerId;
use evenkeel_types::store_op::{StoreOp, StoreReply, StoreTicket};
use std::collections::BTreeMap;

impl World<'_> {
    /// Compares every region of a store that is not serving with what other copies had in the same version.
    pub(super) fn look_through(&mut self, id: ServerId) -> Result<(), Violation> {
        let server = self.servers.get_mut(&id).expect("servers neither come nor go");
        let mut bad = Vec::new();
        let store = server.starting.as_mut().or(server.running.as_mut().map(|running| &mut running.store));
        let store = store.expect("a store is looked through while it is open");
        for entry in store.inventory() {
            let (extent, ticket) = (entry.extent, StoreTicket(u64::MAX));
            let mut ask = |op| {
                store.submit(ticket, op);
                evenkeel_store::run_io(store, &mut server.bay.disk);
                store.poll_done().map(|(_, outcome)| outcome)
            };
            let Some(Ok(StoreReply::Description(Some(found)))) = ask(StoreOp::Describe { extent }) else {
                return Err(Violation::new("store", extent, format!("{id} cannot describe what it lists")));
            };
            self.routing.accepted(id, extent, found.accepted)?;
            for region in found.allocated.iter() {
                match ask(StoreOp::ReadRegion { extent, region }) {
                    Some(Ok(StoreReply::Image(image))) => {
                        self.versions.saw(id, extent, region, &image)?;
                        if image.bad != 0 {
                            bad.push((extent, region, image));
                        }
                        self.coverage.count(Row::RegionsHashed);
                    }
                    other => {
                        let what = format!("{id} cannot read region {region}: {other:?}");
                        return Err(Violation::new("store", extent, what));
                    }
                }
            }
        }
        bad.iter().try_for_each(|(extent, region, image)| self.found_in_image(id, *extent, *region, image))
    }

    /// With nothing under way any more, the stores themselves are looked through, closed, checked and opened again.
    pub(crate) fn judge_at_rest(&mut self) -> Result<(), Violation> {
        let ids: Vec<ServerId> = self.servers.keys().copied().collect();
        let mut inventories = BTreeMap::new();
        for id in &ids {
            self.drain_disk(*id);
            self.look_through(*id)?;
            let running = self.server(*id).running.take().expect("all servers run at the end");
            let inventory = running.store.inventory();
            space::adds_up(*id, &running.store.stats(), &inventory)?;
            inventories.insert(*id, inventory);
            self.count_life(&running);
            self.close(*id, running.store)?;
        }
        let extents = self.routing.at_rest(&inventories)?;
        self.coverage.add(Row::CopiesAtRest, extents);
        Ok(())
    }

    /// Lets what the disk has under way end at once.
    pub(super) fn drain_disk(&mut self, id: ServerId) {
        let server = self.server(id);
        let running = server.running.as_mut().expect("it runs");
        for io in server.bay.in_flight() {
            let result = server.bay.complete(io);
            running.store.handle_io(io, result);
        }
        evenkeel_store::run_io(&mut running.store, &mut server.bay.disk);
        while running.store.poll_done().is_some() {}
    }

    fn close(&mut self, id: ServerId, mut store: Store) -> Result<(), Violation> {
        store.shutdown();
        let is_damaged = self.damage.is_any_at(id);
        let bay = &mut self.server(id).bay;
        evenkeel_store::run_io(&mut store, &mut bay.disk);
        let refuse = |what: String| Err(Violation::new("store", None, what));
        if !store.is_quiescent() {
            return refuse(format!("the store of {id} does not close"));
        }
        let report = evenkeel_store::check(&bay.disk, Some((GROUP, id)), CheckDepth::Data);
        let is_rotten = bay.is_rotten() || is_damaged;
        let expected = |finding: &&Finding| is_rotten && finding.kind == FindingKind::BadBlock;
        if let Some(finding) = report.findings.iter().find(|finding| !expected(finding)) {
            return refuse(format!("the closed store of {id} has a finding: {}", finding.line));
        }
        let opened = Store::open(&mut bay.disk, &options(id));
        match opened {
            Ok((_, report)) if report.clean && report.records_replayed == 0 => {}
            Ok((_, report)) => return refuse(format!("the closed store of {id} was not clean: {report:?}")),
            Err(fault) => return refuse(format!("the closed store of {id} does not open: {fault}")),
        }
        self.coverage.count(Row::StoresChecked);
        Ok(())
    }
}
