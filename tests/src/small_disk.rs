//! Small file systems for the stores of servers: they run full, fail, and hang.

use crate::loop_device::LoopDevice;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in a folder, until it is dropped.
pub struct SmallDisk {
    folder: PathBuf,
    /// What it lies on, if not in memory.
    device: Option<LoopDevice>,
}

impl SmallDisk {
    /// In memory: its space is taken as files are written. `None`, with the reason printed, where nothing can be mounted.
    ///
    /// # Panics
    /// If the folder cannot be made.
    #[must_use]
    pub fn in_memory(folder: &Path, size: &str) -> Option<Self> {
        let args = ["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"];
        Self::mount(folder, &args, None)
    }

    /// An ext4 on a block device of its own, with the image of this size beside the folder: it can hang. `None`, with the
    /// reason printed, where there can be none.
    ///
    /// # Panics
    /// If the folder or the file system cannot be made.
    #[must_use]
    pub fn on_device(folder: &Path, bytes: u64) -> Option<Self> {
        let parent = folder.parent().expect("the folder has a parent");
        std::fs::create_dir_all(parent).expect("the folder can be made");
        let name = folder.file_name().expect("the folder has a name").to_string_lossy();
        let device = LoopDevice::over(&parent.join(format!("{name}.image")), bytes)?;
        let made = Command::new("mkfs.ext4").arg("-q").arg(device.path()).status();
        assert!(made.expect("mkfs.ext4 can be run").success(), "the file system can be made");
        let path = device.path().to_str().expect("a readable path").to_owned();
        Self::mount(folder, &[&path], Some(device))
    }

    fn mount(folder: &Path, args: &[&str], device: Option<LoopDevice>) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("the folder can be made");
        match Command::new("mount").args(args).arg(folder).output() {
            Ok(mounted) if mounted.status.success() => Some(Self { folder: folder.to_owned(), device }),
            Ok(mounted) => {
                println!("skipped: cannot mount here: {}", String::from_utf8_lossy(&mounted.stderr).trim());
                None
            }
            Err(e) => {
                println!("skipped: no mount here: {e}");
                None
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Fills it to the last page.
    ///
    /// # Panics
    /// If it is full already.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("a file opens");
        let (mut written, page) = (0u64, [1; 4096]);
        while file.write_all(&page).is_ok() {
            written += 4096;
        }
        assert!(written > 0, "there was room");
    }

    /// Gives all back that filled it.
    ///
    /// # Panics
    /// If it cannot.
    pub fn clear(&self) {
        std::fs::remove_file(self.filler()).expect("the file can be removed");
    }

    /// From now on every write to it hangs, until [`Self::go_on`]. Nobody can end a process that hangs in one.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn hang(&self) {
        let frozen = Command::new("fsfreeze").arg("--freeze").arg(&self.folder).status();
        assert!(frozen.expect("fsfreeze can be run").success(), "the file system can be made to hang");
    }

    /// What hangs goes on.
    pub fn go_on(&self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.folder).output();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.device.is_some() {
            self.go_on();
        }
        // Lazily: a process that was killed may still be about to let go of it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}
