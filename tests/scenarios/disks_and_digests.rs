//! An image goes in through one portal and comes out through another, over other disks and with digests.

use evenkeel_iscsi::{DigestPolicy, Settings};
use evenkeel_scsi::initiator::request;
use evenkeel_tests::{Group, GroupOptions, Initiator, LoopDevice, compare_files, random_image, run};
use evenkeel_types::Bytes;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const IMAGE_BYTES: u64 = 96 << 20;
/// Bytes of one command of our own initiator.
const PIECE: usize = 1 << 20;
const WAIT: Duration = Duration::from_secs(60);

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

#[test]
fn an_image_survives_a_stop_and_a_kill_on_a_block_device() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let device = |name: &str| LoopDevice::over(&folder.path().join(name), 512 << 20);
    let (Some(one), Some(two)) = (device("one"), device("two")) else { return };
    let stores = [&one, &two].map(|device| device.path().to_owned());
    let mut group = Group::start(GroupOptions::servers(2).stores(&stores));
    let servers = group.evenkeel(&["server", "list", "-o", "json"]).ok().json();
    for row in servers["servers"].as_array().expect("rows") {
        assert!(row["total_bytes"].as_u64().is_some_and(|bytes| bytes < 512 << 20), "{servers}");
    }
    assert!(!group.store(1).exists(), "the data is on the devices alone");
    let iqn = group.create_volume("v1", "96MiB");
    let (image, back) = (group.folder().join("image.raw"), group.folder().join("back.raw"));
    random_image(&image, IMAGE_BYTES, 21);
    let _ =
        run("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", text(&image), &group.url(1, &iqn)]).ok();
    let read_back = |group: &Group| {
        let _ =
            run("qemu-img", &["convert", "-f", "raw", "-O", "raw", &group.url(2, &iqn), text(&back)]).ok();
        compare_files(&image, &back);
    };
    read_back(&group);
    assert_eq!(group.stop().0, 0);
    for device in &stores {
        let checked = group.evenkeel(&["check", text(device)]);
        assert_eq!(checked.code, 0, "{checked:?}");
    }
    group.spawn();
    group.wait();
    read_back(&group);
    group.kill();
    group.spawn();
    group.wait();
    read_back(&group);
    assert_eq!(group.stop().0, 0);
}

/// The digests of each session of the volume.
fn digests(group: &Group) -> Vec<String> {
    let table = group.evenkeel(&["session", "list", "-o", "json"]).ok().json();
    let rows = table["sessions"].as_array().expect("rows").clone();
    rows.iter().map(|row| row["digests"].as_str().expect("a word").to_owned()).collect()
}

/// QEMU's words for a volume with header digests.
fn with_header_digest(portal: &str, iqn: &str) -> String {
    format!(
        "driver=raw,file.driver=iscsi,file.transport=tcp,file.portal={portal},file.target={iqn},file.lun=0,\
             file.header-digest=crc32c"
    )
}

/// Ends a program of others when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_image_survives_with_header_digests_of_qemu() {
    let group = Group::start(GroupOptions::servers(2).store_size("512MiB"));
    let iqn = group.create_volume("v1", "96MiB");
    let (image, back) = (group.folder().join("image.raw"), group.folder().join("back.raw"));
    random_image(&image, IMAGE_BYTES, 22);
    let (to, from) = (with_header_digest(&group.portal(1), &iqn), with_header_digest(&group.portal(2), &iqn));
    let _ = run("qemu-img", &["convert", "-n", "-f", "raw", "--target-image-opts", text(&image), &to]).ok();
    let _ = run("qemu-img", &["convert", "--image-opts", "-O", "raw", &from, text(&back)]).ok();
    compare_files(&image, &back);
    // That QEMU really asked for them, and got them.
    let began = Instant::now();
    let qemu = Command::new("qemu-io")
        .args(["--image-opts", "-c", "read 0 64k", "-c", "sleep 60000", &from])
        .spawn();
    let _qemu = Running(qemu.expect("qemu-io runs"));
    while digests(&group) != ["header"] {
        assert!(began.elapsed() < WAIT, "{:?}", digests(&group));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_image_survives_with_header_and_data_digests() {
    let group = Group::start(GroupOptions::servers(2).store_size("512MiB"));
    let iqn = group.create_volume("v1", "96MiB");
    let (image, back) = (group.folder().join("image.raw"), group.folder().join("back.raw"));
    random_image(&image, IMAGE_BYTES, 23);
    for (header_digest, data_digest, agreed) in [
        (DigestPolicy::Require, DigestPolicy::Require, "header+data"),
        (DigestPolicy::Refuse, DigestPolicy::Require, "data"),
        (DigestPolicy::Refuse, DigestPolicy::Refuse, "none"),
    ] {
        let settings = Settings { header_digest, data_digest, ..Settings::default() };
        let mut one = Initiator::open_with(&group.portal(1), &iqn, settings.clone());
        let mut two = Initiator::open_with(&group.portal(2), &iqn, settings);
        assert_eq!(digests(&group), [agreed; 2]);
        let (bytes, block) = two.capacity();
        assert_eq!((bytes, block), (IMAGE_BYTES, 512));
        let mut from = std::fs::File::open(&image).expect("the image can be opened");
        let mut to = std::fs::File::create(&back).expect("the copy can be made");
        let sectors = (PIECE / 512) as u64;
        let _ = one.good(&request::unmap(&[(0, (IMAGE_BYTES / 512) as u32)]));
        for piece in 0..IMAGE_BYTES / PIECE as u64 {
            let mut data = vec![0; PIECE];
            from.read_exact(&mut data).expect("the image can be read");
            let _ = one.good(&request::write_16(piece * sectors, Bytes::from(data), 512));
        }
        for piece in 0..IMAGE_BYTES / PIECE as u64 {
            let data = two.good(&request::read_16(piece * sectors, sectors as u32, 512));
            to.write_all(&data).expect("the copy can be written");
        }
        compare_files(&image, &back);
    }
}

#[test]
fn a_file_system_in_an_image_is_clean_after_its_way_through_two_portals() {
    let group = Group::start(GroupOptions::servers(2).store_size("512MiB"));
    let iqn = group.create_volume("v1", "96MiB");
    let (image, back) = (group.folder().join("image.raw"), group.folder().join("back.raw"));
    let files = group.folder().join("files");
    std::fs::create_dir(&files).expect("a folder");
    for number in 0..40u64 {
        random_image(&files.join(format!("file-{number}")), (number + 1) << 15, 100 + number);
    }
    std::fs::File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).expect("the image can be made");
    let _ = run("mkfs.ext4", &["-q", "-F", "-d", text(&files), text(&image)]).ok();
    let _ =
        run("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", text(&image), &group.url(1, &iqn)]).ok();
    let _ = run("qemu-img", &["convert", "-f", "raw", "-O", "raw", &group.url(2, &iqn), text(&back)]).ok();
    let _ = run("e2fsck", &["-fn", text(&back)]).ok();
    compare_files(&image, &back);
}
