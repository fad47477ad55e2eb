//! `fixup`: the group may do what the owner may, and owns the files, so that an image runs as any
//! uid with gid 0. Changes only what is not so already, and never follows a link.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be changed")]
pub struct FixupError {
    pub path: PathBuf,
    #[source]
    pub source: std::io::Error,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fixed {
    pub looked_at: u64,
    pub changed: u64,
}

/// Fixes `path` and everything below it. Files of other owners are left alone, unless we are root.
///
/// # Errors
/// If `path` does not exist, or a file of ours cannot be changed.
pub fn fixup(path: &Path) -> Result<Fixed, FixupError> {
    let mut fixed = Fixed::default();
    one(path, rustix::process::geteuid().as_raw(), &mut fixed)?;
    Ok(fixed)
}

/// The mode that a file gets: group as owner; anything that somebody may execute, owner and group may.
fn wanted(mode: u32, directory: bool) -> u32 {
    let mut mode = mode & 0o1777;
    if directory || mode & 0o111 != 0 {
        mode |= 0o110;
    }
    mode |= 0o600;
    mode | ((mode & 0o700) >> 3)
}

fn one(path: &Path, user: u32, fixed: &mut Fixed) -> Result<(), FixupError> {
    let failed = |source| FixupError {
        path: path.to_owned(),
        source,
    };
    let data = fs::symlink_metadata(path).map_err(failed)?;
    fixed.looked_at += 1;
    let ours = user == 0 || data.uid() == user;
    if ours {
        let mut changed = false;
        if data.gid() != 0 && (user == 0 || rustix::process::getegid().as_raw() == 0) {
            lchown(path, None, Some(0)).map_err(failed)?;
            changed = true;
        }
        if !data.is_symlink() {
            let mode = data.mode() & 0o7777;
            let wanted = wanted(mode, data.is_dir());
            if mode != wanted {
                fs::set_permissions(path, fs::Permissions::from_mode(wanted)).map_err(failed)?;
                changed = true;
            }
        }
        fixed.changed += u64::from(changed);
    }
    if data.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            one(&entry.map_err(failed)?.path(), user, fixed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (mode, directory, expected) in [
            (0o600, false, 0o660),
            (0o644, false, 0o664),
            (0o700, false, 0o770),
            (0o755, true, 0o775),
            (0o4755, false, 0o775),
            (0o601, false, 0o771),
            (0o700, true, 0o770),
            (0o1777, true, 0o1777),
        ] {
            assert_eq!(wanted(mode, directory), expected, "{mode:o}");
        }
    }

    #[test]
    fn links_are_not_followed() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let tree = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), tree.path().join("link")).unwrap();
        fs::write(tree.path().join("file"), "").unwrap();
        fs::set_permissions(tree.path().join("file"), fs::Permissions::from_mode(0o600)).unwrap();
        fixup(tree.path()).unwrap();
        assert_eq!(fs::metadata(outside.path()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(tree.path().join("file")).unwrap().mode() & 0o777,
            0o660
        );
        assert_eq!(fixup(tree.path()).unwrap().changed, 0);
        assert!(fixup(&tree.path().join("gone")).is_err());
    }
}
