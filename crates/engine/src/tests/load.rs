//! What is told of load: by whom, how much, and once for each request.

use super::world::World;
use crate::Arrival;
use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::{BlockOp, ByteRange, Bytes};

fn told(world: &mut World) -> Vec<(u32, Arrival)> {
    std::mem::take(&mut world.arrivals)
}

#[test]
fn a_request_at_its_owner_is_told_as_portal_work_and_as_owner_work() {
    let mut world = World::new(2);
    let id = world.read(1, 4096, 8192);
    world.settle();
    assert!(world.outcome(1, id).unwrap().is_ok());
    let (extent, at) = (world.extent(0), ByteRange::new(4096, 8192));
    let portal = Arrival::FrontEnd { write: false, bytes: 8192, digest: false, forwarded: false };
    let owner = Arrival::Owner { extent, write: false, at, remote: false };
    assert_eq!(told(&mut world), [(1, portal), (1, owner)]);
}

#[test]
fn a_forwarded_request_is_portal_work_here_and_remote_owner_work_there() {
    let mut world = World::new(2);
    let id = world.write(2, 0, 4096, 7);
    world.settle();
    assert!(world.outcome(2, id).unwrap().is_ok());
    let (extent, at) = (world.extent(0), ByteRange::new(0, 4096));
    let portal = Arrival::FrontEnd { write: true, bytes: 4096, digest: false, forwarded: true };
    let owner = Arrival::Owner { extent, write: true, at, remote: true };
    assert_eq!(told(&mut world), [(2, portal), (1, owner)]);
}

#[test]
fn a_request_over_two_extents_is_told_for_each_and_says_whether_digests_are_computed() {
    let mut world = World::new(1);
    world.digest = true;
    world.read(1, u64::from(EXTENT_BYTES) - 4096, 12288);
    world.settle();
    let portal = |bytes| Arrival::FrontEnd { write: false, bytes, digest: true, forwarded: false };
    let told = told(&mut world).into_iter().map(|(_, arrival)| arrival);
    let front_end: Vec<_> = told.filter(|arrival| matches!(arrival, Arrival::FrontEnd { .. })).collect();
    assert_eq!(front_end, [portal(4096), portal(8192)]);
}

#[test]
fn zeroing_is_told_as_a_write_without_data_and_a_comparison_as_twice_its_data() {
    let mut world = World::new(1);
    let at = ByteRange::new(0, 1 << 20);
    world.request(1, BlockOp::Zero { at });
    world.settle();
    let portal = |bytes| Arrival::FrontEnd { write: true, bytes, digest: false, forwarded: false };
    let owner = |len| Arrival::Owner {
        extent: evenkeel_types::ExtentId { volume: evenkeel_types::VolumeId(1), index: 0 },
        write: true,
        at: ByteRange::new(0, len),
        remote: false,
    };
    assert_eq!(told(&mut world), [(1, portal(0)), (1, owner(0))]);
    let zeros = Bytes::from(vec![0; 512]);
    let at = ByteRange::new(0, 512);
    world.request(1, BlockOp::CompareAndWrite { at, expected: zeros.clone(), data: zeros });
    world.settle();
    assert_eq!(told(&mut world), [(1, portal(1024)), (1, owner(512))]);
}

#[test]
fn a_request_that_waits_for_its_owner_is_told_when_it_goes_there_and_only_once() {
    let mut world = World::new(2);
    world.disconnect(1, 2);
    let id = world.read(2, 0, 4096);
    world.pass_ms(50);
    assert_eq!(told(&mut world), []);
    world.connect(1, 2);
    world.settle();
    assert!(world.outcome(2, id).unwrap().is_ok());
    let portal_work = |told: &[(u32, Arrival)]| {
        told.iter().filter(|(_, arrival)| matches!(arrival, Arrival::FrontEnd { .. })).count()
    };
    assert_eq!(portal_work(&told(&mut world)), 1);
    // Cut off with the request under way: it is tried again, and its portal work was told before.
    let id = world.read(2, 0, 4096);
    world.disconnect(1, 2);
    world.connect(1, 2);
    world.settle();
    assert!(world.outcome(2, id).unwrap().is_ok());
    assert!(world.engine(2).counters().retried > 0);
    assert_eq!(portal_work(&told(&mut world)), 1);
}
