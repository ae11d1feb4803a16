//! A disk hangs, fails, or is full, and there is another copy of everything on it: hosts go on.

use evenkeel_api::{ServerRow, ServerState, ServersTable};
use evenkeel_scsi::initiator::request;
use evenkeel_scsi::{AdditionalSense, SenseKey, Status};
use evenkeel_tests::{Etcd, Hosts, Initiator, Processes, SmallDisk, wait_until};
use evenkeel_types::Bytes;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Extents that are written, of twice as many.
const EXTENTS: u32 = 4;
const EXTENT_SECTORS: u64 = 8192;
const REGION_SECTORS: u64 = 128;
/// What hosts may wait at most: 2 s until a disk that hangs is noticed, and what a server that is lost takes.
const PAUSE_MAX: Duration = Duration::from_secs(10);
const SILENT: &str = "has not answered for";

/// Three servers, each on a small disk of its own, and the hosts of a volume with two copies. The order is that of taking
/// down.
struct OnSmallDisks {
    group: Processes,
    disks: Vec<SmallDisk>,
    hosts: Hosts,
    iqn: String,
    _folder: TempDir,
}

impl OnSmallDisks {
    /// `None` where nothing can be mounted.
    fn start(mount: impl Fn(&Path) -> Option<SmallDisk>) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = |number: u16| folder.path().join(format!("data{number}"));
        let disks: Option<Vec<SmallDisk>> =
            (1..=3).map(|number| mount(&data(number).join(format!("s{number}")))).collect();
        let disks = disks?;
        let group = Processes::start_with(Etcd::start(1), 3, "--balance false", |number, options| {
            let mut options = options.store_size("256MiB");
            options.data = Some(data(number));
            options
        });
        let iqn = group.processes[0].create_replicated("v1", &format!("{}MiB", EXTENTS * 2 * 4), 2);
        let hosts = Hosts::fill(&group, &iqn, 0..EXTENTS, 4);
        Some(Self { group, disks, hosts, iqn, _folder: folder })
    }
}

/// The row of a server, as another process has it.
fn row(group: &Processes, server: usize) -> ServerRow {
    let asked = &group.processes[(server + 1) % group.processes.len()];
    let table: ServersTable = asked.api().get("/v1/servers").expect("the process answers");
    table.servers[server].clone()
}

#[test]
fn hosts_go_on_without_a_disk_that_hangs() {
    let Some(mut on) = OnSmallDisks::start(|folder| SmallDisk::on_device(folder, 400 << 20)) else { return };
    let [owner, other, _] = on.group.placed("v1");
    // The owner's disk, and then the one of the server that took over.
    for hung in [owner, other] {
        let (group, disks) = (&on.group, &on.disks);
        on.hosts.while_at_work(|| {
            let lives = row(group, hung).incarnation;
            disks[hung].hang();
            wait_until(
                || format!("others go on without it: {:?}", row(group, hung)),
                || row(group, hung).state == ServerState::Down,
            );
            std::thread::sleep(Duration::from_secs(1));
            disks[hung].go_on();
            // It finds that it was given up, and comes back.
            wait_until(
                || format!("it comes back: {:?}", row(group, hung)),
                || row(group, hung).state == ServerState::Up && row(group, hung).incarnation > lives,
            );
            group.all_are_up();
        });
    }
    let tally = on.hosts.saw_no_error();
    println!(
        "2 disks hung: {} writes, {} reads, 0 errors, longest {:.2?}",
        tally.writes, tally.reads, tally.longest
    );
    assert!(tally.longest < PAUSE_MAX, "{tally:?}");
    on.hosts.all_is_there(&on.group.portals());
    let expected = [SILENT, "the group went on without it", "cannot start anew yet", "stood still for"];
    assert_eq!(on.group.warnings_but(&expected), []);
}

#[test]
fn a_server_whose_disk_fails_leaves_by_itself_and_hosts_go_on() {
    let Some(mut on) = OnSmallDisks::start(|folder| SmallDisk::in_memory(folder, "110m")) else { return };
    let [owner, other, _] = on.group.placed("v1");
    // Where there is no room, what is in the journal cannot be put in its place: the write fails.
    let beyond = u64::from(EXTENTS) * EXTENT_SECTORS;
    let mut initiator = Initiator::open(&on.group.processes[other].portal(1), &on.iqn);
    let (group, disks) = (&on.group, &on.disks);
    on.hosts.while_at_work(|| {
        disks[owner].fill();
        for region in 0..16 {
            let data = Bytes::from(vec![7; 4096]);
            let write = request::write_16(beyond + region * REGION_SECTORS, data, 512);
            let _ = initiator.good(&write);
        }
        let process = &group.processes[owner];
        wait_until(|| process.log(), || process.log().contains("left the group"));
        wait_until(
            || format!("the group knows: {:?}", row(group, owner)),
            || row(group, owner).state == ServerState::Down,
        );
        std::thread::sleep(Duration::from_secs(1));
    });
    // Its process had no other server, and has ended.
    assert_eq!(on.group.processes[owner].ended().0, 1, "{}", on.group.processes[owner].log());
    let tally = on.hosts.saw_no_error();
    println!(
        "a disk failed: {} writes, {} reads, 0 errors, longest {:.2?}",
        tally.writes, tally.reads, tally.longest
    );
    assert!(tally.longest < PAUSE_MAX, "{tally:?}");
    assert_eq!(
        on.group.warnings_but(&["No space left on device"]),
        [],
        "nobody had to find out that it is gone"
    );
    on.disks[owner].clear();
    on.group.processes[owner].spawn();
    on.group.all_are_up();
    on.hosts.all_is_there(&on.group.portals());
    for portal in on.group.portals() {
        let mut initiator = Initiator::open(&portal, &on.iqn);
        for region in 0..16 {
            let read = initiator.good(&request::read_16(beyond + region * REGION_SECTORS, 8, 512));
            assert!(read.iter().all(|byte| *byte == 7), "region {region} is not as written");
        }
    }
}

/// Where a whole region goes there is no room: the write is refused, or the copy that cannot take it goes and others have
/// it. Neither harms hosts whose blocks have their places.
#[test]
fn hosts_go_on_when_the_disk_of_one_copy_has_no_room() {
    let Some(mut on) = OnSmallDisks::start(|folder| SmallDisk::in_memory(folder, "110m")) else { return };
    let [owner, other, third] = on.group.placed("v1");
    let beyond = u64::from(EXTENTS) * EXTENT_SECTORS;
    let portal = on.group.processes[third].portal(1);
    let write = |iqn: &str, byte: u8| {
        let data = Bytes::from(vec![byte; REGION_SECTORS as usize * 512]);
        Initiator::open(&portal, iqn).ask(&request::write_16(beyond, data, 512))
    };
    let (group, disks, iqn) = (&on.group, &on.disks, &on.iqn);
    on.hosts.while_at_work(|| {
        // The owner's: nothing has the write, and it is refused.
        disks[owner].fill();
        for _ in 0..3 {
            let refused = write(iqn, 1);
            assert_eq!(refused.status, Some(Status::CheckCondition), "{:?}", refused.sense);
            let sense = refused.sense.expect("sense data");
            let found = (sense.key, sense.additional);
            assert_eq!(found, (SenseKey::DataProtect, AdditionalSense::SPACE_ALLOCATION_FAILED));
        }
        disks[owner].clear();
        assert_eq!(write(iqn, 2).status, Some(Status::Good));
        // The other copy's: the owner has the write, so the server of that copy goes.
        disks[other].fill();
        assert_eq!(write(iqn, 3).status, Some(Status::Good));
        let process = &group.processes[other];
        wait_until(|| process.log(), || process.log().contains("left the group"));
        std::thread::sleep(Duration::from_secs(2));
    });
    assert_eq!(on.group.processes[other].ended().0, 1, "{}", on.group.processes[other].log());
    let tally = on.hosts.saw_no_error();
    println!(
        "2 disks were full: {} writes, {} reads, 0 errors, longest {:.2?}",
        tally.writes, tally.reads, tally.longest
    );
    assert!(tally.longest < PAUSE_MAX, "{tally:?}");
    on.disks[other].clear();
    on.group.processes[other].spawn();
    on.group.all_are_up();
    on.hosts.all_is_there(&on.group.portals());
    for portal in on.group.portals() {
        let read =
            Initiator::open(&portal, &on.iqn).good(&request::read_16(beyond, REGION_SECTORS as u32, 512));
        assert!(read.iter().all(|byte| *byte == 3), "the last write is there");
    }
    assert_eq!(on.group.warnings_but(&["there is no room for what other copies"]), []);
}
