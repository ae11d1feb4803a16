use super::*;
use crate::scenario::{Scenario, VolumePlan};
use evenkeel_types::geometry::EXTENT_BYTES;

/// A group with a volume of one extent in two copies, its extent, and who holds it.
fn founded() -> (Routing, ExtentId, Route) {
    let rng = crate::rng::Rng::new(1);
    let scenario = Scenario {
        servers: 3,
        volumes: vec![VolumePlan { bytes: u64::from(EXTENT_BYTES), replicas: 2 }],
        disk_bytes: 96 << 20,
        cramped: None,
        ..Scenario::draw(&mut rng.split("scenario", 0))
    };
    let mut directory = crate::directory::SimDirectory::new(rng.split("directory", 0), 1 << 20);
    let (_, volumes) = crate::server::found(&scenario, &mut directory, &rng);
    let routing = Routing::new(directory.view()).unwrap();
    let extent = ExtentId { volume: volumes[0].id, index: 0 };
    let route = routing.route(extent).unwrap();
    (routing, extent, route)
}

fn held(extent: ExtentId, epoch: Epoch, versions_hash: u64) -> Vec<InventoryEntry> {
    let (replicas, has_data) = (Vec::new(), true);
    vec![InventoryEntry { extent, accepted: epoch, replicas, has_data, units: 1, versions_hash }]
}

#[test]
fn a_version_is_given_and_sent_by_the_owner_of_its_epoch_only() {
    let (mut routing, extent, route) = founded();
    let owner = route.owner().unwrap();
    let other = route.replicas.iter().copied().find(|replica| *replica != owner).unwrap();
    let version = Version { epoch: route.epoch, sequence: 1 };
    routing.given(other, extent, version).unwrap_err();
    routing.sent(other, extent, route.epoch, version).unwrap_err();
    routing.sent(owner, extent, route.epoch, version).unwrap();
    // What the owner gave, a copy may have.
    routing.given(other, extent, version).unwrap();
    routing.given(owner, extent, Version { epoch: Epoch(route.epoch.0 + 1), sequence: 1 }).unwrap_err();
}

#[test]
fn an_accepted_epoch_that_falls_is_noticed() {
    let (mut routing, extent, route) = founded();
    let server = route.replicas[0];
    routing.accepted(server, extent, Epoch(9)).unwrap();
    routing.accepted(server, extent, Epoch(9)).unwrap();
    routing.accepted(server, extent, Epoch(8)).unwrap_err();
}

#[test]
fn a_copy_that_the_directory_counts_on_may_not_be_given_up() {
    let (routing, extent, route) = founded();
    let stranger = (1..=3).map(ServerId).find(|server| !route.replicas.contains(server)).unwrap();
    routing.freed(stranger, extent).unwrap();
    for replica in route.replicas.iter() {
        routing.freed(*replica, extent).unwrap_err();
    }
}

#[test]
fn at_rest_exactly_the_routed_servers_hold_equal_copies() {
    let (routing, extent, route) = founded();
    let (one, other) = (route.replicas[0], route.replicas[1]);
    let stranger = (1..=3).map(ServerId).find(|server| !route.replicas.contains(server)).unwrap();
    let at = |holders: &[(ServerId, u64)]| {
        let lists = holders.iter().map(|(server, hash)| (*server, held(extent, route.epoch, *hash)));
        routing.at_rest(&lists.collect())
    };
    assert_eq!(at(&[(one, 7), (other, 7)]).unwrap(), 1);
    at(&[(one, 7), (other, 8)]).unwrap_err();
    at(&[(one, 7)]).unwrap_err();
    at(&[(one, 7), (other, 7), (stranger, 7)]).unwrap_err();
    let ahead = BTreeMap::from([(one, held(extent, Epoch(route.epoch.0 + 1), 7))]);
    routing.at_rest(&ahead).unwrap_err();
}
