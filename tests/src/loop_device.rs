//! Block devices over files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A block device over a file, until it is dropped.
#[derive(Debug)]
pub struct LoopDevice(PathBuf);

impl LoopDevice {
    /// Over a new file of zeros. `None`, with the reason printed, where no block device can be made.
    ///
    /// # Panics
    /// If the file cannot be made.
    #[must_use]
    pub fn over(file: &Path, bytes: u64) -> Option<Self> {
        std::fs::File::create(file).and_then(|file| file.set_len(bytes)).expect("the file can be made");
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        match made {
            Ok(made) if made.status.success() => {
                Some(Self(String::from_utf8_lossy(&made.stdout).trim().into()))
            }
            Ok(made) => {
                let why = String::from_utf8_lossy(&made.stderr).trim().to_owned();
                Self::skipped(&format!("no loop device here: {why}"))
            }
            Err(e) => Self::skipped(&format!("no losetup here: {e}")),
        }
    }

    /// Says so past the test harness, which keeps what a passing test prints.
    fn skipped(why: &str) -> Option<Self> {
        let _ = writeln!(std::io::stderr(), "skipped: a store on a block device: {why}");
        None
    }

    /// The device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}
