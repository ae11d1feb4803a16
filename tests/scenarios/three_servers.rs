//! Three servers: every portal serves the same data, while extents move and the process is killed.

use evenkeel_tests::{
    Blocks, Group, GroupOptions, Mover, StopAtEnd, Writer, compare_files, random_image, run,
};
use std::path::Path;
use std::sync::atomic::AtomicBool;

const IMAGE_BYTES: u64 = 256 << 20;
const EXTENTS: u64 = IMAGE_BYTES >> 22;
/// Extents of the second volume, each with a writer of its own.
const CHECKED_EXTENTS: u32 = 8;
const BLOCKS_PER_EXTENT: u64 = 1024;
/// Bytes per second of the moves of these extents, so that writes meet regions that are at the target already.
const SLOWLY: u64 = 16 << 20;

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

fn write_image(image: &Path, url: &str) {
    let _ = run("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", text(image), url]).ok();
}

fn read_image(url: &str, back: &Path) {
    let _ = run("qemu-img", &["convert", "-f", "raw", "-O", "raw", url, text(back)]).ok();
}

/// The owner of each extent by the view of a server.
fn owners(group: &Group, server: &str) -> Vec<String> {
    let table = group.evenkeel(&["route", "v1", "--server", server, "-o", "json"]).ok().json();
    let rows = table["extents"].as_array().expect("rows").clone();
    rows.iter().map(|row| row["owner"].as_str().expect("an owner").to_owned()).collect()
}

fn verify(group: &Group) {
    let ran = group.evenkeel(&["route", "v1", "--verify", "-o", "json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn claim_02_every_portal_shows_the_same_device_with_the_same_data() {
    let group = Group::start(GroupOptions::servers(3).flag("--balance false"));
    let iqn = group.create_volume("v1", "256MiB");
    // What a host knows a device by: its serial number, and the designators of the logical unit. Those of the port that
    // was asked differ, as they must.
    let identity = |server: u16| {
        let page =
            |number: &str| run("iscsi-inq", &["-e", "1", "-c", number, &group.url(server, &iqn)]).ok().stdout;
        let designators = page("131");
        let of_unit = designators.split("DEVICE DESIGNATOR").filter(|text| text.contains("LOGICAL_UNIT"));
        let of_unit: Vec<String> = of_unit.map(str::to_owned).collect();
        assert!(of_unit.len() >= 2 && designators.contains("TARGET_PORT"), "{designators}");
        (page("128"), of_unit)
    };
    let first = identity(1);
    assert!(first.0.contains("Unit Serial Number:["), "{first:?}");
    assert_eq!(first, identity(2));
    assert_eq!(first, identity(3));
    let (image, back) = (group.folder().join("image.raw"), group.folder().join("back.raw"));
    random_image(&image, IMAGE_BYTES, 11);
    write_image(&image, &group.url(1, &iqn));
    for server in [2, 3, 1] {
        read_image(&group.url(server, &iqn), &back);
        compare_files(&image, &back);
    }
    verify(&group);
}

/// QEMU writes and reads one volume while all of its extents move. On another one are writers that know what each block
/// must hold: they see at once if a write went only to the copy that is given up.
#[test]
fn claim_07_extents_move_under_a_reader_and_a_writer_and_lose_nothing() {
    let group = Group::start(GroupOptions::servers(3).flag("--balance false"));
    let (iqn, checked) = (group.create_volume("v1", "256MiB"), group.create_volume("v2", "32MiB"));
    let back = group.folder().join("back.raw");
    let images = [12, 14].map(|seed| {
        let image = group.folder().join(format!("image{seed}.raw"));
        random_image(&image, IMAGE_BYTES, seed);
        image
    });
    write_image(&images[1], &group.url(1, &iqn));
    let before = owners(&group, "s1");
    let portals: Vec<String> = (1..=3).map(|server| group.portal(server)).collect();
    let mut writers: Vec<Writer> = (0..CHECKED_EXTENTS)
        .map(|extent| {
            let first = u64::from(extent) * BLOCKS_PER_EXTENT;
            let blocks = Blocks::new(first, BLOCKS_PER_EXTENT as usize);
            Writer::new(portals.clone(), &checked, blocks, 4, u64::from(extent) + 1)
        })
        .collect();
    let (mover, stop) = (Mover::new(&group, "v2", 3), AtomicBool::new(false));
    let checked_extents: Vec<u32> = (0..CHECKED_EXTENTS).collect();
    std::thread::scope(|scope| {
        // Whatever goes wrong, the writers are told to stop.
        let stop_at_end = StopAtEnd(&stop);
        for writer in &mut writers {
            scope.spawn(|| writer.run(&stop));
        }
        scope.spawn(|| mover.run(&checked_extents, 2, Some(SLOWLY), &stop));
        let load = scope.spawn(|| {
            for (round, image) in (0..2).zip(&images) {
                write_image(image, &group.url(1 + round % 3, &iqn));
                read_image(&group.url(1 + (round + 1) % 3, &iqn), &back);
                compare_files(image, &back);
            }
        });
        for round in 0..2 {
            for extent in 0..EXTENTS {
                let now = owners(&group, "s1")[extent as usize].clone();
                let to = ["s1", "s2", "s3"][(now.as_bytes()[1] - b'0') as usize % 3];
                let ran = group.evenkeel(&["move", "v1", &extent.to_string(), "--to", to]);
                assert!(ran.code == 0 || round > 0, "move of {extent} to {to}: {}", ran.stderr);
            }
        }
        load.join().expect("what QEMU wrote it read back");
        drop(stop_at_end);
    });
    for (extent, writer) in writers.iter_mut().enumerate() {
        let tally = writer.tally.clone();
        assert_eq!((&tally.wrong, tally.busy, tally.lost), (&None, 0, 0), "extent {extent}: {tally:?}");
        assert!(tally.writes > 0 && tally.reads > 0, "extent {extent}: {tally:?}");
        assert!(writer.verify(&portals[extent % 3]).expect("what was written is there") > 0);
    }
    for server in [1, 2, 3] {
        read_image(&group.url(server, &iqn), &back);
        compare_files(&images[1], &back);
    }
    let after = owners(&group, "s1");
    assert!(before.iter().zip(&after).any(|(a, b)| a != b), "nothing moved");
    assert_eq!(after, owners(&group, "s2"));
    assert_eq!(after, owners(&group, "s3"));
    verify(&group);
    let moves = group.evenkeel(&["moves", "-o", "json"]).ok().json();
    assert!(moves["completed"].as_u64().expect("a count") >= EXTENTS, "{moves}");
    assert!(moves["writes_mirrored"].as_u64() > Some(0) && mover.moved().len() > 1, "{moves}");
}

#[test]
fn a_kill_in_the_middle_of_a_slow_move_is_resumed_without_sending_again() {
    let mut group = Group::start(GroupOptions::servers(2).flag("--balance false"));
    let iqn = group.create_volume("v1", "64MiB");
    let (image, back) = (group.folder().join("image.raw"), group.folder().join("back.raw"));
    random_image(&image, 64 << 20, 13);
    write_image(&image, &group.url(1, &iqn));
    let owner = owners(&group, "s1")[0].clone();
    let to = if owner == "s1" { "s2" } else { "s1" };
    let _ = group.evenkeel(&["move", "v1", "0", "--to", to, "--rate", "1MiB/s"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let moves = group.evenkeel(&["moves", "-o", "json"]).ok().json();
    let before = moves["regions_sent"].as_u64().expect("a count");
    assert!((4..60).contains(&before), "the move was to be in its middle: {moves}");
    group.kill();
    group.spawn();
    group.wait();
    let began = std::time::Instant::now();
    while owners(&group, "s1")[0] != to {
        assert!(began.elapsed().as_secs() < 30, "the move did not go on\n{}", group.log());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let moves = group.evenkeel(&["moves", "-o", "json"]).ok().json();
    let after = moves["regions_sent"].as_u64().expect("a count");
    assert!(before + after <= 64 + 8, "{before} regions were sent before the kill and {after} after it");
    read_image(&group.url(2, &iqn), &back);
    compare_files(&image, &back);
    verify(&group);
}
