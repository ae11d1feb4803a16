//! A disk image stays what it is while its extents move, hundreds of times, under readers and writers.

use evenkeel_api::MovesTable;
use evenkeel_tests::{
    Blocks, Filesystem, Group, GroupOptions, Mover, StopAtEnd, Writer, compare_files, run, views_are_equal,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The image lies at the start of the volume; behind it the writers write.
const IMAGE_MIB: u32 = 128;
const WRITTEN_MIB: u32 = 32;
const IMAGE_EXTENTS: u32 = IMAGE_MIB / 4;
const EXTENTS: u32 = (IMAGE_MIB + WRITTEN_MIB) / 4;
const BLOCKS_PER_EXTENT: u64 = 1024;
/// Extents that are moved slowly, so that writes meet regions in every state; each has a writer of its own.
const SLOW_EXTENTS: u32 = 4;
/// Their rate, bytes per second.
const SLOWLY: u64 = 16 << 20;
const MOVES_MIN: u64 = 500;
/// The moves go on for so long if a counter is still zero.
const MOVES_WITHIN: Duration = Duration::from_secs(80);
/// Requests under way of each writer.
const DEPTH: usize = 8;

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

/// The part of a volume that holds the image, as QEMU names it.
fn image_at(group: &Group, server: u16, iqn: &str) -> String {
    let bytes = u64::from(IMAGE_MIB) << 20;
    format!(
        "json:{{\"driver\":\"raw\",\"offset\":0,\"size\":{bytes},\"file\":{{\"driver\":\"iscsi\",\
         \"transport\":\"tcp\",\"portal\":\"{}\",\"target\":\"{iqn}\",\"lun\":0}}}}",
        group.portal(server)
    )
}

/// Reads the image back through a server.
fn read_image(group: &Group, server: u16, iqn: &str) -> PathBuf {
    let back = group.folder().join(format!("back{server}.raw"));
    let _ = run("qemu-img", &["convert", "-O", "raw", &image_at(group, server, iqn), text(&back)]).ok();
    back
}

/// Writes that waited, were mirrored and so on: by name.
fn counters(moves: &MovesTable) -> [(&'static str, u64); 6] {
    [
        ("writes mirrored", moves.writes_mirrored),
        ("writes that waited for the region in motion", moves.writes_waited),
        ("writes to regions not yet copied", moves.writes_not_yet_copied),
        ("requests pinned before the cut-over and completed after it", moves.pinned_over_cutover),
        ("requests answered \"moved\"", moves.answered_moved),
        ("regions sent", moves.regions_sent),
    ]
}

/// Whether enough has moved and everything that is counted has happened.
fn is_enough(mover: &[&Mover<'_>], moves: &MovesTable) -> bool {
    let moved: usize = mover.iter().map(|mover| mover.moved().len()).sum();
    moves.completed >= MOVES_MIN && moved == EXTENTS as usize && counters(moves).iter().all(|(_, n)| *n > 0)
}

#[test]
fn claim_03_programs_media_and_databases_stay_whole_while_every_extent_moves() {
    let group = Group::start(GroupOptions::servers(3).flag("--balance false"));
    let iqn = group.create_volume("v1", &format!("{}MiB", IMAGE_MIB + WRITTEN_MIB));
    let filesystem = Filesystem::make(group.folder(), IMAGE_MIB);
    let _ = run(
        "qemu-img",
        &["convert", "-n", "-f", "raw", "-O", "raw", text(&filesystem.image), &group.url(1, &iqn)],
    )
    .ok();

    let portals: Vec<String> = (1..=3).map(|server| group.portal(server)).collect();
    let mut writers: Vec<Writer> = (IMAGE_EXTENTS..EXTENTS)
        .map(|extent| {
            let blocks = Blocks::new(u64::from(extent) * BLOCKS_PER_EXTENT, BLOCKS_PER_EXTENT as usize);
            Writer::new(portals.clone(), &iqn, blocks, DEPTH, u64::from(extent))
        })
        .collect();
    let (quick, slow) = (Mover::new(&group, "v1", 3), Mover::new(&group, "v1", 3));
    let (quick_extents, slow_extents): (Vec<u32>, Vec<u32>) =
        (0..EXTENTS).partition(|extent| *extent < EXTENTS - SLOW_EXTENTS);
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let reads_during_moves = std::thread::scope(|scope| {
        // Whatever goes wrong in a thread, the others are told to stop.
        let stop_at_end = StopAtEnd(&stop);
        for writer in &mut writers {
            scope.spawn(|| writer.run(&stop));
        }
        scope.spawn(|| quick.run(&quick_extents, 10, None, &stop));
        scope.spawn(|| slow.run(&slow_extents, SLOW_EXTENTS as usize, Some(SLOWLY), &stop));
        let mut reads = 0;
        loop {
            for server in [2, 3] {
                compare_files(&filesystem.image, &read_image(&group, server, &iqn));
                reads += 1;
            }
            if is_enough(&[&quick, &slow], &group.api().moves()) || began.elapsed() > MOVES_WITHIN {
                break;
            }
        }
        drop(stop_at_end);
        reads
    });
    let moves = group.api().moves();
    eprintln!("{} moves, {} given up, in {:.1?}", moves.completed, moves.aborted, began.elapsed());
    counters(&moves).iter().for_each(|(what, count)| eprintln!("{count} {what}"));
    eprintln!("the image was read {reads_during_moves} times during the moves");
    let refused = [quick.refused(), slow.refused()].concat();
    eprintln!("{} orders tried again, the first: {:?}", refused.len(), refused.first());

    let moved: std::collections::BTreeMap<u32, u64> = quick.moved().into_iter().chain(slow.moved()).collect();
    assert!(moves.completed >= MOVES_MIN, "{} moves", moves.completed);
    assert!((0..EXTENTS).all(|extent| moved.contains_key(&extent)), "not all extents moved: {moved:?}");
    for (what, count) in counters(&moves) {
        assert!(count > 0, "no {what}");
    }
    for (extent, writer) in (IMAGE_EXTENTS..).zip(&mut writers) {
        let tally = writer.tally.clone();
        assert_eq!(tally.wrong, None, "extent {extent}");
        assert_eq!((tally.busy, tally.lost), (0, 0), "extent {extent}: {tally:?}");
        assert!(tally.writes > 0 && tally.reads > 0, "extent {extent}: {tally:?}");
        let server = 1 + (extent % 3) as u16;
        assert!(writer.verify(&group.portal(server)).expect("what was written is there") > 0);
    }
    for server in [2, 3] {
        let back = read_image(&group, server, &iqn);
        compare_files(&filesystem.image, &back);
        let files = group.folder().join(format!("files{server}"));
        std::fs::create_dir(&files).expect("a folder for the files");
        filesystem.check_files_in(&back, &files);
    }
    views_are_equal(&group, "v1", 3);
    let verified = group.evenkeel(&["route", "v1", "--verify", "-o", "json"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}
