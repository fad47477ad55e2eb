//! Copies of a source, with the modes that an image's files have (`docs/reference/image.md`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rayon::prelude::*;
use rustix::fs::{
    AtFlags, Mode, OFlags, chownat, fchmod, ioctl_ficlone, mkdirat, openat, symlinkat,
};
use rustix::process::{Gid, Uid};

use crate::oci::{Sha256Reader, Sha256Writer};

use super::{SourceEntry, SourceError, SourceKind, Tree};
use crate::beneath::Directory;

const BUFFER: usize = 256 * 1024;

impl Tree {
    /// Copies everything into the existing directory `dest`, which must have none of it.
    ///
    /// Directories and executable files get mode 0775, other files 0664, whatever the umask; owner
    /// and group are `chown` where given. The mode and owner of `dest` itself are left alone. A file
    /// whose content has changed since [`Tree::digest`] is an error.
    pub fn stage(&self, dest: &Path, chown: Option<(u32, u32)>) -> Result<(), SourceError> {
        self.stage_with(dest, chown, &BTreeMap::new())
    }

    /// The chosen modes: those that no usual umask gives (0600, 0444, 0700), by path.
    /// A file that all may read and the owner may write is an ordinary file, whatever the umask
    /// of the checkout was. So is every file of a tree whose modes all follow from umask 027 or
    /// 077.
    pub fn chosen_modes(&self) -> Result<BTreeMap<PathBuf, u32>, SourceError> {
        let mut modes = BTreeMap::new();
        let mut umasks = vec![0o027_u32, 0o077];
        for entry in self.entries() {
            if matches!(entry.kind, SourceKind::Symlink(_)) {
                continue;
            }
            let failed = |error| SourceError::io("examine", &entry.path, error);
            let file = self
                .root_of(&entry.path)
                .open_at(&entry.path, OFlags::PATH)
                .map_err(|e| failed(e.into()))?;
            let mode = rustix::fs::fstat(&file)
                .map_err(|e| failed(e.into()))?
                .st_mode
                & 0o777;
            umasks.retain(|umask| [0o666 & !umask, 0o777 & !umask].contains(&mode));
            if mode & 0o644 != 0o644 {
                modes.insert(entry.path.clone(), mode);
            }
        }
        // The mode of a single file was probably chosen.
        let of_checkout = !umasks.is_empty() && modes.len() > 1;
        Ok(if of_checkout { BTreeMap::new() } else { modes })
    }

    /// [`Tree::stage`], with these modes where one is given.
    pub fn stage_with(
        &self,
        dest: &Path,
        chown: Option<(u32, u32)>,
        modes: &BTreeMap<PathBuf, u32>,
    ) -> Result<(), SourceError> {
        let failed = |error| SourceError::io("open", dest, error);
        let target = Target {
            root: Directory::open(dest).map_err(failed)?,
            path: dest,
            chown,
            modes,
        };
        // Directories first, in the order of their paths; then the rest in any order.
        for entry in self.entries() {
            if entry.kind == SourceKind::Directory {
                target.directory(&entry.path)?;
            }
        }
        self.entries()
            .par_iter()
            .try_for_each(|entry| match &entry.kind {
                SourceKind::Directory => Ok(()),
                SourceKind::File { executable, .. } => self.copy(entry, *executable, &target),
                SourceKind::Symlink(link) => target.symlink(&entry.path, link),
            })?;
        // At the end, because a directory without the owner's write permission must be filled first.
        for entry in self.entries().iter().rev() {
            if entry.kind == SourceKind::Directory
                && let Some(mode) = modes.get(&entry.path)
            {
                target.set_mode(&entry.path, *mode)?;
            }
        }
        Ok(())
    }

    fn copy(
        &self,
        entry: &SourceEntry,
        executable: bool,
        target: &Target<'_>,
    ) -> Result<(), SourceError> {
        let path = &entry.path;
        let reading = |error| SourceError::io("read", path, error);
        let writing = |error| SourceError::io("write", &target.path.join(path), error);
        let from = self.root_of(path).open_file(path).map_err(reading)?;
        let mut to = target.create(path).map_err(writing)?;
        // A clone shares its blocks with the source and cannot change any more: hash the clone.
        let digest = if ioctl_ficlone(&to, &from).is_ok() {
            let mut reader = Sha256Reader::new(&to);
            io::copy(&mut reader, &mut io::sink()).map_err(writing)?;
            reader.finish().1
        } else {
            let mut writer = Sha256Writer::new(&mut to);
            copy_all(from, &mut writer).map_err(|failure| match failure {
                Failure::Reading(error) => reading(error),
                Failure::Writing(error) => writing(error),
            })?;
            writer.finish().1
        };
        let expected = {
            let hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
            hashes.get(path).cloned()
        };
        if expected.is_some_and(|expected| expected != digest) {
            return Err(SourceError::Changed { path: path.clone() });
        }
        let mode = if executable { 0o775 } else { 0o664 };
        let mode = target.modes.get(path).copied().unwrap_or(mode);
        target.finish(&to, mode).map_err(writing)
    }
}

enum Failure {
    Reading(io::Error),
    Writing(io::Error),
}

fn copy_all(mut from: impl Read, to: &mut impl Write) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Reading(error)),
        };
        to.write_all(&buffer[..count]).map_err(Failure::Writing)?;
    }
}

/// Where the copies go.
struct Target<'a> {
    root: Directory,
    path: &'a Path,
    chown: Option<(u32, u32)>,
    modes: &'a BTreeMap<PathBuf, u32>,
}

impl Target<'_> {
    fn directory(&self, path: &Path) -> Result<(), SourceError> {
        let failed = |error: io::Error| SourceError::io("create", &self.path.join(path), error);
        let (parent, name) = self.parent(path).map_err(failed)?;
        mkdirat(&parent, &name, Mode::from_raw_mode(0o700)).map_err(|e| failed(e.into()))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&parent, &name, flags, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|directory| self.finish(&directory, 0o775))
            .map_err(failed)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), SourceError> {
        self.root
            .open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(|directory| fchmod(&directory, Mode::from_raw_mode(mode)))
            .map_err(|e| SourceError::io("set the mode of", &self.path.join(path), e.into()))
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let (parent, name) = self.parent(path)?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(parent, &name, flags, Mode::from_raw_mode(0o600))?.into())
    }

    fn symlink(&self, path: &Path, link: &Path) -> Result<(), SourceError> {
        let failed = |error: io::Error| SourceError::io("create", &self.path.join(path), error);
        let (parent, name) = self.parent(path).map_err(failed)?;
        symlinkat(link, &parent, &name).map_err(|e| failed(e.into()))?;
        if let Some((uid, gid)) = self.chown {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(
                &parent,
                &name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(|e| failed(e.into()))?;
        }
        Ok(())
    }

    /// Owner first: a change of owner may clear bits of the mode.
    fn finish(&self, file: &impl AsFd, mode: u32) -> io::Result<()> {
        if let Some((uid, gid)) = self.chown {
            rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        fchmod(file, Mode::from_raw_mode(mode))?;
        Ok(())
    }

    fn parent(&self, path: &Path) -> io::Result<(std::os::fd::OwnedFd, PathBuf)> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        let fd = self
            .root
            .open_at(parent, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok((fd, name))
    }
}

#[cfg(test)]
mod tests;
