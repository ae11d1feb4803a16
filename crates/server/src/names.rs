//! Target names: `PREFIX:GROUP:VOLUME`.

use evenkeel_types::VolumeId;

/// How the group names its targets.
#[derive(Clone, Debug)]
pub(crate) struct TargetNames {
    prefix: String,
}

impl TargetNames {
    /// For a group; `prefix` is what all its names begin with, for example `iqn.2026-01.io.evenkeel`.
    pub(crate) fn new(prefix: &str, group: &str) -> Self {
        Self { prefix: format!("{prefix}:{group}:") }
    }

    /// The target name of a volume.
    pub(crate) fn of(&self, volume: &str) -> String {
        format!("{}{volume}", self.prefix)
    }

    /// The volume of a target name; `None` if the name is not one of this group's.
    pub(crate) fn volume<'a>(&self, target: &'a str) -> Option<&'a str> {
        target.strip_prefix(&self.prefix)
    }
}

/// The UUID of a volume, the same on every server: from the group's and the volume's numbers, which never repeat.
/// Version 8 of RFC 9562 section 5.8.
pub(crate) fn volume_uuid(group: u64, volume: VolumeId) -> [u8; 16] {
    let mixed = |n: u64| {
        let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let (high, low) = (mixed(group), mixed(group ^ mixed(volume.0)));
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&high.to_be_bytes());
    uuid[8..].copy_from_slice(&low.to_be_bytes());
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_name_leads_back_to_its_volume() {
        let names = TargetNames::new("iqn.2026-01.io.evenkeel", "lab");
        assert_eq!(names.of("v1"), "iqn.2026-01.io.evenkeel:lab:v1");
        assert_eq!(names.volume("iqn.2026-01.io.evenkeel:lab:v1"), Some("v1"));
        assert_eq!(names.volume("iqn.2026-01.io.evenkeel:barn:v1"), None);
    }

    #[test]
    fn volumes_have_different_uuids_of_version_8() {
        let (a, b) = (volume_uuid(1, VolumeId(1)), volume_uuid(1, VolumeId(2)));
        assert_ne!(a, b);
        assert_ne!(a, volume_uuid(2, VolumeId(1)));
        assert_eq!((a[6] >> 4, a[8] >> 6), (8, 2));
    }
}
