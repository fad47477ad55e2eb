//! Tar archives as containers of named files: written with fixed metadata, read by name.
//!
//! Nothing is ever unpacked: members are found by their names in memory and read where they lie in
//! the file, so that a path in an archive leads nowhere.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};
use tempfile::NamedTempFile;

use super::error::TransportError;
use crate::layer::{self, Limits, Members, Packing, Section};
use crate::store::{Scratch, Store};

/// 1980-01-01T00:00:01Z, as for layers.
const TIME: u64 = 315_532_801;
const BLOCK: u64 = 512;

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

/// A file is there that an image should be added to, and is something else.
pub(super) fn not_added_to(file: &Path, wanted: &str) -> TransportError {
    let problem = format!(
        "it exists and is not {wanted}, so nothing is added to it; remove it, or name another file"
    );
    TransportError::malformed(file, problem)
}

/// That error where what was read is not an archive. What could not be read may be one.
pub(super) fn or_unread(
    other: impl Fn() -> TransportError,
) -> impl Fn(TransportError) -> TransportError {
    move |error| match error {
        TransportError::Archive { .. } | TransportError::Malformed { .. } => other(),
        error => error,
    }
}

/// An archive whose members can be read by name.
pub(super) struct TarFile {
    path: PathBuf,
    file: File,
    members: Members,
    /// Where the uncompressed archive lies, if it was compressed or came through a pipe.
    _scratch: Option<Scratch>,
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
            let packing = Section::new(&file, 0, metadata.len()).packing();
            packing.map_err(|source| TransportError::io("read", path, source))? == Packing::None
        };
        if !plain {
            let space = store.scratch("archive")?;
            file = spool(file, &space.path().join("archive.tar"), path)?;
            scratch = Some(space);
        }
        let members = Members::of(&file).map_err(|source| TransportError::Archive {
            path: path.to_owned(),
            source,
        })?;
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

    /// A member's content; links within the archive are followed.
    pub(super) fn member(&self, name: &str) -> Option<Section<'_>> {
        self.members.open(&self.file, name)
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

#[cfg(test)]
mod tests {
    use super::*;

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
