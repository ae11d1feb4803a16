//! One server alone: a real initiator writes and reads, and everything is there after a stop and after a kill.

use evenkeel_tests::{Group, GroupOptions, compare_files, random_image, run};
use std::time::Duration;

const IMAGE_BYTES: u64 = 96 << 20;

fn round_trip(flags: &str) {
    let mut group = Group::start(GroupOptions::servers(1).flag(flags));
    let iqn = group.create_volume("v1", "96MiB");
    let (image, back) = (group.folder().join("image.raw"), group.folder().join("back.raw"));
    random_image(&image, IMAGE_BYTES, 7);
    let (image_text, back_text) = (image.to_string_lossy(), back.to_string_lossy());
    let (image_text, back_text) = (image_text.as_ref(), back_text.as_ref());
    let url = group.url(1, &iqn);
    let _ = run("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", image_text, &url]).ok();
    let _ = run("qemu-img", &["convert", "-f", "raw", "-O", "raw", &url, back_text]).ok();
    compare_files(&image, &back);
    let (code, took) = group.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(5), "the stop took {took:?}");
    group.spawn();
    group.wait();
    let _ = run("qemu-img", &["convert", "-f", "raw", "-O", "raw", &url, back_text]).ok();
    compare_files(&image, &back);
    group.kill();
    group.spawn();
    group.wait();
    let _ = run("qemu-img", &["convert", "-f", "raw", "-O", "raw", &url, back_text]).ok();
    compare_files(&image, &back);
}

#[test]
fn an_image_survives_a_stop_and_a_kill() {
    round_trip("");
}

#[test]
fn an_image_survives_with_threads_instead_of_io_uring() {
    round_trip("--disk-engine threads");
}

#[test]
fn an_image_survives_without_direct_io() {
    round_trip("--direct false");
}

#[test]
fn bench_measures_what_it_was_asked_for() {
    let group = Group::start(GroupOptions::servers(1));
    let url = group.url(1, &group.create_volume("v1", "64MiB"));
    let bench = |words: &str| {
        let args: Vec<&str> = ["bench", "--target", &url].into_iter().chain(words.split(' ')).collect();
        group.evenkeel(&args)
    };
    let filled = bench("--op write --size 256KiB --depth 4 --one-pass -o json").ok().json();
    assert_eq!((filled["ops"].as_u64(), filled["span_bytes"].as_u64()), (Some(256), Some(64 << 20)));
    assert_eq!(
        group.evenkeel(&["volume", "show", "v1", "-o", "json"]).ok().json()["allocated_bytes"],
        64 << 20
    );
    let read = bench("--op read --depth 8 --seconds 0.5 --ramp 0.1 -o json").ok().json();
    assert_eq!((read["depth_reached"].as_u64(), read["size_bytes"].as_u64()), (Some(8), Some(4096)));
    let number = |name: &str| read[name].as_f64().unwrap_or_else(|| panic!("{name}: {read}"));
    assert!(number("ops") > 0.0 && number("ops_in_all") >= number("ops"), "{read}");
    assert!((number("iops") - number("ops") / number("seconds")).abs() < 1.0, "{read}");
    assert!(0.0 < number("p50_us") && number("p50_us") <= number("p99_us"), "{read}");
    assert!(number("p99_us") <= number("p999_us") && number("p999_us") <= number("max_us"), "{read}");
    let beyond = bench("--op read --span 65MiB");
    assert_eq!(beyond.code, 2, "{beyond:?}");
    assert!(beyond.stderr.contains("65MiB") && beyond.stderr.contains("64MiB"), "{beyond:?}");
}
