//! `evenkeel route --verify` on damage that was planted into stopped stores: what the stores hold against what the
//! directory says. Each damage has the same group before it as its control, and the rest of the volume is served on.

use evenkeel_iscsi::initiator::Event;
use evenkeel_scsi::initiator::request;
use evenkeel_scsi::{SenseKey, Status};
use evenkeel_tests::{Group, GroupOptions, Initiator, StoppedStore};
use evenkeel_types::store_op::StoreOp;
use evenkeel_types::{Bytes, Epoch, ExtentId, ServerId, VolumeId};
use smallvec::SmallVec;
use std::time::{Duration, Instant};

const FOUND: i32 = 3;
/// Extents of the volume.
const EXTENTS: u32 = 6;
/// Logical blocks of an extent.
const EXTENT_SECTORS: u64 = 8192;
/// An epoch that no directory reaches.
const FAR_EPOCH: Epoch = Epoch(1 << 40);

struct Scenario {
    group: Group,
    iqn: String,
    volume: VolumeId,
}

/// Two servers and a volume with data in each extent, verified.
fn scenario() -> Scenario {
    let group = Group::start(GroupOptions::servers(2).store_size("256MiB").flag("--balance false"));
    let iqn = group.create_volume("v1", "24MiB");
    let id = group.evenkeel(&["volume", "show", "v1", "-o", "json"]).ok().json()["id"].as_u64();
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    for extent in 0..EXTENTS {
        let data = Bytes::from(content(extent));
        let _ = initiator.good(&request::write_16(u64::from(extent) * EXTENT_SECTORS, data, 512));
    }
    let scenario = Scenario { group, iqn, volume: VolumeId(id.expect("a volume's number")) };
    scenario.assert_sound();
    scenario
}

fn content(extent: u32) -> Vec<u8> {
    vec![0x41 + extent as u8; 64 << 10]
}

impl Scenario {
    /// Number of the server that owns an extent: 1 or 2.
    fn owner(&self, extent: u32) -> u16 {
        let table = self.group.evenkeel(&["route", "v1", "-o", "json"]).ok().json();
        let owner = table["extents"][extent as usize]["owner"].as_str().expect("an owner");
        owner[1..].parse().expect("s1 or s2")
    }

    fn extent(&self, index: u32) -> ExtentId {
        ExtentId { volume: self.volume, index }
    }

    fn assert_sound(&self) {
        let ran = self.group.evenkeel(&["route", "v1", "--verify", "-o", "json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.json()["records"].as_u64() >= Some(u64::from(EXTENTS)), "{ran:?}");
    }

    /// Changes a store while the group is stopped.
    fn plant(&mut self, server: u16, operation: StoreOp) {
        assert_eq!(self.group.stop().0, 0);
        StoppedStore::open(&self.group.store(server)).change([operation]);
        self.group.spawn();
        self.group.wait();
    }

    /// What verify finds: kind, server and detail of each.
    fn findings(&self) -> Vec<[String; 3]> {
        let ran = self.group.evenkeel(&["route", "v1", "--verify", "-o", "json"]);
        assert_eq!(ran.code, FOUND, "{ran:?}");
        let count = ran.json()["findings"].as_array().expect("findings").len();
        let line = format!("evenkeel: volume v1: {count} finding{}\n", if count == 1 { "" } else { "s" });
        assert_eq!(ran.stderr, line);
        let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().expect("text").to_owned();
        let all = ran.json()["findings"].as_array().expect("findings").clone();
        all.iter().map(|finding| ["kind", "server", "detail"].map(|key| text(finding, key))).collect()
    }

    /// Reads the extents but those left out, through both portals.
    fn assert_served_but(&self, left_out: &[u32]) {
        for portal in [1, 2] {
            let mut initiator = Initiator::open(&self.group.portal(portal), &self.iqn);
            for extent in (0..EXTENTS).filter(|extent| !left_out.contains(extent)) {
                let data = initiator.good(&request::read_16(u64::from(extent) * EXTENT_SECTORS, 128, 512));
                assert!(data[..] == content(extent), "extent {extent} through portal {portal}");
            }
        }
    }
}

fn accept(extent: ExtentId, epoch: Epoch, server: u16) -> StoreOp {
    StoreOp::Accept {
        extent,
        epoch,
        replicas: SmallVec::from_slice(&[ServerId(server.into())]),
        live: true,
        reserve_all: false,
        forget_below: Vec::new(),
    }
}

#[test]
fn an_orphan_record_is_named_with_its_store() {
    let mut scenario = scenario();
    let unknown = ExtentId { volume: VolumeId(99), index: 7 };
    scenario.plant(2, accept(unknown, Epoch(1), 2));
    let findings = scenario.findings();
    let [[kind, server, detail]] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!([kind.as_str(), server], ["orphan-record", "s2"]);
    assert!(detail.contains(&unknown.to_string()) && detail.contains("knows no such extent"), "{detail}");
    scenario.assert_served_but(&[]);
    scenario.plant(2, StoreOp::Forget { extent: unknown });
    scenario.assert_sound();
}

#[test]
fn a_missing_copy_is_named_and_read_as_an_error_not_as_zeros() {
    let mut scenario = scenario();
    let to = 3 - scenario.owner(2);
    let moved =
        scenario.group.evenkeel(&["move", "v1", "2", "--to", &format!("s{to}"), "--wait", "-o", "json"]);
    assert_eq!(moved.ok().json()["state"], "done");
    let began = Instant::now();
    while scenario.group.evenkeel(&["route", "v1", "--verify"]).code != 0 {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the old copy is not freed\n{}",
            scenario.group.log()
        );
    }
    scenario.plant(to, StoreOp::Free { extent: scenario.extent(2) });
    let findings = scenario.findings();
    let [[kind, server, detail]] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!([kind.as_str(), server], ["missing-copy", &format!("s{to}")]);
    assert!(detail.contains("extent 2 of 'v1'") && detail.contains("no copy"), "{detail}");
    scenario.assert_served_but(&[2]);
    let mut initiator = Initiator::open(&scenario.group.portal(1), &scenario.iqn);
    let done = initiator.ask(&request::read_16(2 * EXTENT_SECTORS, 8, 512));
    assert_eq!(done.status, Some(Status::CheckCondition), "{:?}", done.data);
    assert_eq!(done.sense.map(|sense| sense.key), Some(SenseKey::MediumError));
}

#[test]
fn two_owners_are_named_and_the_right_one_serves() {
    let mut scenario = scenario();
    let owner = scenario.owner(4);
    let other = 3 - owner;
    // A second server that believes that it served the extent, in an epoch that keeps it from giving its copy up.
    scenario.plant(other, accept(scenario.extent(4), FAR_EPOCH, other));
    let findings = scenario.findings();
    let two: Vec<_> = findings.iter().filter(|[kind, ..]| kind == "two-owners").collect();
    let [[_, _, detail]] = &two[..] else { panic!("{findings:?}") };
    assert!(detail.contains("extent 4 of 'v1'") && detail.contains("served it as owner"), "{detail}");
    let orphan = |[kind, server, _]: &[String; 3]| kind == "orphan-record" && *server == format!("s{other}");
    assert!(findings.iter().any(orphan), "{findings:?}");
    scenario.assert_served_but(&[]);
    scenario.plant(other, StoreOp::Forget { extent: scenario.extent(4) });
    scenario.assert_sound();
}

#[test]
fn a_stale_epoch_is_named_and_its_extent_is_not_served_by_a_guess() {
    let mut scenario = scenario();
    let owner = scenario.owner(1);
    scenario.plant(owner, accept(scenario.extent(1), FAR_EPOCH, owner));
    let findings = scenario.findings();
    let [[kind, server, detail]] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!([kind.as_str(), server], ["stale-epoch", &format!("s{owner}")]);
    assert!(detail.contains("extent 1 of 'v1'") && detail.contains(&FAR_EPOCH.to_string()), "{detail}");
    scenario.assert_served_but(&[1]);
    // The owner waits for a view that explains the epoch, and the request ends without data.
    let mut initiator = Initiator::open(&scenario.group.portal(1), &scenario.iqn);
    let id = initiator.submit(request::read_16(EXTENT_SECTORS, 8, 512));
    loop {
        match initiator.event(Duration::from_secs(60)) {
            Some(Event::Done(ended, done)) if ended == id => {
                assert!(done.status != Some(Status::Good) && done.data.is_empty(), "{done:?}");
                break;
            }
            Some(Event::Closed(_)) | None => break,
            Some(_) => {}
        }
    }
}
