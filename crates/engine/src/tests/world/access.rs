//! Changes of who may do what with the volume.

use super::World;
use crate::{BarrierId, DirectoryEvent, Event};
use evenkeel_meta::change::set_access;
use evenkeel_meta::records::AccessRecord;
use evenkeel_meta::{Directory, Revision};

impl World {
    /// Says anew who may use the volume; gives the revision of that.
    pub(in crate::tests) fn change_access(&mut self) -> Revision {
        let (view, volume) = (self.view(), self.volume);
        let access = AccessRecord { any: true, ..AccessRecord::default() };
        let by = self.actor().expect("a server is up");
        self.commit(&set_access(&view, by, volume, &access).unwrap());
        self.view().access_revision(volume)
    }

    /// Has a front end of a server wait for everybody to act by the volume's access record of this revision.
    pub(in crate::tests) fn begin_barrier(&mut self, n: u32, id: u64, revision: Revision) {
        let volume = self.volume;
        self.event(n, Event::Barrier { id: BarrierId(id), volume, revision });
    }

    /// A server's watch of the directory breaks: it lists everything anew.
    pub(in crate::tests) fn list_again(&mut self, n: u32) {
        let view = self.view();
        let watch = self.directory.watch(self.keys.prefix(), view.revision().next()).unwrap();
        let server = self.servers.get_mut(&n).unwrap();
        server.watch = Some(watch);
        server.batches.clear();
        self.event(n, Event::Directory(DirectoryEvent::Snapshot(Box::new(view))));
    }

    /// Whether a barrier is done.
    pub(in crate::tests) fn has_passed(&self, n: u32, id: u64) -> bool {
        self.servers[&n].barriers.get(&id) == Some(&true)
    }
}
