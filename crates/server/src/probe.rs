//! Measuring roughly what a server can do, where nobody declared it. Only the relation between servers matters to
//! balancing, and capacities that are declared are better.

use crate::config::CapacityConfig;
use crate::disk::DiskFile;
use evenkeel_types::AlignedBuf;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long reads and writes are measured, each.
const PROBE_FOR: Duration = Duration::from_millis(60);
/// A device with a queue does so many times what one request at a time gets out of it.
const QUEUE_GAIN: f64 = 4.0;
/// What a network is taken for, in MiB/s each way: 10 Gbit/s.
const NET_MIB_S: f64 = 1192.0;
/// Bytes of the store that are read from: its first part is never sparse.
const PROBE_SPAN: u64 = 32 << 20;

/// Measures; divides by the servers of this machine, which share it.
pub(crate) fn capacity(file: &DiskFile, path: &Path, servers: usize) -> CapacityConfig {
    let share = servers.max(1) as f64;
    let reads = rate(|n| {
        let mut buf = AlignedBuf::zeroed(4096);
        let block = n.wrapping_mul(0x9e37_79b9) % (PROBE_SPAN / 4096);
        file.file().read_exact_at(&mut buf, block * 4096).is_ok()
    });
    let scratch = path.with_extension("probe");
    let writes = std::fs::File::create(&scratch).map_or(0.0, |scratch| {
        let block = AlignedBuf::zeroed(4096);
        rate(|n| scratch.write_all_at(&block, n % 64 * 4096).and_then(|()| scratch.sync_data()).is_ok())
    });
    let _ = std::fs::remove_file(&scratch);
    let cores = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
    CapacityConfig {
        disk_read_iops: (reads * QUEUE_GAIN / share).max(100.0),
        disk_write_iops: (writes * QUEUE_GAIN / share).max(100.0),
        net_mib_s: NET_MIB_S / share,
        cpu_cores: cores / share,
        enforce: false,
    }
}

/// Times a second that something can be done.
fn rate(mut once: impl FnMut(u64) -> bool) -> f64 {
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < PROBE_FOR && once(done) {
        done += 1;
    }
    done as f64 / began.elapsed().as_secs_f64()
}
