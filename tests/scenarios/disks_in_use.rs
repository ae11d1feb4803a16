//! Block devices that hold something, or that others use, are left alone.

use evenkeel_tests::{Group, GroupOptions, LoopDevice, Ran, run, run_within};
use rustix::fs::OFlags;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const DEVICE_BYTES: u64 = 512 << 20;
/// Where btrfs has the magic number of its first superblock. The first 64 KiB of the disk are free for boot loaders.
const BTRFS_MAGIC_AT: u64 = 65_600;
const BTRFS_MAGIC: &[u8] = b"_BHRfS_M";
/// How long a device stays with a process that is ending. Shorter than a server waits, longer than it needs to get there.
const HELD_FOR: Duration = Duration::from_secs(1);

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

fn device(folder: &TempDir) -> Option<LoopDevice> {
    LoopDevice::over(&folder.path().join("device"), DEVICE_BYTES)
}

/// Starts a group of one server with a store, which is expected to be refused.
fn serve_on(folder: &TempDir, store: &Path) -> Ran {
    // Addresses that no other test uses: the processes differ.
    let [_, b, c, d] = std::process::id().to_be_bytes();
    let host = format!("127.{}.{c}.{d}", 150 + b);
    let config = format!(
        "data = \"{}\"\napi = \"{host}:8260\"\n[[server]]\nname = \"s1\"\nportal = \"{host}:3260\"\n\
         peer = \"{host}:7260\"\nstore = \"{}\"\n",
        folder.path().join("data").display(),
        store.display()
    );
    let file = folder.path().join("evenkeel.toml");
    std::fs::write(&file, config).expect("the file can be written");
    run_within(Duration::from_secs(60), text(&Group::program()), &["serve", "--config", text(&file)])
}

#[test]
fn a_device_with_the_mark_of_a_file_system_is_not_formatted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(device) = device(&folder) else { return };
    let open = || File::options().read(true).write(true).open(device.path()).expect("the device opens");
    let last = DEVICE_BYTES - 4096;
    for (at, mark) in [(BTRFS_MAGIC_AT, BTRFS_MAGIC), (last, b"a mark at the end")] {
        open().write_all_at(mark, at).expect("the device takes the mark");
        let ran = serve_on(&folder, device.path());
        let place = format!("something is at byte {at};");
        let _ = ran.refusal(1, &[text(device.path()), "not blank", &place, "wipefs"]);
        let mut found = vec![0; mark.len()];
        open().read_exact_at(&mut found, at).expect("the device can be read");
        assert_eq!(found, mark, "the mark is still there");
        open().write_all_at(&vec![0; mark.len()], at).expect("the device can be cleared");
    }
}

/// A file system on a device, mounted until it is dropped.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_mounted_device_is_refused_and_its_files_stay() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(device) = device(&folder) else { return };
    let _ = run("mkfs.ext4", &["-q", text(device.path())]).ok();
    let mount = folder.path().join("mount");
    std::fs::create_dir(&mount).expect("a folder can be made");
    let ran = run("mount", &[text(device.path()), text(&mount)]);
    if ran.code != 0 {
        println!("skipped: cannot mount here: {}", ran.stderr.trim());
        return;
    }
    let _mounted = Mounted(&mount);
    let letter = mount.join("letter");
    std::fs::write(&letter, "dear reader").expect("a file can be written");
    let ran = serve_on(&folder, device.path());
    let _ = ran.refusal(1, &[text(device.path()), "it is mounted", "unmount it"]);
    assert_eq!(std::fs::read_to_string(&letter).expect("the file is there"), "dear reader");
}

#[test]
fn a_device_that_is_just_being_given_up_is_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(device) = device(&folder) else { return };
    // A killed process has its device until the kernel has taken its io_uring down.
    let exclusive = OFlags::EXCL.bits().cast_signed();
    let mut options = File::options();
    let ending = options.read(true).write(true).custom_flags(exclusive).open(device.path());
    let ending = ending.expect("nobody has the device");
    let thread = std::thread::spawn(move || {
        std::thread::sleep(HELD_FOR);
        drop(ending);
    });
    let stores = [device.path().to_owned()];
    let group = Group::start(GroupOptions::servers(1).stores(&stores));
    thread.join().expect("the device is given up");
    drop(group);
}

#[test]
fn a_device_that_serves_is_kept_from_every_other_user() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(device) = device(&folder) else { return };
    let stores = [device.path().to_owned()];
    let group = Group::start(GroupOptions::servers(1).stores(&stores));
    let ran = serve_on(&folder, device.path());
    let _ = ran.refusal(1, &[text(device.path()), "another process uses it", "stop that process"]);
    let ran = group.evenkeel(&["check", text(device.path())]);
    let _ = ran.refusal(1, &[text(device.path()), "another process uses it"]);
    // Programs of others ask the kernel, which knows.
    let ran = run("mkfs.ext4", &["-q", text(device.path())]);
    assert!(ran.code != 0 && ran.stderr.contains("in use"), "{ran:?}");
    group.wait();
}
