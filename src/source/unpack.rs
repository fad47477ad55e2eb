//! A source tree from a tar or zip archive, into an empty directory.
//!
//! An archive is hostile. Things that no source tree has are refused, each with its own reason, and
//! nothing is repaired: `..` and absolute names, links that lead out of the tree, devices, two members
//! of one name, members below a link, more entries or bytes than any source has. Everything is opened
//! beneath the directory without following links ([`crate::beneath`]). Owners, times and attributes
//! are ignored; of the mode only the owner's execute bit counts.

mod zip;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, fchmod, linkat, mkdirat, openat, symlinkat};
use rustix::io::Errno;

use crate::layer::{Limits, MemberKind, TarReader, decompressor};

use super::SourceError;
use super::collect::leads_out;
use crate::beneath::Directory;

/// Most files, directories and links of a source from elsewhere.
pub(super) const MAX_ENTRIES: u64 = 500_000;
/// Most bytes of a source from elsewhere, unpacked.
pub(super) const MAX_BYTES: u64 = 8 << 30;

/// The same for a tar, including its other bytes: headers and padding count as well, and extension
/// headers count as entries.
const LIMITS: Limits = Limits {
    max_bytes: MAX_BYTES + MAX_ENTRIES * 1024,
    max_entries: MAX_ENTRIES * 2,
};

/// Unpacks an archive file into the empty directory `into`; its first bytes tell its format.
pub(super) fn file(
    archive: &Path,
    into: &Path,
    cancelled: Cancelled<'_>,
) -> Result<PathBuf, SourceError> {
    let reading = |error| SourceError::io("read", archive, error);
    let mut file = File::open(archive).map_err(reading)?;
    if !file.metadata().map_err(reading)?.is_file() {
        return Err(SourceError::NoArchive {
            path: archive.to_owned(),
            found: "it is neither a file nor a directory",
        });
    }
    let mut first = Vec::new();
    Read::by_ref(&mut file)
        .take(8)
        .read_to_end(&mut first)
        .map_err(reading)?;
    file.seek(SeekFrom::Start(0)).map_err(reading)?;
    let mut unpacker = Unpacker::new(archive, into, cancelled)?;
    if first.starts_with(b"PK\x03\x04") || first.starts_with(b"PK\x05\x06") {
        zip::unpack(&mut unpacker, file)?;
    } else {
        unpacker.known_format(&first)?;
        if let Some(error) = measure(&unpacker, &file).map_err(reading)? {
            return Err(error);
        }
        file.seek(SeekFrom::Start(0)).map_err(reading)?;
        let file = Watched {
            inner: file,
            cancelled,
        };
        tar(&mut unpacker, file)?;
    }
    unpacker.top()
}

/// Unpacks a tar stream of any supported compression.
pub(super) fn stream(
    reader: impl Read + Send,
    into: &Path,
    cancelled: Cancelled<'_>,
) -> Result<PathBuf, SourceError> {
    let mut reader = Watched {
        inner: reader,
        cancelled,
    };
    let name = Path::new("standard input");
    let mut first = Vec::new();
    reader
        .by_ref()
        .take(8)
        .read_to_end(&mut first)
        .map_err(|e| {
            if cancelled() {
                SourceError::Interrupted
            } else {
                SourceError::io("read", name, e)
            }
        })?;
    let mut unpacker = Unpacker::new(name, into, cancelled)?;
    if first.starts_with(b"PK") {
        return Err(SourceError::NoArchive {
            path: name.to_owned(),
            found: "it is a zip archive, whose directory stands at its end: give it as a file",
        });
    }
    unpacker.known_format(&first)?;
    tar(&mut unpacker, io::Cursor::new(first).chain(reader))?;
    unpacker.top()
}

/// Says that the result is not wanted any more.
type Cancelled<'a> = &'a (dyn Fn() -> bool + Sync);

/// A stream that ends with an error when it is not wanted any more.
struct Watched<'a, R> {
    inner: R,
    cancelled: Cancelled<'a>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if (self.cancelled)() {
                return Err(io::Error::other("interrupted"));
            }
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

/// Where the members go.
struct Unpacker<'a> {
    archive: &'a Path,
    into: &'a Path,
    cancelled: Cancelled<'a>,
    root: Directory,
    entries: u64,
    bytes: u64,
}

impl<'a> Unpacker<'a> {
    fn new(
        archive: &'a Path,
        into: &'a Path,
        cancelled: Cancelled<'a>,
    ) -> Result<Self, SourceError> {
        let root = Directory::open(into).map_err(|e| SourceError::io("open", into, e))?;
        Ok(Self {
            archive,
            into,
            cancelled,
            root,
            entries: 0,
            bytes: 0,
        })
    }

    fn known_format(&self, first: &[u8]) -> Result<(), SourceError> {
        let found = match first {
            [] => "it is empty",
            [b'B', b'Z', b'h', ..] => {
                "it is compressed with bzip2; gzip, zstd and plain tar are read"
            }
            [0xfd, b'7', b'z', b'X', b'Z', ..] => {
                "it is compressed with xz; gzip, zstd and plain tar are read"
            }
            [b'7', b'z', 0xbc, 0xaf, ..] => "it is a 7-Zip archive; tar and zip are read",
            [b'R', b'a', b'r', b'!', ..] => "it is a RAR archive; tar and zip are read",
            _ => return Ok(()),
        };
        Err(SourceError::NoArchive {
            path: self.archive.to_owned(),
            found,
        })
    }

    fn refused(&self, path: &[u8], problem: &'static str) -> SourceError {
        SourceError::Member {
            archive: self.archive.to_owned(),
            member: String::from_utf8_lossy(path)
                .escape_debug()
                .take(200)
                .collect(),
            problem,
        }
    }

    fn too_much(&self, limit: u64, unit: &'static str) -> SourceError {
        SourceError::TooMuch {
            what: self.archive.display().to_string(),
            limit,
            unit,
        }
    }

    fn count(&mut self) -> Result<(), SourceError> {
        if (self.cancelled)() {
            return Err(SourceError::Interrupted);
        }
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(self.too_much(MAX_ENTRIES, "entries"));
        }
        Ok(())
    }

    /// A member's name as a plain relative path; `None` for the archive's root itself (`./`).
    fn clean(&self, name: &[u8]) -> Result<Option<PathBuf>, SourceError> {
        let mut clean = PathBuf::new();
        for component in Path::new(std::ffi::OsStr::from_bytes(name)).components() {
            match component {
                Component::CurDir => {}
                Component::Normal(part) if part.len() > 255 => {
                    return Err(self.refused(name, "a name in it is longer than 255 bytes"));
                }
                Component::Normal(part) => clean.push(part),
                Component::ParentDir => return Err(self.refused(name, "its name has `..` in it")),
                Component::RootDir | Component::Prefix(_) => {
                    return Err(self.refused(name, "its name is absolute"));
                }
            }
        }
        if name.contains(&0) {
            return Err(self.refused(name, "its name has a NUL byte"));
        }
        if name.len() > 4095 {
            return Err(self.refused(name, "its name is longer than 4095 bytes"));
        }
        Ok((!clean.as_os_str().is_empty()).then_some(clean))
    }

    /// The directory of a member, made if it is missing.
    fn parent(&self, path: &Path) -> Result<OwnedFd, SourceError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.root.open_at(parent, flags) {
            Ok(fd) => return Ok(fd),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(self.blocked(path, error)),
        }
        let mut made = PathBuf::new();
        for part in parent.components() {
            made.push(part);
            self.make_directory(&made)?;
        }
        self.root
            .open_at(parent, flags)
            .map_err(|e| self.blocked(path, e))
    }

    fn blocked(&self, path: &Path, error: Errno) -> SourceError {
        let name = path.as_os_str().as_bytes();
        match error {
            Errno::LOOP | Errno::NOTDIR if self.has_link(path) => {
                self.refused(name, "it lies below a symbolic link")
            }
            Errno::NOTDIR => self.refused(name, "it lies below something that is not a directory"),
            _ => SourceError::io("create", &self.into.join(path), error.into()),
        }
    }

    /// Only for the text of a refusal.
    fn has_link(&self, path: &Path) -> bool {
        path.ancestors().skip(1).any(|above| {
            std::fs::symlink_metadata(self.into.join(above)).is_ok_and(|m| m.is_symlink())
        })
    }

    fn make_directory(&self, path: &Path) -> Result<(), SourceError> {
        let name = path.file_name().unwrap_or_default();
        let parent = self
            .root
            .open_at(
                path.parent().unwrap_or(Path::new("")),
                OFlags::PATH | OFlags::DIRECTORY,
            )
            .map_err(|e| self.blocked(path, e))?;
        match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                if let Err(error) = self.root.open_at(path, flags) {
                    return Err(match error {
                        Errno::NOTDIR | Errno::LOOP => self.twice(path),
                        _ => self.blocked(path, error),
                    });
                }
                return Ok(());
            }
            Err(error) => return Err(self.blocked(path, error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&parent, name, flags, Mode::empty())
            .and_then(|fd| fchmod(fd, Mode::from_raw_mode(0o755)))
            .map_err(|e| self.blocked(path, e))
    }

    fn twice(&self, path: &Path) -> SourceError {
        self.refused(
            path.as_os_str().as_bytes(),
            "there are two members of this name",
        )
    }

    fn directory(&self, path: &Path) -> Result<(), SourceError> {
        self.parent(path)?;
        self.make_directory(path)
    }

    fn file(
        &mut self,
        path: &Path,
        executable: bool,
        mut content: impl Read,
    ) -> Result<(), SourceError> {
        let parent = self.parent(path)?;
        let name = path.file_name().unwrap_or_default();
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut out: File = match openat(&parent, name, flags, Mode::from_raw_mode(0o600)) {
            Ok(fd) => fd.into(),
            Err(Errno::EXIST) => return Err(self.twice(path)),
            Err(error) => return Err(self.blocked(path, error)),
        };
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(self.unreadable(&source)),
            };
            self.bytes += count as u64;
            if self.bytes > MAX_BYTES {
                return Err(self.too_much(MAX_BYTES, "bytes"));
            }
            out.write_all(&buffer[..count])
                .map_err(|e| SourceError::io("write", &self.into.join(path), e))?;
        }
        let mode = if executable { 0o755 } else { 0o644 };
        fchmod(&out, Mode::from_raw_mode(mode)).map_err(|e| self.blocked(path, e))
    }

    fn unreadable(&self, source: &io::Error) -> SourceError {
        if (self.cancelled)() {
            return SourceError::Interrupted;
        }
        SourceError::Archive {
            path: self.archive.to_owned(),
            problem: source.to_string(),
        }
    }

    fn symlink(&self, path: &Path, target: &Path) -> Result<(), SourceError> {
        let name = path.as_os_str().as_bytes();
        if target.is_absolute() {
            return Err(self.refused(
                name,
                "it is a link to an absolute path, which lies outside of the source",
            ));
        }
        if leads_out(path, target) {
            return Err(self.refused(name, "it is a link that leads out of the source"));
        }
        if target.as_os_str().is_empty() {
            return Err(self.refused(name, "it is a link to nothing"));
        }
        let parent = self.parent(path)?;
        match symlinkat(target, &parent, path.file_name().unwrap_or_default()) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(self.twice(path)),
            Err(error) => Err(self.blocked(path, error)),
        }
    }

    /// A second name of a file that came before.
    fn hard_link(&self, path: &Path, target: &Path) -> Result<(), SourceError> {
        let name = path.as_os_str().as_bytes();
        let target = self
            .clean(target.as_os_str().as_bytes())
            .map_err(|_| self.refused(name, "it is a hard link that leads out of the source"))?
            .ok_or_else(|| self.refused(name, "it is a hard link to nothing"))?;
        // A regular file, without a link on the way to it.
        self.root
            .open_file(&target)
            .map_err(|_| self.refused(name, "it is a hard link to no file that came before"))?;
        let from = self.parent(&target)?;
        let to = self.parent(path)?;
        let (old, new) = (
            target.file_name().unwrap_or_default(),
            path.file_name().unwrap_or_default(),
        );
        match linkat(&from, old, &to, new, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(self.twice(path)),
            Err(error) => Err(self.blocked(path, error)),
        }
    }

    /// The source: if an archive has only one directory at its top (`app-1.0/…`), it is that directory.
    fn top(self) -> Result<PathBuf, SourceError> {
        if self.entries == 0 {
            return Err(SourceError::NoArchive {
                path: self.archive.to_owned(),
                found: "there is nothing in it",
            });
        }
        let (_, names) = self
            .root
            .names(Path::new(""))
            .map_err(|e| SourceError::io("list", self.into, e))?;
        if let [only] = names.as_slice()
            && !only.as_bytes().starts_with(b".")
            && self
                .root
                .open_at(Path::new(only), OFlags::PATH | OFlags::DIRECTORY)
                .is_ok()
        {
            return Ok(self.into.join(only));
        }
        Ok(self.into.to_owned())
    }
}

/// Why an archive is too large, before anything of it is on the disk. Other errors are reported
/// during unpacking.
fn measure(unpacker: &Unpacker<'_>, mut file: &File) -> io::Result<Option<SourceError>> {
    let mut first = [0; 4];
    let length = file.metadata()?.len();
    let plain = file.read(&mut first)? < 4
        || !(first.starts_with(&[0x1f, 0x8b]) || first == [0x28, 0xb5, 0x2f, 0xfd]);
    file.seek(SeekFrom::Start(0))?;
    // A member has a header of 512 bytes.
    if plain && length < (MAX_ENTRIES * 512).min(MAX_BYTES) {
        return Ok(None);
    }
    let watched = Watched {
        inner: file,
        cancelled: unpacker.cancelled,
    };
    let reader = BufReader::with_capacity(128 * 1024, decompressor(watched));
    let mut reader = TarReader::new(reader, LIMITS);
    let (mut entries, mut bytes) = (0u64, 0u64);
    loop {
        let member = match reader.next_member() {
            Ok(Some(member)) => member,
            Err(crate::layer::LayerError::Limit { limit, unit }) => {
                return Ok(Some(unpacker.too_much(limit, unit)));
            }
            Ok(None) | Err(_) => return Ok(None),
        };
        entries += 1;
        bytes = bytes.saturating_add(member.size);
        if entries > MAX_ENTRIES {
            return Ok(Some(unpacker.too_much(MAX_ENTRIES, "entries")));
        }
        if bytes > MAX_BYTES {
            return Ok(Some(unpacker.too_much(MAX_BYTES, "bytes")));
        }
    }
}

fn tar(unpacker: &mut Unpacker<'_>, reader: impl Read + Send) -> Result<(), SourceError> {
    let archive = unpacker.archive.to_owned();
    let cancelled = unpacker.cancelled;
    let failed = |error: crate::layer::LayerError| match error {
        _ if cancelled() => SourceError::Interrupted,
        crate::layer::LayerError::Limit { limit, unit } => SourceError::TooMuch {
            what: archive.display().to_string(),
            limit,
            unit,
        },
        crate::layer::LayerError::Malformed { problem, offset } => SourceError::Archive {
            path: archive.clone(),
            problem: format!("{problem} (at byte {offset})"),
        },
        other => SourceError::Archive {
            path: archive.clone(),
            problem: other.to_string(),
        },
    };
    let reader = BufReader::with_capacity(128 * 1024, decompressor(reader));
    let mut reader = TarReader::new(reader, LIMITS).requiring_padding();
    while let Some(member) = reader.next_member().map_err(failed)? {
        unpacker.count()?;
        let name = member.path.as_os_str().as_bytes();
        let Some(path) = unpacker.clean(name)? else {
            if member.kind == MemberKind::Directory {
                continue;
            }
            return Err(unpacker.refused(name, "it has no name"));
        };
        match &member.kind {
            MemberKind::Directory => unpacker.directory(&path)?,
            MemberKind::File => {
                // Checked before it is read: a terabyte of zeros compresses to almost nothing.
                if member.size > MAX_BYTES - unpacker.bytes.min(MAX_BYTES) {
                    return Err(unpacker.too_much(MAX_BYTES, "bytes"));
                }
                unpacker.file(&path, member.mode & 0o100 != 0, &mut reader)?;
            }
            MemberKind::Symlink(target) => unpacker.symlink(&path, target)?,
            MemberKind::HardLink(target) => unpacker.hard_link(&path, target)?,
            MemberKind::Fifo => return Err(unpacker.refused(name, "it is a FIFO")),
            MemberKind::CharDevice { .. } | MemberKind::BlockDevice { .. } => {
                return Err(unpacker.refused(name, "it is a device node"));
            }
        }
    }
    // Bytes behind the end mark are ignored, but a damaged end of a compressed stream is detected.
    reader.drain().map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests;
