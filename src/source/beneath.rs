//! Opening files beneath a directory without following links.
//!
//! The source is walked and read while its owner, or a program that its owner runs, may rename
//! things in it: a path that was a directory a moment ago may be a link to `/etc` now. Every open
//! goes through the root's descriptor with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`; where
//! the kernel or a filter does not have it, component by component with `O_NOFOLLOW`.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, Stat, openat, openat2};
use rustix::io::Errno;

/// A directory beneath which everything happens.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { fd })
    }

    /// Opens a regular file for reading. Anything else (also what became a link) is an error, and a
    /// FIFO does not block.
    pub(super) fn open_file(&self, path: &Path) -> io::Result<File> {
        let fd = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let file = File::from(fd);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other("it is no longer a regular file"))
        }
    }

    /// The names in a directory, unsorted, without `.` and `..`.
    pub(super) fn names(&self, path: &Path) -> io::Result<(OwnedFd, Vec<std::ffi::OsString>)> {
        let fd = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name: &CStr = entry.file_name();
            let bytes = name.to_bytes();
            if bytes != b"." && bytes != b".." {
                names.push(std::ffi::OsStr::from_bytes(bytes).to_owned());
            }
        }
        Ok((fd, names))
    }

    /// Opens any path beneath, following no link; the empty path is the root itself.
    pub(super) fn open_at(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
            // An old kernel, or a seccomp filter that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.open_stepwise(path, flags),
            other => Ok(other?),
        }
    }

    fn open_stepwise(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let walk = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut components = path.components().peekable();
        let mut current = openat(&self.fd, ".", walk, Mode::empty())?;
        while let Some(component) = components.next() {
            let name = match component {
                Component::CurDir => Path::new("."),
                Component::Normal(name) => Path::new(name),
                _ => return Err(io::Error::from(Errno::XDEV)),
            };
            if components.peek().is_none() {
                return Ok(openat(&current, name, flags, Mode::empty())?);
            }
            current = openat(&current, name, walk, Mode::empty())?;
        }
        Ok(openat(&self.fd, ".", flags, Mode::empty())?)
    }
}

/// Owner may execute.
pub(super) fn is_executable(stat: &Stat) -> bool {
    stat.st_mode & 0o100 != 0
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
        let root = Root::open(&root).unwrap();
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
}
