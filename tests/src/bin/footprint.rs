//! What a group takes: three servers in one process, with 100 GiB of volumes whose every extent was written once. Prints
//! resident memory, the times of a clean start and of one after a kill with a full journal, and the CPU that idling
//! takes; fails if one of them is more than it may be. Run it by `make footprint`, on a machine that does nothing else.

use evenkeel_scsi::initiator::{Request, request};
use evenkeel_tests::{Group, GroupOptions, Initiator, Process};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const SERVERS: u16 = 3;
const VOLUMES: u64 = 4;
const VOLUME_GIB: u64 = 25;
const EXTENT_BYTES: u64 = 4 << 20;
const REGION_BYTES: u64 = 64 << 10;
const BLOCK_BYTES: usize = 4 << 10;
/// Bytes of a logical block.
const SECTOR: u32 = 512;
/// Size of each store: room for a unit of each extent, and for the records of more than its share of them.
const STORE_GIB: u64 = 48;
/// Journal of each store, the size that is the default for a real disk, in bytes.
const JOURNAL_BYTES: u64 = 1 << 30;
/// A checkpoint begins when half of the journal is used, so that this share, in percent, is as full as it gets where
/// the disk keeps up.
const FULL_PERCENT: u64 = 45;
/// Blocks of the writes that fill the journal: a region but for one, so that they go into it and not past it.
const FILL_BLOCKS: usize = 15;
/// Regions that these writes go to, again and again.
const FILL_REGIONS: u64 = 64;

/// What may be taken.
const RESIDENT_BYTES_MAX: u64 = 250_000_000;
const CLEAN_START_MAX: Duration = Duration::from_secs(5);
const REPLAY_START_MAX: Duration = Duration::from_secs(10);
const IDLE_PERCENT_MAX: f64 = 2.0;

/// Seconds of quiet before idling is measured, and how long it is.
const QUIET: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let size = format!("--store-size {STORE_GIB}GiB --journal-size {}MiB", JOURNAL_BYTES >> 20);
    let options = GroupOptions { flags: Vec::new(), ..GroupOptions::servers(SERVERS) }.flag(&size);
    let mut group = Group::start(options);
    let began = Instant::now();
    let volumes: Vec<String> =
        (0..VOLUMES).map(|n| group.create_volume(&format!("v{n}"), &format!("{VOLUME_GIB}GiB"))).collect();
    for (volume, target) in (0u8..).zip(&volumes) {
        let extents = VOLUME_GIB * (1 << 30) / EXTENT_BYTES;
        let writes = (0..extents).map(|extent| write(extent * EXTENT_BYTES, &[volume; BLOCK_BYTES]));
        run_all(&group, target, u16::from(volume), writes);
    }
    println!(
        "{VOLUMES} volumes of {VOLUME_GIB} GiB, every extent written, in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let mut resident = Process(group.pid()).resident_bytes();
    println!("resident after the writes: {} MB", resident / 1_000_000);

    let (code, _) = group.stop();
    assert_eq!(code, 0, "the group stops well");
    let clean_start = start(&mut group);
    let idle_percent = idle(&group);
    resident = resident.max(Process(group.pid()).resident_bytes());

    let filled = fill_journals(&group, &volumes);
    resident = resident.max(Process(group.pid()).resident_bytes());
    group.kill();
    let replay_start = start(&mut group);
    let replayed: Vec<u64> = group.log_since_start().lines().filter_map(mib_replayed).collect();
    println!("{filled} bytes written to fill the journals; MiB replayed by each server: {replayed:?}");
    let fewest = (JOURNAL_BYTES * FULL_PERCENT / 100) >> 20;
    assert!(
        replayed.len() == usize::from(SERVERS) && replayed.iter().all(|mib| *mib >= fewest),
        "the journals were not full: less than {fewest} MiB"
    );
    resident = resident.max(Process(group.pid()).resident_bytes());
    check_data(&group, &volumes);

    let mut held = true;
    let mut say = |what: &str, found: String, most: String, holds: bool| {
        println!("{what:<36} {found:>10}  at most {most:<8} {}", if holds { "held" } else { "MISSED" });
        held &= holds;
    };
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    say(
        "resident memory",
        format!("{} MB", resident / 1_000_000),
        format!("{} MB", RESIDENT_BYTES_MAX / 1_000_000),
        resident <= RESIDENT_BYTES_MAX,
    );
    say("clean start", seconds(clean_start), seconds(CLEAN_START_MAX), clean_start <= CLEAN_START_MAX);
    let most = seconds(REPLAY_START_MAX);
    say("start after kill -9, full journal", seconds(replay_start), most, replay_start <= REPLAY_START_MAX);
    let most = format!("{IDLE_PERCENT_MAX:.0} %");
    say("idle CPU, of a core", format!("{idle_percent:.2} %"), most, idle_percent < IDLE_PERCENT_MAX);
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write(offset: u64, data: &[u8]) -> Request {
    request::write_16(offset / u64::from(SECTOR), data.to_vec().into(), SECTOR)
}

fn run_all(group: &Group, target: &str, server: u16, requests: impl IntoIterator<Item = Request>) {
    Initiator::open(&group.portal(1 + server % SERVERS), target).all_good(requests);
}

/// Starts the process; how long it takes until the group serves.
fn start(group: &mut Group) -> Duration {
    let began = Instant::now();
    group.spawn();
    group.wait();
    began.elapsed()
}

fn idle(group: &Group) -> f64 {
    std::thread::sleep(QUIET);
    let before = Process(group.pid()).cpu_time();
    std::thread::sleep(IDLE);
    let used = Process(group.pid()).cpu_time() - before;
    used.as_secs_f64() / IDLE.as_secs_f64() * 100.0
}

/// Writes to one region of each of a few extents until every journal is as full as it gets; gives the bytes written. To
/// all servers at once: one that is left alone makes its journal empty within seconds.
fn fill_journals(group: &Group, volumes: &[String]) -> u64 {
    let routes = owners(group);
    let bytes = (FILL_BLOCKS * BLOCK_BYTES) as u64;
    let each = JOURNAL_BYTES * (FULL_PERCENT + 2) / 100 / (bytes + BLOCK_BYTES as u64 / 8);
    std::thread::scope(|scope| {
        for server in 0..SERVERS {
            let own: Vec<u64> =
                (0..).zip(&routes).filter(|(_, owner)| **owner == server).map(|(n, _)| n).collect();
            scope.spawn(move || {
                let region =
                    |n: u64| own[(n % FILL_REGIONS) as usize % own.len()] * EXTENT_BYTES + REGION_BYTES;
                let data = vec![0xa5; FILL_BLOCKS * BLOCK_BYTES];
                run_all(group, &volumes[0], server, (0..each).map(|n| write(region(n), &data)));
            });
        }
    });
    u64::from(SERVERS) * each * bytes
}

/// The owner of each extent of the first volume, as the number of a server from 0.
fn owners(group: &Group) -> Vec<u16> {
    let table = group.evenkeel(&["route", "v0", "-o", "json"]).ok().json();
    let rows = table["extents"].as_array().expect("a table of extents");
    let number = |row: &serde_json::Value| row["owner"].as_str()?.strip_prefix('s')?.parse::<u16>().ok();
    rows.iter().map(|row| number(row).expect("servers are called s1, s2, ...") - 1).collect()
}

/// The MiB of a line `... records of the journal replayed (M MiB) ...`.
fn mib_replayed(line: &str) -> Option<u64> {
    let (_, after) = line.split_once(" of the journal replayed (")?;
    after.split_once(" MiB)")?.0.parse().ok()
}

/// What was written once is there.
fn check_data(group: &Group, volumes: &[String]) {
    for (volume, target) in (0u8..).zip(volumes) {
        let mut session = Initiator::open(&group.portal(1), target);
        for extent in (0..VOLUME_GIB * (1 << 30) / EXTENT_BYTES).step_by(101) {
            let lba = extent * EXTENT_BYTES / u64::from(SECTOR);
            let found = session.good(&request::read_16(lba, BLOCK_BYTES as u32 / SECTOR, SECTOR));
            assert!(found[..] == [volume; BLOCK_BYTES], "extent {extent} of {target} is wrong");
        }
    }
}
