//! Mount points: found beneath the new root without following a link out of it. If the image does
//! not have one, it is made in a layer of empty mount points, not in the upper directory.
//!
//! Two such layers are on a tmpfs. The *skeleton* is the lowest one: overlayfs takes a directory's
//! attributes from its uppermost layer, so no directory of the image is changed by it. A mount
//! point that the image's opaque directory or whiteout hides goes to the *crown*, the uppermost
//! layer, whose directories have the attributes of those they cover.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timestamps};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, UnmountFlags};

use super::attach::{SAFE, attach, clone_mount, new_mount, set_attributes};
use super::error::{Doing, Failure};

/// Links in a path to a mount point.
const MAX_LINKS: usize = 40;

/// A tmpfs of our own in the mount namespace: skeleton, contents of small files, an empty directory.
pub(super) struct Staging(OwnedFd);

impl Staging {
    pub(super) fn new() -> Result<Self, Failure> {
        let tmpfs = new_mount("tmpfs", &[("mode", "0755")], SAFE)?;
        // Any directory of the host can be used: it is covered only in this mount namespace, and
        // everything that is needed of the host is open already.
        let place = ["/tmp", "/run", "/mnt", "/var", "/usr"]
            .iter()
            .find_map(|place| {
                rustix::fs::open(
                    *place,
                    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                )
                .ok()
            })
            .ok_or_else(|| {
                Failure::new("finding a directory to mount on among /tmp, /run, /mnt")
            })?;
        attach(&tmpfs, &place).doing("mounting a tmpfs for set-up")?;
        for name in ["skeleton", "crown", "root", "files", "empty"] {
            rustix::fs::mkdirat(&tmpfs, name, Mode::from_raw_mode(0o755))
                .doing("preparing the set-up tmpfs")?;
        }
        Ok(Self(tmpfs))
    }

    pub(super) fn open(&self, name: &str) -> Result<OwnedFd, Failure> {
        rustix::fs::openat(
            &self.0,
            name,
            OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .doing("opening a directory of the set-up tmpfs")
    }

    /// A detached, read-only, empty directory.
    pub(super) fn empty(&self) -> Result<OwnedFd, Failure> {
        let tree = clone_mount(&self.open("empty")?, false)?;
        set_attributes(&tree, SAFE | MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        Ok(tree)
    }

    pub(super) fn tmpfs(&self) -> &OwnedFd {
        &self.0
    }

    pub(super) fn skeleton(&self) -> Result<OwnedFd, Failure> {
        self.open("skeleton")
    }

    pub(super) fn crown(&self) -> Result<OwnedFd, Failure> {
        self.open("crown")
    }

    /// Where the root is mounted, or, then, the root.
    pub(super) fn root(&self) -> Result<OwnedFd, Failure> {
        self.open("root")
    }

    pub(super) fn unmount_root(&self) -> Result<(), Failure> {
        rustix::mount::unmount(
            format!("/proc/self/fd/{}/root", self.0.as_raw_fd()),
            UnmountFlags::DETACH,
        )
        .doing("unmounting the root for another try")
    }

    /// Adds a mount point to the skeleton; `false` if it existed.
    pub(super) fn add_to_skeleton(&self, path: &Path, directory: bool) -> Result<bool, Failure> {
        let skeleton = self.skeleton()?;
        if open_beneath(&skeleton, path).is_ok() {
            return Ok(false);
        }
        make_path(&skeleton, path, directory)?;
        Ok(true)
    }

    /// Adds a mount point to the crown, with directories that look like the root's.
    pub(super) fn add_to_crown(
        &self,
        root: &OwnedFd,
        path: &Path,
        directory: bool,
    ) -> Result<(), Failure> {
        let crown = self.crown()?;
        make_path(&crown, path, directory)?;
        // From below, because making an entry in a directory changes its times.
        for ancestor in path.ancestors().skip(1) {
            if let Ok(original) = open_beneath(root, ancestor) {
                let copy = open_beneath(&crown, ancestor).doing("opening a mount point")?;
                copy_attributes(&original, &copy)
                    .doing_at("making a directory that looks like", ancestor)?;
            }
        }
        Ok(())
    }
}

/// Owner, mode and times. Owners outside the id map cannot be set and stay the process's own:
/// both look the same.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let _ = rustix::fs::chownat(
        to,
        "",
        Some(rustix::fs::Uid::from_raw(stat.st_uid)),
        Some(rustix::fs::Gid::from_raw(stat.st_gid)),
        AtFlags::EMPTY_PATH,
    );
    // An O_PATH descriptor takes neither fchmod nor futimens, but its magic link does.
    let name = format!("/proc/self/fd/{}", to.as_raw_fd());
    rustix::fs::chmod(&name, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = |seconds, nanoseconds: u64| rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    rustix::fs::utimensat(
        rustix::fs::CWD,
        &name,
        &Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
        },
        AtFlags::empty(),
    )
}

pub(super) fn is_directory(fd: impl AsFd) -> Result<bool, Failure> {
    let stat = rustix::fs::fstat(fd).doing("looking at a mount")?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Makes a path of normal components below a directory where no one else writes.
pub(super) fn make_path(below: &OwnedFd, path: &Path, directory: bool) -> Result<(), Failure> {
    let names: Vec<_> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let mut walked = PathBuf::new();
    for (index, name) in names.iter().enumerate() {
        walked.push(name);
        let made = if directory || index + 1 < names.len() {
            rustix::fs::mkdirat(below, &walked, Mode::from_raw_mode(0o755))
        } else {
            rustix::fs::openat(
                below,
                &walked,
                OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o644),
            )
            .map(drop)
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).doing_at("making the mount point", path),
        }
    }
    Ok(())
}

/// Opens a path as the sandbox will see it: links are followed, but never to the outside.
pub(super) fn open_beneath(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    warpdrive_beneath::open_within(root.as_fd(), relative, OFlags::PATH)
}

/// Where a missing path would be made: with its links resolved within the root, as far as they
/// exist.
pub(super) fn resolve_missing(root: &OwnedFd, path: &Path) -> Result<PathBuf, Failure> {
    let mut left: Vec<OsString> = Vec::new();
    let queue = |path: &Path, left: &mut Vec<OsString>| {
        let names = path
            .components()
            .rev()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                _ => None,
            });
        left.extend(names);
    };
    queue(path, &mut left);
    let mut resolved = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            resolved.pop();
            continue;
        }
        let candidate = resolved.join(&name);
        let link = read_link(root, &candidate).doing_at("resolving the mount point", path)?;
        match link {
            Some(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP).doing_at("resolving the mount point", path);
                }
                if target.is_absolute() {
                    resolved = PathBuf::from("/");
                }
                queue(&target, &mut left);
            }
            None => resolved = candidate,
        }
    }
    Ok(resolved)
}

/// The target of a link; `None` for anything else, or if it does not exist.
fn read_link(root: &OwnedFd, path: &Path) -> rustix::io::Result<Option<PathBuf>> {
    use std::os::unix::ffi::OsStringExt;
    let relative = path.strip_prefix("/").unwrap_or(path);
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let opened = warpdrive_beneath::open_within(root.as_fd(), relative, flags);
    let fd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Ok(None);
    }
    let target = rustix::fs::readlinkat(&fd, "", Vec::new())?;
    Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel before 5.6, or a filter around this process that knows no new calls.
    fn without_openat2(then: impl FnOnce() + Send + 'static) {
        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
        let refused = std::thread::spawn(|| {
            let rules = [(libc::SYS_openat2, Vec::new())].into_iter().collect();
            let filter = SeccompFilter::new(
                rules,
                SeccompAction::Allow,
                SeccompAction::Errno(libc::ENOSYS.cast_unsigned()),
                std::env::consts::ARCH.try_into().unwrap(),
            );
            let filter: BpfProgram = filter.unwrap().try_into().unwrap();
            seccompiler::apply_filter(&filter).unwrap();
            let root = rustix::fs::open("/", OFlags::PATH, Mode::empty()).unwrap();
            let none = rustix::fs::ResolveFlags::empty();
            let opened = rustix::fs::openat2(root, "tmp", OFlags::PATH, Mode::empty(), none);
            assert_eq!(opened.unwrap_err(), Errno::NOSYS);
            then();
        });
        refused.join().unwrap();
    }

    #[test]
    fn missing_places_are_resolved_within_the_root() {
        resolve_missing_places();
        without_openat2(resolve_missing_places);
    }

    #[test]
    fn links_lead_to_places_inside_of_the_root() {
        open_links();
        without_openat2(open_links);
    }

    fn open_links() {
        use std::os::unix::fs::symlink;
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        std::fs::create_dir_all(at("etc")).unwrap();
        std::fs::write(at("etc/passwd"), "").unwrap();
        symlink("/etc", at("absolute")).unwrap();
        symlink("../../../../etc/passwd", at("up")).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = rustix::fs::open(place.path(), flags, Mode::empty()).unwrap();
        let inode = |fd: OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        let expected = inode(open_beneath(&root, Path::new("/etc/passwd")).unwrap());
        for path in ["/absolute/passwd", "/up", "up"] {
            let found = open_beneath(&root, Path::new(path)).unwrap();
            assert_eq!(inode(found), expected, "{path}");
        }
        let found = open_beneath(&root, Path::new("/")).unwrap();
        assert!(is_directory(found).unwrap());
    }

    fn resolve_missing_places() {
        use std::os::unix::fs::symlink;
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        std::fs::create_dir_all(at("usr/run")).unwrap();
        symlink("/usr/run", at("run")).unwrap();
        symlink("../run/deep/file", at("usr/dangling")).unwrap();
        symlink("../../../..", at("usr/run/up")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = rustix::fs::open(place.path(), flags, Mode::empty()).unwrap();
        for (path, expected) in [
            ("/a/b", Some("/a/b")),
            ("/run/a", Some("/usr/run/a")),
            ("/usr/dangling", Some("/usr/run/deep/file")),
            ("/run/up/x", Some("/x")),
            ("/loop/x", None),
        ] {
            let found = resolve_missing(&root, Path::new(path)).ok();
            assert_eq!(found.as_deref(), expected.map(Path::new), "{path}");
        }
    }
}
