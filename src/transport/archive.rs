//! Tar archives as containers of named files: written with fixed metadata, read by name.
//!
//! Nothing is ever unpacked: members are found by their names in memory and read where they lie in
//! the file, so that a path in an archive leads nowhere.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use tar::{EntryType, Header};
use tempfile::NamedTempFile;

use super::error::TransportError;
use crate::layer::{self, Limits, MemberKind, Packing, TarReader};
use crate::store::{Scratch, Store};

/// 1980-01-01T00:00:01Z, as for layers.
const TIME: u64 = 315_532_801;
const BLOCK: u64 = 512;
/// Members of an archive of images; each is a blob or a few small files.
const MAX_MEMBERS: u64 = 100_000;
/// How many links may lead to a file.
const MAX_LINKS: usize = 8;

/// A file in the making: under its name when it is whole, gone when it is not.
pub(super) struct Output {
    target: PathBuf,
    sink: Sink,
}

enum Sink {
    Temporary(BufWriter<NamedTempFile>),
    /// A pipe or a device: there is nothing to rename.
    Direct(BufWriter<File>),
}

impl Output {
    /// For what the user named: a pipe or `/dev/stdout` is written to as it is.
    pub(super) fn create(target: &Path) -> Result<Self, TransportError> {
        let special = target.starts_with("/dev") || target.starts_with("/proc");
        let found = fs::metadata(target);
        if special || found.as_ref().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(target)
                .map_err(|source| TransportError::io("write", target, source))?;
            return Ok(Self {
                target: target.to_owned(),
                sink: Sink::Direct(BufWriter::with_capacity(256 * 1024, file)),
            });
        }
        if found.is_ok_and(|metadata| metadata.is_dir()) {
            return Err(TransportError::malformed(
                target,
                "it is a directory; name a file",
            ));
        }
        // Through a link, the file that it means is replaced, not the link.
        match fs::canonicalize(target) {
            Ok(target) => Self::beside(&target),
            Err(_) => Self::beside(target),
        }
    }

    /// A file that replaces whatever is at `target`.
    pub(super) fn beside(target: &Path) -> Result<Self, TransportError> {
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".warpdrive-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(parent)
            .map_err(|source| TransportError::io("create a file in", parent, source))?;
        Ok(Self {
            target: target.to_owned(),
            sink: Sink::Temporary(BufWriter::with_capacity(256 * 1024, file)),
        })
    }

    pub(super) fn writer(&mut self) -> &mut dyn Write {
        match &mut self.sink {
            Sink::Temporary(writer) => writer,
            Sink::Direct(writer) => writer,
        }
    }

    /// Gives the file its name.
    pub(super) fn commit(self) -> Result<(), TransportError> {
        let target = self.target;
        let failed = |source| TransportError::io("write", &target, source);
        match self.sink {
            Sink::Direct(mut writer) => writer.flush().map_err(failed),
            Sink::Temporary(writer) => {
                let file = writer
                    .into_inner()
                    .map_err(|error| failed(error.into_error()))?;
                file.as_file().sync_all().map_err(failed)?;
                file.persist(&target).map_err(|error| failed(error.error))?;
                Ok(())
            }
        }
    }
}

/// Writes members one after the other, with metadata that is the same for everyone.
pub(super) struct TarWriter<'w> {
    into: &'w mut dyn Write,
    path: &'w Path,
}

impl<'w> TarWriter<'w> {
    pub(super) fn new(into: &'w mut dyn Write, path: &'w Path) -> Self {
        Self { into, path }
    }

    fn failed(&self, source: io::Error) -> TransportError {
        TransportError::io("write", self.path, source)
    }

    fn header(&mut self, name: &str, kind: EntryType, size: u64) -> Result<(), TransportError> {
        let mut header = Header::new_ustar();
        header
            .set_path(name)
            .map_err(|source| self.failed(source))?;
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(TIME);
        header.set_size(size);
        header.set_cksum();
        self.into
            .write_all(header.as_bytes())
            .map_err(|source| self.failed(source))
    }

    pub(super) fn directory(&mut self, name: &str) -> Result<(), TransportError> {
        self.header(name, EntryType::Directory, 0)
    }

    pub(super) fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), TransportError> {
        self.file(name, bytes.len() as u64, |into| {
            into.write_all(bytes)
                .map_err(|source| TransportError::io("write", Path::new(name), source))
        })
    }

    /// A member whose content `fill` writes: exactly `size` bytes.
    pub(super) fn file(
        &mut self,
        name: &str,
        size: u64,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), TransportError>,
    ) -> Result<(), TransportError> {
        self.header(name, EntryType::Regular, size)?;
        fill(self.into)?;
        let padding = usize::try_from((BLOCK - size % BLOCK) % BLOCK).unwrap_or(0);
        self.into
            .write_all(&[0; 512][..padding])
            .map_err(|source| self.failed(source))
    }

    pub(super) fn finish(self) -> Result<(), TransportError> {
        self.into
            .write_all(&[0; 1024])
            .map_err(|source| self.failed(source))
    }
}

/// An archive whose members can be read by name.
pub(super) struct TarFile {
    path: PathBuf,
    file: File,
    members: BTreeMap<PathBuf, Found>,
    /// Where the uncompressed archive lies, if it was compressed or came through a pipe.
    _scratch: Option<Scratch>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    File {
        offset: u64,
        size: u64,
    },
    /// A link to another member, by its path in the archive.
    Link(PathBuf),
}

impl TarFile {
    /// Looks through an archive, which may be compressed (gzip, zstd) or come through a pipe.
    pub(super) fn open(store: &Store, path: &Path) -> Result<Self, TransportError> {
        let mut file =
            File::open(path).map_err(|source| TransportError::io("open", path, source))?;
        let metadata = file
            .metadata()
            .map_err(|source| TransportError::io("open", path, source))?;
        if metadata.is_dir() {
            return Err(TransportError::malformed(
                path,
                "it is a directory, not an archive",
            ));
        }
        let mut scratch = None;
        let plain = metadata.is_file() && {
            let whole = Section {
                file: &file,
                position: 0,
                end: metadata.len(),
            };
            let packing = whole.packing();
            packing.map_err(|source| TransportError::io("read", path, source))? == Packing::None
        };
        if !plain {
            let space = store.scratch("archive")?;
            file = spool(file, &space.path().join("archive.tar"), path)?;
            scratch = Some(space);
        }
        let members = look_through(&file, path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            members,
            _scratch: scratch,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A member's content and size; links within the archive are followed.
    pub(super) fn member(&self, name: &str) -> Option<(Section<'_>, u64)> {
        let mut name = normal(Path::new(name))?;
        for _ in 0..MAX_LINKS {
            match self.members.get(&name)? {
                Found::File { offset, size } => {
                    let section = Section {
                        file: &self.file,
                        position: *offset,
                        end: offset + size,
                    };
                    return Some((section, *size));
                }
                Found::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

/// Copies an archive, uncompressed, to where it can be read at any place.
fn spool(from: File, target: &Path, path: &Path) -> Result<File, TransportError> {
    let limit = Limits::default().max_bytes;
    let mut reader = layer::decompressor(from).take(limit + 1);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(target)
        .map_err(|source| TransportError::io("create", target, source))?;
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(TransportError::io("read", path, source)),
        };
        bytes += count as u64;
        if bytes > limit {
            let problem = format!("it has more than {limit} bytes when it is decompressed");
            return Err(TransportError::malformed(path, problem));
        }
        file.write_all(&buffer[..count])
            .map_err(|source| TransportError::io("write", target, source))?;
    }
}

fn look_through(file: &File, path: &Path) -> Result<BTreeMap<PathBuf, Found>, TransportError> {
    let limits = Limits {
        max_entries: MAX_MEMBERS,
        ..Limits::default()
    };
    let length = file
        .metadata()
        .map_err(|source| TransportError::io("read", path, source))?
        .len();
    let whole = Section {
        file,
        position: 0,
        end: length,
    };
    let failed = |source| TransportError::Archive {
        path: path.to_owned(),
        source,
    };
    let mut reader =
        TarReader::new(BufReader::with_capacity(256 * 1024, whole), limits).requiring_padding();
    let mut members = BTreeMap::new();
    while let Some(member) = reader.next_member().map_err(failed)? {
        let Some(name) = normal(&member.path) else {
            continue;
        };
        let found = match member.kind {
            MemberKind::File => Found::File {
                offset: reader.offset(),
                size: member.size,
            },
            MemberKind::HardLink(target) => match normal(&target) {
                Some(target) => Found::Link(target),
                None => continue,
            },
            MemberKind::Symlink(target) => {
                let parent = name.parent().unwrap_or(Path::new(""));
                match normal(&parent.join(target)) {
                    Some(target) => Found::Link(target),
                    None => continue,
                }
            }
            _ => continue,
        };
        if members.insert(name, found).is_some() {
            // Tools differ in which of the two they take.
            let problem = format!("it has `{}` twice", member.path.display());
            return Err(TransportError::malformed(path, problem));
        }
    }
    Ok(members)
}

/// A path inside the archive without `.` and `..`; `None` when it leads out of it.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!clean.as_os_str().is_empty()).then_some(clean)
}

/// A part of a file, read without moving the file's own position.
pub(super) struct Section<'f> {
    file: &'f File,
    position: u64,
    end: u64,
}

impl Section<'_> {
    /// How it is compressed, by its first bytes.
    pub(super) fn packing(self) -> io::Result<Packing> {
        let mut first = Vec::with_capacity(Packing::LENGTH);
        self.take(Packing::LENGTH as u64).read_to_end(&mut first)?;
        Ok(Packing::of(&first))
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Option<String> {
        normal(Path::new(text)).map(|path| path.display().to_string())
    }

    #[test]
    fn paths_stay_in_the_archive() {
        for (text, expected) in [
            ("a/b", Some("a/b")),
            ("./a", Some("a")),
            ("a/../b", Some("b")),
            ("../a", None),
            ("a/../../b", None),
            ("/etc/passwd", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(names(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_dropped_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x.tar");
        let mut output = Output::create(&target).unwrap();
        output.writer().write_all(b"half").unwrap();
        drop(output);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut output = Output::create(&target).unwrap();
        output.writer().write_all(b"whole").unwrap();
        output.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        assert!(Output::create(dir.path()).is_err());
    }
}
