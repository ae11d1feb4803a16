//! Before the first event: servers are registered, disks formatted, volumes created.

use super::skew::SkewedClock;
use super::{GROUP, SimServer, UNIX_MS_AT_START, options};
use crate::client::workload::SimVolume;
use crate::directory::SimDirectory;
use crate::disk::DiskBay;
use crate::rng::Rng;
use crate::scenario::{Scenario, VolumePlan};
use evenkeel_meta::records::{AccessRecord, ServerCapacity, ServerRecord};
use evenkeel_meta::{Place, PlacedServer, change};
use evenkeel_store::{FormatOptions, Store};
use evenkeel_types::{Incarnation, ServerId, Time};
use std::collections::BTreeMap;

/// Registers the servers, formats their disks and creates the volumes.
pub(crate) fn found(
    scenario: &Scenario,
    directory: &mut SimDirectory,
    rng: &Rng,
) -> (BTreeMap<ServerId, SimServer>, Vec<SimVolume>) {
    let mut servers = BTreeMap::new();
    for n in 1..=scenario.servers {
        let record = ServerRecord {
            name: format!("s{n}"),
            portals: vec![],
            peer: format!("s{n}"),
            api: None,
            domain: format!("machine{n}"),
            capacity: ServerCapacity { bytes: scenario.disk_of(n), ..ServerCapacity::default() },
            store_id: u64::from(n),
        };
        let (id, txn) = change::register_server(&directory.view(), &record).expect("names differ");
        assert!(directory.carry_out(&txn).expect("no trouble yet").succeeded);
        let mut rng = rng.split("server", u64::from(n));
        let mut bay = DiskBay::new(scenario.disk_of(n), rng.split("disk", 0));
        let options = FormatOptions {
            store_id: u128::from(n),
            group: GROUP.into(),
            server: id,
            journal_bytes: scenario.journal_bytes,
        };
        Store::format(&mut bay.disk, &options).expect("the disk is large enough");
        let clock = SkewedClock::draw(&mut rng);
        let server = SimServer {
            id,
            bay,
            life: 0,
            starting: None,
            running: None,
            asleep_from: Time::ZERO,
            asleep_until: Time::ZERO,
            dark_until: Time::ZERO,
            mute_until: Time::ZERO,
            fuse: None,
            trap: None,
            deaf_until: Time::ZERO,
            clock,
        };
        servers.insert(id, server);
    }
    // The first server is up for a moment, to create the volumes.
    let first = *servers.keys().next().expect("there are servers");
    let incarnation = Incarnation(1);
    let (mut store, _) = Store::open(&mut servers.get_mut(&first).expect("first").bay.disk, &options(first))
        .expect("a fresh store opens");
    assert_eq!(store.incarnation(), incarnation);
    store.shutdown();
    evenkeel_store::run_io(&mut store, &mut servers.get_mut(&first).expect("first").bay.disk);
    let txn = change::start_server(&directory.view(), first, incarnation).expect("a first start");
    assert!(directory.carry_out(&txn).expect("no trouble yet").succeeded);
    let mut rng = rng.split("volumes", 0);
    let volumes = scenario.volumes.iter().enumerate();
    let is_older = scenario.is_filled;
    let volumes = volumes.map(|(n, plan)| {
        create_volume(directory, (first, incarnation), &servers, (n, is_older), *plan, &mut rng)
    });
    let volumes = volumes.collect();
    (servers, volumes)
}

fn create_volume(
    directory: &mut SimDirectory,
    (by, incarnation): (ServerId, Incarnation),
    servers: &BTreeMap<ServerId, SimServer>,
    (n, is_older): (usize, bool),
    plan: VolumePlan,
    rng: &mut Rng,
) -> SimVolume {
    let placed = |(domain, server): (u32, &ServerId)| PlacedServer { server: *server, weight: 1, domain };
    let count = servers.len() - usize::from(n == 0 && is_older);
    let new = change::NewVolume {
        name: format!("v{n}"),
        size_bytes: plan.bytes,
        logical_block_bytes: 512,
        replicas: plan.replicas,
        seed: rng.draw(),
        place: Place::new((0..).zip(servers.keys().take(count)).map(placed).collect())
            .expect("servers with distinct ids"),
        access: AccessRecord { any: true, ..AccessRecord::default() },
        created_unix_ms: UNIX_MS_AT_START,
    };
    let by = change::Actor { server: by, incarnation };
    let (id, txn) = change::create_volume(&directory.view(), by, &new).expect("a sound volume");
    assert!(directory.carry_out(&txn).expect("no trouble yet").succeeded);
    SimVolume { id, bytes: plan.bytes }
}
