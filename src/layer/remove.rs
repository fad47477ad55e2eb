//! Removes directory trees: whatever their modes and depth, never through links or into mounts.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath::open_same_mount;

use super::LayerError;

/// Directories held open at once. What lies deeper is first moved up, to the top of the tree.
const MAX_DEPTH: usize = 32;

/// Removes a file or a directory with all that is in it. A missing path is not an error.
///
/// Modes do not matter if the files are the caller's (overlayfs's `work/work` has mode 000), nor
/// does depth: a build may leave trees deeper than `PATH_MAX`. Links are removed, not followed; a
/// mount point inside is an error, and what is mounted there is not touched.
pub fn remove_tree(path: &Path) -> Result<(), LayerError> {
    let failed = |error: Errno| LayerError::io("remove", path, error);
    let Some(name) = path.file_name() else {
        return Err(failed(Errno::INVAL));
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(parent) => parent,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    remove_at(parent.as_fd(), name).map_err(failed)
}

/// Removes `name` from an open directory.
pub(super) fn remove_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return gone(rustix::fs::unlinkat(parent, name, AtFlags::empty()));
    }
    let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
    // Most trees go in one pass; one that was deep has its depths at the top then.
    let top = open_dir(parent, &name)?;
    let mut moved = 0_u64;
    loop {
        let before = moved;
        empty(&top, &mut moved)?;
        if moved == before {
            break;
        }
    }
    gone(rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR))
}

/// One directory on the way down.
struct Level {
    fd: OwnedFd,
    entries: Dir,
    name: CString,
}

/// Removes what is in `top`, but moves directories that lie too deep into `top`.
fn empty(top: &OwnedFd, moved: &mut u64) -> Result<(), Errno> {
    let mut stack = vec![Level {
        fd: rustix::io::fcntl_dupfd_cloexec(top, 0)?,
        entries: Dir::read_from(top)?,
        name: CString::default(),
    }];
    while let Some(level) = stack.last_mut() {
        let Some(entry) = level.entries.read() else {
            let done = stack.pop();
            if let (Some(done), Some(above)) = (done, stack.last()) {
                gone(rustix::fs::unlinkat(
                    &above.fd,
                    &done.name,
                    AtFlags::REMOVEDIR,
                ))?;
            }
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match rustix::fs::unlinkat(&level.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(error) => return Err(error),
        }
        let child = open_dir(level.fd.as_fd(), name)?;
        let name = name.to_owned();
        if stack.len() < MAX_DEPTH {
            let entries = Dir::read_from(&child)?;
            stack.push(Level {
                fd: child,
                entries,
                name,
            });
            continue;
        }
        move_up(top, &stack, &name, moved)?;
    }
    Ok(())
}

fn move_up(top: &OwnedFd, stack: &[Level], name: &CStr, moved: &mut u64) -> Result<(), Errno> {
    let Some(level) = stack.last() else {
        return Ok(());
    };
    loop {
        *moved += 1;
        let target = format!(".removing-{moved}");
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&level.fd, name, top, target, flags) {
            Err(Errno::EXIST) => {}
            result => return result,
        }
    }
}

/// Opens a directory and makes sure that its entries can be removed.
fn open_dir(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let open = |access| open_same_mount(parent, name, access);
    let fd = match open(OFlags::RDONLY) {
        Err(Errno::ACCESS) => {
            let handle = open(OFlags::PATH)?;
            // fchmod does not take such a handle; the magic link names the very same inode.
            let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
            rustix::fs::chmod(path, Mode::RWXU)?;
            open(OFlags::RDONLY)?
        }
        other => other?,
    };
    let mode = rustix::fs::fstat(&fd)?.st_mode;
    if mode & 0o700 != 0o700 {
        // Not ours: then the removals say what is wrong.
        let _ = rustix::fs::fchmod(&fd, Mode::RWXU);
    }
    Ok(fd)
}

fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn trees_with_any_modes_and_links_go_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("keep"), "x").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("work/work/deep")).unwrap();
        fs::write(tree.join("work/work/deep/file"), "x").unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        symlink(&outside, tree.join("work/link")).unwrap();
        for path in ["work/work/deep", "work/work", "work"] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(0o0)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("keep").exists());
        remove_tree(&tree).unwrap();
        remove_tree(&tree.join("not/there")).unwrap();
        symlink(&outside, &tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(outside.join("keep").exists());
        assert!(remove_tree(Path::new("/")).is_err());
        assert!(remove_tree(Path::new("a/..")).is_err());
    }

    #[test]
    #[allow(clippy::print_stderr)]
    fn what_is_mounted_inside_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["kept", "tree/a/mounted"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("kept/file"), "x").unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["--bind", "kept", "tree/a/mounted"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(
            mounted.status.success(),
            "this test mounts, which is for root only; run it as root, as `make test` is: {mounted:?}"
        );
        let result = remove_tree(&dir.path().join("tree"));
        let unmounted = std::process::Command::new("umount")
            .arg(dir.path().join("tree/a/mounted"))
            .status();
        assert!(unmounted.unwrap().success());
        assert!(result.is_err());
        assert!(dir.path().join("kept/file").exists());
        remove_tree(&dir.path().join("tree")).unwrap();
    }

    #[test]
    fn trees_deeper_than_path_max_go() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut at = fs::File::open(&tree).map(OwnedFd::from).unwrap();
        for depth in 0..3000 {
            rustix::fs::mkdirat(&at, "some-directory", Mode::RWXU).unwrap();
            if depth % 100 == 0 {
                rustix::fs::mkdirat(&at, "other", Mode::empty()).unwrap();
            }
            at = rustix::fs::openat(&at, "some-directory", OFlags::DIRECTORY, Mode::empty())
                .unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
