//! A directory as the root of all paths: what is opened beneath it stays beneath it.
//!
//! Parents are resolved as if the directory were `/` ([`Directory::open_within`]): absolute links and `..`
//! lead to places inside, as they will when the image runs. The last name of a path is never followed.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::beneath::{Directory, MAX_LINKS, open_child, push_names};

use super::error::quoted;
use super::limits::{MAX_NAME, MAX_PATH};
use super::{LayerError, WHITEOUT_PREFIX};

pub(super) struct Root {
    directory: Directory,
}

/// What [`Root::ensure_dir`] had to make.
pub(super) struct Made {
    pub path: PathBuf,
    /// It stands where this layer has a whiteout, so it hides what lower layers have there.
    pub over_whiteout: bool,
}

impl Root {
    pub(super) fn open(path: &Path) -> Result<Self, LayerError> {
        let directory = Directory::open(path).map_err(|error| {
            let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            LayerError::io("open", path, error)
        })?;
        Ok(Self { directory })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens a directory; links in all of the path are followed inside the root.
    pub(super) fn open_dir(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.directory
            .open_within(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens a directory and makes what is missing of it, also behind links that lead nowhere yet.
    pub(super) fn ensure_dir(&self, path: &Path) -> Result<(OwnedFd, Vec<Made>), LayerError> {
        let failed = |error: Errno| LayerError::io("make the directory", path, error);
        match self.open_dir(path) {
            Ok(fd) => return Ok((fd, Vec::new())),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(failed(error)),
        }
        let mut made = Vec::new();
        let mut links = 0;
        let mut resolved = PathBuf::new();
        let mut here = self.open_dir(&resolved).map_err(failed)?;
        let mut pending: Vec<OsString> = Vec::new();
        push_names(&mut pending, path);
        while let Some(name) = pending.pop() {
            let next = resolved.join(&name);
            match self.open_dir(&next) {
                Ok(fd) => {
                    (here, resolved) = (fd, next);
                    continue;
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => return Err(failed(error)),
            }
            let over_whiteout = match stat_at(&here, &name).map_err(failed)? {
                None => false,
                Some(stat) if is_whiteout(&stat) => {
                    rustix::fs::unlinkat(&here, &name, AtFlags::empty()).map_err(failed)?;
                    true
                }
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(failed(Errno::LOOP));
                    }
                    let target =
                        rustix::fs::readlinkat(&here, &name, Vec::new()).map_err(failed)?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if target.is_absolute() {
                        resolved = PathBuf::new();
                        here = self.open_dir(&resolved).map_err(failed)?;
                    }
                    push_names(&mut pending, &target);
                    continue;
                }
                Some(_) => {
                    return Err(LayerError::refused(
                        path,
                        format!("{} is not a directory", quoted(&next)),
                    ));
                }
            };
            rustix::fs::mkdirat(&here, &name, Mode::RWXU).map_err(failed)?;
            here = open_child(&here, &name).map_err(failed)?;
            rustix::fs::fchmod(&here, Mode::from_raw_mode(0o755)).map_err(failed)?;
            made.push(Made {
                path: next.clone(),
                over_whiteout,
            });
            resolved = next;
        }
        Ok((here, made))
    }
}

/// What is there, links not followed; `None` for nothing.
pub(super) fn stat_at(parent: &impl AsFd, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Overlayfs's whiteout: a character device with the numbers 0 and 0.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A path from an archive as a plain relative one; empty for the root itself. `..` is refused,
/// never resolved: no honest layer has it, and readers differ about its meaning.
pub(super) fn clean(path: &Path) -> Result<PathBuf, &'static str> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.contains(&0) {
        return Err("it has a NUL byte");
    }
    if bytes.len() > MAX_PATH {
        return Err("it is longer than 4095 bytes");
    }
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) if name.len() > MAX_NAME => {
                return Err("a name in it is longer than 255 bytes");
            }
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => return Err("it has `..` in it"),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(clean)
}

/// True if a directory in the path has a name that means a deletion.
pub(super) fn below_whiteout(path: &Path) -> bool {
    path.parent().is_some_and(|parent| {
        parent
            .iter()
            .any(|name| name.as_bytes().starts_with(WHITEOUT_PREFIX.as_bytes()))
    })
}
