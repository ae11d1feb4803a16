//! A disk that takes no more writes: what is refused, what stops, and what goes on.
//!
//! The disk of one server lies on a memory file system of its own, which other files fill up from outside.

use evenkeel_iscsi::initiator::{Done, Event};
use evenkeel_scsi::initiator::request;
use evenkeel_scsi::{AdditionalSense, SenseKey, Status};
use evenkeel_tests::{Group, GroupOptions, Initiator, SmallDisk, run_within};
use evenkeel_types::Bytes;
use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Logical blocks of an extent, of a region and of a block of 4 KiB.
const EXTENT_SECTORS: u64 = 8192;
const REGION_SECTORS: u64 = 128;
const BLOCK_SECTORS: u64 = 8;
/// Enough runs of extents for each server to own some.
const VOLUME_SIZE: &str = "2GiB";
/// Regions of an extent that get a block.
const REGIONS: u64 = 16;
/// Longest time for something to show.
const SHOWS_WITHIN: Duration = Duration::from_secs(60);
/// What the operating system says of a full file system.
const NO_SPACE: &str = "No space left on device (os error 28)";

/// A group whose last server lies on the small disk. The order is that of taking down.
struct OnSmallDisk {
    group: Group,
    disk: SmallDisk,
    iqn: String,
    _folder: TempDir,
}

impl OnSmallDisk {
    fn start(servers: u16) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let disk = SmallDisk::in_memory(&data.join(format!("s{servers}")), "96m")?;
        let mut options = GroupOptions::servers(servers).store_size("256MiB").flag("--balance false");
        options.data = Some(data);
        let group = Group::start(options);
        let iqn = group.create_volume("v1", VOLUME_SIZE);
        Some(Self { group, disk, iqn, _folder: folder })
    }

    fn session(&self, server: u16) -> Initiator {
        Initiator::open(&self.group.portal(server), &self.iqn)
    }

    /// The extents that a server owns.
    fn extents_of(&self, server: &str) -> Vec<u64> {
        let table = self.group.evenkeel(&["route", "v1", "-o", "json"]).ok().json();
        let rows = table["extents"].as_array().expect("rows").clone();
        let own = rows.iter().filter(|row| row["owner"] == server);
        let own: Vec<u64> = own.map(|row| row["extent"].as_u64().expect("a number")).collect();
        assert!(!own.is_empty(), "{server} owns none of {} extents", rows.len());
        own
    }

    fn row(&self, server: &str) -> serde_json::Value {
        let table = self.group.evenkeel(&["server", "list", "-o", "json"]).ok().json();
        let row =
            table["servers"].as_array().expect("rows").iter().find(|row| row["server"] == server).cloned();
        row.unwrap_or_else(|| panic!("{server} is missing: {table}"))
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SHOWS_WITHIN, "not within {SHOWS_WITHIN:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn write(initiator: &mut Initiator, lba: u64, sectors: u64, byte: u8) -> Done {
    let data = Bytes::from(vec![byte; sectors as usize * 512]);
    initiator.ask(&request::write_16(lba, data, 512))
}

fn assert_reads(initiator: &mut Initiator, lba: u64, sectors: u64, byte: u8) {
    let data = initiator.good(&request::read_16(lba, sectors as u32, 512));
    assert!(data.iter().all(|found| *found == byte), "sector {lba} is not as written");
}

/// Writes a block in each of some regions of an extent, all at once: they are acknowledged when they are in the
/// journal, which has its space, before a moment without writes lets the server take them to their places.
fn write_blocks(initiator: &mut Initiator, extent: u64, byte: u8) {
    let mut open: BTreeSet<_> = (0..REGIONS)
        .map(|region| {
            let lba = extent * EXTENT_SECTORS + region * REGION_SECTORS;
            let data = Bytes::from(vec![byte; BLOCK_SECTORS as usize * 512]);
            initiator.submit(request::write_16(lba, data, 512))
        })
        .collect();
    while !open.is_empty() {
        match initiator.event(SHOWS_WITHIN) {
            Some(Event::Done(id, done)) => {
                assert_eq!(done.status, Some(Status::Good), "{done:?}");
                open.remove(&id);
            }
            Some(Event::Closed(_)) | None => panic!("the session ended with {} writes open", open.len()),
            Some(_) => {}
        }
    }
}

fn assert_blocks(initiator: &mut Initiator, extent: u64, byte: u8) {
    for region in 0..REGIONS {
        assert_reads(initiator, extent * EXTENT_SECTORS + region * REGION_SECTORS, BLOCK_SECTORS, byte);
    }
}

/// Waits for the end of a session.
fn assert_ends(initiator: &mut Initiator) {
    while !matches!(initiator.event(SHOWS_WITHIN), None | Some(Event::Closed(_))) {}
}

#[test]
fn content_that_finds_no_room_on_a_sparse_disk_is_refused_and_the_server_goes_on() {
    let Some(mut on) = OnSmallDisk::start(1) else { return };
    let mut initiator = on.session(1);
    assert_eq!(write(&mut initiator, 0, REGION_SECTORS, 1).status, Some(Status::Good));
    on.disk.fill();
    for lba in [REGION_SECTORS, EXTENT_SECTORS, 2 * EXTENT_SECTORS] {
        let refused = write(&mut initiator, lba, REGION_SECTORS, 2);
        assert_eq!(refused.status, Some(Status::CheckCondition), "{refused:?}");
        let sense = refused.sense.expect("sense data");
        assert_eq!(
            (sense.key, sense.additional),
            (SenseKey::DataProtect, AdditionalSense::SPACE_ALLOCATION_FAILED)
        );
    }
    assert_reads(&mut initiator, 0, REGION_SECTORS, 1);
    drop(initiator);
    // Its metadata has its space: it even ends cleanly and starts again while there is no room.
    assert_eq!(on.group.stop().0, 0, "{}", on.group.log());
    on.group.spawn();
    on.group.wait();
    let mut initiator = on.session(1);
    assert_reads(&mut initiator, 0, REGION_SECTORS, 1);
    on.disk.clear();
    assert_eq!(write(&mut initiator, EXTENT_SECTORS, REGION_SECTORS, 3).status, Some(Status::Good));
    assert_reads(&mut initiator, EXTENT_SECTORS, REGION_SECTORS, 3);
    assert_eq!(on.row("s1")["state"], "up");
}

#[test]
fn a_server_whose_disk_fails_stops_alone_says_why_and_comes_back_with_everything() {
    let Some(mut on) = OnSmallDisk::start(2) else { return };
    let (own, lost) = (on.extents_of("s1")[0], on.extents_of("s2")[0]);
    let (mut by_s1, mut by_s2) = (on.session(1), on.session(2));
    write_blocks(&mut by_s1, own, 1);
    on.disk.fill();
    write_blocks(&mut by_s1, lost, 2);
    until("s2 is shown as stopped", || on.row("s2")["state"] == "stopped");
    let reason = on.row("s2")["reason"].as_str().expect("a reason").to_owned();
    let store = on.group.store(2);
    for part in ["server 's2' stops: store", store.to_str().expect("a readable path"), " at byte ", NO_SPACE]
    {
        assert!(reason.contains(part), "'{part}' is missing: {reason}");
    }
    assert!(reason.contains("make room"), "it says what to do: {reason}");
    let log = on.group.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(told.len() == 1 && told[0].contains(&reason) && told[0].contains("s2"), "{told:#?}");
    // Gone for initiators and for peers.
    until("the portal of s2 is closed", || TcpStream::connect(on.group.portal(2)).is_err());
    assert_ends(&mut by_s2);
    until("s1 has no connection with s2", || on.row("s1")["connected"] == serde_json::json!([]));
    let waited = on.group.evenkeel(&["wait", "--timeout", "1s"]);
    assert!(waited.code == 4 && waited.stderr.contains("s2"), "{waited:?}");
    // The other server of the process goes on.
    assert_eq!(on.row("s1")["state"], "up");
    assert_blocks(&mut by_s1, own, 1);
    write_blocks(&mut by_s1, own, 3);
    assert_blocks(&mut on.session(1), own, 3);
    // The end of the process tells it once more.
    assert_eq!(on.group.stop().0, 1, "{}", on.group.log());
    assert!(on.group.log().ends_with(&format!("evenkeel: {reason}\n")), "{}", on.group.log());
    on.disk.clear();
    on.group.spawn();
    on.group.wait();
    let mut by_s2 = on.session(2);
    assert_blocks(&mut by_s2, own, 3);
    assert_blocks(&mut by_s2, lost, 2);
}

#[test]
fn a_process_ends_with_exit_code_1_when_its_last_server_stops() {
    let Some(mut on) = OnSmallDisk::start(1) else { return };
    let mut initiator = on.session(1);
    on.disk.fill();
    write_blocks(&mut initiator, 0, 1);
    let (code, _) = on.group.ended();
    let log = on.group.log();
    assert_eq!(code, 1, "{log}");
    let last = log.lines().last().expect("a line");
    assert!(last.starts_with("evenkeel: server 's1' stops: store") && last.contains(NO_SPACE), "{log}");
}

#[test]
fn a_preallocated_store_takes_its_space_at_once_and_needs_no_more_later() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let Some(disk) = SmallDisk::in_memory(&data.join("s1"), "300m") else { return };
    // An address that no other test uses: the processes differ.
    let [_, b, c, d] = std::process::id().to_be_bytes();
    let at = |port: u16| format!("127.{}.{c}.{d}:{port}", 150 + b);
    let (program, portal, api) = (Group::program(), at(3260), at(8260));
    let peer = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let peer = peer.port().to_string();
    let args = ["serve", "--portal", &portal, "--api", &api, "--peer-port", &peer, "--preallocate", "true"];
    let place = ["--store-size", "512MiB", "--data", data.to_str().expect("a readable path")];
    let ran =
        run_within(SHOWS_WITHIN, program.to_str().expect("a readable path"), &[&args[..], &place].concat());
    let _ = ran.refusal(1, &["s1/store", "cannot take 512MiB", NO_SPACE, "smaller size"]);
    assert!(!data.join("s1/store").exists(), "nothing is left behind");
    let mut options = GroupOptions::servers(1).store_size("256MiB").flag("--preallocate true");
    options.data = Some(data);
    let group = Group::start(options);
    let iqn = group.create_volume("v1", "64MiB");
    disk.fill();
    let mut initiator = Initiator::open(&group.portal(1), &iqn);
    for extent in 0..16 {
        let done = write(&mut initiator, extent * EXTENT_SECTORS, REGION_SECTORS, 1);
        assert_eq!(done.status, Some(Status::Good), "{done:?}");
    }
    write_blocks(&mut initiator, 0, 2);
    drop(initiator);
    let mut group = group;
    assert_eq!(group.stop().0, 0, "{}", group.log());
}
