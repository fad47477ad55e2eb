//! The store's directory: kind of file system, space, modes.

use std::path::Path;

use rustix::fs::{StatFs, statfs, statvfs};

use crate::sandbox::Verdict;

use super::Check;

/// Below this, a build of an ordinary application may not end (a builder image is about 1 GB
/// unpacked).
const LITTLE_SPACE: u64 = 4_000_000_000;

/// File systems by their magic numbers (statfs(2)), and what is wrong with them for a store.
const KINDS: &[(u64, &str, Option<&str>)] = &[
    (
        0x6969,
        "NFS",
        Some("overlays and owners do not work on NFS"),
    ),
    (
        0xff53_4d42,
        "CIFS",
        Some("overlays and owners do not work on CIFS"),
    ),
    (
        0x517b,
        "SMB",
        Some("overlays and owners do not work on SMB"),
    ),
    (
        0xfe53_4d42,
        "SMB2",
        Some("overlays and owners do not work on SMB"),
    ),
    (
        0x0102_1997,
        "9P",
        Some("overlays do not work on 9P, as a shared directory of a virtual machine is"),
    ),
    (
        0x6573_5546,
        "FUSE",
        Some("overlays do not work on most FUSE file systems"),
    ),
    (
        0x0102_1994,
        "tmpfs",
        Some("what is in memory is lost at the next start, and takes memory from builds"),
    ),
    (
        0x794c_7630,
        "overlayfs",
        Some(
            "an overlay cannot lie upon another one on most kernels; in a container, mount a volume there",
        ),
    ),
    (0xef53, "ext", None),
    (0x5846_5342, "XFS", None),
    (0x9123_683e, "btrfs", None),
    (0x2fc1_2fc1, "ZFS", None),
    (0xf2f5_2010, "F2FS", None),
];

/// Whether the store's directory is suitable.
pub(super) fn checks(root: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Ok(found) = statfs(root) {
        checks.push(kind(root, magic(&found)));
    }
    if let Ok(found) = statvfs(root) {
        checks.push(space(found.f_bavail.saturating_mul(found.f_frsize)));
    }
    checks
}

/// The type has another width and sign on each architecture; the magic has 32 bits.
#[expect(
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "the lower 32 bits are meant"
)]
fn magic(found: &StatFs) -> u64 {
    u64::from(found.f_type as u32)
}

fn kind(root: &Path, magic: u64) -> Check {
    const NAME: &str = "store";
    match KINDS.iter().find(|kind| kind.0 == magic) {
        Some((_, name, None)) => {
            Check::new(NAME, Verdict::Ok, format!("{} on {name}", root.display()))
        }
        Some((_, name, Some(problem))) => Check::new(
            NAME,
            Verdict::Warn,
            format!("{} on {name}: {problem}", root.display()),
        )
        .remedy("put it on a local disk with --store or WARPDRIVE_STORE"),
        None => Check::new(
            NAME,
            Verdict::Ok,
            format!("{} on a file system {magic:#x}", root.display()),
        ),
    }
}

fn space(free: u64) -> Check {
    const NAME: &str = "free space";
    let detail = format!("{}.{} GB", free / 1_000_000_000, free / 100_000_000 % 10);
    if free < LITTLE_SPACE {
        Check::new(NAME, Verdict::Warn, detail).remedy(
            "`warpdrive prune` frees what no image needs; or put the store on a larger disk \
             with --store or WARPDRIVE_STORE",
        )
    } else {
        Check::new(NAME, Verdict::Ok, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_on_nfs_or_in_memory_is_warned_about() {
        for (magic, verdict, word) in [
            (0x6969, Verdict::Warn, "NFS"),
            (0x0102_1994, Verdict::Warn, "tmpfs"),
            (0xef53, Verdict::Ok, "ext"),
            (0x1234, Verdict::Ok, "0x1234"),
        ] {
            let check = kind(Path::new("/store"), magic);
            assert_eq!(check.verdict, verdict, "{magic:x}");
            assert!(check.detail.contains(word), "{}", check.detail);
            assert_eq!(check.remedy.is_some(), verdict == Verdict::Warn);
        }
    }

    #[test]
    fn little_space_is_warned_about() {
        assert_eq!(space(3_999_999_999).verdict, Verdict::Warn);
        assert_eq!(space(12_340_000_000).detail, "12.3 GB");
        assert_eq!(space(12_340_000_000).verdict, Verdict::Ok);
    }
}
