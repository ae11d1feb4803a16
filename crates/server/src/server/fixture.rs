//! A server's core without tasks around it, for tests that play its drivers' part.

use super::balancer::Balancer;
use super::core::{Core, Parts};
use super::directory_link::DirectoryLink;
use super::peers::{PeerLinks, Security};
use crate::clock;
use crate::config::{BalanceConfig, CapacityConfig, DiskConfig, DiskEngine};
use crate::disk::{self, DiskFile, DiskFileOptions};
use crate::membership;
use evenkeel_engine::{Engine, EngineConfig};
use evenkeel_meta::change::Actor;
use evenkeel_meta::records::{ServerCapacity, ServerRecord};
use evenkeel_meta::{Directory, Keyspace, MemoryDirectory};
use evenkeel_peer::Local;
use evenkeel_store::{Disk, FormatOptions, OpenOptions, Store};
use evenkeel_types::{Incarnation, ServerId};
use std::rc::Rc;
use std::sync::Arc;
use tempfile::TempDir;

/// Name of the group.
pub(crate) const GROUP: &str = "g";

/// Server 1 in its third life, with an empty store and an empty directory. The folder holds its store.
pub(crate) fn core() -> (Rc<Core>, TempDir) {
    core_with(None)
}

/// The same with something to show its peers.
pub(crate) fn core_with(security: Option<Security>) -> (Rc<Core>, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let me = ServerId(1);
    let options =
        DiskFileOptions { create: Some(64 << 20), direct: Some(false), lock: true, read_only: false };
    let file = DiskFile::open(&folder.path().join("store"), &options).expect("the store's file opens");
    let mut disk = &file;
    let format = FormatOptions { journal_bytes: 1 << 20, ..FormatOptions::new(1, GROUP, me, disk.len()) };
    Store::format(&mut disk, &format).expect("the store is made");
    let (store, _) =
        Store::open(&mut disk, &OpenOptions::new(GROUP.to_owned(), me)).expect("the store opens");
    let config = DiskConfig { engine: DiskEngine::Inline, direct: Some(false), ..DiskConfig::default() };
    let driver = disk::drive(Arc::new(file), &config, None).expect("the disk is driven");
    let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::default());
    let keys = Keyspace::new(GROUP).expect("a name for keys");
    let (link, _) = DirectoryLink::open(&directory, keys.prefix().to_owned());
    let (incarnation, now) = (Incarnation(3), clock::now());
    let engine = Engine::new(EngineConfig {
        me,
        incarnation,
        started_unix_ms: 1,
        started: now,
        rebuild_after: evenkeel_engine::config::REBUILD_AFTER,
        scrub: evenkeel_engine::config::ScrubConfig::OFF,
    });
    let local = Local { group: GROUP.to_owned(), server: me, incarnation, program: "test".to_owned() };
    let capacity = CapacityConfig {
        disk_read_iops: 1e3,
        disk_write_iops: 1e3,
        net_mib_s: 1e3,
        cpu_cores: 1.0,
        enforce: false,
    };
    let balancer =
        Balancer::new(now, Actor { server: me, incarnation }, &capacity, &BalanceConfig::default());
    let core = Core::new(Parts {
        name: "s1".to_owned(),
        store_path: folder.path().join("store"),
        me,
        engine,
        store,
        disk: driver,
        directory: link,
        keys,
        links: PeerLinks::new(local, security),
        balancer,
    });
    (Rc::new(core), folder)
}

/// Makes servers of these names members of a group, each in a failure domain of its own, and enters their first starts.
pub(crate) fn join(directory: &dyn Directory, keys: &Keyspace, names: &[&str]) -> Vec<Actor> {
    let enter = |name: &&str| {
        let record = ServerRecord {
            name: (*name).to_owned(),
            portals: Vec::new(),
            peer: String::new(),
            api: None,
            domain: (*name).to_owned(),
            capacity: ServerCapacity::default(),
            store_id: 7,
        };
        let server = membership::register(directory, keys, &record).expect("its name is free");
        let actor = Actor { server, incarnation: Incarnation(1) };
        membership::start(directory, keys, actor).expect("a first start");
        actor
    };
    names.iter().map(enter).collect()
}
