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
