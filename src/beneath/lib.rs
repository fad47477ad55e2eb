//! Opens files beneath a directory by paths that come from outside: an archive, an image, a source.
//!
//! Another program may rename files in a tree while this one reads it: a path that was a directory a moment
//! ago may be a link to `/etc` now. Every open goes through the directory's descriptor with openat2(2). Where
//! the kernel or a filter does not allow the call, this module does the same name by name. It reads a path in
//! one of two ways: no link is followed ([`Directory::open_at`]: sources, unpacked trees, image layouts), or
//! links lead to where they will lead when the directory is a container's `/` ([`Directory::open_within`]:
//! layers and running containers).

#![forbid(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, openat, openat2,
    readlinkat, statx,
};
use rustix::io::Errno;

/// Links followed in one path, as in the kernel (`path_resolution(7)`).
pub const MAX_LINKS: usize = 40;

/// Flags for a directory that is only passed on the way.
const WALK: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A directory beneath which everything happens.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Directory {
    /// The directory itself may be reached by links.
    ///
    /// # Errors
    /// If it cannot be opened, or is something else.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { fd })
    }

    /// Opens any path beneath, following no link; the empty path is the directory itself.
    ///
    /// # Errors
    /// The system's own: `ELOOP` or `ENOTDIR` for a link, `EXDEV` for a path that leads out.
    pub fn open_at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let path = or_dot(path);
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM) => self.open_stepwise(path, flags),
            other => other,
        }
    }

    /// Opens a path as if the directory were `/`: absolute links and `..` stay inside. With
    /// `O_NOFOLLOW`, a link at its end is not followed.
    ///
    /// # Errors
    /// The system's own; `ELOOP` for more than [`MAX_LINKS`] links.
    pub fn open_within(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_within(self.fd.as_fd(), path, flags)
    }

    /// Opens a regular file for reading, following no link. A FIFO does not block.
    ///
    /// # Errors
    /// Also if it is not a regular file.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        let fd = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        regular(fd)
    }

    /// Opens a directory, and gives the names in it, unsorted, without `.` and `..`.
    ///
    /// # Errors
    /// If it is not a directory, or cannot be read.
    pub fn names(&self, path: &Path) -> io::Result<(OwnedFd, Vec<OsString>)> {
        let fd = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name: &CStr = entry.file_name();
            let bytes = name.to_bytes();
            if bytes != b"." && bytes != b".." {
                names.push(OsStr::from_bytes(bytes).to_owned());
            }
        }
        Ok((fd, names))
    }

    fn open_stepwise(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut components = path.components().peekable();
        let mut current = openat(&self.fd, ".", WALK, Mode::empty())?;
        while let Some(component) = components.next() {
            let name = match component {
                Component::CurDir => Path::new("."),
                Component::Normal(name) => Path::new(name),
                _ => return Err(Errno::XDEV),
            };
            if components.peek().is_none() {
                return openat(&current, name, flags, Mode::empty());
            }
            current = openat(&current, name, WALK, Mode::empty())?;
        }
        openat(&self.fd, ".", flags, Mode::empty())
    }
}

/// As [`Directory::open_within`], beneath a directory that is open.
///
/// # Errors
/// The system's own; `ELOOP` for more than [`MAX_LINKS`] links.
pub fn open_within(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let path = or_dot(path);
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // The kernel says EAGAIN when something, somewhere, was renamed during `..`.
    for _ in 0..64 {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::PERM) => return within_stepwise(root, path, flags),
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn within_stepwise(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut pending: Vec<OsString> = Vec::new();
    push_names(&mut pending, path);
    // The directories on the way down: `..` is the one before, and at the top the top.
    let mut way: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == ".." {
            way.pop();
            continue;
        }
        let here = way.last().map_or(root, AsFd::as_fd);
        let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(here, &name, handle, Mode::empty())?;
        let kind = FileType::from_raw_mode(fstat(&found)?.st_mode);
        let is_last = pending.is_empty();
        if kind == FileType::Symlink && !(is_last && flags.contains(OFlags::NOFOLLOW)) {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP);
            }
            let target = readlinkat(&found, "", Vec::new())?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            if target.is_absolute() {
                way.clear();
            }
            push_names(&mut pending, &target);
        } else if is_last {
            // What has become a link meanwhile is not followed.
            return openat(here, &name, flags | OFlags::NOFOLLOW, Mode::empty());
        } else if kind == FileType::Directory {
            way.push(found);
        } else {
            return Err(Errno::NOTDIR);
        }
    }
    let here = way.last().map_or(root, AsFd::as_fd);
    openat(here, ".", flags, Mode::empty())
}

/// Opens a directory by its name in an open one; not a link, and not what is mounted there.
///
/// # Errors
/// The system's own; `EXDEV` for a mount point.
pub fn open_same_mount(
    parent: BorrowedFd<'_>,
    name: &CStr,
    access: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(parent, name, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => same_mount_stepwise(parent, name, flags),
        other => other,
    }
}

fn same_mount_stepwise(
    parent: BorrowedFd<'_>,
    name: &CStr,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let fd = openat(parent, name, flags, Mode::empty())?;
    let mount = |of: BorrowedFd<'_>| {
        let found = statx(of, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
        Ok::<u64, Errno>(found.stx_mnt_id)
    };
    if mount(fd.as_fd())? == mount(parent)? {
        Ok(fd)
    } else {
        Err(Errno::XDEV)
    }
}

/// Opens a directory by its last name, which must not be a link.
///
/// # Errors
/// The system's own.
pub fn open_child(parent: &impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Opens a regular file whose directory is trusted and whose name is not: no link, no pipe.
///
/// # Errors
/// Also if it is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    regular(openat(CWD, path, flags, Mode::empty())?)
}

/// Reads a regular file of at most `max` bytes.
///
/// # Errors
/// Also when it is something else, or larger.
pub fn read_bounded(file: File, max: u64) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it is larger than {max} bytes")));
    }
    Ok(bytes)
}

fn regular(fd: OwnedFd) -> io::Result<File> {
    let file = File::from(fd);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

fn or_dot(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

/// Pushes a path's names on a stack, the first one on top.
pub fn push_names(stack: &mut Vec<OsString>, path: &Path) {
    let names: Vec<_> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect();
    stack.extend(names.into_iter().rev());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_outside_is_opened_whatever_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(dir.path().join("outside"), b"secret").unwrap();
        fs::write(root.join("sub/file"), b"ok").unwrap();
        symlink("../outside", root.join("link")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("sub", root.join("inner")).unwrap();
        let root = Directory::open(&root).unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        for (path, good) in [
            ("sub/file", true),
            ("./sub/file", true),
            ("link", false),
            ("up/outside", false),
            ("inner/file", false),
            ("../outside", false),
            ("/etc/passwd", false),
            ("sub/../../outside", false),
            ("sub", false),
        ] {
            let path = Path::new(path);
            assert_eq!(root.open_file(path).is_ok(), good, "{path:?}");
            if path != Path::new("sub") {
                assert_eq!(root.open_stepwise(path, flags).is_ok(), good, "{path:?}");
            }
        }
        assert_eq!(root.names(Path::new("")).unwrap().1.len(), 4);
        assert!(root.open_stepwise(Path::new("."), flags).is_ok());
    }

    #[test]
    fn links_lead_to_where_a_container_would_go_with_and_without_the_call() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/lib/deep")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(dir.path().join("outside"), b"secret").unwrap();
        fs::write(root.join("outside"), b"inside").unwrap();
        fs::write(root.join("usr/lib/file"), b"file").unwrap();
        for (target, link) in [
            ("usr/lib", "lib"),
            ("/usr/lib", "absolute"),
            ("../../../../outside", "etc/up"),
            ("/etc/up", "twice"),
            ("loop", "loop"),
            ("nowhere", "dangling"),
            ("usr/lib/file/more", "through"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let root = Directory::open(&root).unwrap();
        let read = |found: Result<OwnedFd, Errno>| {
            found.map(|fd| {
                let mut text = String::new();
                let _ = File::from(fd).read_to_string(&mut text);
                text
            })
        };
        for (path, expected) in [
            ("lib/file", Ok("file")),
            ("absolute/deep/../file", Ok("file")),
            ("/absolute/file", Ok("file")),
            ("etc/up", Ok("inside")),
            ("twice", Ok("inside")),
            ("../../../outside", Ok("inside")),
            ("absolute/deep/../../../..", Ok("")),
            ("", Ok("")),
            ("loop", Err(Errno::LOOP)),
            ("dangling", Err(Errno::NOENT)),
            ("through", Err(Errno::NOTDIR)),
            ("outside/more", Err(Errno::NOTDIR)),
        ] {
            let (path, expected) = (Path::new(path), expected.map(str::to_owned));
            let found = root.open_within(path, OFlags::RDONLY);
            assert_eq!(read(found), expected, "{path:?}");
            let found =
                within_stepwise(root.as_fd(), or_dot(path), OFlags::RDONLY | OFlags::CLOEXEC);
            assert_eq!(read(found), expected, "{path:?}, stepwise");
        }
        let end = OFlags::RDONLY | OFlags::NOFOLLOW;
        let path = Path::new("lib");
        assert_eq!(root.open_within(path, end).unwrap_err(), Errno::LOOP);
        assert_eq!(
            within_stepwise(root.as_fd(), path, end).unwrap_err(),
            Errno::LOOP
        );
    }

    #[test]
    fn what_is_mounted_is_told_apart_with_and_without_the_call() {
        let root = File::open("/").unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let proc = open_same_mount(root.as_fd(), c"proc", OFlags::RDONLY);
        assert_eq!(proc.unwrap_err(), Errno::XDEV);
        let proc = same_mount_stepwise(root.as_fd(), c"proc", flags);
        assert_eq!(proc.unwrap_err(), Errno::XDEV);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let dir = File::open(dir.path()).unwrap();
        open_same_mount(dir.as_fd(), c"sub", OFlags::RDONLY).unwrap();
        same_mount_stepwise(dir.as_fd(), c"sub", flags).unwrap();
    }

    #[test]
    fn a_bounded_reading_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"12345").unwrap();
        let read = |max| read_bounded(open_regular(&path).unwrap(), max);
        assert_eq!(read(5).unwrap(), b"12345");
        assert!(read(4).is_err());
        symlink(&path, dir.path().join("link")).unwrap();
        assert!(open_regular(&dir.path().join("link")).is_err());
        assert!(open_regular(dir.path()).is_err());
    }
}
