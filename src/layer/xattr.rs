//! Which extended attributes layers carry, and which belong to overlayfs alone.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::LayerError;

/// File capabilities (capabilities(7)).
const CAPABILITY: &[u8] = b"security.capability";

/// The prefixes of overlayfs's own attributes, as root and with `userxattr`.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// What an attribute of a layer's entry is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Travels in layers: `user.*`.
    User,
    /// Travels in layers; only a process that may chown can set it.
    Capability,
    /// Means something to overlayfs. From an archive it would forge whiteouts and redirects out of
    /// the layer (CVE-2023-0386 and its kin), so it is never taken from one, nor put into one.
    Overlay,
    /// Belongs to a machine: `SELinux` labels, ACLs, IMA, `trusted.*`.
    Foreign,
}

pub(super) fn classify(name: &OsStr) -> Class {
    let name = name.as_bytes();
    if OVERLAY.iter().any(|prefix| name.starts_with(prefix)) {
        Class::Overlay
    } else if name.starts_with(b"user.") {
        Class::User
    } else if name == CAPABILITY {
        Class::Capability
    } else {
        Class::Foreign
    }
}

/// True if the attribute is overlayfs's own one of this kind, such as `opaque`.
pub(super) fn is_overlay(name: &OsStr, kind: &str) -> bool {
    OVERLAY
        .iter()
        .any(|prefix| name.as_bytes().strip_prefix(*prefix) == Some(kind.as_bytes()))
}

/// The name under which overlayfs looks for a directory's opaque mark.
pub(super) fn opaque_name(userxattr: bool) -> &'static str {
    if userxattr {
        "user.overlay.opaque"
    } else {
        "trusted.overlay.opaque"
    }
}

/// All attributes of a file, links not followed. A file system without any has none.
pub(super) fn read_all(path: &Path) -> Result<BTreeMap<OsString, Vec<u8>>, LayerError> {
    read_all_at(path, path)
}

/// The same of a file that errors call otherwise.
pub(super) fn read_all_at(
    path: &Path,
    shown: &Path,
) -> Result<BTreeMap<OsString, Vec<u8>>, LayerError> {
    let failed = |error: Errno| LayerError::io("read the attributes of", shown, error);
    let mut names = vec![0; 1024];
    let used = loop {
        match rustix::fs::llistxattr(path, &mut names[..]) {
            Ok(used) => break used,
            Err(Errno::RANGE) if names.len() < 128 * 1024 => names.resize(names.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
            Err(error) => return Err(failed(error)),
        }
    };
    let mut all = BTreeMap::new();
    for name in names[..used].split(|&byte| byte == 0) {
        if name.is_empty() {
            continue;
        }
        let name = OsStr::from_bytes(name);
        let mut value = vec![0; 256];
        let length = loop {
            match rustix::fs::lgetxattr(path, name, &mut value[..]) {
                Ok(length) => break Some(length),
                Err(Errno::RANGE) if value.len() < 128 * 1024 => value.resize(value.len() * 8, 0),
                // Listed, but not for us to read (trusted.* in a user namespace, say).
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => break None,
                Err(error) => return Err(failed(error)),
            }
        };
        if let Some(length) = length {
            value.truncate(length);
            all.insert(name.to_owned(), value);
        }
    }
    Ok(all)
}

const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const REVISION_MASK: u32 = 0xff00_0000;

/// The revision of file capabilities, if they have one.
fn revision(value: &[u8]) -> Option<u32> {
    let magic = u32::from_le_bytes(*value.first_chunk::<4>()?);
    Some(magic & REVISION_MASK)
}

/// Whether Linux takes a value for file capabilities. An empty one can be set, and then neither read
/// nor copied.
pub(super) fn is_capability(value: &[u8]) -> bool {
    matches!(
        (revision(value), value.len()),
        (Some(REVISION_2), 20) | (Some(REVISION_3), 24)
    )
}

/// File capabilities as layers have them: revision 2. Those set inside a user namespace bear the id
/// of the namespace's root (revision 3, `VFS_CAP_REVISION_3`), which means nothing elsewhere.
pub(super) fn portable_capability(value: Vec<u8>) -> Vec<u8> {
    if revision(&value) != Some(REVISION_3) || !is_capability(&value) {
        return value;
    }
    let mut portable = value[..20].to_vec();
    // The revision is the uppermost byte.
    portable[3] = REVISION_2.to_be_bytes()[0];
    portable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (name, class) in [
            ("user.mime", Class::User),
            ("user.overlay", Class::User),
            ("user.overlay.opaque", Class::Overlay),
            ("user.overlay.overlay.opaque", Class::Overlay),
            ("trusted.overlay.redirect", Class::Overlay),
            ("trusted.md5", Class::Foreign),
            ("security.capability", Class::Capability),
            ("security.selinux", Class::Foreign),
            ("system.posix_acl_default", Class::Foreign),
            ("USER.x", Class::Foreign),
            ("", Class::Foreign),
        ] {
            assert_eq!(classify(OsStr::new(name)), class, "{name}");
        }
    }

    #[test]
    fn capabilities_lose_their_namespace() {
        let mut three = vec![0; 24];
        three[0] = 1; // the effective bit
        three[3] = 3;
        three[4] = 0x20;
        three[20..].copy_from_slice(&100_000_u32.to_le_bytes());
        let two = portable_capability(three);
        assert_eq!(two.len(), 20);
        assert_eq!(two[..5], [1, 0, 0, 2, 0x20]);
        assert_eq!(portable_capability(two.clone()), two);
        for odd in [vec![], vec![0, 0, 0, 3], vec![9; 30]] {
            assert_eq!(portable_capability(odd.clone()), odd);
        }
    }
}
