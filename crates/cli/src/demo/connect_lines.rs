//! How to look into the running group from outside.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

/// Lines to copy: for QEMU's tools, for a Linux host, and for this program.
pub(super) fn connect_lines(iqn: &str, portals: &[SocketAddr], api: SocketAddr, data: &Path) -> String {
    let mut text =
        format!("\nThe group runs on; its data is in {}.\n\nQEMU, through any server:\n", data.display());
    for portal in portals {
        let _ = writeln!(text, "  qemu-img info iscsi://{portal}/{iqn}/0");
    }
    if let [first, rest @ ..] = portals {
        let last = rest.last().unwrap_or(first);
        let _ = write!(
            text,
            "  qemu-img convert -n -f raw -O raw disk.img iscsi://{first}/{iqn}/0\n  \
             qemu-img compare -f raw -F raw disk.img iscsi://{last}/{iqn}/0\n\n\
             A Linux host with open-iscsi, as root:\n  \
             iscsiadm -m discovery -t sendtargets -p {first}\n  \
             iscsiadm -m node -T {iqn} --login\n  \
             iscsiadm -m node -T {iqn} --logout\n"
        );
    }
    let _ = write!(
        text,
        "\nThe group itself:\n  evenkeel --api http://{api} load\n  evenkeel --api http://{api} moves\n  \
         evenkeel --api http://{api} route demo\n\nCtrl-C ends it and removes its data.\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_every_portal_and_the_api() {
        let portals: Vec<SocketAddr> =
            ["127.0.0.1:3260", "127.0.0.1:3261"].map(|at| at.parse().unwrap()).to_vec();
        let iqn = "iqn.2026-01.io.evenkeel:demo:demo";
        let text = connect_lines(iqn, &portals, "127.0.0.1:8260".parse().unwrap(), Path::new("/var/tmp/x"));
        for line in [
            "qemu-img info iscsi://127.0.0.1:3260/iqn.2026-01.io.evenkeel:demo:demo/0",
            "qemu-img info iscsi://127.0.0.1:3261/iqn.2026-01.io.evenkeel:demo:demo/0",
            "iscsiadm -m discovery -t sendtargets -p 127.0.0.1:3260",
            "iscsiadm -m node -T iqn.2026-01.io.evenkeel:demo:demo --login",
            "evenkeel --api http://127.0.0.1:8260 load",
        ] {
            assert!(text.lines().any(|found| found.trim() == line), "{line}\n{text}");
        }
    }
}
